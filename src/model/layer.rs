//! One decoder layer, in the three steps between which the engine observes and edits:
//!
//! ```text
//! attn_out   = post_norm(o_proj(attention(norm(resid_pre))))      resid_mid  = resid_pre + attn_out
//! gate, up   = gate_proj(norm(resid_mid)), up_proj(norm(resid_mid))
//! post       = act(gate)·up                                       (the engine's fused pass)
//! mlp_out    = post_norm(down_proj(post))                         resid_post = resid_mid + mlp_out
//! ```
//!
//! Gemma 2 and 3 have all four norms, OLMo 2 the post-norms alone, the others only those before.

use candle_core::{DType, Device, Result as TensorResult, Tensor};
use candle_nn::kv_cache::KvCache;

use super::activation::Activation;
use super::attention::{Attention, AttentionTables, KeysValues, TokenRows};
use super::checkpoint::Checkpoint;
use super::error::ModelError;
use super::gradient::pull_back;
use super::layer_reader::LayerReader;
use super::linear::{by_inputs, linear};
use super::norm::{Norm, normed};
use super::tensors::LayerTensor;
use crate::tokens::Group;

/// The weights of one layer, with the checkpoint's own names.
pub struct Layer {
    input_layernorm: Option<Norm>,
    self_attn: Attention,
    post_attention_norm: Option<Norm>,
    mlp_norm: Option<Norm>,
    gate_proj: Tensor,
    up_proj: Tensor,
    down_proj: Tensor,
    post_mlp_norm: Option<Norm>,
}

impl Layer {
    /// Reads layer `l`.
    pub fn load(
        checkpoint: &Checkpoint,
        layer: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Layer, ModelError> {
        use LayerTensor::*;
        let reader = LayerReader {
            checkpoint,
            layer,
            dtype,
            device,
        };
        Ok(Layer {
            input_layernorm: reader.norm(AttentionNorm)?,
            self_attn: Attention::load(&reader)?,
            post_attention_norm: reader.norm(PostAttentionNorm)?,
            mlp_norm: reader.norm(MlpNorm)?,
            gate_proj: reader.read(GateProj)?,
            up_proj: reader.read(UpProj)?,
            down_proj: reader.read(DownProj)?,
            post_mlp_norm: reader.norm(PostMlpNorm)?,
        })
    }

    /// The same, with its matrices as products read them: for a layer that is kept.
    pub(super) fn by_inputs(mut self) -> Result<Layer, ModelError> {
        let mlp = [&mut self.gate_proj, &mut self.up_proj, &mut self.down_proj];
        for matrix in mlp.into_iter().chain(self.self_attn.matrices()) {
            *matrix = by_inputs(matrix)?;
        }
        Ok(self)
    }

    /// What attention adds to the residual: `[rows, d_model]` -> `[rows, d_model]`, with the keys and values of the rows.
    /// A cache holds the keys and values of the tokens before, and takes those of these.
    pub fn attn_out(
        &self,
        resid_pre: &Tensor,
        rows: TokenRows<'_>,
        tables: &AttentionTables,
        cache: Option<&mut KvCache>,
    ) -> TensorResult<(Tensor, KeysValues)> {
        let x = normed(resid_pre, self.input_layernorm.as_ref())?;
        let (out, keys_values) = self.self_attn.forward(&x, rows, tables, cache)?;
        let out = normed(&out, self.post_attention_norm.as_ref())?; // [rows, d_model]
        Ok((out, keys_values))
    }

    /// The pre-activations of the MLP, both `[tokens, d_mlp]`, from `resid_mid` `[tokens, d_model]`.
    pub fn gate_and_up(&self, resid_mid: &Tensor) -> TensorResult<(Tensor, Tensor)> {
        let x = normed(resid_mid, self.mlp_norm.as_ref())?;
        Ok((linear(&x, &self.gate_proj)?, linear(&x, &self.up_proj)?))
    }

    /// What the MLP adds to the residual: `[tokens, d_mlp]` -> `[tokens, d_model]`.
    pub fn mlp_out(&self, post: &Tensor) -> TensorResult<Tensor> {
        let out = linear(post, &self.down_proj)?; // [tokens, d_model]
        normed(&out, self.post_mlp_norm.as_ref())
    }
    /// What edited neurons themselves change in what the MLP adds to the residual: `post` without and with the edit,
    /// `[rows, d_mlp]` -> `[rows, d_model]`. A norm after the MLP divides by what it does without the edit: that it gives
    /// all other neurons more weight is no doing of theirs.
    pub fn mlp_change(&self, unedited: &Tensor, edited: &Tensor) -> TensorResult<Tensor> {
        let change = linear(&(edited - unedited)?, &self.down_proj)?; // [rows, d_model]
        match &self.post_mlp_norm {
            None => Ok(change),
            Some(norm) => norm.apply_scaled_as(&change, &linear(unedited, &self.down_proj)?),
        }
    }
    /// The gradient of `post`, `[tokens, d_mlp]`, from that of the residual after the MLP, `[tokens, d_model]`; where it
    /// `is_direct`, a norm after the MLP divides as if `post` did not count (as in [`mlp_change`](Self::mlp_change)).
    pub fn post_gradient(
        &self,
        post: &Tensor,
        of_residual: &Tensor,
        is_direct: bool,
    ) -> TensorResult<Tensor> {
        let of_out = match &self.post_mlp_norm {
            None => of_residual.clone(),
            Some(norm) => {
                let out = linear(post, &self.down_proj)?; // [tokens, d_model]
                norm.gradient(&out, of_residual, is_direct)?
            }
        };
        linear(&of_out, &self.down_proj.t()?)
    }

    /// What the gradient of `post`, `[tokens, d_mlp]`, gives that of the residual before the MLP, `[tokens, d_model]`, by gate
    /// and up, `[tokens, d_mlp]` both.
    pub fn gates_gradient(
        &self,
        resid_mid: &Tensor,
        (gate, up): (&Tensor, &Tensor),
        of_post: &Tensor,
        activation: Activation,
    ) -> TensorResult<Tensor> {
        let [of_gate, of_up] = pull_back([gate, up], of_post, |[gate, up]| {
            activation.gated_tensor(gate, up)
        })?;
        let by_gate = linear(&of_gate, &self.gate_proj.t()?)?;
        let of_x = (by_gate + linear(&of_up, &self.up_proj.t()?)?)?;
        gradient(resid_mid, of_x, self.mlp_norm.as_ref())
    }

    /// What the gradient of the residual after the attention gives that before it, by the attention; both `[tokens, d_model]`.
    pub fn attention_gradient(
        &self,
        resid_pre: &Tensor,
        of_residual: &Tensor,
        groups: &[Group],
        tables: &AttentionTables,
    ) -> TensorResult<Tensor> {
        let x = normed(resid_pre, self.input_layernorm.as_ref())?;
        let of_x = self.self_attn.gradient(&x, groups, tables, |out| {
            gradient(out, of_residual.clone(), self.post_attention_norm.as_ref())
        })?;
        gradient(resid_pre, of_x, self.input_layernorm.as_ref())
    }
}

/// The gradient of rows from that of what a norm that may not be there makes of them.
fn gradient(x: &Tensor, of_output: Tensor, norm: Option<&Norm>) -> TensorResult<Tensor> {
    match norm {
        Some(norm) => norm.gradient(x, &of_output, false),
        None => Ok(of_output),
    }
}
