//! The attribute rate by layer: clean, with a class off, and with as many random neurons off.

use std::collections::{BTreeMap, HashMap};

use super::block::{Block, Figure, Key, Panel, Picture};
use super::chart::{Axis, Chart, Mark, Point, Shape, Weight};
use super::words::{ABSENT, count, percent, plural};
use crate::experiment::Arm;
use crate::report::tone::Tone;
use crate::stats::{mean, quantile};

/// What a page reads of a row of `rates.parquet`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateRow<'a> {
    pub prompt: &'a str,
    /// Empty for the clean model.
    pub class: &'a str,
    pub arm: Arm,
    pub draw: u32,
    pub layer: usize,
    /// Absent where no token was kept.
    pub rate: Option<f64>,
}

/// The rates of a run, class by class in the order of the file; the clean model is the class without a name.
#[derive(Clone, Debug, Default)]
pub struct RateTable {
    classes: Vec<(String, Layers)>,
    prompts: HashMap<String, usize>,
    absent: usize,
    rows: usize,
}

/// By layer and arm, the latter with its draw: the prompts that have a rate.
type Layers = BTreeMap<usize, BTreeMap<(Arm, u32), BTreeMap<usize, f64>>>;

impl RateTable {
    pub fn add(&mut self, row: RateRow<'_>) {
        self.rows += 1;
        let prompt = match self.prompts.get(row.prompt) {
            Some(prompt) => *prompt,
            None => {
                let new = self.prompts.len();
                self.prompts.insert(row.prompt.to_string(), new);
                new
            }
        };
        let place = self
            .classes
            .iter()
            .position(|(class, _)| class == row.class);
        let place = place.unwrap_or_else(|| {
            self.classes.push((row.class.to_string(), Layers::new()));
            self.classes.len() - 1
        });
        let arms = self.classes[place].1.entry(row.layer).or_default();
        let rates = arms.entry((row.arm, row.draw)).or_default();
        match row.rate {
            Some(rate) => _ = rates.insert(prompt, rate),
            None => self.absent += 1,
        }
    }

    fn clean(&self) -> Option<&Layers> {
        let clean = self.classes.iter().find(|(class, _)| class.is_empty());
        clean.map(|(_, layers)| layers)
    }
}

/// The curves of one class, over the layers in which a prompt has a rate in all arms.
struct Curves<'t> {
    class: &'t str,
    clean: Vec<Point>,
    off: Vec<Point>,
    /// By layer: 2.5 % quantile, mean and 97.5 % quantile over the draws.
    draws: Vec<(f64, [f64; 3])>,
    n_draws: usize,
}

impl<'t> Curves<'t> {
    /// Means over the prompts that have a rate in all arms of the class, layer by layer: the arms are of the same prompts.
    fn new(clean: &Layers, class: &'t str, layers: &Layers) -> Self {
        let mut curves = Curves {
            class,
            clean: Vec::new(),
            off: Vec::new(),
            draws: Vec::new(),
            n_draws: 0,
        };
        for (layer, arms) in layers {
            let clean = clean.get(layer).into_iter().flatten();
            let arms: BTreeMap<_, _> = clean.chain(arms).collect();
            curves.add(*layer as f64, &arms);
        }
        curves
    }

    fn add(&mut self, layer: f64, arms: &BTreeMap<&(Arm, u32), &BTreeMap<usize, f64>>) {
        let is_in_all = |prompt: &&usize| arms.values().all(|rates| rates.contains_key(prompt));
        let prompts = arms
            .values()
            .next()
            .into_iter()
            .flat_map(|rates| rates.keys());
        let prompts: Vec<&usize> = prompts.filter(is_in_all).collect();
        let mut draws = Vec::new();
        for ((arm, _), rates) in arms {
            let rates: Vec<f64> = prompts.iter().map(|prompt| rates[prompt]).collect();
            let Some(rate) = mean(&rates) else { return };
            match arm {
                Arm::Clean => self.clean.push((layer, rate)),
                Arm::Class => self.off.push((layer, rate)),
                Arm::Baseline => draws.push(rate),
            }
        }
        self.n_draws = self.n_draws.max(draws.len());
        let ends = [
            quantile(&draws, 0.025),
            mean(&draws),
            quantile(&draws, 0.975),
        ];
        if let [Some(low), Some(mean), Some(high)] = ends {
            self.draws.push((layer, [low, mean, high]));
        }
    }

    fn mean_of_draws(&self) -> Vec<Point> {
        let draws = self.draws.iter();
        draws.map(|(layer, ends)| (*layer, ends[1])).collect()
    }

    /// The layer where the class is furthest from its draws, with both rates; from clean where there are no draws.
    fn furthest(&self) -> Option<[f64; 3]> {
        let draws = self.mean_of_draws();
        let others = if draws.is_empty() {
            &self.clean
        } else {
            &draws
        };
        let pairs = self.off.iter().filter_map(|(layer, off)| {
            let other = others.iter().find(|(l, _)| l == layer)?;
            Some([*layer, *off, other.1])
        });
        pairs.max_by(|a, b| gap(a).total_cmp(&gap(b)))
    }

    /// In how many layers the class is below and above the draws' range, and how many layers have one.
    fn outside(&self) -> [usize; 3] {
        let pairs = self.off.iter().filter_map(|(layer, off)| {
            let of_layer = self.draws.iter().find(|(l, _)| l == layer)?;
            Some((*off, of_layer.1))
        });
        pairs.fold([0, 0, 0], |[below, above, all], (off, [low, _, high])| {
            let (is_below, is_above) = (off < low, off > high);
            [
                below + usize::from(is_below),
                above + usize::from(is_above),
                all + 1,
            ]
        })
    }
}

/// Between the two rates of a layer.
fn gap([_, off, other]: &[f64; 3]) -> f64 {
    (off - other).abs()
}

pub fn figure(table: &RateTable) -> Block {
    let empty = Layers::new();
    let clean = table.clean().unwrap_or(&empty);
    let classes = table.classes.iter().filter(|(class, _)| !class.is_empty());
    let curves = classes.map(|(class, layers)| Curves::new(clean, class, layers));
    let curves: Vec<Curves<'_>> = curves.collect();
    if curves.is_empty() {
        return Block::Lacking("rates.parquet has no class.".to_string());
    }
    let (x, y) = axes(&curves);
    let panels = curves.iter().map(|curves| Panel {
        title: format!("{} off", curves.class),
        reading: range_reading(curves),
        picture: Picture::Chart(chart(curves, &x, &y)),
    });
    let layers = curves.iter().map(|c| c.off.len()).max().unwrap_or(0);
    let draws = curves.iter().map(|c| c.n_draws).max().unwrap_or(0);
    Block::Figure(Figure {
        title: "Attribute rate by layer".to_string(),
        reading: reading(&curves),
        keys: vec![
            Key::new("━", Tone::Ink, "clean"),
            Key::new("━", Tone::Accent, "class off"),
            Key::new(
                "━",
                Tone::Draw,
                "mean of the draws, with a band from their 2.5 to their 97.5 % quantile",
            ),
        ],
        panels: panels.collect(),
        notes: notes(table),
        n: format!(
            "{}, {}, {}",
            plural(table.prompts.len(), "prompt", "prompts"),
            plural(layers, "layer", "layers"),
            plural(draws, "draw", "draws"),
        ),
    })
}

fn notes(table: &RateTable) -> Vec<String> {
    match table.absent {
        0 => Vec::new(),
        absent => vec![format!(
            "{} of {} rates are absent (no token was left to count). In a layer a prompt that has no rate in one arm is left \
             out of all arms of that class.",
            count(absent),
            count(table.rows)
        )],
    }
}

/// The same axes for all panels.
fn axes(curves: &[Curves<'_>]) -> (Axis, Axis) {
    let lines = || curves.iter().flat_map(|c| c.clean.iter().chain(&c.off));
    let highest = curves
        .iter()
        .flat_map(|c| &c.draws)
        .map(|(_, ends)| ends[2]);
    let rates = highest.chain(lines().map(|point| point.1));
    let last = lines().map(|point| point.0 as usize).max();
    let x = Axis::layers(last.map_or(1, |last| last + 1));
    (x, Axis::around_zero("mean attribute rate", rates))
}

/// The class and layer where the rate is furthest from that of the draws.
fn reading(curves: &[Curves<'_>]) -> String {
    let furthest = curves.iter().filter_map(|c| Some((c, c.furthest()?)));
    let Some((c, [layer, off, other])) = furthest.max_by(|a, b| gap(&a.1).total_cmp(&gap(&b.1)))
    else {
        return "No prompt has a rate in all arms of a class.".to_string();
    };
    let clean = c.clean.iter().find(|point| point.0 == layer);
    let clean = clean.map_or(ABSENT.to_string(), |point| percent(point.1));
    let [class, off, other] = [c.class.to_string(), percent(off), percent(other)];
    match c.outside() {
        [.., 0] => {
            format!("{class} off is furthest from clean in layer {layer}: {off} against {clean}.")
        }
        [below, above, all] => format!(
            "{class} off is furthest from its draws in layer {layer}: {off} against their mean of {other} (clean {clean}); \
             it lies outside their range in {} of {all} layers.",
            below + above
        ),
    }
}

fn range_reading(curves: &Curves<'_>) -> String {
    match curves.outside() {
        [.., 0] => "No draws to compare it with.".to_string(),
        [below, above, all] => {
            format!("Below the range of its draws in {below} of {all} layers, above it in {above}.")
        }
    }
}

fn chart(curves: &Curves<'_>, x: &Axis, y: &Axis) -> Chart {
    let end = |which: usize| -> Vec<Point> {
        let draws = curves.draws.iter();
        draws.map(|(layer, ends)| (*layer, ends[which])).collect()
    };
    let line = |points: Vec<Point>, tone| Mark::Line {
        points,
        tone,
        weight: Weight::Bold,
    };
    Chart {
        shape: Shape::Wide,
        x: x.clone(),
        y: y.clone(),
        marks: vec![
            Mark::Band {
                low: end(0),
                high: end(2),
                tone: Tone::Draw,
            },
            line(curves.mean_of_draws(), Tone::Draw),
            line(curves.clean.clone(), Tone::Ink),
            line(curves.off.clone(), Tone::Accent),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two prompts, two layers, one class with three draws; one rate is absent.
    fn table() -> RateTable {
        let mut table = RateTable::default();
        let mut add = |class: &str, arm, draw, layer, rates: [Option<f64>; 2]| {
            for (prompt, rate) in ["p", "q"].into_iter().zip(rates) {
                table.add(RateRow {
                    prompt,
                    class,
                    arm,
                    draw,
                    layer,
                    rate,
                });
            }
        };
        add("", Arm::Clean, 0, 0, [Some(0.25), Some(0.75)]);
        add("", Arm::Clean, 0, 1, [Some(0.5), Some(0.75)]);
        add("c", Arm::Class, 0, 0, [Some(0.25), None]);
        add("c", Arm::Class, 0, 1, [Some(0.25), Some(0.5)]);
        for (draw, rate) in [(0, 0.5), (1, 0.25), (2, 0.75)] {
            add("c", Arm::Baseline, draw, 0, [Some(rate), Some(rate)]);
            add("c", Arm::Baseline, draw, 1, [Some(0.5), Some(0.5)]);
        }
        table
    }

    #[test]
    fn means_and_ranges_by_hand() {
        let table = table();
        let curves = Curves::new(&table.classes[0].1, "c", &table.classes[1].1);
        // In layer 0 prompt q has no rate with the class off, so it is in no arm.
        assert_eq!(curves.clean, [(0.0, 0.25), (1.0, 0.625)]);
        assert_eq!(curves.off, [(0.0, 0.25), (1.0, 0.375)]);
        // Quantiles of .25, .5, .75: positions .05 and 1.95.
        let draws = [(0.0, [0.2625, 0.5, 0.7375]), (1.0, [0.5, 0.5, 0.5])];
        assert_eq!(curves.draws, draws);
        assert_eq!(curves.outside(), [2, 0, 2]);
        assert_eq!(curves.furthest(), Some([0.0, 0.25, 0.5]));
    }

    #[test]
    fn the_reading_has_the_numbers() {
        let Block::Figure(figure) = figure(&table()) else {
            panic!()
        };
        assert_eq!(
            figure.reading,
            "c off is furthest from its draws in layer 0: 25.0\u{a0}% against their mean of 50.0\u{a0}% (clean 25.0\u{a0}%); it \
             lies outside their range in 2 of 2 layers."
        );
        assert_eq!(
            figure.panels[0].reading,
            "Below the range of its draws in 2 of 2 layers, above it in 0."
        );
        assert!(
            figure.notes[0].starts_with("1 of 20 rates"),
            "{:?}",
            figure.notes
        );
        assert_eq!(figure.n, "2 prompts, 2 layers, 3 draws");
        assert!(matches!(
            super::figure(&RateTable::default()),
            Block::Lacking(_)
        ));
    }

    #[test]
    fn without_draws_the_clean_model_is_what_is_left() {
        let mut table = table();
        for arms in table.classes[1].1.values_mut() {
            arms.retain(|(arm, _), _| *arm == Arm::Class);
        }
        let Block::Figure(figure) = figure(&table) else {
            panic!()
        };
        assert_eq!(
            figure.reading,
            "c off is furthest from clean in layer 1: 37.5\u{a0}% against 62.5\u{a0}%."
        );
        assert_eq!(figure.panels[0].reading, "No draws to compare it with.");
    }
}
