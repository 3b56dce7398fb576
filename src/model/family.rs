//! The family table: one row says how a family's files and arithmetic differ from the others'.

use super::activation::Activation;
use super::error::ModelError;
use super::kinds::{
    AttentionScale, Biases, EmbeddingScale, GgufQk, NormKind, NormPlaces, Projections, QkNorm,
    SoftCaps, Windows,
};

/// What a family's numbers were held against: Hugging Face transformers 5.23 in f32, on these weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check {
    /// The weights.
    pub weights: Weights,
    /// The largest difference of a log-probability in nats, clean and ablated, rounded up; the tests hold it to this.
    pub logprob_error: f64,
}

/// Weights of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Those of the named model.
    Real(&'static str),
    /// Random ones of odd shapes, as safetensors and as GGUF.
    Random,
}

/// One family of gated decoders.
#[derive(Debug, PartialEq)]
pub struct Family {
    /// The name that `inspect` and `run.json` print.
    pub name: &'static str,
    /// The models that belong to it, for a person.
    pub models: &'static str,
    /// The value of `model_type` in `config.json`.
    pub model_type: &'static str,
    /// What the names of its classes in transformers begin with, as in `LlamaForCausalLM`.
    pub transformers_class: &'static str,
    /// Keys of `config.json` for which transformers has a number of its own where the file has none.
    pub needed_keys: &'static [&'static str],
    /// The value of `general.architecture` in GGUF metadata.
    pub gguf_arch: &'static str,
    /// The activation where a file does not name one (GGUF never does).
    pub activation: Activation,
    /// The key of `config.json` that names the activation; there may be another, which transformers ignores.
    pub activation_key: &'static str,
    /// The kind of its norms.
    pub norm: NormKind,
    /// Where the norms are.
    pub norm_places: NormPlaces,
    /// Norms of queries and keys.
    pub qk_norm: QkNorm,
    /// Biases.
    pub biases: Biases,
    /// How projections are stored.
    pub projections: Projections,
    /// The scale of the embeddings.
    pub embedding_scale: EmbeddingScale,
    /// The scale of attention.
    pub attention_scale: AttentionScale,
    /// Soft caps.
    pub soft_caps: SoftCaps,
    /// Windowed layers.
    pub windows: Windows,
    /// The rope base where `config.json` gives none: `None` where it must.
    pub default_rope_theta: Option<f64>,
    /// The rope base of windowed layers where the file gives none; `None`: that of the others.
    pub local_rope_theta: Option<f64>,
    /// The order of query and key rows in GGUF.
    pub gguf_qk: GgufQk,
    /// Whether the output head shares the embedding where a config does not say.
    pub tied_by_default: bool,
    /// How it was verified.
    pub checks: &'static [Check],
}

const fn real(model: &'static str, logprob_error: f64) -> Check {
    Check {
        weights: Weights::Real(model),
        logprob_error,
    }
}

const fn random(logprob_error: f64) -> Check {
    Check {
        weights: Weights::Random,
        logprob_error,
    }
}

/// What most families differ from in a line or two.
const BASE: Family = Family {
    name: "llama",
    models: "Llama 2, Llama 3, Yi, SmolLM2",
    model_type: "llama",
    transformers_class: "Llama",
    needed_keys: &[],
    gguf_arch: "llama",
    activation: Activation::Silu,
    activation_key: "hidden_act",
    norm: NormKind::Rms,
    norm_places: NormPlaces::Pre,
    qk_norm: QkNorm::None,
    biases: Biases::None,
    projections: Projections::Separate,
    embedding_scale: EmbeddingScale::One,
    attention_scale: AttentionScale::HeadDim,
    soft_caps: SoftCaps::None,
    windows: Windows::Never,
    default_rope_theta: None,
    local_rope_theta: None,
    gguf_qk: GgufQk::Halves,
    tied_by_default: false,
    checks: &[],
};

/// What differs from `base` in its names alone. Most families have one name in both kinds of files.
const fn named(
    base: Family,
    name: &'static str,
    models: &'static str,
    transformers_class: &'static str,
) -> Family {
    Family {
        name,
        models,
        model_type: name,
        transformers_class,
        gguf_arch: name,
        ..base
    }
}

const LLAMA: Family = Family {
    default_rope_theta: Some(10_000.0), // Llama 2's config.json is older than the key
    gguf_qk: GgufQk::Interleaved,
    checks: &[real("SmolLM2 135M", 1e-4), random(4e-5)],
    ..BASE
};

/// Gemma: what its three generations share.
const GEMMA: Family = Family {
    needed_keys: &["num_key_value_heads", "head_dim"],
    activation: Activation::GeluTanh,
    norm: NormKind::RmsOnePlus,
    embedding_scale: EmbeddingScale::SqrtDModel,
    tied_by_default: true,
    checks: &[random(1e-5)],
    ..named(BASE, "gemma", "Gemma 1", "Gemma")
};

/// Every family that this version runs.
pub const FAMILIES: &[Family] = &[
    LLAMA,
    Family {
        needed_keys: &["num_key_value_heads"],
        windows: Windows::EveryLayer {
            default: Some(4096),
        },
        gguf_qk: GgufQk::Interleaved,
        checks: &[random(1e-5)],
        gguf_arch: "llama",
        ..named(BASE, "mistral", "Mistral 7B", "Mistral")
    },
    Family {
        needed_keys: &["num_key_value_heads"],
        biases: Biases::Qkv,
        windows: Windows::FromLayer,
        checks: &[
            real("Qwen2.5-Coder 0.5B", 4e-5),
            real("Qwen2.5-Coder 1.5B", 2e-4),
            random(2e-5),
        ],
        ..named(BASE, "qwen2", "Qwen 2, Qwen 2.5", "Qwen2")
    },
    Family {
        needed_keys: &["num_key_value_heads", "head_dim"],
        qk_norm: QkNorm::PerHead,
        windows: Windows::FromLayer,
        checks: &[random(1e-5)],
        ..named(BASE, "qwen3", "Qwen 3 (dense)", "Qwen3")
    },
    GEMMA,
    Family {
        activation_key: "hidden_activation",
        norm_places: NormPlaces::PreAndPost,
        attention_scale: AttentionScale::QueryPreAttnScalar { layers_of_27b: 46 },
        soft_caps: SoftCaps::AttentionAndLogits,
        windows: Windows::AllButEvery(2),
        checks: &[random(1e-5)],
        ..named(GEMMA, "gemma2", "Gemma 2", "Gemma2")
    },
    Family {
        model_type: "gemma3_text",
        activation_key: "hidden_activation",
        norm_places: NormPlaces::PreAndPost,
        qk_norm: QkNorm::PerHead,
        attention_scale: AttentionScale::QueryPreAttnScalar { layers_of_27b: 62 },
        soft_caps: SoftCaps::Logits,
        windows: Windows::AllButEvery(6),
        local_rope_theta: Some(10_000.0),
        checks: &[real("Gemma 3 270M", 5e-5), random(5e-5)],
        ..named(GEMMA, "gemma3", "Gemma 3 (text)", "Gemma3")
    },
    Family {
        norm: NormKind::LayerNorm,
        gguf_qk: GgufQk::Interleaved,
        checks: &[random(2e-5)],
        ..named(BASE, "olmo", "OLMo", "Olmo")
    },
    Family {
        norm_places: NormPlaces::Post,
        qk_norm: QkNorm::WholeWidth,
        checks: &[random(2e-5)],
        ..named(BASE, "olmo2", "OLMo 2", "Olmo2")
    },
    Family {
        projections: Projections::Fused,
        windows: Windows::EveryLayer { default: None },
        checks: &[random(3e-5)],
        ..named(BASE, "phi3", "Phi-3, Phi-3.5, Phi-4", "Phi3")
    },
];

/// Models that people may come with and that do not run, with the reason.
#[derive(Debug)]
pub struct Refused {
    /// The values of `model_type` in `config.json`, or of `general.architecture` in GGUF metadata, with spaces between.
    names: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// Refused by name; whatever is in neither table is unknown.
pub const REFUSED: &[Refused] = &[
    Refused {
        names: "gpt2 gpt_neo gpt_neox gptneox gptj opt bloom falcon phi phi2 starcoder2",
        reason: "its MLP has no gate, so a neuron has no w_gate and no input-output class",
    },
    Refused {
        names: "mixtral qwen2_moe qwen2moe qwen3_moe qwen3moe olmoe phimoe deepseek_v2 deepseek2 deepseek_v3 gpt_oss gpt-oss llama4",
        reason: "a mixture of experts: which neurons run differs from token to token",
    },
    Refused {
        names: "gemma3 mllama mistral3 qwen2_vl qwen2_5_vl",
        reason: "a model of text and images; its text part runs from a GGUF file, if its family does",
    },
    Refused {
        names: "gemma3n gemma3n_text mamba mamba2 recurrent_gemma rwkv",
        reason: "not a plain stack of attention and gated MLP layers",
    },
];

impl Refused {
    /// The values of `model_type` in `config.json`, or of `general.architecture` in GGUF metadata.
    pub fn names(&self) -> Vec<&'static str> {
        self.names.split(' ').collect()
    }
}

impl Family {
    /// The family that a file's `key` names; `name` is what a family is called there. Mistral's GGUF files say `llama`.
    ///
    /// # Errors
    /// A name of none of them, with the reason where it is known.
    pub(super) fn named(
        file: &'static str,
        key: &'static str,
        found: &str,
        name: fn(&Family) -> &'static str,
    ) -> Result<&'static Family, ModelError> {
        if let Some(family) = FAMILIES.iter().find(|family| name(family) == found) {
            return Ok(family);
        }
        if let Some(refused) = REFUSED
            .iter()
            .find(|refused| refused.names().contains(&found))
        {
            return Err(ModelError::Unfit(format!(
                "{file}: {key} = {found} is not supported: {}; `gatelens models` lists what is",
                refused.reason
            )));
        }
        let mut known: Vec<_> = FAMILIES.iter().map(name).collect();
        known.dedup();
        Err(ModelError::value(file, key, found, &known.join(", ")))
    }
}
