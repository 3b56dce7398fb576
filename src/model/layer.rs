//! One decoder layer, in the three steps between which the engine observes and edits:
//!
//! ```text
//! attn_out   = post_norm(o_proj(attention(norm(resid_pre))))      resid_mid  = resid_pre + attn_out
//! gate, up   = gate_proj(norm(resid_mid)), up_proj(norm(resid_mid))
//! post       = act(gate)·up                                       (the engine's fused pass)
//! mlp_out    = post_norm(down_proj(post))                         resid_post = resid_mid + mlp_out
//! ```
//!
//! The post-norms are those of Gemma 3 and absent elsewhere.

use candle_core::{DType, Device, Result as TensorResult, Tensor};

use super::ModelError;
use super::attention::AttentionTables;
use super::checkpoint::Checkpoint;
use super::config::AttentionSpec;
use super::family::{NormPlaces, QkNorm};
use super::linear::linear;
use super::tensors::LayerTensor;
use crate::tokens::Group;

/// The weights of one layer, with the checkpoint's own names.
pub struct Layer {
    input_layernorm: Tensor,
    pub(super) q_proj: Tensor,
    pub(super) k_proj: Tensor,
    pub(super) v_proj: Tensor,
    o_proj: Tensor,
    pub(super) q_norm: Option<Tensor>,
    pub(super) k_norm: Option<Tensor>,
    post_attention_norm: Option<Tensor>,
    mlp_norm: Tensor,
    gate_proj: Tensor,
    up_proj: Tensor,
    down_proj: Tensor,
    post_mlp_norm: Option<Tensor>,
    pub(super) attention: AttentionSpec,
    pub(super) attention_scale: f64,
    pub(super) norm_eps: f32,
    pub(super) n_heads: usize,
    pub(super) n_kv_heads: usize,
    pub(super) head_dim: usize,
}

impl Layer {
    /// Reads layer `l`, f32 on the CPU first, then in `dtype` on `device`.
    pub fn load(
        checkpoint: &Checkpoint,
        l: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Layer, ModelError> {
        use LayerTensor::*;
        let config = checkpoint.config();
        let family = config.family;
        let read = |tensor| -> Result<Tensor, ModelError> {
            Ok(checkpoint
                .layer_tensor(l, tensor)?
                .to_dtype(dtype)?
                .to_device(device)?)
        };
        let read_if = |there: bool, tensor| there.then(|| read(tensor)).transpose();
        let post_norms = family.norm_places == NormPlaces::PreAndPost;
        let qk_norms = family.qk_norm == QkNorm::PerHead;
        Ok(Layer {
            input_layernorm: read(AttentionNorm)?,
            q_proj: read(QProj)?,
            k_proj: read(KProj)?,
            v_proj: read(VProj)?,
            o_proj: read(OProj)?,
            q_norm: read_if(qk_norms, QNorm)?,
            k_norm: read_if(qk_norms, KNorm)?,
            post_attention_norm: read_if(post_norms, PostAttentionNorm)?,
            mlp_norm: read(MlpNorm)?,
            gate_proj: read(GateProj)?,
            up_proj: read(UpProj)?,
            down_proj: read(DownProj)?,
            post_mlp_norm: read_if(post_norms, PostMlpNorm)?,
            attention: config.attention[l],
            attention_scale: config.attention_scale,
            norm_eps: config.norm_eps as f32,
            n_heads: config.n_heads,
            n_kv_heads: config.n_kv_heads,
            head_dim: config.head_dim,
        })
    }

    /// What attention adds to the residual: `[tokens, d_model]` -> `[tokens, d_model]`.
    pub fn attn_out(
        &self,
        resid_pre: &Tensor,
        groups: &[Group],
        tables: &AttentionTables,
    ) -> TensorResult<Tensor> {
        let normed = self.norm(resid_pre, &self.input_layernorm)?;
        let z = self.heads(&normed, groups, tables)?; // [tokens, n_heads·head_dim]
        let out = linear(&z, &self.o_proj)?; // [tokens, d_model]
        self.norm_after(out, self.post_attention_norm.as_ref())
    }

    /// The pre-activations of the MLP, both `[tokens, d_mlp]`, from `resid_mid` `[tokens, d_model]`.
    pub fn gate_and_up(&self, resid_mid: &Tensor) -> TensorResult<(Tensor, Tensor)> {
        let normed = self.norm(resid_mid, &self.mlp_norm)?;
        Ok((
            linear(&normed, &self.gate_proj)?,
            linear(&normed, &self.up_proj)?,
        ))
    }

    /// What the MLP adds to the residual: `[tokens, d_mlp]` -> `[tokens, d_model]`.
    pub fn mlp_out(&self, post: &Tensor) -> TensorResult<Tensor> {
        let out = linear(post, &self.down_proj)?; // [tokens, d_model]
        self.norm_after(out, self.post_mlp_norm.as_ref())
    }

    fn norm(&self, x: &Tensor, gain: &Tensor) -> TensorResult<Tensor> {
        candle_nn::ops::rms_norm(x, gain, self.norm_eps)
    }

    fn norm_after(&self, out: Tensor, gain: Option<&Tensor>) -> TensorResult<Tensor> {
        match gain {
            Some(gain) => self.norm(&out, gain),
            None => Ok(out),
        }
    }
}
