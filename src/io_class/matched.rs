//! Random sets to compare a class with: as many neurons per layer, from outside the class (docs/statistics.md).
//!
//! Each layer of each draw has its own random stream, seeded by (seed, draw, layer, the class's neurons in that
//! layer). A draw therefore does not depend on which other classes run, nor on how many draws are asked for, and
//! a class restricted to one layer meets the same neurons there as the whole class does. Nothing here knows text:
//! how often neurons fire, or how much they write, is given as numbers.

use std::fmt;
use std::ops::Range;

use rand::Rng;
use rand::SeedableRng;
use rand::seq::{SliceRandom, index};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{ClassError, NeuronRow, NeuronTable};
use crate::hooks::neurons::{Neuron, NeuronSet};

/// A partner comes from at most this share of the layer's candidates, half of it on each side in their ranking. Wide
/// enough that draws differ, narrow enough that what they are ranked by agrees.
const WINDOW: f64 = 0.1;

/// Candidates on each side that a window keeps at the ends of the ranking, so that draws still differ there.
const NARROWEST: usize = 5;

/// Mixed into every seed; a change of the procedure gets another tag.
const SEED_TAG: &[u8] = b"gatelens matched draw 1";
const SUBSET_TAG: &[u8] = b"gatelens matched subset 1";

/// What a random neuron has in common with the class neuron that it stands for.
#[derive(
    Copy,
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = ClassError, parse_err_fn = unknown_match)]
pub enum Match {
    /// The layer: uniform without replacement.
    #[default]
    Layer,
    /// The layer and about the length of w_out. In random order each class neuron gets one of the candidates that
    /// are still free and nearest to it in the ranking by norm_out: a uniform pick from at most a tenth of the layer,
    /// as many below as above. Where the class takes most of the long outputs of a layer, no set of equal norms exists.
    #[serde(rename = "layer+norm")]
    #[strum(serialize = "layer+norm")]
    LayerNorm,
    /// The layer and about the firing frequency, the share of recorded tokens with gate > 0: as by norm, in the
    /// ranking by frequency. Candidates of equal frequency stand in it in the order of their numbers, and a class
    /// neuron of that frequency in their middle.
    #[serde(rename = "layer+frequency")]
    #[strum(serialize = "layer+frequency")]
    LayerFrequency,
    /// The layer and about the contribution, the mean of |post|·‖w_out‖ over some tokens: as by frequency.
    #[serde(rename = "layer+contribution")]
    #[strum(serialize = "layer+contribution")]
    LayerContribution,
    /// The layer and about the damage: what switching the neuron off changes of a text's mean next-token log-probability,
    /// to first order (signed): as by frequency.
    #[serde(rename = "layer+effect")]
    #[strum(serialize = "layer+effect")]
    LayerEffect,
}

/// A [`Match`] with what is needed to draw by it.
#[derive(Copy, Clone, Debug)]
pub enum Matching<'f> {
    /// See [`Match::Layer`].
    Layer,
    /// See [`Match::LayerNorm`].
    LayerNorm,
    /// See [`Match::LayerFrequency`], [`Match::LayerContribution`] and [`Match::LayerEffect`], whose numbers these are.
    LayerAnd(&'f NeuronNumbers),
}

impl Match {
    /// Puts in the frequencies, contributions or first-order effects.
    ///
    /// # Errors
    /// [`ClassError::NeedsFrequency`], [`ClassError::NeedsContribution`] or [`ClassError::NeedsEffect`] where absent.
    pub fn with(self, numbers: Option<&NeuronNumbers>) -> Result<Matching<'_>, ClassError> {
        let absent = match self {
            Match::Layer => return Ok(Matching::Layer),
            Match::LayerNorm => return Ok(Matching::LayerNorm),
            Match::LayerFrequency => ClassError::NeedsFrequency,
            Match::LayerContribution => ClassError::NeedsContribution,
            Match::LayerEffect => ClassError::NeedsEffect,
        };
        numbers.map(Matching::LayerAnd).ok_or(absent)
    }

    /// The name in files and on the command line.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

fn unknown_match(name: &str) -> ClassError {
    ClassError::UnknownMatch {
        name: name.to_owned(),
    }
}

/// A number of every neuron: how often it fires (share of some tokens with gate > 0), how much it writes, or its effect.
#[derive(Clone, Debug, PartialEq)]
pub struct NeuronNumbers {
    layers: Vec<Vec<f64>>, // [n_layers][d_mlp], or nothing where the layer was not recorded
}

impl NeuronNumbers {
    /// By layer and neuron; a layer without any was not recorded.
    pub fn new(layers: Vec<Vec<f64>>) -> Self {
        Self { layers }
    }

    /// Those of one layer, where it was recorded.
    pub fn layer(&self, layer: usize) -> Option<&[f64]> {
        let numbers = self.layers.get(layer)?;
        (!numbers.is_empty()).then_some(numbers)
    }

    fn recorded(&self) -> Vec<usize> {
        let layers = 0..self.layers.len();
        layers.filter(|l| self.layer(*l).is_some()).collect()
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
#[derive(Clone, Debug, Default, PartialEq)]
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
/// table; [`ClassError::NothingOutside`] when draws are asked for and not one neuron could be drawn;
/// [`ClassError::LayerNotRecorded`] for a class with neurons in a layer that has no numbers, and
/// [`ClassError::OtherFrequencies`] where that has another number of them.
pub fn matched_draws(
    table: &NeuronTable,
    class: &NeuronSet,
    draws: usize,
    seed: u64,
    matching: Matching<'_>,
) -> Result<MatchedDraws, ClassError> {
    check_set(table, class)?;
    let pools = (0..class.n_layers())
        .filter(|layer| !class.layer(*layer).is_empty())
        .map(|layer| Pool::new(layer, &table.layers[layer], class.layer(layer), matching));
    let pools = pools.collect::<Result<Vec<Pool>, _>>()?;
    if draws > 0 && pools.iter().all(|pool| pool.wanted() == 0) {
        return Err(ClassError::NothingOutside {
            neurons: class.len(),
        });
    }
    let set = |draw| {
        let mut layers = vec![Vec::new(); class.n_layers()];
        for pool in &pools {
            layers[pool.layer] = pool.draw(seed, draw, matching);
        }
        NeuronSet::from_layers(layers)
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

/// What the neurons of a layer are ranked by.
enum RankedBy<'a> {
    NormOut(&'a [NeuronRow]),
    Number(&'a [f64]),
}

impl<'a> RankedBy<'a> {
    fn new(
        layer: usize,
        rows: &'a [NeuronRow],
        matching: Matching<'a>,
    ) -> Result<Self, ClassError> {
        let Matching::LayerAnd(given) = matching else {
            return Ok(RankedBy::NormOut(rows));
        };
        let numbers = given.layer(layer);
        let numbers = numbers.ok_or_else(|| ClassError::LayerNotRecorded {
            layer,
            recorded: given.recorded(),
        })?;
        if numbers.len() == rows.len() {
            Ok(RankedBy::Number(numbers))
        } else {
            Err(ClassError::OtherFrequencies {
                layer,
                frequencies: numbers.len(),
                d_mlp: rows.len(),
            })
        }
    }

    fn key(&self, index: u32) -> f64 {
        match self {
            RankedBy::NormOut(rows) => f64::from(rows[index as usize].norm_out),
            RankedBy::Number(numbers) => numbers[index as usize],
        }
    }

    /// Where a class neuron stands among candidates in the order of the ranking. Equal norms hardly occur, but many
    /// neurons fire equally often, or never: before all of these, only those of the lowest numbers would be near.
    fn place(&self, neuron: u32, candidates: &[u32]) -> usize {
        let key = self.key(neuron);
        let below = candidates.partition_point(|&other| self.key(other) < key);
        let equal = candidates[below..].partition_point(|&other| self.key(other) <= key);
        match self {
            RankedBy::NormOut(_) => below,
            RankedBy::Number(_) => below + equal / 2,
        }
    }
}

/// One layer's neurons, parted into class and candidates.
struct Pool<'a> {
    layer: usize,
    ranking: RankedBy<'a>,
    class: &'a [u32],
    outside: Vec<u32>, // in the order of the ranking, then by index
}

impl<'a> Pool<'a> {
    fn new(
        layer: usize,
        rows: &'a [NeuronRow],
        class: &'a [u32],
        matching: Matching<'a>,
    ) -> Result<Self, ClassError> {
        let ranking = RankedBy::new(layer, rows, matching)?;
        let indices = (0u32..).zip(rows).map(|(index, _)| index);
        let mut outside: Vec<u32> = indices
            .filter(|index| class.binary_search(index).is_err())
            .collect();
        outside.sort_by(|&a, &b| ranking.key(a).total_cmp(&ranking.key(b)));
        Ok(Pool {
            layer,
            ranking,
            class,
            outside,
        })
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

    fn draw(&self, seed: u64, draw: usize, matching: Matching<'_>) -> Vec<u32> {
        if self.class.len() >= self.outside.len() {
            return self.outside.clone();
        }
        let mut rng = self.rng(seed, draw);
        match matching {
            Matching::Layer => {
                let chosen = index::sample(&mut rng, self.outside.len(), self.wanted());
                chosen
                    .iter()
                    .map(|position| self.outside[position])
                    .collect()
            }
            Matching::LayerNorm | Matching::LayerAnd(_) => self.draw_nearby(&mut rng),
        }
    }

    fn draw_nearby(&self, rng: &mut ChaCha8Rng) -> Vec<u32> {
        let widest = (self.outside.len() as f64 * WINDOW / 2.0).ceil() as usize;
        let mut free = self.outside.clone();
        // In random order: the last ones find fewer candidates nearby, and these should not be the same each time.
        let mut class = self.class.to_vec();
        class.shuffle(rng);
        let partner = |&neuron: &u32| {
            let rank = self.ranking.place(neuron, &free);
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
/// ranking would pull the partners of a class that sits there towards the middle.
fn window(rank: usize, free: usize, widest: usize) -> Range<usize> {
    let to_the_end = rank.min(free - rank);
    let half = to_the_end.min(widest).max(NARROWEST);
    rank.saturating_sub(half)..free.min(rank + half)
}

#[cfg(test)]
mod tests;
