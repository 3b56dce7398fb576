//! The tensors of a gated decoder: their shapes, and their names in each file format.

use super::config::Config;
use super::family::{Family, NormPlaces, QkNorm};

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
    /// Gain of the query norm, `[head_dim]`.
    QNorm,
    /// Gain of the key norm, `[head_dim]`.
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
}

/// The tensors outside the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelTensor {
    /// Token embedding, `[vocab_size, d_model]`.
    Embedding,
    /// Gain of the final norm, `[d_model]`.
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

    pub(super) fn shape(self, c: &Config) -> Vec<usize> {
        use LayerTensor::*;
        let (q, kv) = (c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim);
        match self {
            AttentionNorm | PostAttentionNorm | MlpNorm | PostMlpNorm => vec![c.d_model],
            QNorm | KNorm => vec![c.head_dim],
            QProj => vec![q, c.d_model],
            KProj | VProj => vec![kv, c.d_model],
            OProj => vec![c.d_model, q],
            GateProj | UpProj => vec![c.d_mlp, c.d_model],
            DownProj => vec![c.d_model, c.d_mlp],
        }
    }

    /// The tensor's name in safetensors.
    pub(super) fn safetensors_name(self, layer: usize, family: &Family) -> String {
        use LayerTensor::*;
        let name = match self {
            AttentionNorm => "input_layernorm",
            QProj => "self_attn.q_proj",
            KProj => "self_attn.k_proj",
            VProj => "self_attn.v_proj",
            OProj => "self_attn.o_proj",
            QNorm => "self_attn.q_norm",
            KNorm => "self_attn.k_norm",
            PostAttentionNorm => "post_attention_layernorm",
            // Llama's name for the norm before the MLP is the one that Gemma gives to the norm after attention.
            MlpNorm => match family.norm_places {
                NormPlaces::Pre => "post_attention_layernorm",
                NormPlaces::PreAndPost => "pre_feedforward_layernorm",
            },
            GateProj => "mlp.gate_proj",
            UpProj => "mlp.up_proj",
            DownProj => "mlp.down_proj",
            PostMlpNorm => "post_feedforward_layernorm",
        };
        format!("model.layers.{layer}.{name}.weight")
    }

    /// The tensor's name in GGUF.
    pub(super) fn gguf_name(self, layer: usize) -> String {
        use LayerTensor::*;
        let name = match self {
            AttentionNorm => "attn_norm",
            QProj => "attn_q",
            KProj => "attn_k",
            VProj => "attn_v",
            OProj => "attn_output",
            QNorm => "attn_q_norm",
            KNorm => "attn_k_norm",
            PostAttentionNorm => "post_attention_norm",
            MlpNorm => "ffn_norm",
            GateProj => "ffn_gate",
            UpProj => "ffn_up",
            DownProj => "ffn_down",
            PostMlpNorm => "post_ffw_norm",
        };
        format!("blk.{layer}.{name}.weight")
    }
}

impl ModelTensor {
    pub(super) fn shape(self, c: &Config) -> Vec<usize> {
        match self {
            ModelTensor::Embedding | ModelTensor::Head => vec![c.vocab_size, c.d_model],
            ModelTensor::FinalNorm => vec![c.d_model],
        }
    }

    /// The tensor's name in safetensors.
    pub(super) fn safetensors_name(self) -> &'static str {
        match self {
            ModelTensor::Embedding => "model.embed_tokens.weight",
            ModelTensor::FinalNorm => "model.norm.weight",
            ModelTensor::Head => "lm_head.weight",
        }
    }

    /// The tensor's name in GGUF.
    pub(super) fn gguf_name(self) -> &'static str {
        match self {
            ModelTensor::Embedding => "token_embd.weight",
            ModelTensor::FinalNorm => "output_norm.weight",
            ModelTensor::Head => "output.weight",
        }
    }
}

impl Family {
    /// The tensors that each layer of this family has.
    pub(super) fn layer_tensors(&self) -> Vec<LayerTensor> {
        use LayerTensor::*;
        let mut tensors = vec![
            AttentionNorm,
            QProj,
            KProj,
            VProj,
            OProj,
            MlpNorm,
            GateProj,
            UpProj,
            DownProj,
        ];
        if self.norm_places == NormPlaces::PreAndPost {
            tensors.extend([PostAttentionNorm, PostMlpNorm]);
        }
        if self.qk_norm == QkNorm::PerHead {
            tensors.extend([QNorm, KNorm]);
        }
        tensors
    }
}
