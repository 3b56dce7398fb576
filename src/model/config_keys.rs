//! The numbers of a configuration: what each is called in `config.json` and in GGUF metadata (without its architecture),
//! and the range in which it has a meaning. What is outside would be computed without a word, or asked for as memory.

/// A number of a configuration.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub json: &'static str,
    pub gguf: &'static str,
    pub range: Range,
}

/// The numbers that have a meaning.
#[derive(Clone, Copy)]
pub(super) struct Range {
    pub least: f64,
    pub most: f64,
    /// The same in words.
    pub accepted: &'static str,
}

impl Range {
    const fn new(least: f64, most: f64, accepted: &'static str) -> Self {
        Self {
            least,
            most,
            accepted,
        }
    }

    const fn key(self, json: &'static str, gguf: &'static str) -> Key {
        let range = self;
        Key { json, gguf, range }
    }
}

const fn count(most: usize) -> Range {
    Range::new(1.0, most as f64, "a number from 1 on")
}

// Bounds of counts: beyond those of any model, and small enough that no product of three of them overflows.
pub(super) const WIDEST_HEAD: usize = 1 << 12;
pub(super) const LONGEST_INPUT: usize = i32::MAX as usize;
const HEADS: Range = count(1 << 14);
const HEAD: Range = count(WIDEST_HEAD);
const INPUT: Range = count(LONGEST_INPUT);

pub(super) const N_LAYERS: Key = count(4096).key("num_hidden_layers", "block_count");
pub(super) const D_MODEL: Key = count(1 << 20).key("hidden_size", "embedding_length");
pub(super) const D_MLP: Key = count(1 << 22).key("intermediate_size", "feed_forward_length");
pub(super) const N_HEADS: Key = HEADS.key("num_attention_heads", "attention.head_count");
pub(super) const N_KV_HEADS: Key = HEADS.key("num_key_value_heads", "attention.head_count_kv");
pub(super) const HEAD_DIM: Key = HEAD.key("head_dim", "attention.key_length");
pub(super) const VALUE_DIM: Key = HEAD.key("head_dim", "attention.value_length");
pub(super) const VOCAB_SIZE: Key = count(1 << 26).key("vocab_size", "vocab_size");
pub(super) const MAX_POSITIONS: Key = INPUT.key("max_position_embeddings", "context_length");
pub(super) const ORIGINAL_POSITIONS: Key = INPUT.key(
    "original_max_position_embeddings",
    "rope.scaling.original_context_length",
);
pub(super) const WINDOW: Key = INPUT.key("sliding_window", "attention.sliding_window");
pub(super) const WINDOW_PATTERN: Key =
    INPUT.key("sliding_window_pattern", "attention.sliding_window_pattern");

// Numbers are read in f64 and computed in f32, where one far below 1 is 0 and its inverse is infinite. No model comes near.
const EPS: Range = Range::new(1e-30, 1.0, "a number from 1e-30 to 1");
const SCALAR: Range = Range::new(1e-9, 1e9, "a number from 1e-9 to 1e9");
const CAP: Range = Range::new(1e-6, 1e6, "a number from 1e-6 to 1e6, or none");
const FACTOR: Range = Range::new(1e-6, 1e6, "a number above 0, from 1e-6 to 1e6");
const STRETCH: Range = Range::new(1e-3, 1e3, "a number above 0, from 1e-3 to 1e3");
const BASE: Range = Range::new(1.0 + f64::EPSILON, 1e12, "a number above 1, at most 1e12");
const SHARE: Range = Range::new(f64::MIN_POSITIVE, 1.0, "a number above 0, at most 1");

pub(super) const RMS_NORM_EPS: Key = EPS.key("rms_norm_eps", "attention.layer_norm_rms_epsilon");
pub(super) const LAYER_NORM_EPS: Key = EPS.key("layer_norm_eps", "attention.layer_norm_epsilon");
pub(super) const ATTENTION_SCALAR: Key = SCALAR.key("query_pre_attn_scalar", "attention.scale");
pub(super) const ATTENTION_CAP: Key = CAP.key("attn_logit_softcapping", "attn_logit_softcapping");
pub(super) const FINAL_CAP: Key = CAP.key("final_logit_softcapping", "final_logit_softcapping");
pub(super) const CLIP_QKV: Key = CAP.key("clip_qkv", "attention.clamp_kqv");
pub(super) const ROPE_BASE: Key = BASE.key("rope_theta", "rope.freq_base");
pub(super) const LOCAL_ROPE_BASE: Key = BASE.key("rope_local_base_freq", "rope.freq_base_swa");
pub(super) const ROPE_FACTOR: Key = FACTOR.key("factor", "rope.scaling.factor");
/// The older name of the factor in GGUF.
pub(super) const OLD_ROPE_FACTOR: Key = FACTOR.key("factor", "rope.scale_linear");
pub(super) const LOW_FREQ_FACTOR: Key = FACTOR.key("low_freq_factor", "");
pub(super) const HIGH_FREQ_FACTOR: Key = FACTOR.key("high_freq_factor", "");
pub(super) const AMPLITUDE: Key = STRETCH.key("attention_factor", "rope.scaling.attn_factor");
pub(super) const PARTIAL_ROTARY: Key = SHARE.key("partial_rotary_factor", "");
