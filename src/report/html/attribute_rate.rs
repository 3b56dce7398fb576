//! The attribute rate by layer: clean, with a class off, and with as many random neurons off.

use std::collections::{BTreeMap, BTreeSet};

use super::block::{Block, Figure, Key, Panel, Picture};
use super::chart::{Axis, Chart, Mark, Point, Shape, Weight};
use super::words::{count, percent, plural, with_sign};
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
    classes: Vec<(String, Arms)>,
    prompts: BTreeSet<String>,
    absent: usize,
    rows: usize,
}

/// Rates by arm, draw and layer.
type Arms = BTreeMap<(Arm, u32, usize), Vec<f64>>;

impl RateTable {
    pub fn add(&mut self, row: RateRow<'_>) {
        self.rows += 1;
        if !self.prompts.contains(row.prompt) {
            self.prompts.insert(row.prompt.to_string());
        }
        let place = self
            .classes
            .iter()
            .position(|(class, _)| class == row.class);
        let place = place.unwrap_or_else(|| {
            self.classes.push((row.class.to_string(), Arms::new()));
            self.classes.len() - 1
        });
        let rates = self.classes[place]
            .1
            .entry((row.arm, row.draw, row.layer))
            .or_default();
        rates.extend(row.rate);
        self.absent += usize::from(row.rate.is_none());
    }

    /// The mean over the prompts that have a rate, layer by layer.
    fn means(&self, class: &str, arm: Arm, draw: u32) -> Vec<Point> {
        let arms = self.classes.iter().find(|(name, _)| name == class);
        let arms = arms.into_iter().flat_map(|(_, arms)| arms);
        let wanted = arms.filter(|((a, d, _), _)| (*a, *d) == (arm, draw));
        wanted
            .filter_map(|((.., layer), rates)| Some((*layer as f64, mean(rates)?)))
            .collect()
    }

    fn draws(&self, class: &str) -> Vec<Vec<Point>> {
        let arms = self.classes.iter().find(|(name, _)| name == class);
        let keys = arms.into_iter().flat_map(|(_, arms)| arms.keys());
        let draws: BTreeSet<u32> = keys
            .filter(|key| key.0 == Arm::Baseline)
            .map(|key| key.1)
            .collect();
        draws
            .into_iter()
            .map(|draw| self.means(class, Arm::Baseline, draw))
            .collect()
    }
}

/// The curves of one class.
struct Curves<'t> {
    class: &'t str,
    off: Vec<Point>,
    /// By layer: 2.5 % quantile, mean and 97.5 % quantile over the draws.
    draws: Vec<(f64, [f64; 3])>,
    n_draws: usize,
}

impl<'t> Curves<'t> {
    fn new(table: &RateTable, class: &'t str) -> Self {
        let draws = table.draws(class);
        let mut by_layer: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for (layer, rate) in draws.iter().flatten() {
            by_layer.entry(*layer as usize).or_default().push(*rate);
        }
        let summary = |(layer, rates): (usize, Vec<f64>)| {
            let ends = [
                quantile(&rates, 0.025)?,
                mean(&rates)?,
                quantile(&rates, 0.975)?,
            ];
            Some((layer as f64, ends))
        };
        Curves {
            class,
            off: table.means(class, Arm::Class, 0),
            n_draws: draws.len(),
            draws: by_layer.into_iter().filter_map(summary).collect(),
        }
    }

    fn mean_of_draws(&self) -> Vec<Point> {
        self.draws
            .iter()
            .map(|(layer, ends)| (*layer, ends[1]))
            .collect()
    }

    /// In how many layers the class is below and above the draws' range, and how many layers have one.
    fn outside(&self) -> [usize; 3] {
        let pairs = self.off.iter().filter_map(|(layer, off)| {
            let of_layer = self.draws.iter().find(|(l, _)| l == layer)?;
            Some((*off, of_layer.1))
        });
        pairs.fold([0, 0, 0], |[below, above, all], (off, [low, _, high])| {
            [
                below + usize::from(off < low),
                above + usize::from(off > high),
                all + 1,
            ]
        })
    }
}

pub fn figure(table: &RateTable) -> Block {
    let clean = table.means("", Arm::Clean, 0);
    let classes = table.classes.iter().filter(|(class, _)| !class.is_empty());
    let curves: Vec<Curves<'_>> = classes
        .map(|(class, _)| Curves::new(table, class))
        .collect();
    if curves.is_empty() {
        return Block::Lacking("rates.parquet has no class.".to_string());
    }
    let (x, y) = axes(&clean, &curves);
    let panels = curves.iter().map(|curves| Panel {
        title: format!("{} off", curves.class),
        reading: range_reading(curves),
        picture: Picture::Chart(chart(&clean, curves, &x, &y)),
    });
    let mut notes = Vec::new();
    if table.absent > 0 {
        notes.push(format!(
            "{} of {} rates are absent (no token was left to count) and are in no mean.",
            count(table.absent),
            count(table.rows)
        ));
    }
    Block::Figure(Figure {
        title: "Attribute rate by layer".to_string(),
        reading: reading(&clean, &curves),
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
        notes,
        n: format!(
            "{}, {}, {}",
            plural(table.prompts.len(), "prompt", "prompts"),
            plural(clean.len(), "layer", "layers"),
            plural(
                curves.iter().map(|c| c.n_draws).max().unwrap_or(0),
                "draw",
                "draws"
            ),
        ),
    })
}

/// The same axes for all panels.
fn axes(clean: &[Point], curves: &[Curves<'_>]) -> (Axis, Axis) {
    let off = curves.iter().flat_map(|c| &c.off);
    let lines = || clean.iter().chain(off.clone());
    let highest = curves
        .iter()
        .flat_map(|c| &c.draws)
        .map(|(_, ends)| ends[2]);
    let rates = highest.chain(lines().map(|point| point.1));
    let last = lines().map(|point| point.0 as usize).max();
    let x = Axis::layers(last.map_or(1, |last| last + 1));
    (x, Axis::around_zero("mean attribute rate", rates))
}

/// The mean difference over the layers that both have, and over how many.
fn mean_difference(from: &[Point], minus: &[Point]) -> Option<f64> {
    let pairs = from.iter().filter_map(|(layer, value)| {
        let other = minus.iter().find(|(l, _)| l == layer)?;
        Some(value - other.1)
    });
    mean(&pairs.collect::<Vec<_>>())
}

fn points(share: f64) -> String {
    with_sign(100.0 * share, 1)
}

/// The class whose rate is furthest from its draws, mean over the layers.
fn reading(clean: &[Point], curves: &[Curves<'_>]) -> String {
    let against = |c: &Curves<'_>| mean_difference(&c.off, &c.mean_of_draws());
    let to_clean = |c: &Curves<'_>| mean_difference(&c.off, clean);
    let size = |c: &Curves<'_>| against(c).or(to_clean(c)).map_or(0.0, f64::abs);
    let Some(furthest) = curves.iter().max_by(|a, b| size(a).total_cmp(&size(b))) else {
        return String::new();
    };
    let off = to_clean(furthest).map_or("–".to_string(), points);
    let rate = mean(&clean.iter().map(|point| point.1).collect::<Vec<_>>())
        .map_or("–".to_string(), percent);
    let draws = match mean_difference(&furthest.mean_of_draws(), clean) {
        Some(draws) => format!("its draws change it by {} points", points(draws)),
        None => "there are no draws to compare it with".to_string(),
    };
    format!(
        "Mean over the layers: the clean rate is {rate}; {} off changes it by {off} points, and {draws}.",
        furthest.class
    )
}

fn range_reading(curves: &Curves<'_>) -> String {
    match curves.outside() {
        [.., 0] => "No draws to compare it with.".to_string(),
        [below, above, all] => {
            format!("Below the range of its draws in {below} of {all} layers, above it in {above}.")
        }
    }
}

fn chart(clean: &[Point], curves: &Curves<'_>, x: &Axis, y: &Axis) -> Chart {
    let end = |which: usize| -> Vec<Point> {
        curves
            .draws
            .iter()
            .map(|(layer, ends)| (*layer, ends[which]))
            .collect()
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
            line(clean.to_vec(), Tone::Ink),
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
        assert_eq!(table.means("", Arm::Clean, 0), [(0.0, 0.5), (1.0, 0.625)]);
        let curves = Curves::new(&table, "c");
        assert_eq!(
            curves.off,
            [(0.0, 0.25), (1.0, 0.375)],
            "an absent rate is in no mean"
        );
        // Quantiles of .25, .5, .75: positions .05 and 1.95.
        assert_eq!(
            curves.draws,
            [(0.0, [0.2625, 0.5, 0.7375]), (1.0, [0.5, 0.5, 0.5])]
        );
        assert_eq!(curves.outside(), [2, 0, 2]);
    }

    #[test]
    fn the_reading_has_the_numbers() {
        let Block::Figure(figure) = figure(&table()) else {
            panic!()
        };
        // clean (.5 + .625)/2; off minus clean (-.25 - .25)/2; draws minus clean (0 - .125)/2
        assert_eq!(
            figure.reading,
            "Mean over the layers: the clean rate is 56.2\u{a0}%; c off changes it by −25.0 points, and its draws change it \
             by −6.2 points."
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
}
