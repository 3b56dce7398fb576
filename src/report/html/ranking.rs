//! Which neurons of a class carry its effect: the effect against the number of neurons, and the neurons.

use serde::Deserialize;

use super::block::{Block, Column, Figure, Key, Panel, Picture, Table};
use super::chart::{Axis, Chart, Dot, Mark, Point, Shape, Ticks, Weight};
use super::words::{count, number, plural, signed, with_interval};
use crate::experiment::rank::{CurvePoint, Evaluation, Order};
use crate::report::RunInfo;
use crate::report::tone::Tone;
use crate::stats::{Interval, mean};

/// What a page reads of a row of `ranking.parquet` that has an exact effect.
#[derive(Clone, Debug, PartialEq)]
pub struct RankRow {
    pub layer: usize,
    pub neuron: usize,
    pub estimate: f64,
    pub estimate_rank: usize,
    pub exact: f64,
    pub interval: Option<Interval>,
    pub exact_rank: usize,
    pub facts_lost: i32,
}

/// Neurons that are listed.
const LISTED: usize = 20;

/// The effect of the first neurons together, in the ranked order and in random ones.
pub fn figure(curve: &[CurvePoint], run: &RunInfo) -> Block {
    let of = |order: Order| curve.iter().filter(move |point| point.order == order);
    let ranked: Vec<&CurvePoint> = of(Order::Ranked).collect();
    let Some(whole) = ranked.last() else {
        return Block::Lacking("curve.json has no point.".to_string());
    };
    let draws = of(Order::Random).map(|point| point.draw + 1).max();
    let draws = draws.unwrap_or(0);
    let random: Vec<Vec<Point>> = (0..draws)
        .map(|draw| {
            let points = of(Order::Random).filter(|point| point.draw == draw);
            points.map(place).collect()
        })
        .collect();
    let ends = ranked.iter().filter_map(|point| point.cost.interval);
    let ends = ends.flat_map(|interval| [interval.low, interval.high]);
    let effects = curve.iter().map(|point| point.cost.effect);
    let label = "effect on the target, nats";
    let last = (whole.neurons as f64).log2();
    let chart = Chart {
        shape: Shape::Wide,
        x: Axis {
            label: "neurons ablated together".to_string(),
            range: -0.3..last.max(1.0) + 0.3,
            ticks: Ticks::PowersOfTwo,
        },
        y: Axis::around_zero(label, effects.chain(ends)),
        marks: marks(&ranked, random),
    };
    let mut keys = vec![Key::new(
        "━",
        Tone::Accent,
        "ranked order, with a band of 95 % over prompts",
    )];
    if draws > 0 {
        let text = plural(draws, "random order", "random orders");
        keys.push(Key::new(
            "━",
            Tone::Draw,
            format!("{text} of the same neurons"),
        ));
    }
    let measured = run.counts["measured_on"].as_array().map_or(0, Vec::len);
    Block::Figure(Figure {
        title: "Effect against the number of neurons".to_string(),
        reading: reading(curve, &ranked),
        keys,
        panels: vec![Panel {
            title: String::new(),
            reading: String::new(),
            picture: Picture::Chart(chart),
        }],
        notes: vec![
            "Effect: change of the log-probability of the whole target, mean over prompts."
                .to_string(),
            measured_on(run).to_string(),
        ],
        n: format!(
            "{}, {}, {}",
            plural(measured, "prompt", "prompts"),
            plural(whole.neurons, "neuron", "neurons"),
            plural(draws, "random order", "random orders"),
        ),
    })
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

fn marks(ranked: &[&CurvePoint], random: Vec<Vec<Point>>) -> Vec<Mark> {
    let end = |of: fn(Interval) -> f64| -> Vec<Point> {
        let ends = ranked
            .iter()
            .filter_map(|point| Some((place(point).0, of(point.cost.interval?))));
        ends.collect()
    };
    let points: Vec<Point> = ranked.iter().map(|point| place(point)).collect();
    let band = Mark::Band {
        low: end(|interval| interval.low),
        high: end(|interval| interval.high),
        tone: Tone::Accent,
    };
    let random = random.into_iter().map(|points| Mark::Line {
        points,
        tone: Tone::Draw,
        weight: Weight::Thin,
    });
    let mut marks: Vec<Mark> = std::iter::once(band).chain(random).collect();
    marks.push(Mark::Line {
        points: points.clone(),
        tone: Tone::Accent,
        weight: Weight::Bold,
    });
    marks.push(Mark::Dots {
        points,
        tone: Tone::Accent,
        dot: Dot::Full,
    });
    marks
}

/// The effect of all, and where the ranked order lies furthest below the mean of the random ones.
fn reading(curve: &[CurvePoint], ranked: &[&CurvePoint]) -> String {
    let Some(whole) = ranked.last() else {
        return String::new();
    };
    let all = format!(
        "All {} together change it by {} nats",
        count(whole.neurons),
        signed(whole.cost.effect)
    );
    let pairs = ranked.iter().filter_map(|point| {
        let same =
            |other: &&CurvePoint| other.order == Order::Random && other.neurons == point.neurons;
        let random: Vec<f64> = curve
            .iter()
            .filter(same)
            .map(|other| other.cost.effect)
            .collect();
        Some((point, mean(&random)?))
    });
    let gap = |(point, random): &(&&CurvePoint, f64)| point.cost.effect - random;
    match pairs.min_by(|a, b| gap(a).total_cmp(&gap(b))) {
        None => format!("{all}."),
        Some((point, random)) => format!(
            "{all}. The ranking is furthest below the random orders at {}: {} against {}.",
            plural(point.neurons, "neuron", "neurons"),
            signed(point.cost.effect),
            signed(random)
        ),
    }
}

/// The neurons that do most harm alone.
pub fn table(rows: &[RankRow]) -> Block {
    let mut rows: Vec<&RankRow> = rows.iter().collect();
    rows.sort_by_key(|row| row.exact_rank);
    let Some(first) = rows.first() else {
        return Block::Lacking("ranking.parquet has no neuron that was ablated alone.".to_string());
    };
    let reading = format!(
        "{}.{} alone changes it by {} nats; it is number {} by the estimate.",
        first.layer,
        first.neuron,
        signed(first.exact),
        count(first.estimate_rank),
    );
    Block::Table(Table {
        title: "Neurons ablated alone".to_string(),
        reading,
        columns: vec![
            Column::Line("neuron"),
            Column::Number("estimate"),
            Column::Number("rank by estimate"),
            Column::Number("effect alone [95 % interval]"),
            Column::Number("facts lost"),
        ],
        groups: vec![(
            String::new(),
            rows.iter().take(LISTED).map(|row| cells(row)).collect(),
        )],
        notes: vec![
            "Estimate: mean of |post|·‖w_out‖ where the target is scored. Effect: log-probability of the whole target, \
             nats, on the prompts that rank; the first of many looks worse than it is."
                .to_string(),
        ],
        n: format!(
            "{} ablated alone, the first {} shown",
            plural(rows.len(), "neuron", "neurons"),
            rows.len().min(LISTED)
        ),
    })
}

fn cells(row: &RankRow) -> Vec<String> {
    vec![
        format!("{}.{}", row.layer, row.neuron),
        number(row.estimate),
        count(row.estimate_rank),
        with_interval(Some(row.exact), row.interval),
        row.facts_lost.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::rank::Cost;

    fn point(order: Order, draw: usize, neurons: usize, effect: f64) -> CurvePoint {
        let interval = Some(Interval {
            low: effect - 0.1,
            high: effect + 0.1,
        });
        let cost = Cost {
            effect,
            interval,
            facts_lost: 1,
        };
        CurvePoint {
            order,
            draw,
            neurons,
            cost,
        }
    }

    #[test]
    fn the_reading_names_the_largest_gap() {
        let curve = [
            point(Order::Ranked, 0, 1, -0.9),
            point(Order::Ranked, 0, 2, -1.5),
            point(Order::Ranked, 0, 3, -2.0),
            point(Order::Random, 0, 1, -0.5),
            point(Order::Random, 0, 2, -0.25),
            point(Order::Random, 1, 2, -0.75),
            point(Order::Random, 0, 3, -2.0),
        ];
        let ranked: Vec<&CurvePoint> = curve[..3].iter().collect();
        assert_eq!(
            reading(&curve, &ranked),
            "All 3 together change it by −2.000 nats. The ranking is furthest below the random orders at 2 neurons: \
             −1.500 against −0.500."
        );
        let alone = reading(&curve[..3], &ranked);
        assert_eq!(alone, "All 3 together change it by −2.000 nats.");
    }

    #[test]
    fn neurons_are_listed_by_their_effect() {
        let row = |neuron, exact, exact_rank| RankRow {
            layer: 2,
            neuron,
            estimate: 1.0,
            estimate_rank: 7,
            exact,
            interval: None,
            exact_rank,
            facts_lost: 3,
        };
        let Block::Table(table) = table(&[row(5, -0.1, 2), row(6, -0.2, 1)]) else {
            panic!()
        };
        assert_eq!(table.groups[0].1[0], ["2.6", "1.000", "7", "−0.200", "3"]);
        assert!(
            table
                .reading
                .starts_with("2.6 alone changes it by −0.200 nats")
        );
    }
}
