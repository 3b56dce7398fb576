//! A model ready to run: the checkpoint, and as many of its weights in memory as the limit allows.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Tensor};

use super::attention::AttentionTables;
use super::checkpoint::Checkpoint;
use super::config::Config;
use super::error::ModelError;
use super::estimate::{MemoryEstimate, MemoryLimit, MemoryPlan, Residency};
use super::kinds::NormKind;
use super::layer::Layer;
use super::linear::linear;
use super::norm::Norm;
use super::operations::Operations;
use super::read_ahead::InOrder;
use super::shuffle::RunWeights;
use super::softcap::softcap;
use super::tensors::ModelTensor;
use crate::tokens::Group;

/// How to hold a model.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Precision of weights and activations.
    pub dtype: DType,
    /// Where it computes.
    pub device: Device,
    /// By which operations; `None`: by the faster ones there.
    pub operations: Option<Operations>,
    /// The most memory to use, bytes; `None`: what is available.
    pub max_memory: Option<u64>,
    /// The weights that it runs with.
    pub weights: RunWeights,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            dtype: DType::F32,
            device: Device::Cpu,
            operations: None,
            max_memory: None,
            weights: RunWeights::Stored,
        }
    }
}

impl LoadOptions {
    /// How a model would be held.
    ///
    /// # Errors
    /// Even reading layer by layer takes more memory than there is.
    pub fn plan(&self, config: &Config) -> Result<MemoryPlan, ModelError> {
        let limit = match (self.max_memory, &self.device) {
            (Some(bytes), _) => MemoryLimit::Set(bytes),
            (None, Device::Cuda(device)) => on_device(device),
            // An accelerator of Apple's shares the machine's memory.
            (None, Device::Cpu | Device::Metal(_)) => MemoryLimit::of_machine(),
        };
        MemoryPlan::new(&self.estimate(config), limit)
    }

    fn operations(&self) -> Operations {
        let by_device = || Operations::of(&self.device);
        self.operations.unwrap_or_else(by_device)
    }

    /// What a model takes in each mode.
    pub fn estimate(&self, config: &Config) -> MemoryEstimate {
        let mut estimate = MemoryEstimate::new(config, self.dtype.size_in_bytes());
        if self.operations() == Operations::Tensors && !config.tied_head {
            let embedding = config.embedding_parameters() as usize * self.dtype.size_in_bytes();
            estimate.resident_bytes += embedding as u64;
        }
        match self.weights {
            RunWeights::Stored => estimate,
            RunWeights::Shuffled { .. } => estimate.with_shuffle(config),
        }
    }

    /// A tensor as it is held.
    fn place(&self, tensor: &Tensor) -> candle_core::Result<Tensor> {
        tensor.to_device(&self.device)?.to_dtype(self.dtype)
    }
}

/// What is free on a device of its own memory.
#[cfg(feature = "cuda")]
fn on_device(device: &candle_core::CudaDevice) -> MemoryLimit {
    let stream = device.cuda_stream();
    match stream.context().mem_get_info() {
        Ok((free, _)) => MemoryLimit::OnDevice(free as u64),
        Err(_) => MemoryLimit::Unknown,
    }
}

/// There is none without the feature.
#[cfg(not(feature = "cuda"))]
fn on_device(_: &candle_core::CudaDevice) -> MemoryLimit {
    MemoryLimit::Unknown
}

/// A gated decoder.
pub struct Model {
    checkpoint: Checkpoint,
    options: LoadOptions,
    plan: MemoryPlan,
    final_norm: Norm,
    resident: Option<ResidentWeights>,
    /// From batch to batch the same, of batches without a past.
    tables: Mutex<AttentionTables>,
}

struct ResidentWeights {
    layers: Vec<Arc<Layer>>,
    head: Tensor,
    /// On a device: rows that are read from a file would be sent there again and again.
    embedding: Option<Tensor>,
}

/// The head's rows for some of the vocabulary.
pub struct HeadBlock {
    /// The token id of the first row.
    pub first: usize,
    /// `[tokens, d_model]`.
    pub weights: Tensor,
}

/// A block of the head takes at most this share of a layer's memory ...
const HEAD_BLOCK_SHARE: u64 = 8;

/// ... but holds this many rows: narrow products would be summed in another order.
const FEWEST_HEAD_ROWS: usize = 256;

impl Model {
    /// Chooses the residency by the memory limit, refuses a limit that is too small, and reads what stays resident.
    pub fn load(checkpoint: Checkpoint, options: LoadOptions) -> Result<Model, ModelError> {
        let plan = options.plan(checkpoint.config())?;
        let checkpoint = checkpoint.to_run_with(options.weights);
        let config = checkpoint.config();
        let gain = match config.family.norm {
            NormKind::LayerNorm => Tensor::ones(config.d_model, DType::F32, &Device::Cpu)?,
            _ => checkpoint.model_tensor(ModelTensor::FinalNorm)?,
        };
        let final_norm = Norm::new(options.place(&gain)?, config.norm_eps, config.family.norm);
        let layer = |l| -> Result<Arc<Layer>, ModelError> {
            let layer = Layer::load(&checkpoint, l, options.dtype, &options.device)?;
            Ok(Arc::new(layer.by_inputs()?))
        };
        let resident = match plan.residency {
            Residency::Streamed => None,
            // One layer after the other: each tensor is read in parallel.
            Residency::Resident => {
                let layers = (0..config.n_layers()).map(layer);
                let layers = layers.collect::<Result<_, _>>()?;
                let vocabulary = |tensor| {
                    let (device, tokens) = (&options.device, 0..config.vocab_size);
                    let rows = checkpoint.vocabulary_rows_to(device, tensor, tokens)?;
                    Ok::<_, ModelError>(options.place(&rows)?)
                };
                let head = vocabulary(ModelTensor::Head)?;
                let embedding = match options.operations() {
                    Operations::Fused => None,
                    Operations::Tensors if config.tied_head => Some(head.clone()),
                    Operations::Tensors => Some(vocabulary(ModelTensor::Embedding)?),
                };
                Some(ResidentWeights {
                    layers,
                    head,
                    embedding,
                })
            }
        };
        Ok(Model {
            checkpoint,
            options,
            plan,
            final_norm,
            resident,
            tables: Mutex::default(),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        self.checkpoint.config()
    }

    /// Whether the model's files are still those that were opened; see [`Checkpoint::check_unchanged`].
    pub fn check_unchanged(&self) -> Result<(), ModelError> {
        self.checkpoint.check_unchanged()
    }

    /// How the weights are held, and what that leaves for activations.
    pub fn plan(&self) -> &MemoryPlan {
        &self.plan
    }

    /// Precision of weights and activations.
    pub fn dtype(&self) -> DType {
        self.options.dtype
    }

    /// Where the model computes.
    pub fn device(&self) -> &Device {
        &self.options.device
    }

    /// By which operations the work between its matrix products is done.
    pub fn operations(&self) -> Operations {
        self.options.operations()
    }

    /// What attention needs for groups of sequences, of which `past` tokens came before.
    pub fn attention_tables(
        &self,
        groups: &[Group],
        past: usize,
    ) -> Result<AttentionTables, ModelError> {
        let (config, dtype, device) = (self.config(), self.dtype(), self.device());
        if past > 0 {
            return Ok(AttentionTables::new(config, groups, past, dtype, device)?);
        }
        // Tables are added whole.
        let mut kept = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(config, groups, past, (dtype, device))?;
        Ok(kept.clone())
    }

    /// The memory that logits may take while residual streams of `residual_bytes` are held, bytes:
    /// the layers are released by then.
    pub fn logit_bytes(&self, residual_bytes: u64) -> u64 {
        let config = self.config();
        let released = match self.plan.residency {
            Residency::Resident => 0,
            Residency::Streamed => {
                let weights = 2 * config.layer_parameters();
                weights - weights / HEAD_BLOCK_SHARE
            }
        };
        let released = released * self.dtype().size_in_bytes() as u64;
        (self.plan.activation_bytes + released).saturating_sub(residual_bytes)
    }

    /// The layers from first to last, from memory or read ahead from the files.
    pub fn layers(&self) -> Result<InOrder<Arc<Layer>>, ModelError> {
        self.layers_in(|l, _| l)
    }

    /// The layers from last to first.
    pub fn layers_backwards(&self) -> Result<InOrder<Arc<Layer>>, ModelError> {
        self.layers_in(|l, layers| layers - 1 - l)
    }

    /// The layers in the order in which `number` gives the place of each, of so many, its own.
    fn layers_in(
        &self,
        number: fn(usize, usize) -> usize,
    ) -> Result<InOrder<Arc<Layer>>, ModelError> {
        let layers = self.config().n_layers();
        if let Some(weights) = &self.resident {
            let held = (0..layers).map(|place| weights.layers[number(place, layers)].clone());
            return Ok(InOrder::Held(held.collect::<Vec<_>>().into_iter()));
        }
        let (checkpoint, options) = (self.checkpoint.clone(), self.options.clone());
        InOrder::read_ahead(layers, move |place| {
            let l = number(place, layers);
            Layer::load(&checkpoint, l, options.dtype, &options.device).map(Arc::new)
        })
    }

    /// The output head, whole from memory, or in blocks of the vocabulary read ahead from the files.
    pub fn head(&self) -> Result<InOrder<HeadBlock>, ModelError> {
        if let Some(weights) = &self.resident {
            let weights = weights.head.clone();
            return Ok(InOrder::Held(
                vec![HeadBlock { first: 0, weights }].into_iter(),
            ));
        }
        let (checkpoint, options) = (self.checkpoint.clone(), self.options.clone());
        let blocks = self.head_blocks();
        InOrder::read_ahead(blocks.len(), move |block| {
            let rows = blocks[block].clone();
            let first = rows.start;
            let weights =
                checkpoint.vocabulary_rows_to(&options.device, ModelTensor::Head, rows)?;
            let weights = options.place(&weights)?;
            Ok(HeadBlock { first, weights })
        })
    }

    /// The output head in the blocks in which it is read ahead, also where it is in memory: for sums over the vocabulary, which
    /// then have the same bits either way.
    pub fn head_by_blocks(&self) -> Result<InOrder<HeadBlock>, ModelError> {
        let Some(ResidentWeights { head, .. }) = &self.resident else {
            return self.head();
        };
        let block = |rows: Range<usize>| {
            let weights = head.narrow(0, rows.start, rows.len())?;
            let first = rows.start;
            Ok(HeadBlock { first, weights })
        };
        let blocks = self.head_blocks().into_iter().map(block);
        let blocks = blocks.collect::<Result<Vec<_>, ModelError>>()?;
        Ok(InOrder::Held(blocks.into_iter()))
    }

    /// The rows of the head's blocks, nearly as many in each: none is much narrower than the others.
    fn head_blocks(&self) -> Vec<Range<usize>> {
        let vocab_size = self.config().vocab_size;
        let blocks = vocab_size.div_ceil(self.block_rows());
        let bound = |block: usize| block * vocab_size / blocks;
        (0..blocks)
            .map(|block| bound(block)..bound(block + 1))
            .collect()
    }

    /// The most rows of the head that a block has.
    pub fn head_rows(&self) -> usize {
        match self.resident {
            Some(_) => self.config().vocab_size,
            None => self.block_rows(),
        }
    }

    fn block_rows(&self) -> usize {
        let config = self.config();
        let rows = config.layer_parameters() / HEAD_BLOCK_SHARE / config.d_model as u64;
        (rows as usize).clamp(FEWEST_HEAD_ROWS, config.vocab_size.max(FEWEST_HEAD_ROWS))
    }

    /// Token embeddings as the first layer sees them, `[ids, d_model]`.
    pub fn embed(&self, ids: &[u32]) -> Result<Tensor, ModelError> {
        let resident = self.resident.as_ref();
        let rows = match resident.and_then(|weights| weights.embedding.as_ref()) {
            Some(embedding) => embedding.index_select(&Tensor::new(ids, self.device())?, 0)?,
            None => self.options.place(&self.checkpoint.embedding_rows(ids)?)?,
        };
        // Gemma multiplies by the square root rounded to the model's precision; on the CPU, since not every device has f64.
        let scale = Tensor::new(self.config().embedding_scale(), &Device::Cpu)?;
        let scale = scale.to_dtype(self.dtype())?.to_device(self.device())?;
        Ok(rows.broadcast_mul(&scale)?)
    }

    /// What the final norm divides residual rows by: `[rows, d_model]` to `[rows, 1]`, in f32.
    pub fn final_scale(&self, rows: &Tensor) -> Result<Tensor, ModelError> {
        Ok(self.final_norm.scale(rows)?)
    }

    /// Residual rows as the head sees them, `[rows, d_model]` to the same shape.
    pub fn final_norm(&self, rows: &Tensor) -> Result<Tensor, ModelError> {
        Ok(self.final_norm.apply(rows)?)
    }

    /// The same, divided by what the norm divides `other`, `[rows, d_model]`, by.
    pub fn final_norm_scaled_as(
        &self,
        rows: &Tensor,
        other: &Tensor,
    ) -> Result<Tensor, ModelError> {
        Ok(self.final_norm.apply_scaled_as(rows, other)?)
    }

    /// The gradient of residual rows from that of the same rows [normed](Self::final_norm), all `[rows, d_model]`; where the
    /// norm `is_frozen`, what it divides by does not depend on the rows.
    pub fn final_norm_gradient(
        &self,
        rows: &Tensor,
        of_normed: &Tensor,
        is_frozen: bool,
    ) -> Result<Tensor, ModelError> {
        Ok(self.final_norm.gradient(rows, of_normed, is_frozen)?)
    }

    /// What the gradient of logits `[rows, tokens]` of a block of the head, before a soft cap, gives that of the normed rows:
    /// `[rows, d_model]`.
    pub fn head_gradient(&self, of_logits: &Tensor, head: &Tensor) -> Result<Tensor, ModelError> {
        Ok(linear(of_logits, &head.t()?)?)
    }

    /// Rows as they are through a block of the head, with neither the final norm nor a soft cap:
    /// `[rows, d_model]` and `[tokens, d_model]` to `[rows, tokens]`.
    pub fn unembed(&self, rows: &Tensor, head: &Tensor) -> Result<Tensor, ModelError> {
        Ok(linear(rows, head)?)
    }

    /// Next-token logits `[rows, tokens]` of [normed](Self::final_norm) rows `[rows, d_model]`, for the
    /// tokens of a block of the head `[tokens, d_model]`.
    pub fn logits(&self, normed: &Tensor, head: &Tensor) -> Result<Tensor, ModelError> {
        let logits = self.unembed(normed, head)?;
        Ok(match self.config().final_softcap {
            Some(cap) => softcap(logits, cap)?,
            None => logits,
        })
    }
}
