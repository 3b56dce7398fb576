//! What families differ in: the values of the columns of the family table.

/// The norm of a family, and how its gain stands in safetensors. GGUF files always hold the gain itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// RMS norm; the tensor is the gain.
    Rms,
    /// RMS norm; the gain is one plus the tensor (Gemma).
    RmsOnePlus,
    /// LayerNorm without gain or bias (OLMo).
    LayerNorm,
}

/// Where a layer has norms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormPlaces {
    /// Before attention and before the MLP.
    Pre,
    /// Before and after attention, before and after the MLP (Gemma 2 and 3).
    PreAndPost,
    /// After attention and after the MLP alone (OLMo 2).
    Post,
}

impl NormPlaces {
    /// Whether attention and the MLP read normed rows.
    pub fn before(self) -> bool {
        self != NormPlaces::Post
    }

    /// Whether what attention and the MLP write is normed.
    pub fn after(self) -> bool {
        self != NormPlaces::Pre
    }
}

/// Whether queries and keys are normalised, before the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QkNorm {
    /// They are not.
    None,
    /// RMS norm over each head's width.
    PerHead,
    /// RMS norm over all heads together (OLMo 2).
    WholeWidth,
}

/// Which projections have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Biases {
    /// None.
    None,
    /// Those of queries, keys and values (Qwen 2).
    Qkv,
}

/// How projections that read the same rows are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projections {
    /// One tensor each.
    Separate,
    /// Queries, keys and values in one tensor; gate and up in one (Phi-3).
    Fused,
}

/// What token embeddings are multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddingScale {
    /// Nothing.
    One,
    /// The square root of `d_model` (Gemma).
    SqrtDModel,
}

/// What query-key products are divided by the square root of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionScale {
    /// The width of a head.
    HeadDim,
    /// `query_pre_attn_scalar` (Gemma 2 and 3). GGUF files lack it: as in llama.cpp it is the width of a
    /// head, but `d_model / n_heads` in the 27B model, which is known by its number of layers.
    QueryPreAttnScalar {
        /// Layers of the 27B model.
        layers_of_27b: usize,
    },
}

/// What is soft-capped: `cap·tanh(x / cap)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftCaps {
    /// Nothing.
    None,
    /// The logits, where the configuration gives a cap (Gemma 3).
    Logits,
    /// Query-key products and the logits; the configuration must say (Gemma 2).
    AttentionAndLogits,
}

/// Which layers attend through a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// None.
    Never,
    /// All, unless the configuration says that there is no window.
    EveryLayer {
        /// The window of a `config.json` that does not say, as in transformers.
        default: Option<usize>,
    },
    /// All but every n-th.
    AllButEvery(usize),
    /// Those from `max_window_layers` on, if `use_sliding_window` says so (Qwen).
    FromLayer,
}

impl Windows {
    /// Of so many layers each but every `period`-th; period 0 is llama.cpp's for windows everywhere.
    pub(super) fn all_but_every(period: usize, n_layers: usize) -> Vec<bool> {
        (1..=n_layers).map(|l| !l.is_multiple_of(period)).collect()
    }
}

/// How a GGUF file orders the rows of the query and key projections within a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GgufQk {
    /// As in safetensors: first halves, then second halves of the rotated pairs.
    Halves,
    /// Pairs interleaved, as llama.cpp's converter writes the architectures `llama` and `olmo`.
    Interleaved,
}
