//! The first 1, 2, 4, ... neurons of an order ablated together, for the ranked order and for random ones.
//!
//! Random orders are of the same set. So the curve does not ask whether the set matters (that is `ablate`'s business)
//! but whether the ranking tells its neurons apart: an order that does not is one more random order.

use std::collections::BTreeMap;
use std::iter::successors;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::super::ExperimentError;
use super::super::score::Score;
use super::{Ablated, Cost, RankPlan, Ranker};
use crate::engine::check_edits;
use crate::hooks::{Edit, EditCount, Neuron};
use crate::stats::{Clusters, Interval, StatsSettings, Table, contrast, mean};
use crate::tokens::TokenBatch;

/// In which order neurons are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Order {
    /// By exact effect, then by the estimate.
    Ranked,
    /// By the estimate alone.
    Estimated,
    /// At random.
    Random,
}

/// The first neurons of an order ablated together; an entry of `curve.json`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Which order.
    pub order: Order,
    /// Which random order, from 0; 0 for the others.
    pub draw: usize,
    /// How many neurons.
    pub neurons: usize,
    /// On the measuring prompts.
    #[serde(flatten)]
    pub cost: Cost,
}

/// The ranked order beside the random ones, at one number of neurons.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AgainstRandom {
    /// How many neurons.
    pub neurons: usize,
    /// Mean effect of the random orders, nats.
    pub random_effect: f64,
    /// Prompts that they lose, mean.
    pub random_facts_lost: f64,
    /// The ranked order's effect minus that mean.
    pub difference: f64,
    /// Its 95 % interval over prompts and orders ([`contrast`]); absent with fewer than 2 orders.
    #[serde(flatten)]
    pub interval: Option<Interval>,
}

/// A curve with what it took.
pub(super) struct Curve {
    pub points: Vec<CurvePoint>,
    pub against_random: Vec<AgainstRandom>,
    pub changed: EditCount,
    pub passes: usize,
}

/// 1, 2, 4, ... below `neurons`.
fn parts(neurons: usize) -> Vec<usize> {
    successors(Some(1), |count| Some(2 * count))
        .take_while(|count| *count < neurons)
        .collect()
}

impl RankPlan {
    /// How many neurons each edit of the curve has, the whole set first.
    pub(super) fn curve_sizes(&self) -> Vec<usize> {
        let parts = parts(self.neurons());
        let orders = 2 + self.settings.draws;
        let sizes = (0..orders).flat_map(|_| parts.iter().copied());
        std::iter::once(self.neurons()).chain(sizes).collect()
    }
}

/// A random order of the same neurons, the same whatever else is drawn.
fn shuffled(order: &[Neuron], seed: u64, draw: usize) -> Vec<Neuron> {
    let mut shuffled = order.to_vec();
    shuffled.sort();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(1 + draw as u64); // the halves have stream 0
    shuffled.shuffle(&mut rng);
    shuffled
}

/// One order with its conditions' scores: one for each of [`parts`].
struct OrderScores<'a> {
    order: Order,
    draw: usize,
    scores: &'a [BTreeMap<usize, Score>],
}

impl Ranker<'_, '_> {
    /// The curve of the ranked order, of the estimated one and of the plan's random orders on `batch`.
    pub(super) fn curve(
        &mut self,
        batch: &TokenBatch,
        [ranked, estimated]: &[Vec<Neuron>; 2],
    ) -> Result<Curve, ExperimentError> {
        let settings = &self.plan.settings;
        let parts = parts(ranked.len());
        let all = self.edit(format!("all {} neurons", ranked.len()), ranked);
        let mut edits = vec![all.clone()];
        edits.extend(self.beginnings(ranked, &parts, "ranked"));
        edits.extend(self.beginnings(estimated, &parts, "estimated"));
        for draw in 0..settings.draws {
            let order = shuffled(ranked, settings.statistics.seed, draw);
            edits.extend(self.beginnings(&order, &parts, "random"));
        }
        let ran = self.ablate(batch, edits)?;
        // A single neuron's edit may be in vain; that of the whole set may not.
        check_edits(&[all.into()], &ran.ran.changed[1..2])?;

        let traced = traced(&ran, parts.len(), settings.draws);
        let points = traced
            .iter()
            .flat_map(|traced| self.points(traced, &parts, &ran));
        let points: Vec<CurvePoint> = points.collect();
        let against_random = match &traced[..] {
            [ranked, _, random @ ..] if !random.is_empty() => {
                let (clusters, statistics) = (&ran.clusters, &settings.statistics);
                against_random((ranked, random), clusters, (&points, &parts), statistics)?
            }
            _ => Vec::new(),
        };
        Ok(Curve {
            points,
            against_random,
            changed: ran.ran.changed(),
            passes: ran.ran.passes,
        })
    }

    fn beginnings(&self, order: &[Neuron], parts: &[usize], name: &str) -> Vec<Edit> {
        let edit = |&count: &usize| self.edit(format!("first {count}, {name}"), &order[..count]);
        parts.iter().map(edit).collect()
    }

    /// The points of one order; the last is the whole set, which all orders share.
    fn points(&self, traced: &OrderScores<'_>, parts: &[usize], ran: &Ablated) -> Vec<CurvePoint> {
        let (clean, all) = (&ran.scores[0], &ran.scores[1]);
        let over = (&ran.clusters, self.plan.settings.statistics.level);
        let counts = parts.iter().copied().chain([self.plan.neurons()]);
        let edited = traced.scores.iter().chain([all]);
        counts
            .zip(edited)
            .map(|(neurons, edited)| CurvePoint {
                order: traced.order,
                draw: traced.draw,
                neurons,
                cost: Cost::new(clean, edited, over),
            })
            .collect()
    }
}

/// The orders as [`Ranker::curve`] has them. Conditions: clean, the whole set, then order by order its parts.
fn traced(ran: &Ablated, parts: usize, draws: usize) -> Vec<OrderScores<'_>> {
    let random = (0..draws).map(|draw| (Order::Random, draw));
    let orders = [(Order::Ranked, 0), (Order::Estimated, 0)];
    let orders = orders.into_iter().chain(random).enumerate();
    orders
        .map(|(place, (order, draw))| OrderScores {
            order,
            draw,
            scores: &ran.scores[2 + place * parts..][..parts],
        })
        .collect()
}

/// The comparison at each of `parts`.
fn against_random(
    (ranked, random): (&OrderScores<'_>, &[OrderScores<'_>]),
    clusters: &Clusters,
    (points, parts): (&[CurvePoint], &[usize]),
    settings: &StatsSettings,
) -> Result<Vec<AgainstRandom>, ExperimentError> {
    let compare = |(part, &neurons): (usize, &usize)| {
        let targets = |traced: &OrderScores<'_>| -> Vec<f64> {
            let scores = traced.scores[part].values();
            scores.map(|score| score.target_logprob).collect()
        };
        let draws: Vec<Vec<f64>> = random.iter().map(targets).collect();
        let table = Table {
            class: &targets(ranked),
            draws: &draws,
            clusters,
        };
        let contrast = contrast(table, settings)?;
        let costs = points
            .iter()
            .filter(|point| point.order == Order::Random && point.neurons == neurons)
            .map(|point| point.cost);
        let of = |value: fn(Cost) -> f64| {
            let values: Vec<f64> = costs.clone().map(value).collect();
            mean(&values).unwrap_or(f64::NAN)
        };
        Ok(AgainstRandom {
            neurons,
            random_effect: of(|cost| cost.effect),
            random_facts_lost: of(|cost| cost.facts_lost as f64),
            difference: contrast.estimate,
            interval: contrast.interval,
        })
    };
    parts.iter().enumerate().map(compare).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_double_and_stop_below_the_whole() {
        assert_eq!(parts(1), [0usize; 0]);
        assert_eq!(parts(2), [1]);
        assert_eq!(parts(8), [1, 2, 4]);
        assert_eq!(parts(9), [1, 2, 4, 8]);
    }

    #[test]
    fn random_orders_are_of_the_same_neurons_and_differ() {
        let order: Vec<Neuron> = (0..20).map(|index| Neuron { layer: 1, index }).collect();
        let ranked: Vec<Neuron> = order.iter().rev().copied().collect();
        let first = shuffled(&ranked, 7, 0);
        let mut sorted = first.clone();
        sorted.sort();
        assert_eq!(sorted, order);
        // The ranking has no part in it.
        assert_eq!(first, shuffled(&order, 7, 0));
        assert!(
            [shuffled(&order, 7, 1), shuffled(&order, 8, 0), order]
                .iter()
                .all(|o| *o != first)
        );
    }
}
