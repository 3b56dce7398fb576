//! The ranges in which a configuration's numbers have a meaning, whatever file they come from. What is outside would be
//! computed without a word, or asked for as memory.

use super::ModelError;
use super::config::Config;
use super::hf_config::FILE;
use super::rope::{RopeScaling, RopeSpec};
use super::store::Format;

/// Bounds of counts: beyond those of any model, and small enough that no product of three of them overflows.
pub(super) const MOST_LAYERS: usize = 4096;
const WIDEST_MODEL: usize = 1 << 20;
const WIDEST_MLP: usize = 1 << 22;
const MOST_HEADS: usize = 1 << 14;
pub(super) const WIDEST_HEAD: usize = 1 << 12;
const LARGEST_VOCABULARY: usize = 1 << 26;
pub(super) const LONGEST_INPUT: usize = i32::MAX as usize;

/// Bounds of other numbers.
const LARGEST_ROPE_BASE: f64 = 1e12;
const LARGEST_ROPE_FACTOR: f64 = 1e6;
const LARGEST_CAP: f64 = 1e6;
/// Numbers are read in f64 and computed in f32, where one far below 1 is 0 and its inverse is infinite. No model comes near.
const SMALLEST_EPS: f64 = 1e-30;
const SMALLEST_SCALAR: f64 = 1e-9;
const SMALLEST_FACTOR: f64 = 1e-6;
const SMALLEST_CAP: f64 = 1e-6;

/// Refuses numbers without a meaning, by the key that they came from.
pub(super) fn check(config: &Config, format: Format) -> Result<(), ModelError> {
    let names = Names { config, format };
    names.check_counts()?;
    names.check_values()?;
    for spec in &config.attention {
        if let Some(window) = spec.window {
            let key = ("sliding_window", "attention.sliding_window");
            names.count(key, window, LONGEST_INPUT)?;
        }
        names.check_rope(&spec.rope)?;
    }
    Ok(())
}

/// A key of `config.json`, and that of GGUF without its architecture.
type Key = (&'static str, &'static str);

struct Names<'a> {
    config: &'a Config,
    format: Format,
}

impl Names<'_> {
    fn check_counts(&self) -> Result<(), ModelError> {
        let c = self.config;
        for (key, count, most) in [
            (
                ("num_hidden_layers", "block_count"),
                c.n_layers(),
                MOST_LAYERS,
            ),
            (("hidden_size", "embedding_length"), c.d_model, WIDEST_MODEL),
            (
                ("intermediate_size", "feed_forward_length"),
                c.d_mlp,
                WIDEST_MLP,
            ),
            (
                ("num_attention_heads", "attention.head_count"),
                c.n_heads,
                MOST_HEADS,
            ),
            (
                ("num_key_value_heads", "attention.head_count_kv"),
                c.n_kv_heads,
                MOST_HEADS,
            ),
            (
                ("head_dim", "attention.key_length"),
                c.head_dim,
                WIDEST_HEAD,
            ),
            (
                ("vocab_size", "vocab_size"),
                c.vocab_size,
                LARGEST_VOCABULARY,
            ),
            (
                ("max_position_embeddings", "context_length"),
                c.max_positions,
                LONGEST_INPUT,
            ),
        ] {
            self.count(key, count, most)?;
        }
        let heads = ("num_key_value_heads", "attention.head_count_kv");
        let allowed = format!("a divisor of the {} heads", c.n_heads);
        let divides = c.n_heads.is_multiple_of(c.n_kv_heads);
        self.require(divides, heads, c.n_kv_heads, &allowed)?;
        let width = (
            "head_dim (or hidden_size / num_attention_heads)",
            "attention.key_length",
        );
        let is_even = c.head_dim.is_multiple_of(2);
        self.require(
            is_even,
            width,
            c.head_dim,
            "an even number: its halves are rotated",
        )
    }

    fn check_values(&self) -> Result<(), ModelError> {
        let c = self.config;
        let eps = ("rms_norm_eps", "attention.layer_norm_rms_epsilon");
        let is_small = (SMALLEST_EPS..1.0).contains(&c.norm_eps);
        self.require(is_small, eps, c.norm_eps, "from 1e-30, below 1")?;
        let scale = ("query_pre_attn_scalar", "attention.scale");
        // What the file gives is the inverse square of the scale.
        let scalar = c.attention_scale.powi(-2);
        // What the file gives comes back rounded.
        let is_sane = c.attention_scale > 0.0 && (SMALLEST_SCALAR * 0.999..=1e9).contains(&scalar);
        self.require(is_sane, scale, scalar, "from 1e-9 to 1e9")?;
        for (key, cap) in [
            (
                ("attn_logit_softcapping", "attn_logit_softcapping"),
                c.attention_softcap,
            ),
            (
                ("final_logit_softcapping", "final_logit_softcapping"),
                c.final_softcap,
            ),
            (("clip_qkv", "attention.clamp_kqv"), c.clip_qkv),
        ] {
            if let Some(cap) = cap {
                let is_sane = (SMALLEST_CAP..=LARGEST_CAP).contains(&cap);
                self.require(is_sane, key, cap, "from 1e-6 to 1e6, or left out")?;
            }
        }
        Ok(())
    }

    fn check_rope(&self, rope: &RopeSpec) -> Result<(), ModelError> {
        let head_dim = self.config.head_dim;
        let width = ("partial_rotary_factor · head_dim", "rope.dimension_count");
        let fits = rope.width >= 2 && rope.width <= head_dim && rope.width.is_multiple_of(2);
        let allowed = format!("an even number from 2 to {head_dim}, the width of a head");
        self.require(fits, width, rope.width, &allowed)?;
        let base = ("rope_theta", "rope.freq_base");
        let is_base = rope.theta > 1.0 && rope.theta <= LARGEST_ROPE_BASE;
        self.require(is_base, base, rope.theta, "above 1, at most 1e12")?;
        self.check_scaling(&rope.scaling)
    }

    fn check_scaling(&self, scaling: &RopeScaling) -> Result<(), ModelError> {
        let by = |factor: f64| {
            let is_factor = (SMALLEST_FACTOR..=LARGEST_ROPE_FACTOR).contains(&factor);
            let key = ("the rope's factor", "rope.scaling.factor");
            self.require(is_factor, key, factor, "from 1e-6 to 1e6")
        };
        match scaling {
            RopeScaling::None => Ok(()),
            RopeScaling::Linear { factor } => by(*factor),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_positions: original,
            } => {
                by(*factor)?;
                let key = |name| (name, "rope.scaling");
                let is_low = (SMALLEST_FACTOR..=LARGEST_ROPE_FACTOR).contains(low);
                self.require(
                    is_low,
                    key("the rope's low_freq_factor"),
                    *low,
                    "from 1e-6 to 1e6",
                )?;
                let is_high = high > low && *high <= LARGEST_ROPE_FACTOR;
                let allowed = format!("above low_freq_factor, {low}, at most 1e6");
                self.require(is_high, key("the rope's high_freq_factor"), *high, &allowed)?;
                let key = key("the rope's original_max_position_embeddings");
                let is_length = (1.0..=LONGEST_INPUT as f64).contains(original);
                self.require(is_length, key, *original, "from 1 on")
            }
            RopeScaling::Factors { factors, amplitude } => {
                let key = ("the rope's short_factor", "rope_factors");
                let range = SMALLEST_FACTOR as f32..=LARGEST_ROPE_FACTOR as f32;
                let is_factor = |factor: &f32| range.contains(factor);
                let bad = factors.iter().find(|factor| !is_factor(factor));
                let shown = bad.copied().unwrap_or(1.0);
                self.require(bad.is_none(), key, shown, "numbers from 1e-6 to 1e6")?;
                let key = ("the rope's attention_factor", "rope.scaling.attn_factor");
                let is_sane = (1e-3..=1e3).contains(amplitude);
                self.require(is_sane, key, *amplitude, "from 1e-3 to 1e3")
            }
        }
    }

    fn count(&self, key: Key, count: usize, most: usize) -> Result<(), ModelError> {
        let fits = (1..=most).contains(&count);
        self.require(
            fits,
            key,
            count,
            &format!("a whole number from 1 to {most}"),
        )
    }

    fn require(
        &self,
        holds: bool,
        (hf, gguf): Key,
        value: impl ToString,
        allowed: &str,
    ) -> Result<(), ModelError> {
        if holds {
            return Ok(());
        }
        let (file, key) = match self.format {
            Format::Safetensors => (FILE, hf.to_string()),
            Format::Gguf => (
                "GGUF metadata",
                format!("{}.{gguf}", self.config.family.gguf_arch),
            ),
        };
        Err(ModelError::OutOfRange {
            file,
            key,
            value: value.to_string(),
            allowed: allowed.to_string(),
        })
    }
}
