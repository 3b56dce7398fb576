//! A model ready to run: the checkpoint, and as many of its weights in memory as the limit allows.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::ModelError;
use super::checkpoint::Checkpoint;
use super::config::Config;
use super::estimate::{ACTIVATION_BYTES, MemoryEstimate, PROGRAM_BYTES, Residency};
use super::family::NormKind;
use super::layer::Layer;
use super::linear::linear;
use super::norm::Norm;
use super::softcap::softcap;
use super::tensors::{LayerTensor, ModelTensor};

/// How to hold a model.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Precision of weights and activations.
    pub dtype: DType,
    /// Where it computes.
    pub device: Device,
    /// The most memory to use, bytes; `None`: all layers resident.
    pub max_memory: Option<u64>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            dtype: DType::F32,
            device: Device::Cpu,
            max_memory: None,
        }
    }
}

impl LoadOptions {
    /// How a model would be held; an error when even one layer at a time is too much.
    pub fn residency(&self, config: &Config) -> Result<Residency, ModelError> {
        let Some(limit) = self.max_memory else {
            return Ok(Residency::Resident);
        };
        let estimate = MemoryEstimate::new(config, self.dtype.size_in_bytes());
        if estimate.resident_bytes + ACTIVATION_BYTES + PROGRAM_BYTES <= limit {
            return Ok(Residency::Resident);
        }
        let needed = estimate.streamed_bytes + ACTIVATION_BYTES / 4 + PROGRAM_BYTES;
        if needed <= limit {
            return Ok(Residency::Streamed);
        }
        Err(ModelError::Memory {
            limit_mib: limit >> 20,
            needed_mib: needed.div_ceil(1 << 20),
        })
    }
}

/// A gated decoder.
pub struct Model {
    checkpoint: Checkpoint,
    options: LoadOptions,
    final_norm: Norm,
    resident: Option<ResidentWeights>,
}

struct ResidentWeights {
    layers: Vec<Arc<Layer>>,
    head: Tensor,
}

impl Model {
    /// Chooses the residency by the memory limit, refuses a limit that is too small, and reads what stays resident.
    pub fn load(checkpoint: Checkpoint, options: LoadOptions) -> Result<Model, ModelError> {
        let residency = options.residency(checkpoint.config())?;
        let place = |t: Tensor| t.to_dtype(options.dtype)?.to_device(&options.device);
        let config = checkpoint.config();
        let gain = match config.family.norm {
            NormKind::LayerNorm => Tensor::ones(config.d_model, DType::F32, &Device::Cpu)?,
            _ => checkpoint.model_tensor(ModelTensor::FinalNorm)?,
        };
        let final_norm = Norm::new(place(gain)?, config.norm_eps, config.family.norm);
        let resident = match residency {
            Residency::Streamed => None,
            Residency::Resident => Some(ResidentWeights {
                layers: (0..checkpoint.config().n_layers())
                    .into_par_iter()
                    .map(|l| {
                        Layer::load(&checkpoint, l, options.dtype, &options.device).map(Arc::new)
                    })
                    .collect::<Result<_, _>>()?,
                head: place(checkpoint.model_tensor(ModelTensor::Head)?)?,
            }),
        };
        Ok(Model {
            checkpoint,
            options,
            final_norm,
            resident,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        self.checkpoint.config()
    }

    /// How the weights are held.
    pub fn residency(&self) -> Residency {
        match self.resident {
            Some(_) => Residency::Resident,
            None => Residency::Streamed,
        }
    }

    /// Precision of weights and activations.
    pub fn dtype(&self) -> DType {
        self.options.dtype
    }

    /// Where the model computes.
    pub fn device(&self) -> &Device {
        &self.options.device
    }

    /// The memory that may go to residual streams and activations, bytes.
    pub fn activation_bytes(&self) -> u64 {
        let estimate = MemoryEstimate::new(self.config(), self.dtype().size_in_bytes());
        let weights = match self.residency() {
            Residency::Resident => estimate.resident_bytes,
            Residency::Streamed => estimate.streamed_bytes,
        };
        match self.options.max_memory {
            Some(limit) => limit.saturating_sub(weights + PROGRAM_BYTES),
            None => ACTIVATION_BYTES,
        }
    }

    /// Layer `l`, from memory or from the file.
    pub fn layer(&self, l: usize) -> Result<Arc<Layer>, ModelError> {
        match &self.resident {
            Some(weights) => Ok(weights.layers[l].clone()),
            None => Layer::load(&self.checkpoint, l, self.dtype(), self.device()).map(Arc::new),
        }
    }

    /// Token embeddings as the first layer sees them, `[ids, d_model]`.
    pub fn embed(&self, ids: &[u32]) -> Result<Tensor, ModelError> {
        let rows = self.checkpoint.embedding_rows(ids)?;
        let rows = rows.to_dtype(self.dtype())?.to_device(self.device())?;
        // Gemma multiplies by the square root rounded to the model's precision.
        let scale =
            Tensor::new(self.config().embedding_scale(), self.device())?.to_dtype(self.dtype())?;
        Ok(rows.broadcast_mul(&scale)?)
    }

    /// What the final norm divides residual rows by: `[rows, d_model]` to `[rows, 1]`, in f32.
    pub fn final_scale(&self, rows: &Tensor) -> Result<Tensor, ModelError> {
        Ok(self.final_norm.scale(rows)?)
    }

    /// Next-token logits `[rows, vocab_size]` of residual rows `[rows, d_model]`, by [`head`](Self::head).
    pub fn logits(&self, rows: &Tensor, head: &Tensor) -> Result<Tensor, ModelError> {
        let logits = linear(&self.final_norm.apply(rows)?, head)?;
        Ok(match self.config().final_softcap {
            Some(cap) => softcap(logits, cap)?,
            None => logits,
        })
    }

    /// The output head, `[vocab_size, d_model]`, from memory or from the file.
    pub fn head(&self) -> Result<Tensor, ModelError> {
        match &self.resident {
            Some(weights) => Ok(weights.head.clone()),
            None => {
                let head = self.checkpoint.model_tensor(ModelTensor::Head)?;
                Ok(head.to_dtype(self.dtype())?.to_device(self.device())?)
            }
        }
    }
}

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
