//! The cosines of single neurons, as dots.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::block::{Block, Panel};
use crate::io_class::Class;
use crate::report::chart::{Axis, Chart, Kind, Mark, SQUARE, Ticks};
use crate::report::number::{count, percent};
use crate::report::tone::Tone;
use crate::report::view::{Columns, Table};

/// What a page reads of a row of `neurons.parquet`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct NeuronCosines {
    pub layer: u16,
    pub neuron: u32,
    #[serde(rename = "cos_gate_out")]
    pub gate_out: f32,
    #[serde(rename = "cos_in_out")]
    pub in_out: f32,
    pub class: Class,
}

/// Layers that are shown.
const LAYERS: usize = 6;

/// Neurons of a layer that are drawn.
const DRAWN: usize = 500;

/// Classes with no more neurons in a layer are drawn whole.
const RARE: usize = 20;

const SEED: u64 = 0;

/// Every neuron as a dot, in some layers.
pub fn dots(neurons: &[NeuronCosines], threshold: f32) -> Block {
    let layers: Vec<&[NeuronCosines]> = neurons.chunk_by(|a, b| a.layer == b.layer).collect();
    let shown = spread(layers.len()).map(|place| {
        let (of, drawn) = (layers[place], thinned(layers[place]));
        let [drawn_n, of_n] = [drawn.len(), of.len()].map(count);
        let (layer, chart) = (of[0].layer, chart(&drawn, threshold));
        let panel = Panel::new(&format!("cosines-layer-{layer}"), chart, data(&drawn));
        panel.titled(format!("layer {layer}: {drawn_n} of {of_n} neurons"))
    });
    let shown: Vec<Panel> = shown.collect();
    let share = |is_beyond: &dyn Fn(&NeuronCosines) -> bool| {
        let beyond = neurons.iter().filter(|neuron| is_beyond(neuron)).count();
        let share = percent(beyond as f64 / neurons.len().max(1) as f64);
        format!("{} ({share})", count(beyond))
    };
    let caption = format!(
        "{} of {} layers, evenly spread, and of each at most {DRAWN} neurons, chosen at random with seed {SEED}; classes \
         with no more than {RARE} neurons in the layer are drawn whole. Lines: the threshold {threshold} on either \
         side.\nBeyond it, of all {} neurons: cos(w_in, w_out) {}, below 0 {}; cos(w_gate, w_out) {}.",
        shown.len(),
        layers.len(),
        count(neurons.len()),
        share(&|neuron| neuron.in_out.abs() > threshold),
        share(&|neuron| neuron.in_out < -threshold),
        share(&|neuron| neuron.gate_out.abs() > threshold),
    );
    let title = "Cosines of single neurons";
    Block::figure(title, shown, &caption, Table::default())
}

/// A row per neuron that is drawn.
fn data(neurons: &[NeuronCosines]) -> Table {
    let columns = Columns::new()
        .number("layer", |n: &NeuronCosines| n.layer.to_string())
        .number("neuron", |n| n.neuron.to_string())
        .words("class", |n| n.class.to_string())
        .number("cos_gate_out", |n| format!("{:?}", n.gate_out))
        .number("cos_in_out", |n| format!("{:?}", n.in_out));
    columns.table(neurons)
}

/// Up to [`LAYERS`] places among `n`, the first and the last with them.
fn spread(n: usize) -> impl Iterator<Item = usize> {
    let shown = n.min(LAYERS);
    (0..shown).map(move |place| place * (n - 1) / (shown - 1).max(1))
}

/// At most [`DRAWN`] neurons at random, and those of rare classes; large classes first, so that the rare ones lie on top.
fn thinned(neurons: &[NeuronCosines]) -> Vec<NeuronCosines> {
    let mut sizes: BTreeMap<Class, usize> = BTreeMap::new();
    for neuron in neurons {
        *sizes.entry(neuron.class).or_default() += 1;
    }
    let is_rare = |neuron: &NeuronCosines| sizes[&neuron.class] <= RARE;
    let (mut drawn, common): (Vec<_>, Vec<_>) = neurons.iter().partition(|n| is_rare(n));
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut places = sample(&mut rng, common.len(), common.len().min(DRAWN)).into_vec();
    places.sort_unstable();
    drawn.extend(places.into_iter().map(|place| common[place]));
    drawn.sort_by_key(|neuron: &NeuronCosines| (Reverse(sizes[&neuron.class]), neuron.class));
    drawn
}

fn chart(neurons: &[NeuronCosines], threshold: f32) -> Chart {
    let t = f64::from(threshold);
    let thresholds = [-t, t].map(|t| [[(t, -1.0), (t, 1.0)], [(-1.0, t), (1.0, t)]]);
    let lines = thresholds.concat().into_iter();
    let lines = lines.map(|ends| Mark::new(Kind::Line(2), Tone::Muted, ends));
    let dots = neurons.chunk_by(|a, b| a.class == b.class).map(|alike| {
        let place = |n: &NeuronCosines| (n.gate_out.into(), n.in_out.into());
        let class = alike[0].class;
        let dots = Mark::new(Kind::SmallDots, Tone::Class(class), alike.iter().map(place));
        dots.named(class.as_str())
    });
    let axis = |label| Axis::new(label, -1.0..1.0, Ticks::Anywhere);
    let marks = lines.chain(dots).collect();
    let [x, y] = ["cos(w_gate, w_out)", "cos(w_in, w_out)"].map(axis);
    Chart::new(SQUARE, x, y, marks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::shown;

    use Class::{Depletion as D, OrthogonalOutput as Oo};

    fn neurons(layers: usize, each: usize) -> Vec<NeuronCosines> {
        let neuron = |i: usize| {
            let is_rare = i.is_multiple_of(400);
            NeuronCosines {
                layer: (i / each) as u16,
                neuron: (i % each) as u32,
                gate_out: if is_rare { -0.75 } else { 0.25 },
                in_out: if is_rare { -0.75 } else { 0.5 },
                class: if is_rare { D } else { Oo },
            }
        };
        (0..layers * each).map(neuron).collect()
    }

    #[test]
    fn layers_are_spread_evenly_with_both_ends() {
        assert_eq!(spread(30).collect::<Vec<_>>(), [0, 5, 11, 17, 23, 29]);
        assert_eq!(
            [3, 1, 0].map(|n| spread(n).collect::<Vec<_>>()),
            [vec![0, 1, 2], vec![0], vec![]]
        );
    }

    #[test]
    fn rare_classes_stay_and_the_rest_is_thinned_always_alike() {
        let layer = neurons(1, 2000);
        let drawn = thinned(&layer);
        let rare = drawn.iter().filter(|neuron| neuron.class == D);
        assert_eq!((drawn.len(), rare.count()), (DRAWN + 5, 5));
        assert_eq!(drawn.last().unwrap().class, D, "on top");
        assert_eq!(drawn, thinned(&layer));
        assert_eq!(thinned(&layer[..100]).len(), 100);
        let page = shown(&[dots(&neurons(8, 1000), 0.5)]);
        // 20 of 8,000 beyond; 0.5 itself is not
        for text in [
            "6 of 8 layers",
            "seed 0",
            "w_out) 20 (0.25\u{a0}%), below 0 20",
            "503 of 1,000 neurons",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
    }
}
