//! How often the neurons of each class fire, beside their draws.

use super::block::{Block, Column, Figure, Key, Panel, Picture, Table};
use super::chart::{Axis, Chart, Dot, Mark, Point, Shape, Weight};
use super::effects::{capital, evidence};
use super::words::{count, number, optional, p_value, percent, plural, signed, with_interval};
use crate::experiment::record::{Activity, Quantity, Scope};
use crate::report::tone::Tone;

/// `read`: how many prompts or documents were read.
pub fn blocks(activity: &[Activity], read: &str) -> Vec<Block> {
    let mut classes: Vec<&str> = activity.iter().map(|a| a.class.as_str()).collect();
    classes.dedup();
    if classes.is_empty() {
        return vec![Block::Lacking(
            "class_activity.json holds no class.".to_string(),
        )];
    }
    vec![
        Block::Figure(figure(activity, &classes, read)),
        Block::Table(table(activity)),
    ]
}

fn of_scope(activity: &[Activity], quantity: Quantity) -> impl Iterator<Item = &Activity> {
    let wanted = move |a: &&Activity| a.quantity == quantity && a.scope() == Scope::All;
    activity.iter().filter(wanted)
}

fn figure(activity: &[Activity], classes: &[&str], read: &str) -> Figure {
    let by_layer = |class: &str| -> Vec<&Activity> {
        let wanted = |a: &&Activity| {
            a.class == class && a.quantity == Quantity::Frequency && a.layer.is_some()
        };
        activity.iter().filter(wanted).collect()
    };
    let all: Vec<Vec<&Activity>> = classes.iter().map(|class| by_layer(class)).collect();
    let layers = all
        .iter()
        .flatten()
        .filter_map(|a| a.layer)
        .max()
        .map_or(1, |last| last + 1);
    let values = all
        .iter()
        .flatten()
        .flat_map(|a| [Some(a.means.class), a.means.baseline])
        .flatten();
    let y = Axis::around_zero("share of tokens with gate > 0", values);
    let panels = classes.iter().zip(&all).map(|(class, by_layer)| Panel {
        title: class.to_string(),
        reading: above(by_layer),
        picture: Picture::Chart(chart(class, by_layer, layers, &y)),
    });
    let tokens = activity.first().map_or(0, |a| a.tokens as usize);
    let draws = activity.iter().map(|a| a.draws).max().unwrap_or(0);
    Figure {
        title: "How often neurons fire, by layer".to_string(),
        reading: reading(activity),
        keys: vec![
            Key::new("●", Tone::Ink, "the class, in its colour"),
            Key::new(
                "━",
                Tone::Draw,
                "mean of its draws, with a band of one standard deviation over the draws",
            ),
        ],
        panels: panels.collect(),
        notes: Vec::new(),
        n: format!(
            "{} of {read}, {}",
            plural(tokens, "token", "tokens"),
            plural(draws, "draw", "draws"),
        ),
    }
}

/// The class whose frequency is furthest from that of its draws.
fn reading(activity: &[Activity]) -> String {
    let compared = of_scope(activity, Quantity::Frequency);
    let compared = compared.filter_map(|a| Some((a, a.estimate.difference_to_baseline?)));
    let Some((a, difference)) = compared.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())) else {
        return "No class has draws to be compared with.".to_string();
    };
    format!(
        "Over all layers {} is furthest from its draws: its neurons fire at {} of the tokens, theirs at {}; difference {} \
         ({}).",
        a.class,
        percent(a.means.class),
        a.means.baseline.map_or(String::new(), percent),
        signed(difference),
        evidence(a.estimate.baseline_ci),
    )
}

fn above(by_layer: &[&Activity]) -> String {
    let differences: Vec<f64> = by_layer
        .iter()
        .filter_map(|a| a.estimate.difference_to_baseline)
        .collect();
    let above = differences
        .iter()
        .filter(|difference| **difference > 0.0)
        .count();
    match differences.len() {
        0 => "No layer has draws to be compared with.".to_string(),
        n => format!("More often than its draws in {above} of {n} layers."),
    }
}

fn chart(class: &str, by_layer: &[&Activity], layers: usize, y: &Axis) -> Chart {
    let tone = Tone::of_class(class);
    let at = |a: &Activity, value: f64| (a.layer.unwrap_or(0) as f64, value);
    let found: Vec<Point> = by_layer.iter().map(|a| at(a, a.means.class)).collect();
    let draws = by_layer
        .iter()
        .filter_map(|a| Some((a, a.means.baseline?, a.sd_draws.unwrap_or(0.0))));
    let draws: Vec<_> = draws.collect();
    let points = |side: f64| -> Vec<Point> {
        draws
            .iter()
            .map(|(a, mean, sd)| at(a, (mean + side * sd).max(0.0)))
            .collect()
    };
    Chart {
        shape: Shape::Wide,
        x: Axis::layers(layers),
        y: y.clone(),
        marks: vec![
            Mark::Band {
                low: points(-1.0),
                high: points(1.0),
                tone: Tone::Draw,
            },
            Mark::Line {
                points: points(0.0),
                tone: Tone::Draw,
                weight: Weight::Bold,
            },
            Mark::Dots {
                points: points(0.0),
                tone: Tone::Draw,
                dot: Dot::Small,
            },
            Mark::Line {
                points: found.clone(),
                tone,
                weight: Weight::Thin,
            },
            Mark::Dots {
                points: found,
                tone,
                dot: Dot::Full,
            },
        ],
    }
}

fn words(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::Frequency => "share of tokens with gate > 0",
        Quantity::MeanAbsPost => "mean |post|, post = act(gate)·up",
        Quantity::Contribution => "mean length of what a neuron writes, |post|·‖w_out‖",
    }
}

fn table(activity: &[Activity]) -> Table {
    let groups = Quantity::ALL.map(|quantity| {
        let rows = of_scope(activity, quantity).map(cells);
        (capital(words(quantity)), rows.collect::<Vec<_>>())
    });
    let tests = activity.iter().filter(|a| a.estimate.p.is_some()).count();
    let small = |a: &&Activity| a.estimate.p_adjusted.is_some_and(|p| p < 0.05);
    let told = of_scope(activity, Quantity::Frequency)
        .filter(small)
        .count();
    let all = of_scope(activity, Quantity::Frequency).count();
    Table {
        title: "Classes over all layers".to_string(),
        reading: format!(
            "The frequency of {told} of {} differs from that of the draws with p below 0.05 after Holm's adjustment.",
            plural(all, "class", "classes")
        ),
        columns: vec![
            Column::Words("class"),
            Column::Number("neurons"),
            Column::Number("class"),
            Column::Number("draws"),
            Column::Number("difference [95 %]"),
            Column::Number("p"),
            Column::Number("p (Holm)"),
            Column::Number("p (perm.)"),
        ],
        groups: groups.into(),
        notes: vec![format!(
            "p (Holm): adjusted over all {} of the run, those by role included.",
            plural(tests, "test", "tests")
        )],
        n: plural(
            activity.first().map_or(0, |a| a.tokens as usize),
            "token",
            "tokens",
        ),
    }
}

fn cells(a: &Activity) -> Vec<String> {
    vec![
        a.class.clone(),
        count(a.neurons),
        number(a.means.class),
        optional(a.means.baseline),
        with_interval(a.estimate.difference_to_baseline, a.estimate.baseline_ci),
        p_value(a.estimate.p),
        p_value(a.estimate.p_adjusted),
        p_value(a.estimate.permutation_p),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A class over all layers and in two of them; in the second nothing is outside the class.
    fn activity() -> Vec<Activity> {
        let entry = |quantity: &str, layer: Option<usize>, class: f64, baseline: Option<f64>| {
            serde_json::from_value(serde_json::json!({
                "class": "depletion", "quantity": quantity, "role": "all", "layer": layer, "neurons": 9,
                "baseline_neurons": 9, "draws": 3, "tokens": 1500, "units": 6,
                "means": {"class": class, "baseline": baseline},
                "difference_to_baseline": baseline.map(|baseline| class - baseline),
                "baseline_ci": layer.is_none().then(|| serde_json::json!({"low": 0.125, "high": 0.375})),
                "p": 0.001, "p_adjusted": 0.01, "permutation_p": 0.25, "permutation_floor": 0.25, "sd_draws": 0.0625,
            }))
            .unwrap()
        };
        vec![
            entry("frequency", None, 0.75, Some(0.5)),
            entry("mean_abs_post", None, 2.0, Some(1.0)),
            entry("frequency", Some(3), 0.75, Some(0.25)),
            entry("frequency", Some(4), 0.5, None),
        ]
    }

    #[test]
    fn frequencies_by_hand() {
        let blocks = blocks(&activity(), "6 documents");
        let [Block::Figure(figure), Block::Table(table)] = &blocks[..] else {
            panic!("{blocks:?}")
        };
        assert_eq!(
            figure.reading,
            "Over all layers depletion is furthest from its draws: its neurons fire at 75.0\u{a0}% of the tokens, theirs at \
             50.0\u{a0}%; difference +0.250 (95 % interval +0.125 to +0.375, which leaves out 0)."
        );
        assert_eq!(figure.n, "1,500 tokens of 6 documents, 3 draws");
        assert_eq!(
            figure.panels[0].reading,
            "More often than its draws in 1 of 1 layers."
        );
        let Picture::Chart(chart) = &figure.panels[0].picture else {
            panic!()
        };
        let [
            Mark::Band { low, high, .. },
            _,
            _,
            Mark::Line { points, .. },
            _,
        ] = &chart.marks[..]
        else {
            panic!("{:?}", chart.marks)
        };
        assert_eq!(
            (low[0], high[0]),
            ((3.0, 0.1875), (3.0, 0.3125)),
            "one standard deviation"
        );
        assert_eq!(
            points[..],
            [(3.0, 0.75), (4.0, 0.5)],
            "a layer without draws has its class"
        );
        assert_eq!(table.groups[0].1[0][4], "+0.250 [+0.125, +0.375]");
        assert_eq!(table.groups[1].1[0][2..4], ["2.000", "1.000"]);
        assert!(matches!(&super::blocks(&[], "")[..], [Block::Lacking(_)]));
    }
}
