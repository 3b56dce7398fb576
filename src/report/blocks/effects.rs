//! Effects of an ablation: each class beside its baseline draws.

use super::block::{Block, Panel};
use super::effect_data::{data, whisker};
use crate::experiment::{Effect, Metric, PromptSubset};
use crate::report::chart::{Axis, Chart, Kind, Mark, Point, TEXT, Ticks};
use crate::report::number::{Digits, count, plural};
use crate::report::tone::Tone;
use crate::report::view::{
    Columns, STUDENT, Table, clusters_alike_in_words, of_effects_twice, tests_in_words,
};

/// What a page shows of a metric on a subset of the prompts.
type Group<'e> = (Metric, PromptSubset, Vec<&'e Effect>);

/// The pictures and the table; `note` is said below both.
pub fn blocks(effects: &[Effect], note: &str) -> Vec<Block> {
    let Some(first) = effects.first() else {
        return vec![Block::lacking("effects.json holds no effect.")];
    };
    let mut groups: Vec<Group<'_>> = Vec::new();
    for e in effects {
        let same = |group: &&mut Group<'_>| (group.0, group.1) == (e.metric, e.subset);
        match groups.iter_mut().find(same) {
            Some((.., group)) => group.push(e),
            None => groups.push((e.metric, e.subset, vec![e])),
        }
    }
    groups.sort_by_key(|(_, subset, _)| *subset != PromptSubset::Known);
    let subsets = groups.chunk_by(|a, b| a.1 == b.1);
    let pictures = subsets.map(|groups| pictures(groups, note));
    let mut blocks: Vec<Block> = pictures.collect();
    let tables = groups.iter().map(|(metric, subset, group)| {
        let (name, unit) = (metric.title, metric.unit);
        let title = if metric.is_of_text() {
            format!("{name}, {unit}")
        } else {
            format!("{name}, {unit}, {subset} prompts")
        };
        (title, group.iter().copied())
    });
    let columns = of_effects_twice(effects, Digits::Size);
    let numbers = columns.groups(tables);
    let mut caption = tests_in_words(effects.iter().map(|effect| &effect.estimate));
    caption.push(format!("{}{note}", of(first)));
    blocks.push(Block::Table {
        title: "All effects".to_string(),
        legend: match first.draws {
            0 => String::new(),
            _ => STUDENT.to_string(),
        },
        caption: caption.join("\n"),
        rows: numbers,
    });
    blocks.extend(by_relation(effects));
    blocks
}

/// What each class does to the facts of each relation, a column a class.
fn by_relation(effects: &[Effect]) -> Option<Block> {
    let told: Vec<&Effect> = effects
        .iter()
        .filter(|e| !e.by_relation.is_empty())
        .collect();
    let first = told.first()?;
    let columns = Columns::new()
        .words("relation", |at: &usize| {
            first.by_relation[*at].relation.clone()
        })
        .number("prompts", |at| count(first.by_relation[*at].prompts));
    let same = |effect: &&&Effect| effect.by_relation.len() == first.by_relation.len();
    let columns = told.iter().filter(same).fold(columns, |columns, effect| {
        let difference = |at: &usize| {
            let differences = effect.by_relation[*at].differences;
            let to_draws = differences.difference_to_baseline;
            (to_draws.or(Some(differences.difference_to_clean)), None)
        };
        columns.difference(&effect.name(), Digits::Size, difference)
    });
    let against = if first.draws > 0 {
        "the mean of the draws"
    } else {
        "clean"
    };
    let alike = clusters_alike_in_words(told.iter().copied(), Digits::Size);
    let caption = format!(
        "{}: class minus {against}, {}.\nWhere every relation counts alike: {}.",
        first.metric.title,
        first.metric.unit,
        alike.join(", ")
    );
    let rows: Vec<usize> = (0..first.by_relation.len()).collect();
    Some(Block::table("By relation", &caption, columns.table(&rows)))
}

/// How many prompts or documents an effect is over, and how many draws.
fn of(effect: &Effect) -> String {
    let unit = if effect.metric.is_of_text() {
        "document"
    } else {
        "prompt"
    };
    let [units, draws] =
        [(effect.prompts, unit), (effect.draws, "draw")].map(|(n, one)| plural(n, one));
    let clusters = if (1..effect.prompts).contains(&effect.clusters) {
        format!(
            " in {}, over which intervals are",
            plural(effect.clusters, "cluster")
        )
    } else {
        String::new()
    };
    format!("{units}{clusters}; {draws} of each class.")
}

/// A panel per metric.
fn pictures(groups: &[Group<'_>], note: &str) -> Block {
    let (metric, subset, effects) = &groups[0];
    let title = if metric.is_of_text() {
        "Effects on text".to_string()
    } else {
        format!("Effects on {subset} prompts")
    };
    let panels = groups.iter().map(|(metric, subset, effects)| {
        let chart = chart(effects, &format!("minus clean, {}", metric.unit));
        let name = if metric.is_of_text() {
            format!("effects-{}", metric.name)
        } else {
            format!("effects-{}-{subset}", metric.name)
        };
        Panel::new(&name, chart, data(effects)).titled(metric.title)
    });
    let panels = panels.collect();
    let mut caption = format!("{}{note}", of(effects[0]));
    if effects[0].draws > 0 {
        caption += "\nThe interval is that of the difference to the draws, seen from their mean: it reaches the mean where \
                    the difference may be 0.";
    }
    caption.extend(effects.iter().filter_map(|effect| weakness(effect)));
    Block::figure(&title, panels, &caption, Table::default())
}

/// What makes a class's comparison weaker than it should be.
fn weakness(effect: &Effect) -> Option<String> {
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
    Some(format!("\n{}: {what}.", effect.name()))
}

/// A row per class, the first one on top; 0 is the clean model.
fn chart(effects: &[&Effect], label: &str) -> Chart {
    let rows = effects.len();
    let reached = effects.iter().flat_map(|effect| {
        let whisker = whisker(effect).map_or([0.0; 2], |ci| [ci.low, ci.high]);
        let ends = draws(effect).chain(whisker);
        ends.chain([effect.difference_to_clean])
    });
    let x = Axis::around_zero(label, reached);
    let y = Axis::new("", 0.0..rows as f64, Ticks::Nowhere);
    let places = effects.iter().zip((0..rows).rev());
    let marks = places.flat_map(|(effect, place)| row(effect, place as f64, &x));
    let marks = marks.collect();
    Chart::new((720, 90 + 104 * rows as u32), x, y, marks)
}

/// The means of the draws, seen from the clean model.
fn draws(effect: &Effect) -> impl Iterator<Item = f64> {
    let draws = effect.draw_means.iter();
    draws.map(|draw| draw - effect.means.clean)
}

/// From the top: the class's name, the class, its draws.
fn row(effect: &Effect, bottom: f64, x: &Axis) -> Vec<Mark> {
    let [name_y, class_y, draws_y] = [0.82, 0.5, 0.2].map(|share| bottom + share);
    let line = |width, tone, ends: [Point; 2]| Mark::new(Kind::Line(width), tone, ends);
    // Below the name, which it would strike out.
    let upright = |width, tone, x| line(width, tone, [(x, bottom), (x, bottom + 0.64)]);
    let border = [x.range.start, x.range.end].map(|x| (x, bottom));
    let name = Mark::new(TEXT, Tone::Ink, [(x.range.start, name_y)]);
    let mut marks = vec![
        line(2, Tone::Grid, border),
        name.named(effect.name()),
        upright(2, Tone::Muted, 0.0),
    ];
    if effect.draws > 0 {
        let places = draws(effect).map(|x| (x, draws_y));
        let draws = Mark::new(Kind::Circles, Tone::Draw, places);
        marks.push(draws.named("one draw of as many random neurons, minus clean"));
    }
    if let Some(baseline) = effect.means.baseline {
        let mean = upright(4, Tone::Draw, baseline - effect.means.clean);
        marks.push(mean.named("mean of the draws"));
    }
    if let Some(ci) = whisker(effect) {
        let ends = [ci.low, ci.high].map(|x| (x, class_y));
        marks.push(line(4, Tone::Accent, ends));
    }
    let place = (effect.difference_to_clean, class_y);
    let off = Mark::new(Kind::Dots, Tone::Accent, [place]);
    marks.push(off.named(match effect.draws {
        0 => "class edited minus clean, with its 95 % interval",
        _ => "class edited minus clean, with the 95 % interval of its difference to the mean of the draws",
    }));
    marks
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::experiment::{ArmMeans, EffectPath, Estimate};
    use crate::report::html::shown;
    use crate::stats::Interval;

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
            path: EffectPath::Total,
            control: None,
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
            contribution_ratio: None,
            first_order: None,
            draw_means: draws.to_vec(),
            difference_to_clean: off - clean,
            clean_ci: Some(around(off - clean)),
            layers: None,
            estimate: Estimate {
                difference_to_baseline: Some(off - baseline),
                baseline_ci: Some(around(off - baseline)),
                average_set_ci: None,
                p: Some(0.01),
                p_adjusted: Some(0.02),
                permutation_p: Some(1.0 / 3.0),
                permutation_floor: Some(1.0 / 3.0),
            },
            standardised_effect: None,
            clusters: 23,
            clusters_alike: None,
            by_relation: Vec::new(),
        }
    }

    fn two() -> [Effect; 2] {
        let metric = Metric::TARGET_LOGPROB;
        [
            effect("a", metric, -1.0, -1.25, [-1.0, -1.5]),
            effect("b", metric, -1.0, -3.0, [-1.25, -1.75]),
        ]
    }

    #[test]
    fn a_row_reaches_the_draws_mean_where_the_difference_may_be_0() {
        let effects = two();
        // a: the draws' mean is that of the class; b: from -.5 by -2 and by -1
        let ends = effects
            .each_ref()
            .map(|e| whisker(e).map(|ci| (ci.low, ci.high)));
        assert_eq!(ends, [Some((-0.75, 0.25)), Some((-2.5, -1.5))]);
        let chart = chart(&effects.each_ref(), "x");
        let of = |wanted: fn(&Kind) -> bool| {
            let marks = chart.marks.iter().filter(move |mark| wanted(&mark.kind));
            marks.map(|mark| mark.points.clone()).collect::<Vec<_>>()
        };
        let draws = of(|kind| matches!(kind, Kind::Circles));
        assert_eq!(draws[0], [(0.0, 1.2), (-0.5, 1.2)], "minus clean");
        assert_eq!(
            of(|kind| matches!(kind, Kind::Dots))[1],
            [(-2.0, 0.5)],
            "minus clean"
        );
        assert!(chart.x.range.contains(&-2.5) && chart.x.range.contains(&0.25));
    }

    #[test]
    fn metrics_and_subsets_are_kept_apart() {
        let [a, b] = two();
        let all = Effect {
            subset: PromptSubset::All,
            draws: 0,
            ..a.clone()
        };
        let few = Effect {
            metric: Metric::ENTROPY,
            ..b.clone()
        };
        let blocks = blocks(&[all, a, b, few], " So far.");
        let pages: Vec<String> = blocks.chunks(1).map(shown).collect();
        let count = |text: &str| {
            pages
                .iter()
                .map(|page| page.matches(text).count())
                .collect::<Vec<_>>()
        };
        assert_eq!(count("<svg"), [2, 1, 0]);
        assert_eq!(
            count("23 prompts; 2 draws of each class. So far."),
            [1, 0, 0]
        );
        assert_eq!(count("rowgroup"), [0, 0, 3]);
        let row = "<span>−1.000</span></td><td class=\"number\" data-label=\"class edited\"><span>−3.000</span>";
        assert_eq!(count(row), [0, 0, 2], "{}", pages[2]);
        assert_eq!(count("−1.500 [−2.000, −1.000]"), [0, 0, 2]);
    }
}
