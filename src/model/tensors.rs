//! The tensors of a gated decoder: their shapes, and their names in each file format.

use std::ops::Range;

use super::config::Config;
use super::family::Family;
use super::kinds::{Biases, NormKind, NormPlaces, Projections, QkNorm};
use super::store::Format;

/// Divisors of Llama 3's rope frequencies.
pub(super) const LLAMA3_FACTORS: &str = "rope_freqs.weight";
/// Divisors of Phi-3's rope frequencies, for inputs up to the length of its first training and beyond.
pub(super) const LONGROPE_SHORT: &str = "rope_factors_short.weight";
pub(super) const LONGROPE_LONG: &str = "rope_factors_long.weight";

/// Tensors of GGUF files that belong to the configuration.
pub(super) const ROPE_TENSORS: &[&str] = &[LLAMA3_FACTORS, LONGROPE_SHORT, LONGROPE_LONG];

/// The tensors of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerTensor {
    /// Gain of the norm before attention, `[d_model]`.
    AttentionNorm,
    /// Query projection, `[n_heads·head_dim, d_model]`.
    QProj,
    /// Key projection, `[n_kv_heads·head_dim, d_model]`.
    KProj,
    /// Value projection, `[n_kv_heads·head_dim, d_model]`.
    VProj,
    /// Output projection of attention, `[d_model, n_heads·head_dim]`.
    OProj,
    /// Bias of the query projection, `[n_heads·head_dim]`.
    QBias,
    /// Bias of the key projection, `[n_kv_heads·head_dim]`.
    KBias,
    /// Bias of the value projection, `[n_kv_heads·head_dim]`.
    VBias,
    /// Gain of the query norm, `[head_dim]`, or `[n_heads·head_dim]` where all heads are normed together.
    QNorm,
    /// Gain of the key norm, `[head_dim]`, or `[n_kv_heads·head_dim]`.
    KNorm,
    /// Gain of the norm after attention, `[d_model]`.
    PostAttentionNorm,
    /// Gain of the norm before the MLP, `[d_model]`.
    MlpNorm,
    /// Gate projection, `[d_mlp, d_model]`: row n is `w_gate` of neuron n.
    GateProj,
    /// Up projection, `[d_mlp, d_model]`: row n is `w_in` of neuron n.
    UpProj,
    /// Down projection, `[d_model, d_mlp]`: column n is `w_out` of neuron n.
    DownProj,
    /// Gain of the norm after the MLP, `[d_model]`.
    PostMlpNorm,
    /// The rows of query, key and value projection in one tensor, where they are stored so (Phi-3).
    QkvProj,
    /// The rows of gate and up projection in one tensor, where they are stored so (Phi-3).
    GateUpProj,
}

/// The tensors outside the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelTensor {
    /// Token embedding, `[vocab_size, d_model]`.
    Embedding,
    /// Gain of the final norm, `[d_model]`, where it has one.
    FinalNorm,
    /// Output head, `[vocab_size, d_model]`; absent where it is the embedding.
    Head,
}

impl LayerTensor {
    pub(super) fn is_norm(self) -> bool {
        use LayerTensor::*;
        matches!(
            self,
            AttentionNorm | QNorm | KNorm | PostAttentionNorm | MlpNorm | PostMlpNorm
        )
    }

    /// Whether this is a norm that the layer has and that has no parameters.
    pub(super) fn has_ones_for_gain(self, c: &Config) -> bool {
        let before = matches!(self, LayerTensor::AttentionNorm | LayerTensor::MlpNorm);
        before && c.family.norm == NormKind::LayerNorm
    }

    pub(super) fn shape(self, c: &Config) -> Vec<usize> {
        use LayerTensor::*;
        let (q, kv) = (c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim);
        let whole_width = c.family.qk_norm == QkNorm::WholeWidth;
        match self {
            AttentionNorm | PostAttentionNorm | MlpNorm | PostMlpNorm => vec![c.d_model],
            QNorm if whole_width => vec![q],
            KNorm if whole_width => vec![kv],
            QNorm | KNorm => vec![c.head_dim],
            QBias => vec![q],
            KBias | VBias => vec![kv],
            QProj => vec![q, c.d_model],
            KProj | VProj => vec![kv, c.d_model],
            OProj => vec![c.d_model, q],
            GateProj | UpProj => vec![c.d_mlp, c.d_model],
            DownProj => vec![c.d_model, c.d_mlp],
            QkvProj => vec![q + 2 * kv, c.d_model],
            GateUpProj => vec![2 * c.d_mlp, c.d_model],
        }
    }

    /// The stored tensor that holds this one, and its rows there.
    pub(super) fn stored(self, c: &Config) -> (LayerTensor, Range<usize>) {
        use LayerTensor::*;
        let rows = self.shape(c)[0];
        let (q, kv) = (c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim);
        let (whole, first) = match (c.family.projections, self) {
            (Projections::Fused, QProj) => (QkvProj, 0),
            (Projections::Fused, KProj) => (QkvProj, q),
            (Projections::Fused, VProj) => (QkvProj, q + kv),
            (Projections::Fused, GateProj) => (GateUpProj, 0),
            (Projections::Fused, UpProj) => (GateUpProj, c.d_mlp),
            _ => (self, 0),
        };
        (whole, first..first + rows)
    }

    /// The tensor's name in a kind of files.
    pub(super) fn name(self, format: Format, layer: usize, family: &Family) -> String {
        use LayerTensor::*;
        let before_mlp = match family.norm_places {
            // Llama's name for the norm before the MLP is the one that Gemma gives to the norm after attention.
            NormPlaces::Pre => "post_attention_layernorm.weight",
            NormPlaces::PreAndPost | NormPlaces::Post => "pre_feedforward_layernorm.weight",
        };
        let (safetensors, gguf) = match self {
            AttentionNorm => ("input_layernorm.weight", "attn_norm.weight"),
            QProj => ("self_attn.q_proj.weight", "attn_q.weight"),
            KProj => ("self_attn.k_proj.weight", "attn_k.weight"),
            VProj => ("self_attn.v_proj.weight", "attn_v.weight"),
            OProj => ("self_attn.o_proj.weight", "attn_output.weight"),
            QBias => ("self_attn.q_proj.bias", "attn_q.bias"),
            KBias => ("self_attn.k_proj.bias", "attn_k.bias"),
            VBias => ("self_attn.v_proj.bias", "attn_v.bias"),
            QNorm => ("self_attn.q_norm.weight", "attn_q_norm.weight"),
            KNorm => ("self_attn.k_norm.weight", "attn_k_norm.weight"),
            PostAttentionNorm => (
                "post_attention_layernorm.weight",
                "post_attention_norm.weight",
            ),
            MlpNorm => (before_mlp, "ffn_norm.weight"),
            GateProj => ("mlp.gate_proj.weight", "ffn_gate.weight"),
            UpProj => ("mlp.up_proj.weight", "ffn_up.weight"),
            DownProj => ("mlp.down_proj.weight", "ffn_down.weight"),
            PostMlpNorm => ("post_feedforward_layernorm.weight", "post_ffw_norm.weight"),
            QkvProj => ("self_attn.qkv_proj.weight", "attn_qkv.weight"),
            GateUpProj => ("mlp.gate_up_proj.weight", "ffn_up.weight"), // gate's rows first in both
        };
        match format {
            Format::Safetensors => format!("model.layers.{layer}.{safetensors}"),
            Format::Gguf => format!("blk.{layer}.{gguf}"),
        }
    }
}

impl ModelTensor {
    pub(super) fn shape(self, c: &Config) -> Vec<usize> {
        match self {
            ModelTensor::Embedding | ModelTensor::Head => vec![c.vocab_size, c.d_model],
            ModelTensor::FinalNorm => vec![c.d_model],
        }
    }

    /// The tensor's name in a kind of files.
    pub(super) fn name(self, format: Format) -> &'static str {
        match (self, format) {
            (ModelTensor::Embedding, Format::Safetensors) => "model.embed_tokens.weight",
            (ModelTensor::Embedding, Format::Gguf) => "token_embd.weight",
            (ModelTensor::FinalNorm, Format::Safetensors) => "model.norm.weight",
            (ModelTensor::FinalNorm, Format::Gguf) => "output_norm.weight",
            (ModelTensor::Head, Format::Safetensors) => "lm_head.weight",
            (ModelTensor::Head, Format::Gguf) => "output.weight",
        }
    }
}

impl Family {
    /// The tensors that each layer of this family stores.
    pub(super) fn layer_tensors(&self) -> Vec<LayerTensor> {
        use LayerTensor::*;
        let mut tensors = match self.projections {
            Projections::Separate => vec![QProj, KProj, VProj, GateProj, UpProj],
            Projections::Fused => vec![QkvProj, GateUpProj],
        };
        tensors.extend([OProj, DownProj]);
        if self.norm_places.before() && self.norm != NormKind::LayerNorm {
            tensors.extend([AttentionNorm, MlpNorm]);
        }
        if self.norm_places.after() {
            tensors.extend([PostAttentionNorm, PostMlpNorm]);
        }
        if self.qk_norm != QkNorm::None {
            tensors.extend([QNorm, KNorm]);
        }
        if self.biases == Biases::Qkv {
            tensors.extend([QBias, KBias, VBias]);
        }
        tensors
    }

    /// The tensors outside the layers; a tied head is stored as the embedding.
    pub(super) fn model_tensors(&self) -> Vec<ModelTensor> {
        use ModelTensor::*;
        match self.norm {
            NormKind::LayerNorm => vec![Embedding, Head],
            NormKind::Rms | NormKind::RmsOnePlus => vec![Embedding, FinalNorm, Head],
        }
    }
}
