//! What a checkpoint's configuration says, in one form for every family and file format.

use serde::Serialize;

use super::activation::Activation;
use super::family::Family;
use super::kinds::EmbeddingScale;
use super::rope::RopeSpec;

/// How one layer attends.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttentionSpec {
    /// The rotation of queries and keys.
    pub rope: RopeSpec,
    /// How many keys a query sees, itself included; `None`: all before it.
    pub window: Option<usize>,
}

impl AttentionSpec {
    /// One for each layer, which has a window or none.
    pub(super) fn by_layer(windowed: &[bool], global: Self, local: Self) -> Vec<Self> {
        let of_layer = |windowed: &bool| if *windowed { &local } else { &global };
        windowed.iter().map(of_layer).cloned().collect()
    }
}

/// Everything about a model's arithmetic that is not a weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The row of the family table.
    pub family: &'static Family,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Neurons per layer.
    pub d_mlp: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Entries of the embedding.
    pub vocab_size: usize,
    /// Longest input that the model was made for, in tokens.
    pub max_positions: usize,
    /// The norms' epsilon.
    pub norm_eps: f64,
    /// What query-key products are multiplied by.
    pub attention_scale: f64,
    /// The soft cap of scaled query-key products.
    pub attention_softcap: Option<f64>,
    /// The soft cap of the logits.
    pub final_softcap: Option<f64>,
    /// Queries, keys and values are clamped to plus or minus this, before the rotation (OLMo).
    pub clip_qkv: Option<f64>,
    /// The gate's activation.
    pub activation: Activation,
    /// Whether the output head is the embedding.
    pub tied_head: bool,
    /// One entry per layer.
    pub attention: Vec<AttentionSpec>,
    /// What the files leave open and was taken as transformers or llama.cpp take it, for a person.
    pub assumed: Vec<String>,
    /// What the files say and this version does not know, for a person.
    pub warnings: Vec<String>,
}

impl Config {
    /// Number of layers.
    pub fn n_layers(&self) -> usize {
        self.attention.len()
    }

    /// What token embeddings are multiplied by.
    pub fn embedding_scale(&self) -> f64 {
        match self.family.embedding_scale {
            EmbeddingScale::One => 1.0,
            EmbeddingScale::SqrtDModel => (self.d_model as f64).sqrt(),
        }
    }

    /// Number of weights, norms left out of account where they are negligible.
    pub fn parameters(&self) -> u64 {
        let head = if self.tied_head { 1 } else { 2 };
        head * self.embedding_parameters() + self.n_layers() as u64 * self.layer_parameters()
    }

    /// Weights of the embedding.
    pub fn embedding_parameters(&self) -> u64 {
        (self.vocab_size * self.d_model) as u64
    }

    /// Weights of the matrices of one layer.
    pub fn layer_parameters(&self) -> u64 {
        let heads = 2 * self.n_heads + 2 * self.n_kv_heads;
        (self.d_model * (heads * self.head_dim + 3 * self.d_mlp)) as u64
    }
}
