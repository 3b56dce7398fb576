//! A ranking for a person.

use super::table::{ABSENT, Columns, Digits, count, table_of};
use crate::experiment::rank::{
    AgainstRandom, CurvePoint, Evaluation, Exact, Order, RankBy, RankedNeuron, Ranking,
};
use crate::io_class::Match;
use crate::model::Config;
use crate::report::number::p_value;
use crate::report::view::of_ranked;

const DIGITS: Digits = Digits::Fixed(3);

/// Neurons that the table shows.
const SHOWN: usize = 20;

/// The most harmful neurons, and what the columns mean.
pub fn print_neurons(ranking: &Ranking, config: &Config, by: RankBy) {
    let alone = ranking.by_exact();
    let layers = config.n_layers();
    let shown = alone.iter().take(SHOWN);
    outln!(
        "\nneurons ablated alone, on the ranking facts, the most harmful first ({} of {})\n",
        shown.len(),
        alone.len()
    );
    let depth = |(ranked, _): &(&RankedNeuron, Exact)| {
        let last = layers.saturating_sub(1).max(1);
        format!("{:.2}", ranked.neuron.layer as f64 / last as f64)
    };
    let columns = of_ranked(DIGITS).number("depth", depth).moved(1);
    outln!("{}\n", table_of(&columns, shown));
    outln!(
        "depth: 0 is the first layer, 1 the last\n\
         estimate: {}\n\
         exact effect: change of the target's log-probability, nats; the first of {} looks worse than it is",
        estimate_in_words(by),
        alone.len()
    );
    if by == RankBy::Output && config.family.norm_places.after() {
        outln!(
            "this model has a norm after the MLP: w_out is taken times its gain, but not over what it divides\n\
             by, so that estimates compare within a layer alone"
        );
    }
    print_agreement(ranking, by);
}

fn print_agreement(ranking: &Ranking, by: RankBy) {
    match ranking.agreement {
        None => outln!("Spearman's rho of estimate and exact effect: none, nothing varies"),
        Some(found) => outln!(
            "Spearman's rho of estimate and exact effect over the {} neurons: {}\n\
             ({}: the estimate orders them as they are; 0: it tells nothing among these)",
            found.pairs,
            DIGITS.with_interval(Some(found.rho), found.interval),
            by.perfect()
        ),
    }
}

/// The whole class to first order, beside random sets, where the estimate is an effect.
pub fn print_first_order(ranking: &Ranking, matching: Match) {
    let Some(found) = &ranking.first_order else {
        return;
    };
    let class = DIGITS.with_interval(Some(found.class), found.class_ci);
    outln!("\nsum of the estimates over the whole class: {class}");
    if let Some(baseline) = found.baseline {
        let difference = found.estimate.difference_to_baseline;
        outln!(
            "over {} random sets matched by {matching}: {}; difference {}, p of the rank {}",
            found.draws,
            DIGITS.signed(baseline),
            DIGITS.with_interval(difference, found.estimate.baseline_ci),
            p_value(found.estimate.permutation_p)
        );
    }
}

fn estimate_in_words(by: RankBy) -> &'static str {
    match by {
        RankBy::Output => {
            "mean of |post|·‖w_out‖ where the target is scored, how much the neuron writes there"
        }
        RankBy::Direct => {
            "change of the target's log-probability on the direct path, to first order, nats"
        }
        RankBy::Gradient => "gradient times change of post: the same by all ways, nats",
        RankBy::Integrated => {
            "the same with the mean gradient between edited and plain values, nats"
        }
    }
}

/// The curve beside the random orders.
pub fn print_curve(ranking: &Ranking, draws: usize, evaluation: Evaluation) {
    let facts = match evaluation {
        Evaluation::OtherHalf => "the measuring facts, which the ranking has not seen",
        Evaluation::SamePrompts => "the facts that they were ranked on",
    };
    outln!(
        "\nthe first neurons ablated together, by exact effect, then by the estimate,\non {facts}\n"
    );
    let beside = |point: &CurvePoint, text: fn(&AgainstRandom) -> String| {
        let beside = ranking
            .against_random
            .iter()
            .find(|beside| beside.neurons == point.neurons);
        beside.map_or(ABSENT.to_string(), text)
    };
    let whole = |order: Order| {
        let points = ranking
            .curve
            .iter()
            .filter(move |point| point.order == order);
        points.map(|point| (point.neurons, point.cost.effect))
    };
    let last = whole(Order::Ranked)
        .next_back()
        .map_or(f64::NAN, |(_, effect)| effect);
    let share = |effect: f64| format!("{:.0} %", 100.0 * effect / last);
    let estimated = |point: &CurvePoint| {
        let same = whole(Order::Estimated).find(|(neurons, _)| *neurons == point.neurons);
        same.map(|(_, effect)| effect)
    };
    let mut columns = Columns::new()
        .words("neurons", |point: &CurvePoint| count(point.neurons))
        .number("effect\n[95 % interval]", |point| {
            DIGITS.with_interval(Some(point.cost.effect), point.cost.interval)
        })
        .number("share of\nthe whole", |point| share(point.cost.effect))
        .number("by the\nestimate alone", |point| {
            estimated(point).map_or(ABSENT.to_string(), |effect| DIGITS.signed(effect))
        })
        .number("share of\nthe whole", |point| {
            estimated(point).map_or(ABSENT.to_string(), share)
        })
        .number("facts\nlost", |point| point.cost.facts_lost.to_string());
    if draws > 0 {
        columns = columns
            .number(
                &format!("effect, mean of\n{draws} random orders"),
                |point| beside(point, |a| DIGITS.signed(a.random_effect)),
            )
            .number("facts\nlost", |point| {
                beside(point, |a| format!("{:.1}", a.random_facts_lost))
            })
            .number("ranked minus random\n[95 % interval]", |point| {
                beside(point, |a| {
                    DIGITS.with_interval(Some(a.difference), a.interval)
                })
            });
    }
    let ranked = ranking.curve.iter().filter(|p| p.order == Order::Ranked);
    outln!("{}\n", table_of(&columns, ranked));
    if draws > 0 {
        outln!(
            "random orders are of the same {} neurons: the ranking finds those that matter where it lies\n\
             below them, and does not show it where the interval of the difference contains 0",
            count(ranking.neurons.len())
        );
    }
}
