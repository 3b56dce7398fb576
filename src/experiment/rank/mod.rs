//! Which neurons of a set carry its effect on recall: an estimate for all of them, an exact ablation of the foremost
//! one by one, and the curve of the first 1, 2, 4, ... ablated together, beside random orders of the same set.
//!
//! ```text
//! known prompts -> ranking half   -> estimates -> exact effects -> order
//!               -> measuring half ------------------------------> curve
//! ```
//!
//! A ranking picks what looks worst on its own prompts, so part of what it finds there is chance. The curve is
//! therefore measured on other prompts, unless [`Evaluation::SamePrompts`] is asked for.

mod attribution;
mod by;
mod cost;
mod curve;
mod estimate;
mod halves;
mod plan;

pub use attribution::FirstOrder;
pub use by::RankBy;
pub use cost::Cost;
pub use curve::{AgainstRandom, CurvePoint, Order};
pub use halves::Evaluation;
pub use plan::{RankPlan, RankSettings};

use std::collections::BTreeMap;

use super::ExperimentError;
use super::forecast::Step;
use super::outcome::PromptSubset;
use super::reference::{CleanReference, Units, reference_step, resolve};
use super::run::{Ran, Run};
use super::stage::{NullEdits, Stage, clusters_of};
use super::unedited::{Scores, run_clean, run_scores, scores_step};
use crate::engine::Engine;
use crate::hooks::{Condition, Edit, EditCount, Mode, Neuron, NeuronSet};
use crate::stats::{Clusters, RankCorrelation, StatsSettings, rank_correlation};
use crate::tokens::TokenBatch;
use halves::Halves;

/// One neuron; a row of `ranking.parquet`.
#[derive(Clone, Debug, PartialEq)]
pub struct RankedNeuron {
    /// Which.
    pub neuron: Neuron,
    /// On the ranking prompts, in the unit of [`RankBy`].
    pub estimate: f64,
    /// Its place by the estimate; 1 promises the most harm.
    pub estimate_rank: usize,
    /// Ablated alone; absent beyond the first neurons by the estimate.
    pub exact: Option<Exact>,
}

/// What a neuron does when it alone is ablated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exact {
    /// On the ranking prompts.
    pub cost: Cost,
    /// Its place among the neurons ablated alone; 1 does the most harm.
    pub rank: usize,
}

/// What a ranking found.
pub struct Ranking {
    /// Every neuron, by the estimate.
    pub neurons: Vec<RankedNeuron>,
    /// The whole set to first order, where the estimate is an effect.
    pub first_order: Option<FirstOrder>,
    /// The ranked order, that of the estimate alone, then each random one.
    pub curve: Vec<CurvePoint>,
    /// The two compared, at each point but that of the whole set; empty without random orders.
    pub against_random: Vec<AgainstRandom>,
    /// Estimate with exact effect, of the neurons ablated alone; what a good estimate gives is [`RankBy::perfect`].
    /// Absent where it cannot be had, as for one neuron.
    pub agreement: Option<RankCorrelation>,
    /// Prompts that were run.
    pub prompts: usize,
    /// Those whose first target token is the clean model's top-1.
    pub known: usize,
    /// Known prompts that the neurons were ranked on, by their index in the prompt set, ascending.
    pub ranked_on: Vec<usize>,
    /// Known prompts that the curve was measured on.
    pub measured_on: Vec<usize>,
    /// Neurons ablated alone whose edit changed no value on any prompt: their effect is exactly 0.
    pub unchanged: usize,
    /// Values that the edits of all conditions changed.
    pub changed: EditCount,
    /// Where the values of the mode came from, if they came from these prompts.
    pub reference: Option<CleanReference>,
    /// How often the layers were walked through.
    pub passes: usize,
}

impl Ranking {
    /// The neurons ablated alone, those that do the most harm first.
    pub fn by_exact(&self) -> Vec<(&RankedNeuron, Exact)> {
        let mut alone: Vec<_> = self
            .neurons
            .iter()
            .filter_map(|n| Some((n, n.exact?)))
            .collect();
        alone.sort_by_key(|(_, exact)| exact.rank);
        alone
    }
}

/// Ranks the plan's neurons: the clean model on all of `batch`, estimates and exact effects on the known prompts of the
/// ranking half, the curve on those of the other.
///
/// # Errors
/// Those of the engine, [`EngineError::NullEdit`](crate::engine::EngineError::NullEdit) where the edit of the whole set
/// changes nothing among them; [`ExperimentError::FewKnown`].
pub fn rank(
    run: &mut Run<'_>,
    engine: &Engine<'_>,
    batch: &TokenBatch,
    plan: &RankPlan,
) -> Result<Ranking, ExperimentError> {
    // Too little memory for one edit beside the clean run shows before anything runs.
    engine.tokens_per_pass(batch, 2)?;
    let clean = run_clean(run, engine, batch)?;
    let known: Vec<usize> = clean.known().into_iter().collect();
    let settings = &plan.settings;
    let halves = Halves::new(&known, settings.evaluation, settings.statistics.seed);
    let halves = halves.map_err(|needed| ExperimentError::FewKnown {
        known: known.len(),
        prompts: clean.prompts(),
        needed,
    })?;
    let edited = batch.subset(&known)?;
    let resolved = resolve(
        engine,
        &plan.ablation,
        Units::new(batch, &edited),
        run.progress(),
    )?;
    let mut ranker = Ranker {
        engine: &engine.beside(resolved.bytes),
        plan,
        mode: &resolved.mode,
        run,
    };
    let ranking_batch = batch.subset(&halves.ranking)?;
    let estimates = ranker.estimates(&ranking_batch)?;
    let mut neurons = by_estimate(&plan.neurons, &estimates.of_neurons, settings.by);
    let alone = ranker.ablate_alone(&ranking_batch, &mut neurons[..plan.alone()])?;
    let orders = [
        by_exact_then_estimate(&neurons),
        neurons.iter().map(|n| n.neuron).collect(),
    ];
    let curve = ranker.curve(&batch.subset(&halves.measuring)?, &orders)?;
    let in_vain = alone.changed[1..].iter().filter(|count| count.changed == 0);
    let mut changed = alone.changed();
    changed += curve.changed;
    Ok(Ranking {
        agreement: agreement(&neurons, &settings.statistics),
        neurons,
        first_order: estimates.first_order,
        curve: curve.points,
        against_random: curve.against_random,
        prompts: clean.prompts(),
        known: known.len(),
        ranked_on: halves.ranking,
        measured_on: halves.measuring,
        unchanged: in_vain.count(),
        changed,
        reference: resolved.reference,
        passes: clean.passes + resolved.passes + estimates.passes + alone.passes + curve.passes,
    })
}

/// What the steps of a ranking need.
struct Ranker<'a, 'r> {
    engine: &'a Engine<'a>,
    plan: &'a RankPlan,
    mode: &'a Mode,
    run: &'a mut Run<'r>,
}

/// Conditions that have run, the clean one first.
struct Ablated {
    scores: Scores,
    clusters: Clusters,
    ran: Ran,
}

impl Ranker<'_, '_> {
    fn edit(&self, label: String, neurons: &[Neuron]) -> Edit {
        self.plan.edit(self.mode, label, neurons)
    }

    /// Runs the clean model and the edits.
    fn ablate(&mut self, batch: &TokenBatch, edits: Vec<Edit>) -> Result<Ablated, ExperimentError> {
        let clean = std::iter::once(Condition::Clean);
        let edits = edits.into_iter().map(Condition::from);
        let conditions: Vec<Condition> = clean.chain(edits).collect();
        let stage = counted(self.engine, batch, &conditions);
        let (scores, ran) = run_scores(self.run, &stage)?;
        Ok(Ablated {
            scores,
            clusters: clusters_of(batch),
            ran,
        })
    }

    /// Ablates each of `neurons` alone, in one stage, and gives them what that cost.
    fn ablate_alone(
        &mut self,
        batch: &TokenBatch,
        neurons: &mut [RankedNeuron],
    ) -> Result<Ran, ExperimentError> {
        // By layer: conditions that run together share what comes before the first edit of any.
        let mut alone: Vec<Neuron> = neurons.iter().map(|ranked| ranked.neuron).collect();
        alone.sort();
        let edits = alone
            .iter()
            .map(|n| self.edit(n.to_string(), &[*n]))
            .collect();
        let ablated = self.ablate(batch, edits)?;
        let over = (&ablated.clusters, self.plan.settings.statistics.level);
        let costs = ablated.scores[1..]
            .iter()
            .map(|edited| Cost::new(&ablated.scores[0], edited, over));
        let mut costs: Vec<(Neuron, Cost)> = alone.into_iter().zip(costs).collect();
        costs.sort_by(|(_, a), (_, b)| a.effect.total_cmp(&b.effect));
        let exact = costs
            .into_iter()
            .zip(1..)
            .map(|((neuron, cost), rank)| (neuron, Exact { cost, rank }));
        let exact: BTreeMap<Neuron, Exact> = exact.collect();
        for ranked in neurons {
            ranked.exact = exact.get(&ranked.neuron).copied();
        }
        Ok(ablated.ran)
    }
}

/// Edits that may change nothing: a single neuron may have no value that its edit changes.
fn counted<'s>(
    engine: &'s Engine<'s>,
    batch: &'s TokenBatch,
    conditions: &'s [Condition],
) -> Stage<'s> {
    Stage {
        null_edits: NullEdits::Counted,
        ..Stage::edited(engine, (batch, "prompts"), conditions)
    }
}

/// The steps of [`rank`], where every fact is known, and the neurons that are found are of the first layers.
///
/// # Errors
/// As [`rank`], as far as the plan and the memory tell.
pub fn rank_steps(
    engine: &Engine<'_>,
    batch: &TokenBatch,
    plan: &RankPlan,
) -> Result<Vec<Step>, ExperimentError> {
    engine.tokens_per_pass(batch, 2)?;
    let all: Vec<usize> = batch.sequences().iter().map(|s| s.prompt).collect();
    let settings = &plan.settings;
    let halves = Halves::new(&all, settings.evaluation, settings.statistics.seed);
    let halves = halves.map_err(|needed| ExperimentError::FewKnown {
        known: all.len(),
        prompts: all.len(),
        needed,
    })?;
    let mut steps = vec![scores_step(&Stage::clean(engine, batch))?];
    steps.extend(reference_step(
        engine,
        &plan.ablation,
        Units::new(batch, batch),
    )?);
    let (ranking, measuring) = (
        batch.subset(&halves.ranking)?,
        batch.subset(&halves.measuring)?,
    );
    steps.push(plan.estimates_step(engine, &ranking)?);
    for (half, sizes) in [
        (&ranking, vec![1; plan.alone()]),
        (&measuring, plan.curve_sizes()),
    ] {
        let sets = sizes
            .into_iter()
            .map(|size| plan.neurons.iter().take(size).collect());
        let clean = std::iter::once(Condition::Clean);
        let edits =
            sets.map(|set: Vec<Neuron>| plan.edit(&plan.ablation.mode, String::new(), &set).into());
        let conditions: Vec<Condition> = clean.chain(edits).collect();
        let step = scores_step(&counted(engine, half, &conditions))?;
        steps.push(step.of_known(PromptSubset::Known));
    }
    Ok(steps)
}

/// The neurons with their estimates, those that promise the most harm first; of equal ones the first of the set.
fn by_estimate(neurons: &NeuronSet, estimates: &[f64], by: RankBy) -> Vec<RankedNeuron> {
    let mut pairs: Vec<(Neuron, f64)> = neurons.iter().zip(estimates.iter().copied()).collect();
    pairs.sort_by(|(_, a), (_, b)| by.promise(*a).total_cmp(&by.promise(*b)));
    let ranked = pairs.into_iter().zip(1..);
    ranked
        .map(|((neuron, estimate), estimate_rank)| RankedNeuron {
            neuron,
            estimate,
            estimate_rank,
            exact: None,
        })
        .collect()
}

/// Those ablated alone, the most harmful first, then the rest by the estimate.
fn by_exact_then_estimate(neurons: &[RankedNeuron]) -> Vec<Neuron> {
    let mut order: Vec<&RankedNeuron> = neurons.iter().collect();
    let place = |ranked: &RankedNeuron| ranked.exact.map_or(usize::MAX, |exact| exact.rank);
    order.sort_by_key(|ranked| (place(ranked), ranked.estimate_rank));
    order.into_iter().map(|ranked| ranked.neuron).collect()
}

fn agreement(neurons: &[RankedNeuron], settings: &StatsSettings) -> Option<RankCorrelation> {
    let alone = neurons.iter().filter_map(|n| Some((n.estimate, n.exact?)));
    let pairs = alone.map(|(estimate, exact)| (estimate, exact.cost.effect));
    let (estimates, effects): (Vec<f64>, Vec<f64>) = pairs.unzip();
    rank_correlation(&estimates, &effects, settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neuron(layer: usize, index: usize) -> Neuron {
        Neuron { layer, index }
    }

    #[test]
    fn the_order_is_exact_first_then_the_estimate() {
        let neurons = plan::set(2, &[neuron(0, 3), neuron(0, 7), neuron(1, 1), neuron(1, 2)]);
        let mut ranked = by_estimate(&neurons, &[0.5, 2.0, 0.5, 1.0], RankBy::Output);
        let named: Vec<_> = ranked.iter().map(|r| r.neuron).collect();
        let expected = [neuron(0, 7), neuron(1, 2), neuron(0, 3), neuron(1, 1)];
        assert_eq!(named, expected, "of equal estimates the first");
        let cost = |effect| Cost {
            effect,
            interval: None,
            facts_lost: 0,
        };
        for (ranked, (effect, rank)) in ranked.iter_mut().zip([(0.1, 2), (-0.3, 1)]) {
            let cost = cost(effect);
            ranked.exact = Some(Exact { cost, rank });
        }
        let order = by_exact_then_estimate(&ranked);
        assert_eq!(order[..2], [neuron(1, 2), neuron(0, 7)]);
        assert_eq!(order[2..], expected[2..]);
        let found = agreement(&ranked, &StatsSettings::default()).unwrap();
        assert_eq!(
            (found.rho, found.pairs),
            (1.0, 2),
            "2.0 with 0.1, 1.0 with -0.3"
        );
    }
}
