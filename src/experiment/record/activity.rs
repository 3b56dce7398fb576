//! What each class does, beside its matched random draws: sums per block of units and per layer.
//!
//! Only sums over whole neuron sets are kept, not over neurons, and units beyond [`MAX_BLOCKS`] share a block with
//! those of their cluster, or with their neighbours: memory does not grow with the number of prompts. [`super::view`] makes estimates of them.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::class_sets::{ClassSets, LayerSets};
use super::input::{RecordedRow, RecordedRows, Role};
use super::layer::{LayerRows, MlpReader};
use crate::hooks::ReadError;

/// Blocks of units, over which the statistics are: each unit one, as long as there are no more.
pub(super) const MAX_BLOCKS: usize = 1024;

/// Tokens of the same block and place that are added up before the sets are looked at.
const CHUNK: usize = 64;

/// Sums of a set of neurons over tokens: how often gate > 0, |post|, and |post| times the length of w_out.
pub(super) type Sums = [f64; QUANTITIES];

/// Kinds of sums.
pub(super) const QUANTITIES: usize = 3;

/// The sums so far.
pub struct ClassActivity<'s> {
    pub(super) sets: &'s ClassSets,
    /// Of each unit.
    block_of: Vec<usize>,
    /// Of each block.
    clusters: Vec<usize>,
    /// `[block, place, slot]`, weighted, over layers.
    pub(super) by_block: Vec<Sums>,
    /// `[layer, slot]`, not weighted.
    pub(super) by_layer: Vec<Sums>,
    /// `[block, place]`: tokens.
    pub(super) tokens: Vec<u64>,
    /// The layer at which tokens are counted: the first of the recorded ones.
    first_layer: usize,
}

/// Sums of all slots over the tokens of one block and place, or over those of a layer; a row of a part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotsRow {
    /// The block and place; absent for the sums of a layer.
    cell: Option<u32>,
    /// The layer, of sums that have one.
    layer: Option<u32>,
    /// Tokens of the block and place.
    tokens: u64,
    /// By slot.
    sums: Vec<Sums>,
}

/// Of each unit its block, and of each block its cluster, from the clusters of the units.
fn blocks(clusters: &[usize]) -> (Vec<usize>, Vec<usize>) {
    if clusters.len() <= MAX_BLOCKS {
        return ((0..clusters.len()).collect(), clusters.to_vec());
    }
    let mut ranks = BTreeMap::new();
    let rank_of = clusters.iter().map(|cluster| {
        let next = ranks.len();
        *ranks.entry(cluster).or_insert(next)
    });
    let rank_of: Vec<usize> = rank_of.collect();
    let blocks = ranks.len().min(MAX_BLOCKS);
    let of_unit = rank_of.iter().map(|rank| rank * blocks / ranks.len());
    (of_unit.collect(), (0..blocks).collect())
}

/// Tokens of one block and place, by their row of the batch.
struct Chunk {
    cell: usize,
    packed: Vec<usize>,
}

impl<'s> ClassActivity<'s> {
    /// Nothing seen yet of units with these clusters; `first_layer` is the first recorded layer.
    pub fn new(sets: &'s ClassSets, clusters: &[usize], first_layer: usize) -> Self {
        let (block_of, clusters) = blocks(clusters);
        let cells = clusters.len() * Role::PLACES.len();
        Self {
            block_of,
            clusters,
            by_block: vec![Sums::default(); cells * sets.slots()],
            by_layer: vec![Sums::default(); sets.layers.len() * sets.slots()],
            tokens: vec![0; cells],
            first_layer,
            sets,
        }
    }

    /// Of each block, the units of the statistics, its cluster.
    pub(super) fn clusters(&self) -> &[usize] {
        &self.clusters
    }

    /// Where the sums of a block and a place of [`Role::PLACES`] stand, before multiplication by the slots.
    pub(super) fn cell(block: usize, place: usize) -> usize {
        block * Role::PLACES.len() + place
    }

    /// Bytes that it holds, the same from the first token to the last.
    pub(super) fn bytes(&self) -> u64 {
        let sums = size_of_val(&self.by_block[..]) + size_of_val(&self.by_layer[..]);
        (sums + size_of_val(&self.tokens[..])) as u64
    }

    /// As a part keeps them; blocks and places without a token are left out.
    pub(super) fn rows(&self) -> Vec<SlotsRow> {
        let slots = self.sets.slots();
        let of_slots = |sums: &[Sums], at: usize| sums[at * slots..][..slots].to_vec();
        let there = (0..self.tokens.len()).filter(|cell| self.tokens[*cell] > 0);
        let cells = there.map(|cell| SlotsRow {
            cell: Some(cell as u32),
            layer: None,
            tokens: self.tokens[cell],
            sums: of_slots(&self.by_block, cell),
        });
        let layers = (0..self.sets.layers.len()).map(|layer| SlotsRow {
            cell: None,
            layer: Some(layer as u32),
            tokens: 0,
            sums: of_slots(&self.by_layer, layer),
        });
        cells.chain(layers).collect()
    }

    /// Adds what another pass gave; nothing where that is of other sets or of another input.
    pub(super) fn join(&mut self, rows: &[SlotsRow]) -> Option<()> {
        let slots = self.sets.slots();
        for row in rows {
            let (to, at) = match (row.cell, row.layer) {
                (Some(cell), None) => {
                    *self.tokens.get_mut(cell as usize)? += row.tokens;
                    (&mut self.by_block, cell)
                }
                (None, Some(layer)) => (&mut self.by_layer, layer),
                _ => return None,
            };
            let to = to.get_mut(at as usize * slots..)?.get_mut(..slots)?;
            if row.sums.len() != slots {
                return None;
            }
            for (to, sums) in to.iter_mut().zip(&row.sums) {
                add(to, *sums);
            }
        }
        Some(())
    }

    fn chunks(&self, recorded: &RecordedRows) -> Vec<Chunk> {
        let cell = |row: &RecordedRow| {
            let mut places = Role::PLACES.iter();
            let place = places.position(|place| *place == (row.role, row.is_first()));
            Some((Self::cell(self.block_of[row.unit], place?), row.packed))
        };
        let mut rows: Vec<(usize, usize)> = recorded.rows.iter().filter_map(cell).collect();
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

impl MlpReader for ClassActivity<'_> {
    fn read(&mut self, rows: &LayerRows<'_>, recorded: &RecordedRows) -> Result<(), ReadError> {
        let layer = &self.sets.layers[rows.layer];
        let chunks = self.chunks(recorded);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_their_own_blocks_while_there_is_room() {
        assert_eq!(blocks(&[4, 4, 7]), (vec![0, 1, 2], vec![4, 4, 7]));
    }

    #[test]
    fn beyond_that_clusters_stay_whole() {
        // 3 clusters, in turn
        let units: Vec<usize> = (0..MAX_BLOCKS + 2).map(|unit| unit % 3 * 10).collect();
        let (of_unit, clusters) = blocks(&units);
        assert_eq!(clusters, [0, 1, 2]);
        assert!(
            of_unit
                .iter()
                .zip(&units)
                .all(|(block, cluster)| block * 10 == *cluster)
        );
        // units that stand alone share a block with a neighbour
        let alone: Vec<usize> = (0..2 * MAX_BLOCKS).collect();
        let (of_unit, clusters) = blocks(&alone);
        assert_eq!(
            (clusters.len(), of_unit[0], of_unit[1], of_unit[2]),
            (MAX_BLOCKS, 0, 0, 1)
        );
    }
}
