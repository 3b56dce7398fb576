//! Weights as a folder in Hugging Face's layout has them, with some neurons scaled.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::checkpoint::Checkpoint;
use super::error::ModelError;
use super::kinds::NormKind;
use super::store::Format;
use super::tensors::{LayerTensor, ModelTensor};
use crate::hub::{INDEX, WEIGHTS};

/// Bytes of one file at most, but for a tensor that is larger.
const SHARD_BYTES: u64 = 4 << 30;

/// What is written of a checkpoint.
pub struct Export<'a> {
    /// Where the weights come from.
    pub checkpoint: &'a Checkpoint,
    /// The neurons of each layer whose columns of `down_proj` are multiplied; ascending.
    pub neurons: &'a dyn Fn(usize) -> &'a [u32],
    /// By this: 0 switches them off.
    pub factor: f64,
    /// Of the files: f32 or bf16.
    pub dtype: DType,
}

/// A tensor of the written files.
#[derive(Clone, Copy)]
enum Which {
    Model(ModelTensor),
    Layer(usize, LayerTensor),
}

impl Export<'_> {
    /// Writes `model.safetensors`, or shards with their index, into `dir`; calls `written` for each tensor.
    ///
    /// # Errors
    /// Files that cannot be read or written.
    pub fn write(&self, dir: &Path, written: &mut dyn FnMut()) -> Result<(), ModelError> {
        let shards = self.shards();
        let count = shards.len();
        let (mut map, mut total) = (serde_json::Map::new(), 0);
        for (at, shard) in shards.into_iter().enumerate() {
            let name = match count {
                1 => WEIGHTS.to_string(),
                count => format!("model-{:05}-of-{count:05}.safetensors", at + 1),
            };
            let mut tensors: HashMap<String, Tensor> = HashMap::new();
            for which in shard {
                let tensor = self.read(which)?.to_dtype(self.dtype)?;
                total += tensor.elem_count() * self.dtype.size_in_bytes();
                map.insert(self.name(which), name.clone().into());
                tensors.insert(self.name(which), tensor);
                written();
            }
            candle_core::safetensors::save(&tensors, dir.join(&name))?;
        }
        if count > 1 {
            let index = serde_json::json!({"metadata": {"total_size": total}, "weight_map": map});
            let path = dir.join(INDEX);
            std::fs::write(&path, format!("{index:#}\n"))
                .map_err(|why| candle_core::Error::wrap(why).with_path(&path))?;
        }
        Ok(())
    }

    /// How many tensors will be written.
    pub fn count(&self) -> u64 {
        self.tensors().len() as u64
    }

    /// Bytes of what will be written.
    pub fn bytes(&self) -> u64 {
        self.tensors()
            .iter()
            .map(|which| self.bytes_of(*which))
            .sum()
    }

    fn tensors(&self) -> Vec<Which> {
        let config = self.checkpoint.config();
        let outside = config.family.model_tensors().into_iter();
        let outside = outside.filter(|tensor| *tensor != ModelTensor::Head || !config.tied_head);
        let layers = (0..config.n_layers()).flat_map(|l| {
            let tensors = config.family.layer_tensors().into_iter();
            tensors.map(move |tensor| Which::Layer(l, tensor))
        });
        outside.map(Which::Model).chain(layers).collect()
    }

    fn shards(&self) -> Vec<Vec<Which>> {
        let (mut shards, mut shard, mut held) = (Vec::new(), Vec::new(), 0);
        for which in self.tensors() {
            let bytes = self.bytes_of(which);
            if held > 0 && held + bytes > SHARD_BYTES {
                shards.push(std::mem::take(&mut shard));
                held = 0;
            }
            held += bytes;
            shard.push(which);
        }
        shards.push(shard);
        shards
    }

    fn bytes_of(&self, which: Which) -> u64 {
        let config = self.checkpoint.config();
        let shape = match which {
            Which::Model(tensor) => tensor.shape(config),
            Which::Layer(_, tensor) => tensor.shape(config),
        };
        (shape.iter().product::<usize>() * self.dtype.size_in_bytes()) as u64
    }

    fn name(&self, which: Which) -> String {
        match which {
            Which::Model(tensor) => tensor.name(Format::Safetensors).to_string(),
            Which::Layer(l, tensor) => {
                tensor.name(Format::Safetensors, l, self.checkpoint.config().family)
            }
        }
    }

    fn read(&self, which: Which) -> Result<Tensor, ModelError> {
        let stored_gain = |gain: Tensor| match self.checkpoint.config().family.norm {
            NormKind::RmsOnePlus => gain - 1.0,
            _ => Ok(gain),
        };
        Ok(match which {
            Which::Model(ModelTensor::FinalNorm) => {
                stored_gain(self.checkpoint.model_tensor(ModelTensor::FinalNorm)?)?
            }
            Which::Model(tensor) => self.checkpoint.model_tensor(tensor)?,
            Which::Layer(l, LayerTensor::DownProj) => {
                let down = self.checkpoint.layer_tensor(l, LayerTensor::DownProj)?;
                self.scaled(&down, (self.neurons)(l))?
            }
            Which::Layer(l, tensor) if tensor.is_norm() => {
                stored_gain(self.checkpoint.layer_tensor(l, tensor)?)?
            }
            Which::Layer(l, tensor) => self.checkpoint.layer_tensor(l, tensor)?,
        })
    }

    /// Some columns of `[d_model, d_mlp]` times the factor.
    fn scaled(&self, down: &Tensor, neurons: &[u32]) -> Result<Tensor, ModelError> {
        let mut factors = vec![1.0; down.dim(1)?];
        for neuron in neurons {
            factors[*neuron as usize] = self.factor as f32;
        }
        let width = factors.len();
        let factors = Tensor::from_vec(factors, (1, width), &Device::Cpu)?;
        Ok(down.broadcast_mul(&factors)?)
    }
}
