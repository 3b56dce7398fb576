//! Effects of an ablation: each class beside its baseline draws.

use super::block::{Block, Figure, Key, Panel, Picture};
use super::chart::{Axis, Chart, Dot, Mark, Point, Shape, Ticks, Weight};
use super::effects_table;
use super::words::{count, plural, signed};
use crate::experiment::{Effect, Metric, PromptSubset};
use crate::report::tone::Tone;
use crate::stats::Interval;

pub fn blocks(effects: &[Effect]) -> Vec<Block> {
    if effects.is_empty() {
        return vec![Block::Lacking("effects.json holds no effect.".to_string())];
    }
    let subsets = [PromptSubset::Known, PromptSubset::All].into_iter();
    let subsets = subsets.map(|subset| effects.iter().filter(|e| e.subset == subset).collect());
    let subsets: Vec<Vec<&Effect>> = subsets.filter(|of: &Vec<&Effect>| !of.is_empty()).collect();
    let mut blocks: Vec<Block> = subsets.iter().map(|of| Block::Figure(figure(of))).collect();
    blocks.push(Block::Table(effects_table::table(effects)));
    blocks
}

/// What a metric is called, and its unit.
pub(super) fn words(metric: Metric) -> (&'static str, &'static str) {
    match metric {
        Metric::TargetLogprob => ("log-probability of the whole target", "nats"),
        Metric::FirstLogprob => ("log-probability of its first token", "nats"),
        Metric::Top1 => ("facts answered (first token is top-1)", "share of prompts"),
        Metric::Entropy => ("entropy at the last prompt token", "nats"),
        Metric::Kl => ("KL divergence from clean", "nats"),
        Metric::Loss => ("loss per token of text", "nats"),
        Metric::TokenEntropy => ("entropy per token of text", "nats"),
        Metric::Rank => ("rank of the right token", "ranks"),
        Metric::LogScale => ("log of the final norm's scale", "natural log"),
        Metric::AttributeRate => ("attribute rate", "share of tokens"),
    }
}

pub(super) fn is_of_text(metric: Metric) -> bool {
    matches!(
        metric,
        Metric::Loss | Metric::TokenEntropy | Metric::Rank | Metric::LogScale
    )
}

/// How many prompts or documents an effect is over.
pub(super) fn units(effect: &Effect) -> String {
    match is_of_text(effect.metric) {
        true => plural(effect.prompts, "document", "documents"),
        false => plural(effect.prompts, "prompt", "prompts"),
    }
}

/// The effects metric by metric, in their order.
pub(super) fn by_metric<'e>(effects: &[&'e Effect]) -> Vec<(Metric, Vec<&'e Effect>)> {
    let mut groups: Vec<(Metric, Vec<&Effect>)> = Vec::new();
    for effect in effects {
        match groups
            .iter_mut()
            .find(|(metric, _)| *metric == effect.metric)
        {
            Some((_, group)) => group.push(effect),
            None => groups.push((effect.metric, vec![effect])),
        }
    }
    groups
}

/// The effects on one subset, a panel per metric.
fn figure(effects: &[&Effect]) -> Figure {
    let title = match (is_of_text(effects[0].metric), effects[0].subset) {
        (true, _) => "Effects on text".to_string(),
        (false, subset) => format!("Effects on {subset} prompts"),
    };
    let groups = by_metric(effects);
    let panels = groups.iter().map(|(metric, group)| panel(*metric, group));
    let mut panels: Vec<Panel> = panels.collect();
    panels[0].reading.clear(); // that of the figure
    let (metric, first) = &groups[0];
    let sizes = first.iter();
    let sizes = sizes.map(|e| format!("{} {}", e.class, plural(e.neurons, "neuron", "neurons")));
    let sizes = sizes.collect::<Vec<_>>().join(", ");
    let draws = plural(first[0].draws, "draw", "draws");
    Figure {
        title,
        reading: format!("{}: {}", capital(words(*metric).0), reading(*metric, first)),
        keys: keys(first),
        panels,
        notes: notes(first),
        n: format!("{}; {sizes}; {draws}", units(first[0])),
    }
}

fn keys(effects: &[&Effect]) -> Vec<Key> {
    let off = "class off minus clean, with the 95 % interval";
    if effects.iter().all(|effect| effect.draws == 0) {
        return vec![Key::new(
            "●",
            Tone::Accent,
            format!("{off} over the prompts"),
        )];
    }
    let off = format!(
        "{off} of its difference to the draws: it reaches the draws' mean where the difference may be 0"
    );
    vec![
        Key::new("●", Tone::Accent, off),
        Key::new(
            "○",
            Tone::Draw,
            "one draw of as many random neurons, minus clean",
        ),
        Key::new("|", Tone::Draw, "mean of the draws"),
    ]
}

/// What makes a class's comparison weaker than it should be.
fn notes(effects: &[&Effect]) -> Vec<String> {
    let note = |effect: &&Effect| {
        let what = match effect {
            e if e.draws == 0 => return None,
            e if e.draw_means.is_empty() => "effects.json has no means of single draws".to_string(),
            e if e.estimate.baseline_ci.is_none() => {
                "no interval against the draws (fewer than two, or nothing varies)".to_string()
            }
            e if e.baseline_neurons < e.neurons => format!(
                "a draw has {} neurons, fewer than the class, which fills more than half of a layer",
                count(e.baseline_neurons)
            ),
            _ => return None,
        };
        Some(format!("{}: {what}.", effect.class))
    };
    effects.iter().filter_map(note).collect()
}

fn panel(metric: Metric, effects: &[&Effect]) -> Panel {
    let (name, unit) = words(metric);
    Panel {
        title: capital(name),
        reading: capital(&reading(metric, effects)),
        picture: Picture::Chart(chart(effects, &format!("minus clean, {unit}"))),
    }
}

/// The estimate that is read: against the draws where there are any, else against clean.
fn estimate(effect: &Effect) -> (f64, Option<Interval>) {
    match effect.estimate.difference_to_baseline {
        Some(difference) => (difference, effect.estimate.baseline_ci),
        None => (effect.difference_to_clean, effect.clean_ci),
    }
}

/// Which class is furthest from what it is compared with, and how many are told from it.
fn reading(metric: Metric, effects: &[&Effect]) -> String {
    let size = |effect: &&&Effect| estimate(effect).0.abs();
    let Some(furthest) = effects.iter().max_by(|a, b| size(a).total_cmp(&size(b))) else {
        return String::new();
    };
    let (difference, interval) = estimate(furthest);
    let from = match furthest.estimate.difference_to_baseline {
        Some(_) => "its draws",
        None => "the clean model",
    };
    let unit = match words(metric).1 {
        unit @ ("nats" | "ranks") => format!(" {unit}"),
        _ => String::new(),
    };
    let by = format!("{}{unit} ({})", signed(difference), evidence(interval));
    let told = |effect: &&&Effect| estimate(effect).1.is_some_and(|ci| !ci.contains(0.0));
    let told = effects.iter().filter(told).count();
    match effects.len() {
        1 => format!("{} differs from {from} by {by}.", furthest.class),
        n => format!(
            "of {n} classes {} is furthest from {from}, {by}; {told} of {n} intervals leave out 0.",
            furthest.class
        ),
    }
}

/// An interval in words.
pub(super) fn evidence(interval: Option<Interval>) -> String {
    match interval {
        None => "no interval".to_string(),
        Some(ci) => {
            let holds = if ci.contains(0.0) {
                "contains"
            } else {
                "leaves out"
            };
            format!(
                "95 % interval {} to {}, which {holds} 0",
                signed(ci.low),
                signed(ci.high)
            )
        }
    }
}

pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

/// A row per class, the first one on top; 0 is the clean model.
fn chart(effects: &[&Effect], label: &str) -> Chart {
    let rows = effects.len();
    let x = Axis::around_zero(label, effects.iter().flat_map(|effect| ends(effect)));
    let places = effects.iter().zip((0..rows).rev());
    let marks = places.flat_map(|(effect, place)| row(effect, place as f64, &x));
    Chart {
        shape: Shape::Rows(rows),
        marks: marks.collect(),
        y: Axis {
            label: String::new(),
            range: 0.0..rows as f64,
            ticks: Ticks::Nowhere,
        },
        x,
    }
}

/// Where the interval lies that is drawn around the class: that of the difference to the draws, seen from their mean;
/// else that of the difference to clean.
fn whisker(effect: &Effect) -> Option<Interval> {
    match (effect.means.baseline, effect.estimate.baseline_ci) {
        (Some(baseline), Some(ci)) => {
            let mean = baseline - effect.means.clean;
            Some(Interval {
                low: mean + ci.low,
                high: mean + ci.high,
            })
        }
        (None, _) => effect.clean_ci,
        _ => None,
    }
}

/// The means of the draws, seen from the clean model.
fn draws(effect: &Effect) -> impl Iterator<Item = f64> {
    let draws = effect.draw_means.iter();
    draws.map(|draw| draw - effect.means.clean)
}

/// Every place on the x axis that a row reaches.
fn ends(effect: &Effect) -> Vec<f64> {
    let whisker = whisker(effect).map(|ci| [ci.low, ci.high]);
    let ends = whisker.into_iter().flatten().chain(draws(effect));
    ends.chain([effect.difference_to_clean]).collect()
}

/// From the top: the class's name, the class, its draws.
fn row(effect: &Effect, bottom: f64, x: &Axis) -> Vec<Mark> {
    let (name_y, class_y, draws_y) = (bottom + 0.82, bottom + 0.5, bottom + 0.2);
    let line = |points: [Point; 2], tone, weight| Mark::Line {
        points: points.to_vec(),
        tone,
        weight,
    };
    // Below the name, which it would strike out.
    let upright = |x, tone, weight| line([(x, bottom), (x, bottom + 0.64)], tone, weight);
    let border = [(x.range.start, bottom), (x.range.end, bottom)];
    let mut marks = vec![
        line(border, Tone::Grid, Weight::Thin),
        Mark::Text {
            at: (x.range.start, name_y),
            text: effect.class.clone(),
        },
        upright(0.0, Tone::Muted, Weight::Thin),
        Mark::Dots {
            points: draws(effect).map(|x| (x, draws_y)).collect(),
            tone: Tone::Draw,
            dot: Dot::Hollow,
        },
    ];
    let baseline = effect
        .means
        .baseline
        .map(|baseline| baseline - effect.means.clean);
    marks.extend(baseline.map(|x| upright(x, Tone::Draw, Weight::Bold)));
    let whisker = whisker(effect).map(|ci| [(ci.low, class_y), (ci.high, class_y)]);
    marks.extend(whisker.map(|ends| line(ends, Tone::Accent, Weight::Bold)));
    marks.push(Mark::Dots {
        points: vec![(effect.difference_to_clean, class_y)],
        tone: Tone::Accent,
        dot: Dot::Full,
    });
    marks
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::experiment::ArmMeans;
    use crate::experiment::Estimate;

    /// A class against two draws; the interval of the difference is 0.5 to either side.
    pub fn effect(class: &str, metric: Metric, clean: f64, off: f64, draws: [f64; 2]) -> Effect {
        let baseline = (draws[0] + draws[1]) / 2.0;
        let around = |middle: f64| Interval {
            low: middle - 0.5,
            high: middle + 0.5,
        };
        Effect {
            class: class.to_string(),
            mode: "zero".to_string(),
            metric,
            subset: PromptSubset::Known,
            prompts: 23,
            neurons: 100,
            baseline_neurons: 100,
            draws: 2,
            means: ArmMeans {
                clean,
                class: off,
                baseline: Some(baseline),
            },
            draw_means: draws.to_vec(),
            difference_to_clean: off - clean,
            clean_ci: Some(around(off - clean)),
            layers: None,
            estimate: Estimate {
                difference_to_baseline: Some(off - baseline),
                baseline_ci: Some(around(off - baseline)),
                p: Some(0.01),
                p_adjusted: Some(0.02),
                permutation_p: Some(1.0 / 3.0),
                permutation_floor: Some(1.0 / 3.0),
            },
            standardised_effect: None,
        }
    }

    fn two() -> [Effect; 2] {
        let metric = Metric::TargetLogprob;
        [
            effect("a", metric, -1.0, -1.25, [-1.0, -1.5]),
            effect("b", metric, -1.0, -3.0, [-1.25, -1.75]),
        ]
    }

    #[test]
    fn the_class_furthest_from_its_draws_is_named() {
        let effects = two();
        let effects: Vec<&Effect> = effects.iter().collect();
        assert_eq!(
            reading(Metric::TargetLogprob, &effects),
            "of 2 classes b is furthest from its draws, −1.500 nats (95 % interval −2.000 to −1.000, which leaves out 0); \
             1 of 2 intervals leave out 0."
        );
        let mut alone = effects[0].clone();
        (
            alone.estimate.difference_to_baseline,
            alone.estimate.baseline_ci,
        ) = (None, None);
        assert_eq!(
            reading(Metric::Top1, &[&alone]),
            "a differs from the clean model by −0.250 (95 % interval −0.750 to +0.250, which contains 0)."
        );
    }

    #[test]
    fn a_row_reaches_the_draws_mean_where_the_difference_may_be_0() {
        let effects = two();
        // a: the draws' mean is that of the class
        let Some(Interval { low, high }) = whisker(&effects[0]) else {
            panic!()
        };
        assert_eq!((low, high), (-0.75, 0.25));
        // b: from -.5 by -2 and by -1
        let Some(Interval { low, high }) = whisker(&effects[1]) else {
            panic!()
        };
        assert_eq!((low, high), (-2.5, -1.5));
        let chart = chart(&effects.iter().collect::<Vec<_>>(), "x");
        let dots = chart.marks.iter().filter_map(|mark| match mark {
            Mark::Dots { points, .. } => Some(points.clone()),
            _ => None,
        });
        let dots: Vec<Vec<Point>> = dots.collect();
        assert_eq!(
            dots[0],
            [(0.0, 1.2), (-0.5, 1.2)],
            "a dot per draw, minus clean"
        );
        assert_eq!(dots[3], [(-2.0, 0.5)], "class off minus clean");
        assert!(chart.x.range.contains(&-2.5) && chart.x.range.contains(&0.25));
    }

    #[test]
    fn metrics_and_subsets_are_kept_apart() {
        let [a, b] = two();
        let all = Effect {
            subset: PromptSubset::All,
            ..a.clone()
        };
        let entropy = Effect {
            metric: Metric::Entropy,
            ..b.clone()
        };
        let blocks = blocks(&[a, b, entropy, all]);
        let [
            Block::Figure(known),
            Block::Figure(all),
            Block::Table(table),
        ] = &blocks[..]
        else {
            panic!("{blocks:?}")
        };
        assert_eq!((known.panels.len(), all.panels.len()), (2, 1));
        assert_eq!(known.n, "23 prompts; a 100 neurons, b 100 neurons; 2 draws");
        let groups: Vec<_> = table
            .groups
            .iter()
            .map(|(title, rows)| (title.as_str(), rows.len()))
            .collect();
        assert_eq!(
            groups,
            [
                (
                    "Log-probability of the whole target, nats, known prompts",
                    2
                ),
                ("Entropy at the last prompt token, nats, known prompts", 1),
                ("Log-probability of the whole target, nats, all prompts", 1),
            ]
        );
        let row = [
            "a",
            "100",
            "−1.000",
            "−1.250",
            "−1.250",
            "−0.250 [−0.750, +0.250]",
        ];
        assert_eq!(table.groups[0].1[0][..6], row);
        assert_eq!(
            table.groups[0].1[0][6..],
            ["0.000 [−0.500, +0.500]", "0.010", "0.020", "0.333"]
        );
        assert_eq!(
            table.reading,
            "4 of 4 tests of a class against its draws have p below 0.05 after Holm's adjustment."
        );
    }

    #[test]
    fn what_weakens_a_comparison_is_said() {
        let [a, b] = two();
        let few = Effect {
            baseline_neurons: 60,
            ..a
        };
        let old = Effect {
            draw_means: Vec::new(),
            ..b
        };
        let notes = notes(&[&few, &old]);
        assert!(
            notes[0].starts_with("a: a draw has 60 neurons"),
            "{notes:?}"
        );
        assert!(notes[1].contains("no means of single draws"), "{notes:?}");
        assert!(matches!(&blocks(&[])[..], [Block::Lacking(_)]));
    }
}
