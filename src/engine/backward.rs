//! The backward pass: what a number that is read off the logits changes by, per unit of each neuron's `post`.
//!
//! The run is the engine's own; an observer keeps the residual before each layer. Then, from the last layer to the first, a
//! layer's inside is computed again from its residual, and the gradient goes through it. Weights have none. On the
//! direct path it goes from the final norm, which keeps its scale, to every MLP at once (the direct logit attribution of each
//! neuron), and no layer passes anything on.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::error::EngineError;
use super::head::Readout;
use super::logits::LogitBlock;
use super::post::PostPass;
use super::progress::Progress;
use super::rows::Rows;
use super::run::Engine;
use crate::hooks::{
    BatchEdit, Condition, HookPoint, LayerEdit, Observer, Path, ReadError, Site, SiteRows,
};
use crate::model::{Activation, Config, Layer, Model, Operations};
use crate::tokens::TokenBatch;

/// A number that is read off the logits: a sum over some rows.
pub trait LogitGradient: Sync {
    /// The batch's rows whose logits it reads, each once.
    fn rows(&self) -> &[usize];

    /// What it changes by, per unit of each logit of the row at `place` of [`rows`](Self::rows): of `logits`, `[vocab_size]`.
    fn of_logits(&self, place: usize, logits: &[f32]) -> Vec<f32>;
}

/// The neurons of a layer at every token, all `[tokens, d_mlp]`, row-major.
pub struct NeuronGradients<'a> {
    /// Layer, from 0.
    pub layer: usize,
    /// Before the activation.
    pub gate: &'a [f32],
    /// What it is multiplied by.
    pub up: &'a [f32],
    /// act(gate)·up, or what the edit makes of it.
    pub post: &'a [f32],
    /// What the number changes by, per unit of each `post`.
    pub of_post: &'a [f32],
}

/// Takes the neurons layer by layer, from the last to the first.
pub type GradientSink<'s> = &'s mut dyn FnMut(&NeuronGradients<'_>) -> Result<(), ReadError>;

/// Whether a model that is run in this precision has gradients.
///
/// # Errors
/// [`EngineError::GradientPrecision`] but in f32.
pub fn check_gradient_precision(dtype: DType) -> Result<(), EngineError> {
    match dtype {
        DType::F32 => Ok(()),
        _ => Err(EngineError::GradientPrecision),
    }
}

impl Engine<'_> {
    /// Units that [`gradients`](Self::gradients) reports, whatever the condition.
    pub fn gradient_units(&self) -> u64 {
        let layers = self.model.config().n_layers() as u64;
        self.work_units(&[Condition::Clean]) + layers
    }

    /// The gradients of a number with respect to every neuron at every token, under one condition, by all ways or by the direct
    /// one (with the final norm's scale kept). Prompts do not see each other, so that of a sum over prompts each token has
    /// the gradient of its own prompt's part. What the condition's edit sets is given: a gradient goes around it.
    ///
    /// # Errors
    /// Those of [`run`](Self::run), and of `sink`; [`EngineError::GradientPrecision`] but in f32, [`EngineError::GradientEdit`] where
    /// the edit's values, or where it sets them, depend on the run's own.
    pub fn gradients(
        &self,
        batch: &TokenBatch,
        (condition, path): (&Condition, Path),
        number: &dyn LogitGradient,
        sink: GradientSink<'_>,
        progress: &dyn Progress,
    ) -> Result<(), EngineError> {
        let (model, config) = (self.model, self.model.config());
        check_gradient_precision(model.dtype())?;
        if let Some(edit) = condition.edit().filter(|edit| !edit.gives_values()) {
            let label = edit.label.clone();
            return Err(EngineError::GradientEdit { label });
        }
        let mut kept = Residuals::new(batch, config, path != Path::Total);
        let mut logits = OfLogits::new(number, config);
        let conditions = std::slice::from_ref(condition);
        let observers: &mut [&mut dyn Observer] = &mut [&mut kept];
        let beside = self.beside(4 * logits.values.len() as u64);
        beside.run(batch, conditions, observers, Some(&mut logits), progress)?;
        let tables = model.attention_tables(batch.groups(), 0)?;
        let kind = (model.operations(), config.activation);
        let last = kept.rows(Site::ResidPost, config.n_layers() - 1, model)?;
        let mut of_residual = self.through_head(&last, logits, kept.is_direct)?; // [tokens, d_model]
        for (l, layer) in (0..config.n_layers()).rev().zip(model.layers_backwards()?) {
            let layer = layer?;
            let resid_mid = kept.rows(Site::ResidMid, l, model)?;
            let neurons = Neurons::new(&layer, &resid_mid, kind, (condition.at_layer(l), batch))?;
            let of_post = layer.post_gradient(&neurons.post, &of_residual, kept.is_direct)?;
            neurons.show(l, &of_post, sink)?;
            if !kept.is_direct {
                let (gates, of_post) = ((&neurons.gate, &neurons.up), neurons.free(&of_post)?);
                let by_gates =
                    layer.gates_gradient(&resid_mid, gates, &of_post, config.activation)?;
                of_residual = (of_residual + by_gates)?;
                let resid_pre = kept.rows(Site::ResidPre, l, model)?;
                let by_attention =
                    layer.attention_gradient(&resid_pre, &of_residual, batch.groups(), &tables)?;
                of_residual = (of_residual + by_attention)?;
            }
            progress.advance(1);
            if progress.stop_requested() {
                return Err(EngineError::Stopped);
            }
        }
        Ok(())
    }

    /// The gradient of the last residual, `[tokens, d_model]`.
    fn through_head(
        &self,
        last: &Tensor,
        of_logits: OfLogits<'_>,
        is_frozen: bool,
    ) -> Result<Tensor, EngineError> {
        let model = self.model;
        let rows: Vec<u32> = of_logits
            .number
            .rows()
            .iter()
            .map(|row| *row as u32)
            .collect();
        let select = Tensor::new(rows, last.device())?;
        let scored = last.index_select(&select, 0)?; // [rows, d_model]
        let mut of_normed = scored.zeros_like()?;
        let shape = (of_logits.number.rows().len(), model.config().vocab_size);
        let of_logits = Tensor::from_vec(of_logits.values, shape, last.device())?;
        for block in model.head_by_blocks()? {
            let block = block?;
            let tokens = block.weights.dim(0)?;
            let of_block = of_logits.narrow(1, block.first, tokens)?.contiguous()?;
            of_normed = (of_normed + model.head_gradient(&of_block, &block.weights)?)?;
        }
        let of_scored = model.final_norm_gradient(&scored, &of_normed, is_frozen)?;
        Ok(last.zeros_like()?.index_add(&select, &of_scored, 0)?)
    }
}

/// The neurons of a layer, computed again, with the edit of the run.
struct Neurons<'a> {
    gate: Tensor, // [tokens, d_mlp], and so are the others
    up: Tensor,
    post: Tensor,
    edit: Option<BatchEdit<'a>>,
}

impl<'a> Neurons<'a> {
    fn new(
        layer: &Layer,
        resid_mid: &Tensor,
        kind: (Operations, Activation),
        (edit, batch): (Option<LayerEdit<'a>>, &TokenBatch),
    ) -> Result<Self, EngineError> {
        let (gate, up) = layer.gate_and_up(resid_mid)?;
        let pass = PostPass::new(kind, &gate, &up, 1)?;
        let (post, _) = pass.post(edit.as_ref(), batch, &|row| (row, 1))?;
        Ok(Self {
            gate,
            up,
            post,
            edit: edit.map(|edit| edit.over(batch)),
        })
    }

    fn show(
        &self,
        layer: usize,
        of_post: &Tensor,
        sink: GradientSink<'_>,
    ) -> Result<(), EngineError> {
        let tensors = [&self.gate, &self.up, &self.post, of_post].map(Rows::of);
        let [gate, up, post, of_post] = tensors;
        let (gate, up, post, of_post) = (gate?, up?, post?, of_post?);
        let shown = gate.read(|gate| {
            up.read(|up| {
                post.read(|post| {
                    of_post.read(|of_post| {
                        sink(&NeuronGradients {
                            layer,
                            gate,
                            up,
                            post,
                            of_post,
                        })
                    })
                })
            })
        })????;
        shown.map_err(EngineError::Reader)
    }

    /// The gradient of `post` without that of values which the edit sets.
    fn free(&self, of_post: &Tensor) -> Result<Tensor, EngineError> {
        let Some(edit) = &self.edit else {
            return Ok(of_post.clone());
        };
        let (width, shape) = (of_post.dim(1)?, of_post.shape().clone());
        let (gate, up) = (Rows::of(&self.gate)?, Rows::of(&self.up)?);
        let mut free = Rows::of(of_post)?.read(<[f32]>::to_vec)?;
        gate.read(|gate| {
            up.read(|up| {
                let rows = free.par_chunks_exact_mut(width).enumerate();
                rows.for_each(|(token, free)| {
                    let row = token * width..(token + 1) * width;
                    // What the edit does not set stays what it was: not a number.
                    let mut given = vec![f32::NAN; width];
                    edit.edit_row(token, &gate[row.clone()], &up[row], &mut given);
                    let values = free.iter_mut().zip(&given);
                    values
                        .filter(|(_, given)| !given.is_nan())
                        .for_each(|(free, _)| *free = 0.0);
                });
            })
        })??;
        Ok(Tensor::from_vec(free, shape, &Device::Cpu)?.to_device(of_post.device())?)
    }
}

/// Keeps what the backward pass begins each layer with.
struct Residuals {
    n_layers: usize,
    shape: (usize, usize),
    is_direct: bool,
    kept: HashMap<HookPoint, Vec<f32>>,
}

impl Residuals {
    fn new(batch: &TokenBatch, config: &Config, is_direct: bool) -> Self {
        Self {
            n_layers: config.n_layers(),
            shape: (batch.tokens(), config.d_model),
            is_direct,
            kept: HashMap::new(),
        }
    }

    /// `[tokens, d_model]`.
    fn rows(&self, site: Site, l: usize, model: &Model) -> candle_core::Result<Tensor> {
        let rows = self.kept.get(&HookPoint::in_layer(l, site));
        let rows = rows.map_or(&[][..], Vec::as_slice);
        Tensor::from_slice(rows, self.shape, model.device())
    }
}

impl Observer for Residuals {
    fn wants(&self, point: HookPoint) -> bool {
        match point.site {
            Site::ResidMid => true,
            Site::ResidPre => !self.is_direct,
            Site::ResidPost => point == HookPoint::in_layer(self.n_layers - 1, Site::ResidPost),
            _ => false,
        }
    }

    fn observe(&mut self, seen: &SiteRows<'_>) -> Result<(), ReadError> {
        self.kept.insert(seen.point, seen.rows.to_vec());
        Ok(())
    }
}

/// The gradient of every logit that a number reads, before a soft cap.
struct OfLogits<'n> {
    number: &'n dyn LogitGradient,
    softcap: Option<f64>,
    /// `[rows, vocab_size]`, row-major.
    values: Vec<f32>,
}

impl<'n> OfLogits<'n> {
    fn new(number: &'n dyn LogitGradient, config: &Config) -> Self {
        Self {
            number,
            softcap: config.final_softcap,
            values: vec![0.0; number.rows().len() * config.vocab_size],
        }
    }
}

impl Readout for OfLogits<'_> {
    fn rows(&self) -> &[usize] {
        self.number.rows()
    }

    fn read(&mut self, block: &LogitBlock<'_>) -> Result<(), ReadError> {
        let (number, softcap) = (self.number, self.softcap);
        let width = block.vocab_size;
        let logits = block.logits()?;
        let rows = logits.par_chunks_exact(width).enumerate();
        let values = &mut self.values[block.first * width..][..logits.len()];
        rows.zip(values.par_chunks_exact_mut(width))
            .for_each(|((row, logits), values)| {
                values.copy_from_slice(&number.of_logits(block.first + row, logits));
                if let Some(cap) = softcap {
                    // cap·tanh(x/cap) grows by 1 - tanh² per unit of x.
                    let capped = logits.iter().map(|logit| f64::from(*logit) / cap);
                    let growth = capped.map(|capped| (1.0 - capped * capped) as f32);
                    values
                        .iter_mut()
                        .zip(growth)
                        .for_each(|(v, growth)| *v *= growth);
                }
            });
        Ok(())
    }
}
