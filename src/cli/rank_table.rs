//! A ranking for a person.

use super::table::{count, number_table};
use crate::experiment::rank::{AgainstRandom, Cost, CurvePoint, Evaluation, Exact, Order};
use crate::experiment::rank::{RankedNeuron, Ranking};
use crate::model::Config;
use crate::stats::Interval;

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
    let rows = shown.map(|(ranked, exact)| neuron_row(ranked, *exact, layers));
    outln!("{}\n", number_table(&NEURONS, rows));
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

const NEURONS: [&str; 6] = [
    "neuron",
    "depth",
    "estimate",
    "rank by\nestimate",
    "exact effect\n[95 % interval]",
    "facts\nlost",
];

fn neuron_row(ranked: &RankedNeuron, exact: Exact, layers: usize) -> Vec<String> {
    let last = layers.saturating_sub(1).max(1);
    vec![
        ranked.neuron.to_string(),
        format!("{:.2}", ranked.neuron.layer as f64 / last as f64),
        format!("{:.3}", ranked.estimate),
        count(ranked.estimate_rank),
        with_interval(exact.cost.effect, exact.cost.interval),
        exact.cost.facts_lost.to_string(),
    ]
}

fn print_agreement(ranking: &Ranking) {
    match ranking.agreement {
        None => outln!("Spearman's rho of estimate and exact effect: none, nothing varies"),
        Some(found) => outln!(
            "Spearman's rho of estimate and exact effect over the {} neurons: {}\n\
             (-1: the larger the estimate, the more harm; 0: it tells nothing among these)",
            found.pairs,
            with_interval(found.rho, found.interval)
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
    let random = format!("effect, mean of\n{draws} random orders");
    let header = [
        "neurons",
        "effect\n[95 % interval]",
        "facts\nlost",
        &random,
        "facts\nlost",
        "ranked minus random\n[95 % interval]",
    ];
    let columns = if draws == 0 { 3 } else { header.len() };
    let ranked = ranking.curve.iter().filter(|p| p.order == Order::Ranked);
    let rows = ranked.map(|point| {
        let mut beside = ranking.against_random.iter();
        let beside = beside.find(|beside| beside.neurons == point.neurons);
        curve_row(point, beside)[..columns].to_vec()
    });
    outln!("{}\n", number_table(&header[..columns], rows));
    if draws > 0 {
        outln!(
            "random orders are of the same {} neurons: the ranking finds those that matter where it lies\n\
             below them, and does not show it where the interval of the difference contains 0",
            count(ranking.neurons.len())
        );
    }
}

fn curve_row(point: &CurvePoint, beside: Option<&AgainstRandom>) -> Vec<String> {
    let Cost {
        effect,
        interval,
        facts_lost,
    } = point.cost;
    let absent = || "–".to_string();
    vec![
        count(point.neurons),
        with_interval(effect, interval),
        facts_lost.to_string(),
        beside.map_or_else(absent, |a| format!("{:+.3}", a.random_effect)),
        beside.map_or_else(absent, |a| format!("{:.1}", a.random_facts_lost)),
        beside.map_or_else(absent, |a| with_interval(a.difference, a.interval)),
    ]
}

fn with_interval(value: f64, interval: Option<Interval>) -> String {
    match interval {
        Some(Interval { low, high }) => format!("{value:+.3} [{low:+.3}, {high:+.3}]"),
        None => format!("{value:+.3}"),
    }
}
