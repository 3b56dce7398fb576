//! How long the vector is that a neuron writes.
//!
//! The classes compare directions, and fold what the norm before the MLP does into them. Here nothing of that enters:
//! lengths are those of the stored columns of `down_proj`, as the residual receives them.

use super::ClassError;
use super::weights::{gain, matrix, numbers};
use crate::hooks::neurons::{Neuron, NeuronSet};
use crate::model::{Checkpoint, LayerTensor};

/// ‖w_out‖ of every neuron of `neurons`, in its order: the length of what is added to the residual where `post` is 1.
///
/// In a family with a norm after the MLP, that of w_out times the norm's gain. What the norm divides by, which differs
/// from token to token, is left out: there lengths compare within a layer alone.
///
/// # Errors
/// Tensors that cannot be read, or whose values are not finite.
pub fn output_norms(checkpoint: &Checkpoint, neurons: &NeuronSet) -> Result<Vec<f64>, ClassError> {
    let mut norms = Vec::with_capacity(neurons.len());
    for layer in 0..neurons.n_layers() {
        if !neurons.layer(layer).is_empty() {
            norms.extend(of_layer(checkpoint, layer, neurons.layer(layer))?);
        }
    }
    let named = neurons.iter().zip(&norms);
    match named.into_iter().find(|(_, norm)| !norm.is_finite()) {
        None => Ok(norms),
        Some((neuron, _)) => Err(ClassError::NotFinite {
            neuron,
            tensor: "down_proj",
        }),
    }
}

fn of_layer(
    checkpoint: &Checkpoint,
    layer: usize,
    neurons: &[u32],
) -> Result<Vec<f64>, ClassError> {
    let config = checkpoint.config();
    let (d_model, d_mlp) = (config.d_model, config.d_mlp);
    if let Some(&index) = neurons.last().filter(|index| **index as usize >= d_mlp) {
        let index = index as usize;
        let neuron = Neuron { layer, index };
        return Err(ClassError::OutOfRange { neuron, d_mlp });
    }
    let down = checkpoint.layer_tensor(layer, LayerTensor::DownProj)?; // [d_model, d_mlp]
    let down = matrix(layer, "down_proj", &down, (d_model, d_mlp))?;
    let has_gain = config.family.norm_places.after();
    let post_gain = has_gain.then(|| checkpoint.layer_tensor(layer, LayerTensor::PostMlpNorm));
    let post_gain = post_gain.transpose()?;
    let post_gain = gain(layer, "norm after the MLP", post_gain.as_ref(), d_model)?;
    let (storage, layout) = down.storage_and_layout();
    let down = numbers(&storage, layout).map_err(|source| ClassError::Tensor { layer, source })?;
    let mut squares = vec![0f64; neurons.len()];
    for (d, row) in down.chunks_exact(d_mlp).enumerate() {
        let gain = post_gain.as_ref().map_or(1.0, |gain| f64::from(gain[d]));
        for (square, &neuron) in squares.iter_mut().zip(neurons) {
            *square += (gain * f64::from(row[neuron as usize])).powi(2);
        }
    }
    Ok(squares.into_iter().map(f64::sqrt).collect())
}
