//! The weight vectors of one layer's neurons, as folded: the one way to them for all that compares them.
//!
//! Tensors are checked and made plain once; vectors are then copied, folded, a range of neurons at a time.

use std::ops::Range;

use super::fold::Folding;
use super::weights::{gain, gate_shape, matrix, numbers};
use super::{ClassError, Fold, MlpWeights};

/// One of a neuron's three weight vectors.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Vector {
    Gate,
    In,
    Out,
}

impl Vector {
    /// The tensor that holds it.
    pub(super) const fn tensor(self) -> &'static str {
        match self {
            Vector::Gate => "gate_proj",
            Vector::In => "up_proj",
            Vector::Out => "down_proj",
        }
    }
}

/// One layer as plain numbers, with what is to be done to its vectors.
pub(super) struct FoldedMlp<'a> {
    pub layer: usize,
    pub d_model: usize,
    pub d_mlp: usize,
    gate: &'a [f32], // [d_mlp, d_model]
    up: &'a [f32],   // [d_mlp, d_model]
    down: &'a [f32], // [d_model, d_mlp]
    folding: Folding,
}

/// Hands the layer to `work`; the numbers lie in tensors that live as long as this call.
///
/// # Errors
/// [`ClassError::Shape`] when the tensors do not fit each other, [`ClassError::GainNotFinite`], and those of `work`.
pub(super) fn with_folded<T>(
    layer: usize,
    weights: &MlpWeights,
    fold: Fold,
    work: impl FnOnce(&FoldedMlp<'_>) -> Result<T, ClassError>,
) -> Result<T, ClassError> {
    let (d_mlp, d_model) = gate_shape(layer, weights.gate)?;
    let gate = matrix(layer, "gate_proj", weights.gate, (d_mlp, d_model))?;
    let up = matrix(layer, "up_proj", weights.up, (d_mlp, d_model))?;
    let down = matrix(layer, "down_proj", weights.down, (d_model, d_mlp))?;
    let pre_gain = gain(layer, "norm before the MLP", weights.pre_gain, d_model)?;
    let post_gain = gain(layer, "norm after the MLP", weights.post_gain, d_model)?;
    let folding = Folding::new(fold, pre_gain, post_gain, weights.centred);

    let tensor_error = |source| ClassError::Tensor { layer, source };
    let (gate_storage, gate_layout) = gate.storage_and_layout();
    let (up_storage, up_layout) = up.storage_and_layout();
    let (down_storage, down_layout) = down.storage_and_layout();
    work(&FoldedMlp {
        layer,
        d_model,
        d_mlp,
        gate: numbers(&gate_storage, gate_layout).map_err(tensor_error)?,
        up: numbers(&up_storage, up_layout).map_err(tensor_error)?,
        down: numbers(&down_storage, down_layout).map_err(tensor_error)?,
        folding,
    })
}

impl FoldedMlp<'_> {
    /// One vector of each of `neurons`, folded, one after the other: `[neurons, d_model]`.
    pub(super) fn vectors(&self, which: Vector, neurons: Range<usize>) -> Vec<f32> {
        let rows = neurons.start * self.d_model..neurons.end * self.d_model;
        let mut vectors = match which {
            Vector::Gate => self.gate[rows].to_vec(),
            Vector::In => self.up[rows].to_vec(),
            Vector::Out => self.columns(&neurons),
        };
        for vector in vectors.chunks_exact_mut(self.d_model) {
            match which {
                Vector::Gate => self.folding.gate(vector),
                Vector::In => self.folding.input(vector),
                Vector::Out => self.folding.output(vector),
            }
        }
        vectors
    }

    /// The columns `neurons` of `down_proj`, one after the other.
    fn columns(&self, neurons: &Range<usize>) -> Vec<f32> {
        let mut columns = vec![0.0; neurons.len() * self.d_model];
        for (d, row) in self.down.chunks_exact(self.d_mlp).enumerate() {
            for (i, &value) in row[neurons.clone()].iter().enumerate() {
                columns[i * self.d_model + d] = value;
            }
        }
        columns
    }
}
