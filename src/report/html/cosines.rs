//! Every neuron as a dot: cos(w_gate, w_out) and cos(w_in, w_out), in some layers.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;

use super::block::{Block, Figure, Key, Panel, Picture};
use super::chart::{Axis, Chart, Dot, Mark, Point, Shape, Ticks, Weight};
use super::words::{count, percent};
use crate::io_class::Class;
use crate::report::tone::Tone;

/// What a page reads of a row of `neurons.parquet`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NeuronCosines {
    pub layer: usize,
    pub gate_out: f32,
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

pub fn figure(neurons: &[NeuronCosines], threshold: f32) -> Block {
    let mut layers: BTreeMap<usize, Vec<NeuronCosines>> = BTreeMap::new();
    for neuron in neurons {
        layers.entry(neuron.layer).or_default().push(*neuron);
    }
    let layers: Vec<(usize, Vec<NeuronCosines>)> = layers.into_iter().collect();
    let shown: Vec<(usize, usize, Vec<NeuronCosines>)> = spread(layers.len())
        .map(|place| {
            (
                layers[place].0,
                layers[place].1.len(),
                thinned(&layers[place].1),
            )
        })
        .collect();
    let drawn: usize = shown.iter().map(|(.., drawn)| drawn.len()).sum();
    let classes = Class::ALL.into_iter();
    let classes = classes.filter(|class| {
        shown
            .iter()
            .any(|(.., d)| d.iter().any(|n| n.class == *class))
    });
    Block::Figure(Figure {
        title: "Cosines of single neurons".to_string(),
        reading: reading(neurons, threshold),
        keys: classes
            .map(|class| Key::new("●", Tone::Class(class), class.as_str()))
            .collect(),
        panels: shown
            .iter()
            .map(|(layer, of, drawn)| Panel {
                title: format!(
                    "layer {layer}: {} of {} neurons",
                    count(drawn.len()),
                    count(*of)
                ),
                reading: String::new(),
                picture: Picture::Chart(chart(drawn, threshold)),
            })
            .collect(),
        notes: vec![format!(
            "{} dots: {} of {} layers, evenly spread, and of each at most {DRAWN} neurons, chosen at random with seed {SEED}; \
             classes with no more than {RARE} neurons in the layer are drawn whole. Lines: the threshold {threshold} on \
             either side.",
            count(drawn),
            shown.len(),
            layers.len(),
        )],
        n: format!(
            "{} neurons, {} of them drawn",
            count(neurons.len()),
            count(drawn)
        ),
    })
}

/// Up to [`LAYERS`] places among `n`, the first and the last with them.
fn spread(n: usize) -> impl Iterator<Item = usize> {
    let shown = n.min(LAYERS);
    (0..shown).map(move |place| place * (n - 1) / (shown - 1).max(1))
}

/// At most [`DRAWN`] neurons at random, and those of rare classes; large classes first, so that the rare ones lie on top.
fn thinned(neurons: &[NeuronCosines]) -> Vec<NeuronCosines> {
    let size = |class: Class| {
        neurons
            .iter()
            .filter(|neuron| neuron.class == class)
            .count()
    };
    let sizes: BTreeMap<Class, usize> = Class::ALL.map(|class| (class, size(class))).into();
    let (rare, common): (Vec<&NeuronCosines>, Vec<&NeuronCosines>) = neurons
        .iter()
        .partition(|neuron| sizes[&neuron.class] <= RARE);
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let wanted = common.len().min(DRAWN);
    let mut places = sample(&mut rng, common.len(), wanted).into_vec();
    places.sort_unstable();
    let chosen = places.into_iter().map(|place| *common[place]);
    let mut drawn: Vec<NeuronCosines> = chosen.chain(rare.into_iter().copied()).collect();
    drawn.sort_by_key(|neuron| std::cmp::Reverse(sizes[&neuron.class]));
    drawn
}

fn reading(neurons: &[NeuronCosines], threshold: f32) -> String {
    let share = |cosine: fn(&NeuronCosines) -> f32| {
        let beyond = neurons
            .iter()
            .filter(|neuron| cosine(neuron).abs() > threshold);
        percent(beyond.count() as f64 / neurons.len().max(1) as f64)
    };
    let negative = neurons
        .iter()
        .filter(|neuron| neuron.in_out < -threshold)
        .count();
    format!(
        "|cos(w_in, w_out)| is beyond {threshold} in {} of all neurons ({} of them on the negative side), \
         |cos(w_gate, w_out)| in {}.",
        share(|neuron| neuron.in_out),
        count(negative),
        share(|neuron| neuron.gate_out),
    )
}

fn chart(neurons: &[NeuronCosines], threshold: f32) -> Chart {
    let axis = |label: &str| Axis {
        label: label.to_string(),
        range: -1.0..1.0,
        ticks: Ticks::Anywhere,
    };
    let t = f64::from(threshold);
    let line = |points: [Point; 2]| Mark::Line {
        points: points.to_vec(),
        tone: Tone::Muted,
        weight: Weight::Thin,
    };
    let thresholds = [-t, t]
        .into_iter()
        .flat_map(|t| [[(t, -1.0), (t, 1.0)], [(-1.0, t), (1.0, t)]]);
    // One mark for neurons of a class that follow each other.
    let dots = neurons
        .chunk_by(|a, b| a.class == b.class)
        .map(|of_class| Mark::Dots {
            points: of_class
                .iter()
                .map(|n| (f64::from(n.gate_out), f64::from(n.in_out)))
                .collect(),
            tone: Tone::Class(of_class[0].class),
            dot: Dot::Small,
        });
    Chart {
        shape: Shape::Square,
        x: axis("cos(w_gate, w_out)"),
        y: axis("cos(w_in, w_out)"),
        marks: thresholds.map(line).chain(dots).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neurons(layers: usize, each: usize) -> Vec<NeuronCosines> {
        let neuron = |i: usize| {
            let is_rare = i.is_multiple_of(400);
            NeuronCosines {
                layer: i / each,
                gate_out: if is_rare { -0.75 } else { 0.25 },
                in_out: if is_rare { -0.75 } else { 0.5 },
                class: if is_rare {
                    Class::Depletion
                } else {
                    Class::OrthogonalOutput
                },
            }
        };
        (0..layers * each).map(neuron).collect()
    }

    #[test]
    fn layers_are_spread_evenly_with_both_ends() {
        assert_eq!(spread(30).collect::<Vec<_>>(), [0, 5, 11, 17, 23, 29]);
        assert_eq!(spread(3).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(spread(1).collect::<Vec<_>>(), [0]);
        assert_eq!(spread(0).count(), 0);
    }

    #[test]
    fn rare_classes_stay_and_the_rest_is_thinned_always_alike() {
        let layer = neurons(1, 2000);
        let drawn = thinned(&layer);
        let rare = drawn
            .iter()
            .filter(|neuron| neuron.class == Class::Depletion);
        assert_eq!((drawn.len(), rare.count()), (DRAWN + 5, 5));
        assert_eq!(drawn.last().unwrap().class, Class::Depletion, "on top");
        assert_eq!(drawn, thinned(&layer));
        assert_eq!(thinned(&layer[..100]).len(), 100);
    }

    #[test]
    fn what_is_thinned_is_said() {
        let Block::Figure(figure) = figure(&neurons(8, 1000), 0.5) else {
            panic!()
        };
        assert_eq!(figure.panels.len(), LAYERS);
        assert!(figure.notes[0].contains("seed 0") && figure.notes[0].contains("6 of 8 layers"));
        // 20 of 8,000 beyond; 0.5 itself is not
        assert_eq!(
            figure.reading,
            "|cos(w_in, w_out)| is beyond 0.5 in 0.25\u{a0}% of all neurons (20 of them on the negative side), \
             |cos(w_gate, w_out)| in 0.25\u{a0}%."
        );
        let Picture::Chart(chart) = &figure.panels[0].picture else {
            panic!()
        };
        assert_eq!(
            chart.marks.len(),
            4 + 2,
            "two thresholds on each axis, two classes"
        );
    }
}
