//! The numbers of a configuration: what each is called in `config.json` and in GGUF metadata (without its architecture),
//! and the range in which it has a meaning. What is outside would be computed without a word, or asked for as memory.

/// A number of a configuration.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub json: &'static str,
    pub gguf: &'static str,
    pub least: f64,
    pub most: f64,
    /// The range of a number, in words.
    pub accepted: &'static str,
}

const fn count(json: &'static str, gguf: &'static str, most: usize) -> Key {
    Key {
        json,
        gguf,
        least: 1.0,
        most: most as f64,
        accepted: "a number from 1 on",
    }
}

const fn number(
    json: &'static str,
    gguf: &'static str,
    (least, most, accepted): (f64, f64, &'static str),
) -> Key {
    Key {
        json,
        gguf,
        least,
        most,
        accepted,
    }
}

// Bounds of counts: beyond those of any model, and small enough that no product of three of them overflows.
pub(super) const WIDEST_HEAD: usize = 1 << 12;
pub(super) const LONGEST_INPUT: usize = i32::MAX as usize;

pub(super) const N_LAYERS: Key = count("num_hidden_layers", "block_count", 4096);
pub(super) const D_MODEL: Key = count("hidden_size", "embedding_length", 1 << 20);
pub(super) const D_MLP: Key = count("intermediate_size", "feed_forward_length", 1 << 22);
pub(super) const N_HEADS: Key = count("num_attention_heads", "attention.head_count", 1 << 14);
pub(super) const N_KV_HEADS: Key = count("num_key_value_heads", "attention.head_count_kv", 1 << 14);
pub(super) const HEAD_DIM: Key = count("head_dim", "attention.key_length", WIDEST_HEAD);
pub(super) const VALUE_DIM: Key = count("head_dim", "attention.value_length", WIDEST_HEAD);
pub(super) const VOCAB_SIZE: Key = count("vocab_size", "vocab_size", 1 << 26);
pub(super) const MAX_POSITIONS: Key =
    count("max_position_embeddings", "context_length", LONGEST_INPUT);
pub(super) const ORIGINAL_POSITIONS: Key = count(
    "original_max_position_embeddings",
    "rope.scaling.original_context_length",
    LONGEST_INPUT,
);
pub(super) const WINDOW: Key = count("sliding_window", "attention.sliding_window", LONGEST_INPUT);
pub(super) const WINDOW_PATTERN: Key = count(
    "sliding_window_pattern",
    "attention.sliding_window_pattern",
    LONGEST_INPUT,
);

// Numbers are read in f64 and computed in f32, where one far below 1 is 0 and its inverse is infinite. No model comes near.
const EPS: (f64, f64, &str) = (1e-30, 1.0, "a number from 1e-30 to 1");
const CAP: (f64, f64, &str) = (1e-6, 1e6, "a number from 1e-6 to 1e6, or none");
const FACTOR_RANGE: (f64, f64, &str) = (1e-6, 1e6, "a number above 0, from 1e-6 to 1e6");
const BASE: (f64, f64, &str) = (1.0 + f64::EPSILON, 1e12, "a number above 1, at most 1e12");

pub(super) const RMS_NORM_EPS: Key =
    number("rms_norm_eps", "attention.layer_norm_rms_epsilon", EPS);
pub(super) const LAYER_NORM_EPS: Key =
    number("layer_norm_eps", "attention.layer_norm_epsilon", EPS);
pub(super) const ATTENTION_SCALAR: Key = number(
    "query_pre_attn_scalar",
    "attention.scale",
    (1e-9, 1e9, "a number from 1e-9 to 1e9"),
);
pub(super) const ATTENTION_CAP: Key =
    number("attn_logit_softcapping", "attn_logit_softcapping", CAP);
pub(super) const FINAL_CAP: Key = number("final_logit_softcapping", "final_logit_softcapping", CAP);
pub(super) const CLIP_QKV: Key = number("clip_qkv", "attention.clamp_kqv", CAP);
pub(super) const ROPE_BASE: Key = number("rope_theta", "rope.freq_base", BASE);
pub(super) const LOCAL_ROPE_BASE: Key = number("rope_local_base_freq", "rope.freq_base_swa", BASE);
pub(super) const ROPE_FACTOR: Key = number("factor", "rope.scaling.factor", FACTOR_RANGE);
/// The older name of the factor in GGUF.
pub(super) const OLD_ROPE_FACTOR: Key = number("factor", "rope.scale_linear", FACTOR_RANGE);
pub(super) const LOW_FREQ_FACTOR: Key = number("low_freq_factor", "", FACTOR_RANGE);
pub(super) const HIGH_FREQ_FACTOR: Key = number("high_freq_factor", "", FACTOR_RANGE);
pub(super) const AMPLITUDE: Key = number(
    "attention_factor",
    "rope.scaling.attn_factor",
    (1e-3, 1e3, "a number above 0, from 1e-3 to 1e3"),
);
pub(super) const PARTIAL_ROTARY: Key = number(
    "partial_rotary_factor",
    "",
    (f64::MIN_POSITIVE, 1.0, "a number above 0, at most 1"),
);
