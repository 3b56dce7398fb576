//! Which neurons of a class carry its effect: the effect against the number of neurons, and the neurons.

use serde::Deserialize;

use super::block::{Block, Panel};
use crate::experiment::rank::{CurvePoint, Evaluation, Exact, Order, RankBy, RankedNeuron};
use crate::report::RunInfo;
use crate::report::chart::{Axis, Chart, Kind, Mark, Point, Ticks, WIDE};
use crate::report::number::{Digits, count, plural};
use crate::report::tone::Tone;
use crate::report::view::{Columns, Table, of_ranked};
use crate::stats::{Interval, mean};

/// Neurons that are listed.
const LISTED: usize = 20;

/// The effect of the first neurons together, in the ranked order and in random ones.
pub fn curve(curve: &[CurvePoint], run: &RunInfo) -> Block {
    let of = |order: Order| curve.iter().filter(move |point| point.order == order);
    let ranked: Vec<&CurvePoint> = of(Order::Ranked).collect();
    let Some(whole) = ranked.last() else {
        return Block::lacking("curve.json has no point.");
    };
    let draws = of(Order::Random).map(|point| point.draw + 1);
    let draws = draws.max().unwrap_or(0);
    let ends = ranked
        .iter()
        .filter_map(|point| Some((place(point).0, point.cost.interval?)));
    let ends: Vec<(f64, Interval)> = ends.collect();
    let reached = curve.iter().map(|point| point.cost.effect);
    let reached = reached.chain(ends.iter().flat_map(|end| [end.1.low, end.1.high]));
    let y = Axis::around_zero("effect on the target, nats", reached);
    let last = (whole.neurons as f64).log2().max(1.0) + 0.3;
    let x = Axis::new("neurons ablated together", -0.3..last, Ticks::PowersOfTwo);
    let points = || ranked.iter().map(|point| place(point));
    let mut marks = vec![Mark::band(Tone::Accent, &ends)];
    for draw in 0..draws {
        let points = of(Order::Random).filter(|point| point.draw == draw);
        let line = Mark::new(Kind::Line(2), Tone::Draw, points.map(place));
        marks.push(line.named("random orders of the same neurons"));
    }
    let estimated = of(Order::Estimated).map(place);
    let estimated = Mark::new(Kind::Line(2), Tone::Muted, estimated);
    marks.push(estimated.named("order of the estimate alone"));
    let name = "ranked order, with a band of 95 % over prompts";
    marks.push(Mark::new(Kind::Line(4), Tone::Accent, points()).named(name));
    marks.push(Mark::new(Kind::Dots, Tone::Accent, points()));

    let random = |point: &CurvePoint| {
        let same = of(Order::Random).filter(|other| other.neurons == point.neurons);
        mean(&same.map(|other| other.cost.effect).collect::<Vec<f64>>())
    };
    let columns = Columns::new()
        .words("neurons", |point: &CurvePoint| count(point.neurons))
        .difference("effect\n[95 % interval]", Digits::Size, |point| {
            (Some(point.cost.effect), point.cost.interval)
        })
        .number("facts\nlost", |point| point.cost.facts_lost.to_string())
        .difference("mean effect of\nrandom orders", Digits::Size, |point| {
            (random(point), None)
        });
    let measured = run.counts["measured_on"].as_array().map_or(0, Vec::len);
    let [prompts, neurons, draws] = [
        (measured, "prompt"),
        (whole.neurons, "neuron"),
        (draws, "random order"),
    ]
    .map(|(n, one)| plural(n, one));
    let caption = format!(
        "Effect: change of the log-probability of the whole target, mean over prompts.\n{}\n{prompts}; {neurons}; {draws}.",
        measured_on(run)
    );
    let panel = Panel::new("curve", Chart::new(WIDE, x, y, marks), data(curve));
    let numbers = columns.table(ranked.iter().copied());
    let title = "Effect against the number of neurons";
    Block::figure(title, vec![panel], &caption, numbers)
}

/// As `curve.json` has it.
fn data(curve: &[CurvePoint]) -> Table {
    let columns = Columns::new()
        .words("order", |point: &CurvePoint| point.order.to_string())
        .number("draw", |point| point.draw.to_string())
        .number("neurons", |point| point.neurons.to_string())
        .value("effect", |point| Some(point.cost.effect))
        .ends(["low", "high"], |point| point.cost.interval)
        .number("facts_lost", |point| point.cost.facts_lost.to_string());
    columns.table(curve)
}

fn measured_on(run: &RunInfo) -> &'static str {
    match Evaluation::deserialize(&run.counts["evaluation"]) {
        Ok(Evaluation::OtherHalf) => "Measured on prompts that the ranking has not seen.",
        Ok(Evaluation::SamePrompts) => {
            "Ranked and measured on the same prompts: the top of the curve is optimistic."
        }
        Err(_) => {
            "run.json does not say whether the ranking has seen the prompts that this is measured on."
        }
    }
}

fn place(point: &CurvePoint) -> Point {
    ((point.neurons as f64).log2(), point.cost.effect)
}

fn estimate_of(run: &RunInfo) -> &'static str {
    match RankBy::deserialize(&run.settings["by"]) {
        Ok(RankBy::Direct) => "the direct path to first order, nats",
        Ok(RankBy::Gradient) => "gradient times change of post, nats",
        Ok(RankBy::Integrated) => "integrated gradient times change of post, nats",
        _ => "|post|·‖w_out‖ where the target is scored, mean",
    }
}

/// The neurons that do most harm alone.
pub fn neurons(neurons: &[RankedNeuron], run: &RunInfo) -> Block {
    let mut alone: Vec<(&RankedNeuron, Exact)> =
        neurons.iter().filter_map(|n| Some((n, n.exact?))).collect();
    alone.sort_by_key(|(_, exact)| exact.rank);
    if alone.is_empty() {
        return Block::lacking("ranking.parquet has no neuron that was ablated alone.");
    }
    let caption = format!(
        "Estimate: by {}. Effect: log-probability of the whole target, nats, on \
         the prompts that rank; the first of many looks worse than it is.\n{} ablated alone, the first {} shown.",
        estimate_of(run),
        plural(alone.len(), "neuron"),
        alone.len().min(LISTED)
    );
    let shown = of_ranked(Digits::Size).table(alone.iter().take(LISTED));
    Block::table("Neurons ablated alone", &caption, shown)
}
