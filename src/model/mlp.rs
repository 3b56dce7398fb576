//! The MLP of a layer, as neuron classes are made of it.

use candle_core::Tensor;

use super::checkpoint::Checkpoint;
use super::error::ModelError;
use super::kinds::NormKind;
use super::read_ahead::InOrder;
use super::tensors::LayerTensor;

/// The weights of one MLP with the gains around it, always f32 on the CPU: what neuron classes are made of.
pub struct Mlp {
    /// `[d_mlp, d_model]`.
    pub gate_proj: Tensor,
    /// `[d_mlp, d_model]`.
    pub up_proj: Tensor,
    /// `[d_model, d_mlp]`.
    pub down_proj: Tensor,
    /// Gain of the norm before the MLP, `[d_model]`, where there is one.
    pub pre_gain: Option<Tensor>,
    /// Gain of the norm after the MLP, `[d_model]`, where there is one.
    pub post_gain: Option<Tensor>,
    /// The kind of these norms.
    pub norm: NormKind,
}

impl Mlp {
    /// The MLPs of all layers from first to last, read ahead.
    pub fn all(checkpoint: &Checkpoint) -> Result<InOrder<Mlp>, ModelError> {
        let checkpoint = checkpoint.clone();
        InOrder::read_ahead(checkpoint.config().n_layers(), move |l| {
            Mlp::load(&checkpoint, l)
        })
    }

    /// Reads the MLP of layer `l`.
    pub fn load(checkpoint: &Checkpoint, l: usize) -> Result<Mlp, ModelError> {
        let family = checkpoint.config().family;
        let there = family.layer_tensors();
        let read = |tensor| checkpoint.layer_tensor(l, tensor);
        let read_if_there = |tensor| there.contains(&tensor).then(|| read(tensor)).transpose();
        Ok(Mlp {
            gate_proj: read(LayerTensor::GateProj)?,
            up_proj: read(LayerTensor::UpProj)?,
            down_proj: read(LayerTensor::DownProj)?,
            pre_gain: read_if_there(LayerTensor::MlpNorm)?,
            post_gain: read_if_there(LayerTensor::PostMlpNorm)?,
            norm: family.norm,
        })
    }
}
