//! The family table: one row says how a family's files and arithmetic differ from the others'.

use super::config::Activation;

/// How a norm's gain stands in safetensors. GGUF files always hold the gain itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormGain {
    /// The tensor is the gain.
    Plain,
    /// The gain is one plus the tensor (Gemma).
    OnePlus,
}

/// Where a layer has norms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormPlaces {
    /// Before attention and before the MLP.
    Pre,
    /// Before and after attention, before and after the MLP (Gemma 2 and 3).
    PreAndPost,
}

/// Whether queries and keys are normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QkNorm {
    /// They are not.
    None,
    /// RMS norm over each head's width, before the rotation.
    PerHead,
}

/// What token embeddings are multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddingScale {
    /// Nothing.
    One,
    /// The square root of `d_model` (Gemma).
    SqrtDModel,
}

/// How a GGUF file orders the rows of the query and key projections within a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GgufQk {
    /// As in safetensors: first halves, then second halves of the rotated pairs.
    Halves,
    /// Pairs interleaved, as llama.cpp's converter writes the `llama` architecture.
    Interleaved,
}

/// One family of gated decoders.
#[derive(Debug, PartialEq)]
pub struct Family {
    /// The name that `inspect` and `run.json` print.
    pub name: &'static str,
    /// The values of `model_type` in `config.json` that mean this family.
    pub model_types: &'static [&'static str],
    /// The value of `general.architecture` in GGUF metadata.
    pub gguf_arch: &'static str,
    /// The activation where a file does not name one (GGUF never does).
    pub activation: Activation,
    /// How norm gains stand in safetensors.
    pub norm_gain: NormGain,
    /// Where the norms are.
    pub norm_places: NormPlaces,
    /// Norms of queries and keys.
    pub qk_norm: QkNorm,
    /// The scale of the embeddings.
    pub embedding_scale: EmbeddingScale,
    /// The order of query and key rows in GGUF.
    pub gguf_qk: GgufQk,
    /// Whether the output head shares the embedding where a config does not say.
    pub tied_by_default: bool,
    /// The number of layers of which the last one attends globally, the others through a window;
    /// `None` where every layer attends globally.
    pub window_pattern: Option<usize>,
    /// The rope base of windowed layers where the file does not give one.
    pub local_rope_theta: f64,
}

/// Every family that this version runs.
pub const FAMILIES: &[Family] = &[
    Family {
        name: "llama",
        model_types: &["llama"],
        gguf_arch: "llama",
        activation: Activation::Silu,
        norm_gain: NormGain::Plain,
        norm_places: NormPlaces::Pre,
        qk_norm: QkNorm::None,
        embedding_scale: EmbeddingScale::One,
        gguf_qk: GgufQk::Interleaved,
        tied_by_default: false,
        window_pattern: None,
        local_rope_theta: 10_000.0,
    },
    Family {
        name: "gemma3",
        model_types: &["gemma3_text"],
        gguf_arch: "gemma3",
        activation: Activation::GeluTanh,
        norm_gain: NormGain::OnePlus,
        norm_places: NormPlaces::PreAndPost,
        qk_norm: QkNorm::PerHead,
        embedding_scale: EmbeddingScale::SqrtDModel,
        gguf_qk: GgufQk::Halves,
        tied_by_default: true,
        window_pattern: Some(6),
        local_rope_theta: 10_000.0,
    },
];

impl Family {
    /// The family of a `model_type` in `config.json`.
    pub fn by_model_type(model_type: &str) -> Option<&'static Family> {
        FAMILIES
            .iter()
            .find(|family| family.model_types.contains(&model_type))
    }

    /// The family of a GGUF architecture.
    pub fn by_gguf_arch(arch: &str) -> Option<&'static Family> {
        FAMILIES.iter().find(|family| family.gguf_arch == arch)
    }
}
