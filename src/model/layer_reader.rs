//! The tensors of one layer as it computes with them.

use candle_core::{DType, Device, Tensor};

use super::checkpoint::Checkpoint;
use super::config::Config;
use super::error::ModelError;
use super::norm::Norm;
use super::tensors::LayerTensor;

/// Reads the tensors of one layer onto `device`: as f32 first, then in `dtype`.
pub(super) struct LayerReader<'a> {
    pub checkpoint: &'a Checkpoint,
    pub layer: usize,
    pub dtype: DType,
    pub device: &'a Device,
}

impl LayerReader<'_> {
    pub fn config(&self) -> &Config {
        self.checkpoint.config()
    }

    pub fn read(&self, tensor: LayerTensor) -> Result<Tensor, ModelError> {
        let (device, layer) = (self.device, self.layer);
        let values = self.checkpoint.layer_tensor_to(device, layer, tensor)?;
        Ok(values.to_dtype(self.dtype)?)
    }

    /// `None` where this family has no such tensor.
    pub fn read_if_there(&self, tensor: LayerTensor) -> Result<Option<Tensor>, ModelError> {
        let there = self.config().family.layer_tensors().contains(&tensor);
        there.then(|| self.read(tensor)).transpose()
    }

    /// `None` where this family has no such norm.
    pub fn norm(&self, tensor: LayerTensor) -> Result<Option<Norm>, ModelError> {
        let config = self.config();
        let gain = if tensor.has_ones_for_gain(config) {
            Some(Tensor::ones(config.d_model, self.dtype, self.device)?)
        } else {
            self.read_if_there(tensor)?
        };
        Ok(gain.map(|gain| Norm::new(gain, config.norm_eps, config.family.norm)))
    }
}
