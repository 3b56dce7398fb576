//! The mismatched chance level: cosines between vectors of different neurons of one layer (arXiv 2505.17936).
//!
//! A layer has d_mlp·(d_mlp - 1) such pairs for each of the three kinds, and all of them are taken. A block of
//! vectors is multiplied with all vectors of the layer, and its cosines go into a histogram; the matrix of all
//! pairs is never in memory. What is: the unit vectors w_in and w_out of the layer, besides the layer itself.

use std::ops::Range;

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::super::folded::{FoldedMlp, Vector, with_folded};
use super::super::weights::numbers;
use super::super::{ClassError, Fold, MlpWeights};
use super::{PerPair, Region, TAIL};
use crate::engine::Progress;
use crate::hooks::neurons::Neuron;
use crate::model::{Checkpoint, Config, Mlp};

/// Vectors that are multiplied with all others at once: wide enough for a fast product.
const BLOCK: usize = 512;

/// Vectors that one thread folds at once, as for the cosines.
const FOLD_BLOCK: usize = 32;

/// Bins of a histogram over [-1, 1]; each is 1e-5 wide, and a quantile is wrong by no more than that.
const BINS: usize = 200_000;

/// Floating-point operations for the mismatched regions of a whole model.
pub fn mismatched_flop(config: &Config) -> f64 {
    let pairs = 3.0 * (config.d_mlp as f64).powi(2);
    2.0 * pairs * config.d_model as f64 * config.n_layers() as f64
}

/// The mismatched regions of every layer of a checkpoint, reading one layer's MLP at a time.
///
/// # Errors
/// See [`mismatched_layer`]; a tensor that cannot be read.
pub fn mismatched_regions(
    checkpoint: &Checkpoint,
    fold: Fold,
    progress: &dyn Progress,
) -> Result<Vec<PerPair<Region>>, ClassError> {
    let config = checkpoint.config();
    progress.start(
        "comparing mismatched neurons",
        (config.n_layers() * config.d_mlp) as u64,
    );
    let layer = |l| {
        let mlp = Mlp::load(checkpoint, l)?;
        mismatched_layer(l, &MlpWeights::from(&mlp), fold, progress)
    };
    (0..config.n_layers()).map(layer).collect()
}

/// The 2.5 % and 97.5 % quantiles of cos(w_a of neuron i, w_b of neuron j) over all i ≠ j of one layer, a and b
/// being gate and in, gate and out, in and out, as folded.
///
/// Quantiles are those of numpy's default (linear between the two nearest cosines), to 1e-5. The cosine with a
/// vector of zeros is 0. Advances `progress` by one per neuron.
///
/// # Errors
/// [`ClassError::Shape`] when the tensors do not fit each other or hold only one neuron;
/// [`ClassError::NotFinite`] and [`ClassError::GainNotFinite`] name the first bad neuron or gain.
pub fn mismatched_layer(
    layer: usize,
    weights: &MlpWeights,
    fold: Fold,
    progress: &dyn Progress,
) -> Result<PerPair<Region>, ClassError> {
    with_folded(layer, weights, fold, |mlp| {
        if mlp.d_mlp < 2 {
            return Err(ClassError::Shape {
                layer,
                tensor: "gate_proj",
                expected: "[2 or more, d_model]".to_string(),
                found: vec![mlp.d_mlp, mlp.d_model],
            });
        }
        let tallies = tally(mlp, progress)?;
        Ok(PerPair {
            gate_in: tallies.gate_in.region(),
            gate_out: tallies.gate_out.region(),
            in_out: tallies.in_out.region(),
        })
    })
}

fn tally(mlp: &FoldedMlp, progress: &dyn Progress) -> Result<PerPair<Tally>, ClassError> {
    let w_in = unit_vectors(mlp, Vector::In, 0..mlp.d_mlp)?; // [d_mlp, d_model]
    let w_out = unit_vectors(mlp, Vector::Out, 0..mlp.d_mlp)?; // [d_mlp, d_model]
    let mut tallies = PerPair {
        gate_in: Tally::new(),
        gate_out: Tally::new(),
        in_out: Tally::new(),
    };
    for first in (0..mlp.d_mlp).step_by(BLOCK) {
        let block = first..mlp.d_mlp.min(first + BLOCK);
        let neurons = block.len();
        let gate = unit_vectors(mlp, Vector::Gate, block)?; // [block, d_model]
        let mut add = || -> candle_core::Result<()> {
            let input = w_in.narrow(0, first, neurons)?; // [block, d_model]
            tallies.gate_in.add(&gate.matmul(&w_in.t()?)?, first)?; // [block, d_mlp]
            tallies.gate_out.add(&gate.matmul(&w_out.t()?)?, first)?;
            tallies.in_out.add(&input.matmul(&w_out.t()?)?, first)
        };
        add().map_err(|source| ClassError::Tensor {
            layer: mlp.layer,
            source,
        })?;
        progress.advance(neurons as u64);
    }
    Ok(tallies)
}

/// One vector of each of `neurons`, folded, of length 1 or 0: `[neurons, d_model]`.
fn unit_vectors(
    mlp: &FoldedMlp,
    which: Vector,
    neurons: Range<usize>,
) -> Result<Tensor, ClassError> {
    let shape = (neurons.len(), mlp.d_model);
    let mut units = vec![0f32; shape.0 * shape.1];
    // Collected before the errors are looked at, so that the same neuron is blamed each time.
    let done: Vec<Result<(), ClassError>> = units
        .par_chunks_mut(FOLD_BLOCK * mlp.d_model)
        .zip(neurons.clone().into_par_iter().step_by(FOLD_BLOCK))
        .map(|(units, first)| {
            let end = neurons.end.min(first + FOLD_BLOCK);
            units.copy_from_slice(&mlp.vectors(which, first..end));
            let vectors = units.chunks_exact_mut(mlp.d_model);
            vectors.zip(first..).try_for_each(|(vector, index)| {
                let layer = mlp.layer;
                let tensor = which.tensor();
                make_unit(vector).ok_or(ClassError::NotFinite {
                    neuron: Neuron { layer, index },
                    tensor,
                })
            })
        })
        .collect();
    done.into_iter().collect::<Result<(), _>>()?;
    Tensor::from_vec(units, shape, &Device::Cpu).map_err(|source| ClassError::Tensor {
        layer: mlp.layer,
        source,
    })
}

/// Divides by the length, but for a vector of zeros; `None` where the vector is not finite.
fn make_unit(vector: &mut [f32]) -> Option<()> {
    let square: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    if square > 0.0 {
        let length = square.sqrt();
        vector
            .iter_mut()
            .for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
    square.is_finite().then_some(())
}

/// How often each cosine occurred, in one histogram per thread.
struct Tally {
    parts: Vec<Vec<u64>>, // [threads][BINS]
}

impl Tally {
    fn new() -> Self {
        Self {
            parts: vec![vec![0; BINS]; rayon::current_num_threads()],
        }
    }

    /// Adds the cosines of some neurons, from `first` on, with all neurons of the layer (`[neurons, d_mlp]`), but
    /// not those of a neuron with itself.
    fn add(&mut self, cosines: &Tensor, first: usize) -> candle_core::Result<()> {
        let (neurons, d_mlp) = cosines.dims2()?;
        let (storage, layout) = cosines.storage_and_layout();
        let each = neurons.div_ceil(self.parts.len());
        let shares = numbers(&storage, layout)?.par_chunks(each * d_mlp); // as many as threads, or fewer
        let work = self.parts.par_iter_mut().zip(shares).enumerate();
        work.for_each(|(thread, (bins, share))| {
            for (row, neuron) in share.chunks_exact(d_mlp).zip(first + thread * each..) {
                count(bins, &row[..neuron]);
                count(bins, &row[neuron + 1..]);
            }
        });
        Ok(())
    }

    fn region(&self) -> Region {
        let bins: Vec<u64> = (0..BINS)
            .map(|bin| self.parts.iter().map(|part| part[bin]).sum())
            .collect();
        Region {
            low: quantile(&bins, TAIL),
            high: quantile(&bins, 1.0 - TAIL),
        }
    }
}

fn count(bins: &mut [u64], cosines: &[f32]) {
    const PER_UNIT: f32 = BINS as f32 / 2.0;
    for cosine in cosines {
        // Rounding may take a cosine a little beyond ±1; below, the cast ends at 0.
        let bin = ((cosine + 1.0) * PER_UNIT) as usize;
        bins[bin.min(BINS - 1)] += 1;
    }
}

/// With N sorted cosines from 0 on, the one at place p·(N - 1), linear between its neighbours.
fn quantile(bins: &[u64], p: f64) -> f32 {
    let place = p * (bins.iter().sum::<u64>() - 1) as f64;
    let lower = sorted(bins, place as u64);
    let upper = sorted(bins, place.ceil() as u64);
    (lower + place.fract() * (upper - lower)) as f32
}

/// The cosine at place `place` in sorted order, as if those of a bin were spread evenly over it.
fn sorted(bins: &[u64], place: u64) -> f64 {
    let mut before = 0;
    for (bin, &count) in bins.iter().enumerate() {
        if before + count > place {
            let within = ((place - before) as f64 + 0.5) / count as f64;
            return (bin as f64 + within) * 2.0 / BINS as f64 - 1.0;
        }
        before += count;
    }
    1.0
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::super::super::testing::{Layer, vector};
    use super::super::beta_region;
    use super::*;

    /// The histogram's width, and a little for f32.
    const TOLERANCE: f32 = 1.1e-5;

    fn regions(layer: &Layer, fold: Fold) -> PerPair<Region> {
        mismatched_layer(0, &layer.weights(), fold, &()).unwrap()
    }

    /// All pairs in f64, sorted: what the definition says. Vectors are scaled by hand, `gains` being (pre, post).
    fn brute_force(layer: &Layer, gains: (&[f64], &[f64])) -> PerPair<Region> {
        let rows = |tensor: &Tensor, gain: &[f64]| -> Vec<Vec<f64>> {
            let rows = tensor
                .to_dtype(DType::F64)
                .unwrap()
                .to_vec2::<f64>()
                .unwrap();
            let fold = |row: Vec<f64>| row.iter().zip(gain).map(|(x, g)| x * g).collect();
            rows.into_iter().map(fold).collect()
        };
        let gate = rows(&layer.gate, gains.0);
        let input = rows(&layer.up, gains.0);
        let out = rows(&layer.down.t().unwrap(), gains.1);
        PerPair {
            gate_in: region_of(&gate, &input),
            gate_out: region_of(&gate, &out),
            in_out: region_of(&input, &out),
        }
    }

    fn region_of(a: &[Vec<f64>], b: &[Vec<f64>]) -> Region {
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let mut cosines = Vec::new();
        for (i, x) in a.iter().enumerate() {
            for (_, y) in b.iter().enumerate().filter(|(j, _)| *j != i) {
                let norms = (dot(x, x) * dot(y, y)).sqrt();
                cosines.push(if norms > 0.0 { dot(x, y) / norms } else { 0.0 });
            }
        }
        cosines.sort_by(f64::total_cmp);
        let at = |p: f64| {
            let place = p * (cosines.len() - 1) as f64;
            let (lower, upper) = (cosines[place as usize], cosines[place.ceil() as usize]);
            (lower + place.fract() * (upper - lower)) as f32
        };
        Region {
            low: at(0.025),
            high: at(0.975),
        }
    }

    fn assert_near(found: PerPair<Region>, expected: PerPair<Region>) {
        for (found, expected) in [
            (found.gate_in, expected.gate_in),
            (found.gate_out, expected.gate_out),
            (found.in_out, expected.in_out),
        ] {
            let off = (found.low - expected.low).abs();
            let off = off.max((found.high - expected.high).abs());
            assert!(off <= TOLERANCE, "{off:.1e}: {found:?}, {expected:?}");
        }
    }

    #[test]
    fn equal_to_all_pairs_by_definition() {
        let d = 7;
        let ones = vec![1.0; d];
        // fewer neurons than threads, than a block, a whole block, and some more
        for n in [2, 3, 40, BLOCK, BLOCK + 37] {
            let layer = Layer::random(n, d, n as u64);
            assert_near(
                regions(&layer, Fold::Pre),
                brute_force(&layer, (&ones, &ones)),
            );
        }
    }

    #[test]
    fn a_neuron_is_never_paired_with_itself() {
        // Every neuron writes what it reads, and no other does: with the pairs i = i the quantiles would be 1.
        let unit =
            |n: usize| -> Vec<f32> { (0..30).map(|d| f32::from(u8::from(d == n))).collect() };
        let neurons: Vec<[Vec<f32>; 3]> = (0..30).map(|n| [unit(n), unit(n), unit(n)]).collect();
        let found = regions(&Layer::new(&neurons), Fold::Pre);
        for region in [found.gate_in, found.gate_out, found.in_out] {
            assert!(region.low.abs() <= TOLERANCE && region.high.abs() <= TOLERANCE);
        }
    }

    #[test]
    fn folds_zeros_and_a_common_direction_are_in_it() {
        let (n, d) = (120, 9);
        let mut layer = Layer::random(n, d, 5);
        let common = Tensor::new(&[1f32, -1., 1., 0., 0., 2., 0., 0., 1.], &Device::Cpu).unwrap();
        layer.up = layer.up.broadcast_add(&common).unwrap(); // far from random
        let mut live = vec![1f32; n];
        live[17] = 0.0;
        layer.down = layer.down.broadcast_mul(&vector(&live)).unwrap(); // a pruned neuron
        let pre: Vec<f32> = (0..d).map(|i| 0.2 + i as f32).collect();
        let post: Vec<f32> = (0..d).map(|i| 3.0 - i as f32 / 2.0).collect();
        layer.pre_gain = Some(vector(&pre));
        layer.post_gain = Some(vector(&post));
        let wide = |gain: Vec<f32>| gain.into_iter().map(f64::from).collect::<Vec<f64>>();
        let (pre, post, ones) = (wide(pre), wide(post), vec![1.0; d]);
        assert_near(
            regions(&layer, Fold::None),
            brute_force(&layer, (&ones, &ones)),
        );
        assert_near(
            regions(&layer, Fold::Pre),
            brute_force(&layer, (&pre, &ones)),
        );
        let both = regions(&layer, Fold::PrePlusPost);
        assert_near(both, brute_force(&layer, (&pre, &post)));
        assert_ne!(both, regions(&layer, Fold::Pre));
    }

    #[test]
    fn random_weights_are_near_beta() {
        let found = regions(&Layer::random(600, 64, 8), Fold::Pre);
        let beta = beta_region(64);
        for region in [found.gate_in, found.gate_out, found.in_out] {
            assert!((region.low - beta.low).abs() < 3e-3, "{region:?}, {beta:?}");
            assert!(
                (region.high - beta.high).abs() < 3e-3,
                "{region:?}, {beta:?}"
            );
        }
    }

    #[test]
    fn cosines_of_one_stay_in_the_histogram() {
        let neurons = vec![
            [
                vec![0.1, 0.7, 0.3],
                vec![0.1, 0.7, 0.3],
                vec![-0.1, -0.7, -0.3]
            ];
            6
        ];
        let found = regions(&Layer::new(&neurons), Fold::Pre);
        assert!(found.gate_in.low > 1.0 - TOLERANCE && found.gate_in.high <= 1.0);
        assert!(found.in_out.high < TOLERANCE - 1.0 && found.in_out.low >= -1.0);
    }

    #[test]
    fn layers_without_pairs_and_bad_weights_are_errors() {
        let message = |layer: &Layer| {
            let result = mismatched_layer(2, &layer.weights(), Fold::Pre, &());
            result.unwrap_err().to_string()
        };
        assert!(message(&Layer::random(1, 4, 0)).contains("2 or more"));
        let mut neurons = vec![[vec![1.0, 0.0], vec![1.0, 0.0], vec![1.0, 0.0]]; 40];
        neurons[35][1][1] = f32::NAN;
        let message = message(&Layer::new(&neurons));
        assert!(
            message.contains("up_proj weights of neuron 2.35"),
            "{message}"
        );
    }
}
