//! What every neuron did over all recorded tokens, in memory that does not depend on how many these are.
//!
//! Counts, means and largest values take in every token. Only the lists of the strongest leave out a token whose
//! whole context was recorded before ([`RecordedRow::repeated`]): it would be the same event once more.

use std::ops::Range;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::input::{RecordedRow, RecordedRows};
use super::layer::{LayerReader, LayerRows};
use super::moments::{Chunk, LANES, Moments};
use super::rows::SummaryRow;
use crate::hooks::{Neuron, RawCase, ReadError};
use crate::io_class::NeuronRow;

/// The strongest tokens that are kept of each neuron.
pub const TOP_TOKENS: usize = 16;

/// Neurons of a task: their stretch of a row is a few cache lines.
const BLOCK: usize = 64;

/// Rows of a chunk: with a block's neurons they fit the second cache, and their counts 32 bits.
const CHUNK: usize = 64;

/// The tokens with the largest |post| that is not 0, strongest first; of equal ones the earlier row. A token that was
/// recorded before in the same context is not among them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TopTokens {
    len: u64,
    values: [f32; TOP_TOKENS],
    rows: [u64; TOP_TOKENS],
}

impl TopTokens {
    /// post and row of each.
    pub fn iter(&self) -> impl Iterator<Item = (f32, u64)> + '_ {
        let values = self.values.iter().copied();
        values
            .zip(self.rows.iter().copied())
            .take(self.len as usize)
    }

    /// A |post| must be larger than this to come in.
    fn least(&self) -> f32 {
        match (self.len as usize).checked_sub(TOP_TOKENS) {
            Some(_) => self.values[TOP_TOKENS - 1].abs(),
            None => 0.0,
        }
    }

    /// Rows must come in ascending order.
    fn add(&mut self, post: f32, row: u64) {
        let place = self.iter().take_while(|(held, _)| held.abs() >= post.abs());
        let place = place.count();
        if place == TOP_TOKENS {
            return;
        }
        let len = (self.len as usize + 1).min(TOP_TOKENS);
        self.values.copy_within(place..len - 1, place + 1);
        self.rows.copy_within(place..len - 1, place + 1);
        (self.values[place], self.rows[place]) = (post, row);
        self.len = len as u64;
    }
}

/// Neurons side by side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Group {
    moments: Moments,
    top: [TopTokens; LANES],
}

/// A group of neurons over the tokens of a pass; a row of a part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupRow {
    layer: u16,
    tokens: u64,
    group: Group,
}

/// The neurons of one layer.
#[derive(Clone, Debug, PartialEq)]
struct LayerSummary {
    tokens: u64,
    groups: Vec<Group>,
}

/// The neurons of the recorded layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    layers: Range<usize>,
    d_mlp: usize,
    of_layer: Vec<LayerSummary>,
}

impl Summary {
    /// Of `layers`, each with `d_mlp` neurons; nothing seen yet.
    pub fn new(layers: Range<usize>, d_mlp: usize) -> Self {
        let layer = LayerSummary {
            tokens: 0,
            groups: vec![Group::default(); d_mlp.div_ceil(LANES)],
        };
        Self {
            of_layer: vec![layer; layers.len()],
            layers,
            d_mlp,
        }
    }

    /// The recorded layers.
    pub fn layers(&self) -> Range<usize> {
        self.layers.clone()
    }

    /// Every neuron of a recorded layer, in order; `classes` are those of the layer.
    pub fn rows(&self, layer: usize, classes: &[NeuronRow]) -> impl Iterator<Item = SummaryRow> {
        let of_layer = self.of_layer(layer);
        let neurons = classes.iter().take(self.d_mlp).enumerate();
        neurons.map(move |(index, row)| of_layer.row(Neuron { layer, index }, row))
    }

    /// The strongest tokens of every neuron of a recorded layer, in order; repeated ones are left out.
    pub fn top(&self, layer: usize) -> impl Iterator<Item = &TopTokens> {
        let groups = self.of_layer(layer).groups.iter();
        groups.flat_map(|group| &group.top).take(self.d_mlp)
    }

    /// As a part keeps it: the groups of the layers, in order.
    pub(super) fn into_rows(self) -> Vec<GroupRow> {
        let layers = self.layers.zip(self.of_layer);
        let rows = layers.flat_map(|(layer, of_layer)| {
            let groups = of_layer.groups.into_iter();
            groups.map(move |group| GroupRow {
                layer: layer as u16,
                tokens: of_layer.tokens,
                group,
            })
        });
        rows.collect()
    }

    /// Adds what the pass behind this gave; nothing where that is of other neurons.
    pub(super) fn join(&mut self, rows: &[GroupRow]) -> Option<()> {
        let mut rows = rows.iter();
        for (layer, of_layer) in self.layers.clone().zip(&mut self.of_layer) {
            let mut tokens = 0;
            for group in &mut of_layer.groups {
                let row = rows.next().filter(|row| usize::from(row.layer) == layer)?;
                tokens = row.tokens;
                group.join(&row.group, (of_layer.tokens, tokens));
            }
            of_layer.tokens += tokens;
        }
        rows.next().is_none().then_some(())
    }

    /// Bytes that it holds, the same from the first token to the last.
    pub(super) fn bytes(&self) -> u64 {
        let groups = self.of_layer.iter().map(|layer| layer.groups.len());
        (groups.sum::<usize>() * size_of::<Group>()) as u64
    }

    fn of_layer(&self, layer: usize) -> &LayerSummary {
        &self.of_layer[layer - self.layers.start]
    }
}

impl LayerSummary {
    fn row(&self, neuron: Neuron, row: &NeuronRow) -> SummaryRow {
        let (group, k) = (&self.groups[neuron.index / LANES], neuron.index % LANES);
        let (moments, n) = (&group.moments, self.tokens as f64);
        let count = moments.cases.map(|case| case.count[k]);
        let of_some = |case: usize| (count[case] > 0).then_some(&moments.cases[case]);
        let mean = |case| of_some(case).map(|c| c.sum[k] / c.count[k] as f64);
        let max_abs = |case| of_some(case).map(|c| c.max_abs[k]);
        let [gp_up, gp_um, gm_up, gm_um] = RawCase::ALL.map(|case| case as usize);
        SummaryRow {
            layer: neuron.layer as u16,
            neuron: neuron.index as u32,
            class: row.class,
            sign: row.sign,
            tokens: self.tokens,
            frequency: (self.tokens > 0).then(|| moments.fired[k] as f64 / n),
            mean_post: (self.tokens > 0).then_some(moments.mean[k]),
            var_post: (self.tokens > 1).then(|| moments.squares[k] / (n - 1.0)),
            max_abs_post: moments.max_abs(k),
            count_gp_up: count[gp_up],
            mean_post_gp_up: mean(gp_up),
            max_abs_post_gp_up: max_abs(gp_up),
            count_gp_um: count[gp_um],
            mean_post_gp_um: mean(gp_um),
            max_abs_post_gp_um: max_abs(gp_um),
            count_gm_up: count[gm_up],
            mean_post_gm_up: mean(gm_up),
            max_abs_post_gm_up: max_abs(gm_up),
            count_gm_um: count[gm_um],
            mean_post_gm_um: mean(gm_um),
            max_abs_post_gm_um: max_abs(gm_um),
        }
    }
}

impl LayerReader for Summary {
    fn read(&mut self, rows: &LayerRows<'_>, recorded: &RecordedRows) -> Result<(), ReadError> {
        let layer = &mut self.of_layer[rows.layer - self.layers.start];
        let before = layer.tokens;
        let simd = pulp::Arch::new();
        let blocks = layer.groups.par_chunks_mut(BLOCK / LANES).enumerate();
        blocks.for_each(|(block, groups)| {
            simd.dispatch(Block {
                groups,
                first: block * BLOCK,
                rows,
                recorded,
                before,
            });
        });
        layer.tokens += recorded.rows.len() as u64;
        Ok(())
    }
}

/// All recorded rows, for the neurons from `first` on. A type of its own, since a closure would not be compiled
/// for the instructions that are dispatched to.
struct Block<'b> {
    groups: &'b mut [Group],
    first: usize,
    rows: &'b LayerRows<'b>,
    recorded: &'b RecordedRows,
    before: u64,
}

impl pulp::WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let rows = self.rows;
        let mut rows_of_group = Chunk::default();
        for (index, chunk) in self.recorded.rows.chunks(CHUNK).enumerate() {
            let seen = (index * CHUNK) as u64;
            for (place, group) in self.groups.iter_mut().enumerate() {
                let at = self.first + place * LANES;
                let neurons = at..rows.width.min(at + LANES);
                gather(
                    &mut rows_of_group.gate,
                    rows.gate,
                    chunk,
                    (rows.width, &neurons),
                );
                gather(
                    &mut rows_of_group.up,
                    rows.up,
                    chunk,
                    (rows.width, &neurons),
                );
                gather(
                    &mut rows_of_group.post,
                    rows.post,
                    chunk,
                    (rows.width, &neurons),
                );
                group.moments.add(&rows_of_group, self.before + seen);
                let first_row = self.recorded.first_row + seen;
                group.keep_strongest(&rows_of_group.post, chunk, first_row);
            }
        }
    }
}

/// The values of some neurons at the rows of a chunk; where a layer ends within the lanes, the others are 0.
#[inline(always)]
fn gather(
    to: &mut Vec<[f32; LANES]>,
    values: &[f32],
    rows: &[RecordedRow],
    (width, neurons): (usize, &Range<usize>),
) {
    to.clear();
    for row in rows {
        let values = &values[row.packed * width..][neurons.clone()];
        to.push(match values.first_chunk::<LANES>() {
            Some(values) => *values,
            None => padded(values),
        });
    }
}

#[cold]
fn padded(values: &[f32]) -> [f32; LANES] {
    let mut padded = [0.0; LANES];
    padded[..values.len()].copy_from_slice(values);
    padded
}

impl Group {
    /// Adds what the tokens behind these gave.
    fn join(&mut self, other: &Group, tokens: (u64, u64)) {
        self.moments.join(&other.moments, tokens);
        for (top, other) in self.top.iter_mut().zip(&other.top) {
            // Of equals the earlier row comes first: it was added first, here and there.
            other.iter().for_each(|(post, row)| top.add(post, row));
        }
    }

    #[inline(always)]
    fn keep_strongest(&mut self, posts: &[[f32; LANES]], tokens: &[RecordedRow], first_row: u64) {
        let mut least: [f32; LANES] = std::array::from_fn(|k| self.top[k].least());
        for (i, post) in posts.iter().enumerate() {
            // One jump that is hardly ever taken, not one for each lane.
            let mut stronger = false;
            for k in 0..LANES {
                stronger |= post[k].abs() > least[k];
            }
            if stronger && !tokens[i].repeated {
                self.keep_row(post, first_row + i as u64, &mut least);
            }
        }
    }

    #[cold]
    fn keep_row(&mut self, post: &[f32; LANES], row: u64, least: &mut [f32; LANES]) {
        for k in 0..LANES {
            if post[k].abs() > least[k] {
                self.top[k].add(post[k], row);
                least[k] = self.top[k].least();
            }
        }
    }
}

#[cfg(test)]
mod tests;
