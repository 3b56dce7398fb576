//! The logit lens on one neuron: the tokens that its three weight vectors point at.
//!
//! Through the *unembedding*: `u·(g ∘ v)/|v|` for a head row u and the gain g of the final norm, which is what a
//! step of length 1 along v does to a token's logit, but for the final norm's scale. Through the *embedding*, for the two
//! vectors that read: `cos(e, v)` for an embedding row e. The norm before the MLP makes rows equally long, so this is
//! how strongly a token alone would drive the neuron in the first layer. Vectors are folded as with
//! [`Fold::PrePlusPost`], whatever the classes were made with: so the neuron reads and writes.

use std::ops::Range;

use candle_core::{D, Device, Tensor};

use super::folded::{Vector, with_folded};
use super::{ClassError, Fold, MlpWeights};
use crate::hooks::neurons::Neuron;
use crate::model::{Checkpoint, Mlp, ModelTensor, NormKind};

/// Rows of the vocabulary that are in memory together.
const BLOCK: usize = 1 << 13;

/// A token and how strongly a vector points at it.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct LensToken {
    /// Token id.
    pub token: u32,
    /// A logit per unit of length, or a cosine.
    pub score: f32,
}

/// The tokens that a vector points at, and away from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranked {
    /// The largest scores, largest first.
    pub top: Vec<LensToken>,
    /// The smallest scores, smallest first.
    pub bottom: Vec<LensToken>,
}

/// One neuron's tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct NeuronLens {
    /// w_gate through the embedding, in cosines.
    pub gate_reads: Ranked,
    /// w_in through the embedding, in cosines.
    pub in_reads: Ranked,
    /// w_gate through the unembedding.
    pub gate_logits: Ranked,
    /// w_in through the unembedding.
    pub in_logits: Ranked,
    /// w_out through the unembedding: what the neuron says where its activation is positive.
    pub out_logits: Ranked,
}

/// The `count` first and last tokens of a neuron's vectors, over the whole vocabulary.
///
/// # Errors
/// Those of reading and folding the layer; the neuron must exist.
pub fn neuron_lens(
    checkpoint: &Checkpoint,
    neuron: Neuron,
    count: usize,
) -> Result<NeuronLens, ClassError> {
    let directions = directions(checkpoint, neuron)?; // [3, d_model], each of length 1
    let layer = neuron.layer;
    let failed = |source| ClassError::Tensor { layer, source };
    let gain = match checkpoint.config().family.norm {
        NormKind::LayerNorm => None,
        _ => Some(checkpoint.model_tensor(ModelTensor::FinalNorm)?),
    };
    let written = match gain {
        Some(gain) => directions.broadcast_mul(&gain).map_err(failed)?,
        None => directions.clone(),
    };
    let logits = scores(checkpoint, ModelTensor::Head, |rows| {
        rows.matmul(&written.t()?)?.t()?.to_vec2()
    })?;
    let cosines = scores(checkpoint, ModelTensor::Embedding, |rows| {
        let lengths = rows.sqr()?.sum(D::Minus1)?.sqrt()?; // [tokens]
        let products = rows.matmul(&directions.t()?)?.t()?; // [3, tokens]
        products.broadcast_div(&lengths)?.to_vec2()
    })?;
    let ranked = |scores: &[f32]| rank(scores, count);
    Ok(NeuronLens {
        gate_reads: ranked(&cosines[0]),
        in_reads: ranked(&cosines[1]),
        gate_logits: ranked(&logits[0]),
        in_logits: ranked(&logits[1]),
        out_logits: ranked(&logits[2]),
    })
}

/// w_gate, w_in and w_out of length 1, `[3, d_model]`.
fn directions(checkpoint: &Checkpoint, neuron: Neuron) -> Result<Tensor, ClassError> {
    let Neuron { layer, index } = neuron;
    let mlp = Mlp::load(checkpoint, layer)?;
    let weights = MlpWeights::from(&mlp);
    with_folded(layer, &weights, Fold::PrePlusPost, |folded| {
        let vectors = [Vector::Gate, Vector::In, Vector::Out];
        let vectors = vectors.map(|which| unit(folded.vectors(which, index..index + 1)));
        let d_model = vectors[0].len();
        Tensor::from_vec(vectors.concat(), (3, d_model), &Device::Cpu)
            .map_err(|source| ClassError::Tensor { layer, source })
    })
}

/// A vector of zeros stays one.
fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let square: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let length = square.sqrt().max(f64::MIN_POSITIVE);
    vector
        .iter_mut()
        .for_each(|x| *x = (f64::from(*x) / length) as f32);
    vector
}

/// Three scores for every token of the vocabulary, `[3][vocab_size]`, a block of rows at a time.
fn scores(
    checkpoint: &Checkpoint,
    tensor: ModelTensor,
    score: impl Fn(&Tensor) -> candle_core::Result<Vec<Vec<f32>>>,
) -> Result<[Vec<f32>; 3], ClassError> {
    let vocab_size = checkpoint.config().vocab_size;
    let mut all: [Vec<f32>; 3] = Default::default();
    for first in (0..vocab_size).step_by(BLOCK) {
        let block: Range<usize> = first..vocab_size.min(first + BLOCK);
        let rows = checkpoint.vocabulary_rows(tensor, block)?; // [tokens, d_model]
        let block = score(&rows).map_err(crate::model::ModelError::from)?; // [3][tokens]
        for (all, block) in all.iter_mut().zip(block) {
            all.extend(block);
        }
    }
    Ok(all)
}

/// The first and the last; of equal scores the lower id first. A row of zeros has no direction and no rank.
fn rank(scores: &[f32], count: usize) -> Ranked {
    let tokens = scores.iter().enumerate();
    let mut order: Vec<LensToken> = tokens
        .filter(|(_, score)| score.is_finite())
        .map(|(token, &score)| LensToken {
            token: token as u32,
            score,
        })
        .collect();
    order.sort_by(|a, b| b.score.total_cmp(&a.score));
    let top = order.iter().take(count).copied().collect();
    order.sort_by(|a, b| a.score.total_cmp(&b.score));
    order.truncate(count);
    Ranked { top, bottom: order }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_by_hand() {
        let ranked = rank(&[0.5, -1.0, f32::NAN, 2.0, 0.5], 2);
        let of = |tokens: &[LensToken]| tokens.iter().map(|t| t.token).collect::<Vec<_>>();
        assert_eq!(
            (of(&ranked.top), of(&ranked.bottom)),
            (vec![3, 0], vec![1, 0])
        );
    }

    #[test]
    fn directions_have_length_one() {
        assert_eq!(unit(vec![3.0, 4.0]), [0.6, 0.8]);
        assert_eq!(unit(vec![0.0, 0.0]), [0.0, 0.0]);
    }
}
