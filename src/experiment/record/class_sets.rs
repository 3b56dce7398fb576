//! The neurons that the class view adds up, layer by layer: each class beside its matched random draws.

use std::ops::Range;

use crate::experiment::Treatment;
use crate::io_class::NeuronTable;

/// The classes with their draws.
pub struct ClassSets {
    treatments: Vec<Treatment>,
    pub(super) layers: Vec<LayerSets>,
}

/// The sets of all classes and draws in one layer.
pub(super) struct LayerSets {
    /// Length of w_out of each neuron.
    pub norms: Vec<f64>,
    pub sets: Vec<LayerSet>,
}

/// Neurons of one layer that count for one class, or for draws of it.
pub(super) struct LayerSet {
    pub neurons: Vec<u32>,
    /// Where the sums go: the class, one draw, or all draws where nothing is left to choose.
    pub slots: Range<usize>,
    /// In the comparison, a draw weighs as much in each layer as its class, also where it is smaller. A class
    /// weighs nothing where nothing is outside it.
    pub weight: f64,
}

impl ClassSets {
    /// The sets of `treatments`, in all layers of `table`.
    pub fn new(treatments: Vec<Treatment>, table: &NeuronTable) -> Self {
        let layers = (0..table.layers.len()).map(|layer| LayerSets {
            norms: table.layers[layer]
                .iter()
                .map(|row| f64::from(row.norm_out))
                .collect(),
            sets: layer_sets(&treatments, layer),
        });
        Self {
            layers: layers.collect(),
            treatments,
        }
    }

    /// The classes.
    pub fn treatments(&self) -> &[Treatment] {
        &self.treatments
    }

    /// Sets of all classes and draws; the class's own is the first of its slots.
    pub(super) fn slots(&self) -> usize {
        self.treatments.iter().map(slots_of).sum()
    }

    /// How many neurons of class number `class` the comparison counts: all but those of layers that it fills.
    pub(super) fn compared_neurons(&self, class: usize) -> f64 {
        let slot: usize = self.treatments[..class].iter().map(slots_of).sum();
        let sets = self.layers.iter().flat_map(|layer| &layer.sets);
        let of_class = sets.filter(|set| set.slots.start == slot);
        of_class
            .map(|set| set.weight * set.neurons.len() as f64)
            .sum()
    }
}

/// Sets of a class: itself, and its draws.
pub(super) fn slots_of(treatment: &Treatment) -> usize {
    1 + treatment.baseline.len()
}

fn layer_sets(treatments: &[Treatment], layer: usize) -> Vec<LayerSet> {
    let mut sets = Vec::new();
    let mut slot = 0;
    for treatment in treatments {
        let class = treatment.neurons.layer(layer);
        let draws = &treatment.baseline;
        let drawn = |draw: usize| draws[draw].layer(layer);
        let without_baseline = !draws.is_empty() && drawn(0).is_empty();
        let all_alike = (1..draws.len()).all(|draw| drawn(draw) == drawn(0));
        let set = |neurons: &[u32], slots, weight| LayerSet {
            neurons: neurons.to_vec(),
            slots,
            weight,
        };
        let weight = |draw: &[u32]| class.len() as f64 / draw.len().max(1) as f64;
        sets.push(set(
            class,
            slot..slot + 1,
            if without_baseline { 0.0 } else { 1.0 },
        ));
        let first = slot + 1;
        slot = first + draws.len();
        if all_alike && !draws.is_empty() {
            sets.push(set(drawn(0), first..slot, weight(drawn(0))));
            continue;
        }
        let separate = (first..).zip(draws).map(|(at, draw)| {
            let neurons = draw.layer(layer);
            set(neurons, at..at + 1, weight(neurons))
        });
        sets.extend(separate);
    }
    sets.retain(|set| !set.neurons.is_empty());
    sets
}
