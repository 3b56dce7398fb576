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
        let mut hash = Sha256::new();
        hash.update(SEED_TAG);
        for number in [seed, draw as u64, self.layer as u64] {
            hash.update(number.to_le_bytes());
        }
        for index in self.class {
            hash.update(index.to_le_bytes());
        }
        ChaCha8Rng::from_seed(hash.finalize().into())
    }
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
mod tests {
    use super::super::testing::row;
    use super::super::{Class, Fold};
    use super::*;

    const D_MLP: usize = 400;

    /// Three layers; the norm of neuron n is n, so that high indices have long outputs.
    fn table() -> NeuronTable {
        let layer = |_| {
            (0..D_MLP)
                .map(|n| row(Class::OrthogonalOutput, 0.0, n as f32))
                .collect()
        };
        NeuronTable {
            fold: Fold::Pre,
            threshold: 0.5,
            layers: (0..3).map(layer).collect(),
        }
    }

    fn set(neurons: impl IntoIterator<Item = (usize, usize)>) -> NeuronSet {
        let neurons = neurons
            .into_iter()
            .map(|(layer, index)| Neuron { layer, index });
        NeuronSet::from_neurons(3, D_MLP, neurons).unwrap()
    }

    /// 30 long neurons in layer 0, five short ones in layer 2.
    fn class() -> NeuronSet {
        set((350..380).map(|n| (0, n)).chain((10..15).map(|n| (2, n))))
    }

    fn drawn(class: &NeuronSet, draws: usize, seed: u64, matching: Match) -> Vec<NeuronSet> {
        matched_draws(&table(), class, draws, seed, matching)
            .unwrap()
            .sets
    }

    #[test]
    fn draws_match_the_counts_and_avoid_the_class() {
        let class = class();
        for matching in [Match::Layer, Match::LayerNorm] {
            let sets = drawn(&class, 10, 0, matching);
            assert_eq!(sets.len(), 10);
            for set in &sets {
                assert_eq!([0, 1, 2].map(|layer| set.layer(layer).len()), [30, 0, 5]);
                assert!(set.iter().all(|neuron| !class.contains(neuron)));
            }
            for (i, set) in sets.iter().enumerate() {
                assert!(sets[..i].iter().all(|other| other != set));
            }
        }
    }

    #[test]
    fn draws_are_reproducible_and_follow_the_seed() {
        for matching in [Match::Layer, Match::LayerNorm] {
            let sets = drawn(&class(), 4, 0, matching);
            assert_eq!(sets, drawn(&class(), 4, 0, matching));
            assert_eq!(sets[..2], drawn(&class(), 2, 0, matching));
            assert_ne!(sets, drawn(&class(), 4, 1, matching));
        }
    }

    #[test]
    fn a_restricted_class_meets_the_same_neurons() {
        let whole = drawn(&class(), 3, 5, Match::Layer);
        let alone = drawn(&class().restrict_layers(2..3), 3, 5, Match::Layer);
        for (whole, alone) in whole.iter().zip(alone) {
            assert_eq!(whole.restrict_layers(2..3), alone);
        }
    }

    #[test]
    fn uniform_draws_reach_every_candidate_about_equally_often() {
        let class = set((0..200).step_by(2).map(|n| (1, n)));
        let mut hits = vec![0; D_MLP];
        for set in drawn(&class, 300, 3, Match::Layer) {
            set.layer(1).iter().for_each(|&n| hits[n as usize] += 1);
        }
        // 300 draws of 100 from 300: 100 each, standard deviation 8.2
        let outside = (0..D_MLP as u32).filter(|n| class.layer(1).binary_search(n).is_err());
        assert!(
            outside
                .map(|n| hits[n as usize])
                .all(|hits| (60..140).contains(&hits))
        );
    }

    #[test]
    fn matching_norms_brings_the_norms_near() {
        let class = class();
        let mean_norm = |set: &NeuronSet| {
            let layer = set.layer(0);
            layer.iter().map(|&n| f64::from(n)).sum::<f64>() / layer.len() as f64
        };
        let distance = |matching| {
            let sets = drawn(&class, 20, 0, matching);
            let off = |set: &NeuronSet| (mean_norm(set) - mean_norm(&class)).abs();
            sets.iter().map(off).sum::<f64>() / sets.len() as f64
        };
        // Norms run from 0 to 399: uniform draws average near 185, the class 364.5.
        assert!(
            distance(Match::LayerNorm) < 20.0,
            "{}",
            distance(Match::LayerNorm)
        );
        assert!(distance(Match::Layer) > 150.0, "{}", distance(Match::Layer));
    }

    #[test]
    fn windows_are_even_sided_and_never_empty() {
        assert_eq!(window(50, 100, 7), 43..57);
        assert_eq!(window(94, 100, 7), 88..100);
        assert_eq!(window(0, 100, 7), 0..5);
        assert_eq!(window(100, 100, 7), 95..100);
        assert_eq!(window(1, 1, 7), 0..1);
        assert_eq!(window(0, 1, 1), 0..1);
    }

    #[test]
    fn a_class_of_more_than_half_a_layer_takes_all_the_rest_and_says_so() {
        let class = set((0..300).map(|n| (1, n)).chain([(2, 0)]));
        for matching in [Match::Layer, Match::LayerNorm] {
            let draws = matched_draws(&table(), &class, 3, 0, matching).unwrap();
            assert_eq!(
                draws.shortfall,
                [Shortfall {
                    layer: 1,
                    class: 300,
                    available: 100
                }]
            );
            for set in &draws.sets {
                assert!(set.layer(1).iter().copied().eq(300..400));
                assert_eq!(set.layer(2).len(), 1);
            }
        }
        let half = set((0..200).map(|n| (1, n)));
        let draws = matched_draws(&table(), &half, 1, 0, Match::Layer).unwrap();
        assert!(draws.shortfall.is_empty() && draws.sets[0].len() == 200);
        let text = Shortfall {
            layer: 1,
            class: 300,
            available: 100,
        }
        .to_string();
        assert_eq!(
            text,
            "layer 1: the class has 300 neurons, only 100 are outside it"
        );
    }

    #[test]
    fn sets_that_cannot_have_a_baseline_are_errors() {
        let draws =
            |class: &NeuronSet, draws| matched_draws(&table(), class, draws, 0, Match::Layer);
        assert!(matches!(
            draws(&NeuronSet::empty(3), 1),
            Err(ClassError::EmptySet)
        ));
        assert!(matches!(
            draws(&NeuronSet::empty(4), 1),
            Err(ClassError::OtherModel { .. })
        ));
        let whole_layer = set((0..D_MLP).map(|n| (1, n)));
        assert!(matches!(
            draws(&whole_layer, 1),
            Err(ClassError::NothingOutside { neurons: D_MLP })
        ));
        assert!(draws(&whole_layer, 0).unwrap().sets.is_empty());
        let wide = NeuronSet::from_neurons(
            3,
            999,
            [Neuron {
                layer: 1,
                index: 400,
            }],
        )
        .unwrap();
        let message = draws(&wide, 1).unwrap_err().to_string();
        assert!(
            message.contains("1.400") && message.contains("400 neurons"),
            "{message}"
        );
    }

    #[test]
    fn names_of_the_matchings() {
        for matching in [Match::Layer, Match::LayerNorm] {
            assert_eq!(matching.to_string().parse::<Match>().unwrap(), matching);
            assert_eq!(serde_json::to_value(matching).unwrap(), matching.as_str());
        }
        let message = "layer+frequency".parse::<Match>().unwrap_err().to_string();
        assert!(message.contains("recorded"), "{message}");
        assert!(matches!(
            "norm".parse::<Match>(),
            Err(ClassError::UnknownMatch { .. })
        ));
    }
}
