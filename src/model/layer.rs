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

use super::attention::{Attention, AttentionTables, KeysValues, TokenRows};
use super::checkpoint::Checkpoint;
use super::error::ModelError;
use super::layer_reader::LayerReader;
use super::linear::{by_inputs, linear};
use super::norm::{Norm, normed};
use super::tensors::LayerTensor;

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
}
