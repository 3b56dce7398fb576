//! Which share of each layer every class has.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::block::{Block, Figure, Key, Panel, Picture};
use super::chart::{Axis, Chart, Mark, Shape, Ticks};
use super::words::{count, percent};
use crate::io_class::{Class, Comparison};
use crate::report::tone::Tone;

/// What a page reads of `classes.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct ClassTable {
    pub threshold: f32,
    pub per_layer: Vec<BTreeMap<Class, usize>>,
    pub median_cos_in_out: Vec<f32>,
    pub totals: BTreeMap<Class, usize>,
    pub published: Option<Comparison>,
}

impl ClassTable {
    /// Neurons of all classes.
    pub fn neurons(&self) -> usize {
        self.totals.values().sum()
    }

    /// The classes that have neurons, in the published order.
    fn classes(&self) -> impl Iterator<Item = (Class, usize)> {
        let totals = self.totals.iter().map(|(class, total)| (*class, *total));
        totals.filter(|(_, total)| *total > 0)
    }

    /// The share of a layer.
    fn share(&self, layer: usize, class: Class) -> f64 {
        let counts = &self.per_layer[layer];
        let all: usize = counts.values().sum();
        counts.get(&class).copied().unwrap_or(0) as f64 / all.max(1) as f64
    }

    /// The layer in which a class has its largest share, with that.
    fn peak(&self, class: Class) -> Option<(usize, f64)> {
        let shares = (0..self.per_layer.len()).map(|layer| (layer, self.share(layer, class)));
        shares.reduce(|best, other| if other.1 > best.1 { other } else { best })
    }

    /// The share of a class's neurons that lies in the second half of the layers.
    fn late(&self, class: Class) -> f64 {
        let half = self.per_layer.len() / 2;
        let late = self.per_layer[half..].iter();
        let late: usize = late.filter_map(|counts| counts.get(&class)).sum();
        late as f64 / self.totals.get(&class).copied().unwrap_or(0).max(1) as f64
    }
}

pub fn figure(table: &ClassTable) -> Block {
    let keys = table.classes().map(|(class, total)| {
        let share = percent(total as f64 / table.neurons().max(1) as f64);
        Key::new(
            "■",
            Tone::Class(class),
            format!("{class}: {} ({share})", count(total)),
        )
    });
    Block::Figure(Figure {
        title: "Classes by layer".to_string(),
        reading: reading(table),
        keys: keys.collect(),
        panels: vec![Panel {
            title: String::new(),
            reading: String::new(),
            picture: Picture::Chart(chart(table)),
        }],
        notes: vec!["Bars are stacked in the order of the legend, from the bottom.".to_string()],
        n: format!(
            "{} neurons in {} layers",
            count(table.neurons()),
            table.per_layer.len()
        ),
    })
}

/// The largest class but orthogonal output, and depletion.
fn reading(table: &ClassTable) -> String {
    let neurons = table.neurons().max(1) as f64;
    let named = table
        .classes()
        .filter(|(class, _)| *class != Class::OrthogonalOutput);
    let Some((class, total)) = named.max_by_key(|(_, total)| *total) else {
        return format!(
            "All {} neurons are of the class orthogonal-output.",
            count(table.neurons())
        );
    };
    let (layer, share) = table.peak(class).unwrap_or_default();
    let largest = format!(
        "After orthogonal-output the largest class is {class}, with {} of all neurons and its top in layer {layer} ({})",
        percent(total as f64 / neurons),
        percent(share),
    );
    let depletion = table.totals.get(&Class::Depletion).copied().unwrap_or(0);
    match depletion {
        0 => format!("{largest}; no neuron is of the class depletion."),
        _ => format!(
            "{largest}; depletion has {} ({}), {} of them in the second half of the layers.",
            count(depletion),
            percent(depletion as f64 / neurons),
            percent(table.late(Class::Depletion)),
        ),
    }
}

fn chart(table: &ClassTable) -> Chart {
    let mut marks = Vec::new();
    for layer in 0..table.per_layer.len() {
        let mut below = 0.0;
        let (left, right) = (layer as f64 - 0.45, layer as f64 + 0.45);
        for (class, _) in table.classes() {
            let share = table.share(layer, class);
            let (from, to) = ((left, below), (right, below + share));
            let tone = Tone::Class(class);
            if share > 0.0 {
                marks.push(Mark::Bar { from, to, tone });
            }
            below += share;
        }
    }
    Chart {
        shape: Shape::Wide,
        x: Axis::layers(table.per_layer.len()),
        y: Axis {
            label: "share of the layer's neurons".to_string(),
            range: 0.0..1.0,
            ticks: Ticks::Anywhere,
        },
        marks,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    use Class::{ConditionalEnrichment as Ce, Depletion as D, OrthogonalOutput as Oo};

    /// Four layers of ten neurons.
    pub fn table() -> ClassTable {
        let layers = [
            [(Ce, 6), (Oo, 4), (D, 0)],
            [(Ce, 2), (Oo, 8), (D, 0)],
            [(Ce, 0), (Oo, 9), (D, 1)],
            [(Ce, 0), (Oo, 10), (D, 0)],
        ];
        let per_layer = layers.map(BTreeMap::from).to_vec();
        let total = |class: Class| per_layer.iter().map(|layer| layer[&class]).sum();
        ClassTable {
            threshold: 0.5,
            totals: [Ce, Oo, D].map(|class| (class, total(class))).into(),
            median_cos_in_out: vec![0.5, 0.25, -0.125, -0.25],
            per_layer,
            published: None,
        }
    }

    #[test]
    fn shares_by_hand() {
        let Block::Figure(figure) = figure(&table()) else {
            panic!()
        };
        assert_eq!(
            figure.reading,
            "After orthogonal-output the largest class is conditional-enrichment, with 20.0\u{a0}% of all neurons and its \
             top in layer 0 (60.0\u{a0}%); depletion has 1 (2.50\u{a0}%), 100.0\u{a0}% of them in the second half of the layers."
        );
        assert_eq!(figure.keys.len(), 3, "classes without neurons have no key");
        assert_eq!(figure.n, "40 neurons in 4 layers");
        let marks = chart(&table()).marks;
        assert_eq!(marks.len(), 7, "no bar of height 0");
        let bar = |from, to, class| Mark::Bar {
            from,
            to,
            tone: Tone::Class(class),
        };
        assert_eq!(marks[0], bar((-0.45, 0.0), (0.45, 0.6), Ce));
        assert_eq!(marks[1], bar((-0.45, 0.6), (0.45, 1.0), Oo));
    }

    #[test]
    fn a_model_without_classes_is_described_too() {
        let mut table = table();
        table.totals.retain(|class, _| *class == Oo);
        assert!(reading(&table).starts_with("All 31 neurons are of the class orthogonal-output"));
    }
}
