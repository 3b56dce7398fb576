//! A ranking for a person.

use super::table::{ABSENT, Columns, Digits, count, table_of};
use crate::experiment::rank::{
    AgainstRandom, CurvePoint, Evaluation, Exact, Order, RankedNeuron, Ranking,
};
use crate::model::Config;
use crate::report::view::of_ranked;

const DIGITS: Digits = Digits::Fixed(3);

/// Neurons that the table shows.
const SHOWN: usize = 20;

/// The most harmful neurons, and what the columns mean.
pub fn print_neurons(ranking: &Ranking, config: &Config) {
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
         estimate: mean of |post|·‖w_out‖ where the target is scored, how much the neuron writes there\n\
         exact effect: change of the target's log-probability, nats; the first of {} looks worse than it is",
        alone.len()
    );
    if config.family.norm_places.after() {
        outln!(
            "this model has a norm after the MLP: w_out is taken times its gain, but not over what it divides\n\
             by, so that estimates compare within a layer alone"
        );
    }
    print_agreement(ranking);
}

fn print_agreement(ranking: &Ranking) {
    match ranking.agreement {
        None => outln!("Spearman's rho of estimate and exact effect: none, nothing varies"),
        Some(found) => outln!(
            "Spearman's rho of estimate and exact effect over the {} neurons: {}\n\
             (-1: the larger the estimate, the more harm; 0: it tells nothing among these)",
            found.pairs,
            DIGITS.with_interval(Some(found.rho), found.interval)
        ),
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
    let mut columns = Columns::new()
        .words("neurons", |point: &CurvePoint| count(point.neurons))
        .number("effect\n[95 % interval]", |point| {
            DIGITS.with_interval(Some(point.cost.effect), point.cost.interval)
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
