//! Random sets to compare a class with: as many neurons per layer, from outside the class (DESIGN 7).
//!
//! Each layer of each draw has its own random stream, seeded by (seed, draw, layer, the class's neurons in that
//! layer). A draw therefore does not depend on which other classes run, nor on how many draws are asked for, and
//! a class restricted to one layer meets the same neurons there as the whole class does. Nothing here knows text:
//! matching by firing frequency needs recordings.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use rand::Rng;
use rand::SeedableRng;
use rand::seq::{SliceRandom, index};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{ClassError, NeuronRow, NeuronTable};
use crate::hooks::neurons::{Neuron, NeuronSet};

/// Under [`Match::LayerNorm`] a partner comes from at most this share of the layer's candidates, half of it on each
/// side in the order of norm_out. Wide enough that draws differ, narrow enough that the norms agree.
const NORM_WINDOW: f64 = 0.1;

/// Candidates on each side that a window keeps at the ends of the ranking, so that draws still differ there.
const NARROWEST: usize = 5;

/// Mixed into every seed; a change of the procedure gets another tag.
const SEED_TAG: &[u8] = b"gatelens matched draw 1";
const SUBSET_TAG: &[u8] = b"gatelens matched subset 1";

/// What a random neuron has in common with the class neuron that it stands for.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum Match {
    /// The layer: uniform without replacement.
    #[default]
    #[serde(rename = "layer")]
    Layer,
    /// The layer and about the length of w_out. In random order each class neuron gets one of the candidates that
    /// are still free and nearest to it in the ranking by norm_out: a uniform pick from at most a tenth of the layer,
    /// as many below as above. Where the class takes most of the long outputs of a layer, no set of equal norms exists.
    #[serde(rename = "layer+norm")]
    LayerNorm,
}

impl Match {
    /// The name in files and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Match::Layer => "layer",
            Match::LayerNorm => "layer+norm",
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Match {
    type Err = ClassError;

    fn from_str(name: &str) -> Result<Self, ClassError> {
        match name {
            "layer" => Ok(Match::Layer),
            "layer+norm" => Ok(Match::LayerNorm),
            "layer+frequency" => Err(ClassError::NeedsFrequency),
            _ => Err(ClassError::UnknownMatch {
                name: name.to_owned(),
            }),
        }
    }
}

/// A layer of which the class holds more than half: its baseline is smaller than the class, and the same in every draw.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shortfall {
    /// The layer.
    pub layer: usize,
    /// Neurons of the class in it.
    pub class: usize,
    /// Neurons outside the class, all of which are in every draw.
    pub available: usize,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shortfall {
            layer,
            class,
            available,
        } = self;
        write!(
            f,
            "layer {layer}: the class has {class} neurons, only {available} are outside it"
        )
    }
}

/// Random sets matched to one class.
#[derive(Clone, Debug, PartialEq)]
pub struct MatchedDraws {
    /// One set per draw. Draws are independent: where little is left outside the class, two may agree.
    pub sets: Vec<NeuronSet>,
    /// The layers where the sets are smaller than the class; the same for all draws.
    pub shortfall: Vec<Shortfall>,
}

/// `draws` random sets, each with as many neurons per layer as `class`, all outside `class`.
///
/// # Errors
/// [`ClassError::EmptySet`], [`ClassError::OtherModel`] or [`ClassError::OutOfRange`] for a set that does not fit the
/// table; [`ClassError::NothingOutside`] when draws are asked for and not one neuron could be drawn.
pub fn matched_draws(
    table: &NeuronTable,
    class: &NeuronSet,
    draws: usize,
    seed: u64,
    matching: Match,
) -> Result<MatchedDraws, ClassError> {
    check_set(table, class)?;
    let pools: Vec<Pool> = (0..class.n_layers())
        .map(|layer| Pool::new(layer, &table.layers[layer], class.layer(layer)))
        .collect();
    if draws > 0 && pools.iter().all(|pool| pool.wanted() == 0) {
        return Err(ClassError::NothingOutside {
            neurons: class.len(),
        });
    }
    let set = |draw| {
        let layers = pools.iter().map(|pool| pool.draw(seed, draw, matching));
        NeuronSet::from_layers(layers.collect())
    };
    Ok(MatchedDraws {
        sets: (0..draws).map(set).collect(),
        shortfall: pools.iter().filter_map(Pool::shortfall).collect(),
    })
}

/// As many neurons of `class` in each layer as its draws have there, chosen at random where the class holds more than
/// half of the layer: the largest part of a class that can be compared at equal counts.
pub fn matched_subset(class: &NeuronSet, shortfall: &[Shortfall], seed: u64) -> NeuronSet {
    let layer = |layer: usize| {
        let neurons = class.layer(layer);
        match shortfall.iter().find(|short| short.layer == layer) {
            None => neurons.to_vec(),
            Some(short) => {
                let mut rng = seeded(SUBSET_TAG, [seed, 0, layer as u64], neurons);
                let chosen = index::sample(&mut rng, neurons.len(), short.available);
                chosen.iter().map(|place| neurons[place]).collect()
            }
        }
    };
    NeuronSet::from_layers((0..class.n_layers()).map(layer).collect())
}

fn check_set(table: &NeuronTable, class: &NeuronSet) -> Result<(), ClassError> {
    let (set_layers, table_layers) = (class.n_layers(), table.layers.len());
    if set_layers != table_layers {
        return Err(ClassError::OtherModel {
            set_layers,
            table_layers,
        });
    }
    if class.is_empty() {
        return Err(ClassError::EmptySet);
    }
    let d_mlp = |neuron: Neuron| table.layers[neuron.layer].len();
    match class.iter().find(|&neuron| neuron.index >= d_mlp(neuron)) {
        Some(neuron) => Err(ClassError::OutOfRange {
            neuron,
            d_mlp: d_mlp(neuron),
        }),
        None => Ok(()),
    }
}

/// One layer's neurons, parted into class and candidates.
struct Pool<'a> {
    layer: usize,
    rows: &'a [NeuronRow],
    class: &'a [u32],
    outside: Vec<u32>, // by norm_out, then index
}

impl<'a> Pool<'a> {
    fn new(layer: usize, rows: &'a [NeuronRow], class: &'a [u32]) -> Self {
        let indices = (0u32..).zip(rows).map(|(index, _)| index);
        let mut outside: Vec<u32> = indices
            .filter(|index| class.binary_search(index).is_err())
            .collect();
        outside.sort_by(|&a, &b| norm_out(rows, a).total_cmp(&norm_out(rows, b)));
        Pool {
            layer,
            rows,
            class,
            outside,
        }
    }

    fn wanted(&self) -> usize {
        self.class.len().min(self.outside.len())
    }

    fn shortfall(&self) -> Option<Shortfall> {
        let (class, available) = (self.class.len(), self.outside.len());
        (class > available).then_some(Shortfall {
            layer: self.layer,
            class,
            available,
        })
    }

    fn draw(&self, seed: u64, draw: usize, matching: Match) -> Vec<u32> {
        if self.class.len() >= self.outside.len() {
            return self.outside.clone();
        }
        let mut rng = self.rng(seed, draw);
        match matching {
            Match::Layer => {
                let chosen = index::sample(&mut rng, self.outside.len(), self.wanted());
                chosen
                    .iter()
                    .map(|position| self.outside[position])
                    .collect()
            }
            Match::LayerNorm => self.draw_by_norm(&mut rng),
        }
    }

    fn draw_by_norm(&self, rng: &mut ChaCha8Rng) -> Vec<u32> {
        let widest = (self.outside.len() as f64 * NORM_WINDOW / 2.0).ceil() as usize;
        let mut free = self.outside.clone();
        // In random order: the last ones find fewer candidates nearby, and these should not be the same each time.
        let mut class = self.class.to_vec();
        class.shuffle(rng);
        let partner = |&neuron: &u32| {
            let norm = norm_out(self.rows, neuron);
            let rank = free.partition_point(|&other| norm_out(self.rows, other) < norm);
            free.remove(rng.random_range(window(rank, free.len(), widest)))
        };
        class.iter().map(partner).collect()
    }

    fn rng(&self, seed: u64, draw: usize) -> ChaCha8Rng {
        seeded(SEED_TAG, [seed, draw as u64, self.layer as u64], self.class)
    }
}

/// A random stream of its own for each procedure, seed, draw, layer and class.
fn seeded(tag: &[u8], numbers: [u64; 3], class: &[u32]) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(tag);
    for number in numbers {
        hash.update(number.to_le_bytes());
    }
    for index in class {
        hash.update(index.to_le_bytes());
    }
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// The positions around `rank` that may be picked, as many below as above it: a window cut off at one end of the
/// ranking would pull the norms of a class that sits there towards the middle.
fn window(rank: usize, free: usize, widest: usize) -> Range<usize> {
    let to_the_end = rank.min(free - rank);
    let half = to_the_end.min(widest).max(NARROWEST);
    rank.saturating_sub(half)..free.min(rank + half)
}

fn norm_out(rows: &[NeuronRow], index: u32) -> f32 {
    rows[index as usize].norm_out
}

#[cfg(test)]
mod tests;
