//! What each class does, beside its matched random draws: sums per block of units and per layer.
//!
//! Only sums over whole neuron sets are kept, not over neurons, and units beyond [`MAX_BLOCKS`] share a block with
//! their neighbours: memory does not grow with the number of prompts. [`super::view`] makes estimates of them.

use rayon::prelude::*;

use super::input::Role;
use super::state::{Field, Stateful};
use super::{LayerReader, LayerRows, Pass, ReadError};
use crate::experiment::Treatment;
use crate::io_class::NeuronTable;

/// Blocks of consecutive units, the bootstrap's units: each unit one, as long as there are no more.
pub(super) const MAX_BLOCKS: usize = 1024;

/// Tokens of the same block and role that are added up before the sets are looked at.
const CHUNK: usize = 64;

/// Sums of a set of neurons over tokens: how often gate > 0, |post|, and |post| times the length of w_out.
pub(super) type Sums = [f64; QUANTITIES];

/// Kinds of sums.
pub(super) const QUANTITIES: usize = 3;

/// The classes with their draws.
pub struct ClassSets {
    treatments: Vec<Treatment>,
    layers: Vec<LayerSets>,
}

/// The sets of all classes and draws in one layer.
struct LayerSets {
    /// Length of w_out of each neuron.
    norms: Vec<f64>,
    sets: Vec<LayerSet>,
}

/// Neurons of one layer that count for one class, or for draws of it.
struct LayerSet {
    neurons: Vec<u32>,
    /// Where the sums go: the class, one draw, or all draws where nothing is left to choose.
    slots: std::ops::Range<usize>,
    /// In the comparison, a draw weighs as much in each layer as its class, also where it is smaller. A class
    /// weighs nothing where nothing is outside it.
    weight: f64,
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

/// The sums so far.
pub struct ClassActivity<'s> {
    pub(super) sets: &'s ClassSets,
    units: usize,
    blocks: usize,
    /// `[block, role, slot]`, weighted, over layers.
    pub(super) by_block: Vec<Sums>,
    /// `[layer, slot]`, not weighted.
    pub(super) by_layer: Vec<Sums>,
    /// `[block, role]`: tokens.
    pub(super) tokens: Vec<u64>,
    /// The layer at which tokens are counted: the first of the recorded ones.
    first_layer: usize,
}

/// Tokens of one block and role, by their row of the batch.
struct Chunk {
    cell: usize,
    packed: Vec<usize>,
}

impl<'s> ClassActivity<'s> {
    /// Nothing seen yet of `units` units; `first_layer` is the first recorded layer.
    pub fn new(sets: &'s ClassSets, units: usize, first_layer: usize) -> Self {
        let blocks = units.min(MAX_BLOCKS);
        let cells = blocks * Role::ALL.len();
        Self {
            units,
            blocks,
            by_block: vec![Sums::default(); cells * sets.slots()],
            by_layer: vec![Sums::default(); sets.layers.len() * sets.slots()],
            tokens: vec![0; cells],
            first_layer,
            sets,
        }
    }

    /// The bootstrap's units.
    pub(super) fn blocks(&self) -> usize {
        self.blocks
    }

    /// Where the sums of a block and role stand, before multiplication by the slots.
    pub(super) fn cell(block: usize, role: Role) -> usize {
        block * Role::ALL.len() + role as usize
    }

    fn chunks(&self, pass: &Pass) -> Vec<Chunk> {
        let cell = |unit: usize, role| Self::cell(unit * self.blocks / self.units, role);
        let mut rows: Vec<(usize, usize)> = pass
            .rows
            .iter()
            .map(|row| (cell(row.unit, row.role), row.packed))
            .collect();
        rows.sort_by_key(|(cell, _)| *cell); // stable: in the order of the input
        let same_cell = rows.chunk_by(|a, b| a.0 == b.0);
        let chunks = same_cell
            .flat_map(|rows| rows.chunks(CHUNK))
            .map(|rows| Chunk {
                cell: rows[0].0,
                packed: rows.iter().map(|(_, packed)| *packed).collect(),
            });
        chunks.collect()
    }
}

impl LayerReader for ClassActivity<'_> {
    fn read(&mut self, rows: &LayerRows<'_>, pass: &Pass) -> Result<(), ReadError> {
        let layer = &self.sets.layers[rows.layer];
        let chunks = self.chunks(pass);
        let simd = pulp::Arch::new();
        let sums: Vec<Vec<Sums>> = chunks
            .par_iter()
            .map(|chunk| {
                simd.dispatch(ChunkSums {
                    layer,
                    rows,
                    packed: &chunk.packed,
                })
            })
            .collect();
        let slots = self.sets.slots();
        for (chunk, sums) in chunks.iter().zip(sums) {
            if rows.layer == self.first_layer {
                self.tokens[chunk.cell] += chunk.packed.len() as u64;
            }
            let cell = &mut self.by_block[chunk.cell * slots..][..slots];
            let of_layer = &mut self.by_layer[rows.layer * slots..][..slots];
            for (set, sum) in layer.sets.iter().zip(sums) {
                for slot in set.slots.clone() {
                    add(&mut cell[slot], sum.map(|value| value * set.weight));
                    add(&mut of_layer[slot], sum);
                }
            }
        }
        Ok(())
    }
}

pub(super) fn add(to: &mut Sums, sums: Sums) {
    for (to, sum) in to.iter_mut().zip(sums) {
        *to += sum;
    }
}

/// The sums of one neuron over a chunk, and one more number to fill the register. In f32, so that those of a layer
/// fit the first cache; they are added up in f64.
type Padded = [f32; QUANTITIES + 1];

/// Partial sums that do not wait for each other.
const PARTS: usize = 4;

/// The sums of each set over some tokens. A type of its own, since a closure would not be compiled for the
/// instructions that are dispatched to.
struct ChunkSums<'c> {
    layer: &'c LayerSets,
    rows: &'c LayerRows<'c>,
    packed: &'c [usize],
}

impl pulp::WithSimd for ChunkSums<'_> {
    type Output = Vec<Sums>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Vec<Sums> {
        let of_neurons = of_neurons(self.rows, self.packed, &self.layer.norms);
        let mut sums = Vec::with_capacity(self.layer.sets.len());
        for set in &self.layer.sets {
            sums.push(sum(&of_neurons, &set.neurons));
        }
        sums
    }
}

#[inline(always)]
fn sum(of_neurons: &[Padded], neurons: &[u32]) -> Sums {
    let mut parts = [[0f64; QUANTITIES + 1]; PARTS];
    for neurons in neurons.chunks(PARTS) {
        for (part, neuron) in parts.iter_mut().zip(neurons) {
            let neuron = &of_neurons[*neuron as usize];
            for k in 0..neuron.len() {
                part[k] += f64::from(neuron[k]);
            }
        }
    }
    std::array::from_fn(|k| parts.iter().map(|part| part[k]).sum())
}

/// The sums of each neuron over some tokens.
#[inline(always)]
fn of_neurons(rows: &LayerRows<'_>, packed: &[usize], norms: &[f64]) -> Vec<Padded> {
    let mut fired = vec![0u32; rows.width];
    let mut strength = vec![0f64; rows.width];
    for &packed in packed {
        let [gate, _, post] = rows.at(packed, 0..rows.width);
        for (fired, gate) in fired.iter_mut().zip(gate) {
            *fired += u32::from(*gate > 0.0);
        }
        for (strength, post) in strength.iter_mut().zip(post) {
            *strength += f64::from(post.abs());
        }
    }
    let mut sums = vec![Padded::default(); rows.width];
    for (n, sums) in sums.iter_mut().enumerate() {
        let contribution = strength[n] * norms[n];
        *sums = [
            fired[n] as f32,
            strength[n] as f32,
            contribution as f32,
            0.0,
        ];
    }
    sums
}

impl Stateful for ClassActivity<'_> {
    fn visit(&mut self, visit: &mut dyn FnMut(Field<'_>)) {
        visit(Field::U64(&mut self.tokens));
        for sums in self.by_block.iter_mut().chain(&mut self.by_layer) {
            visit(Field::F64(sums));
        }
    }
}
