//! `config.json` of a Hugging Face checkpoint, in both dialects: the older `rope_theta` beside
//! `rope_scaling`, and the newer `rope_parameters`, which may differ by layer type.

use std::path::Path;

use serde_json::Value;

use super::ModelError;
use super::activation::Activation;
use super::config::Config;
use super::config_check::{MOST_LAYERS, WIDEST_HEAD};
use super::family::{FAMILIES, Family};
use super::hf_keys;
use super::hf_object::Object;
use super::kinds::{ActivationKey, NormKind};
use crate::hub::json;

pub(super) const FILE: &str = "config.json";

/// OLMo's LayerNorm has this epsilon in transformers, whatever the file says.
const LAYER_NORM_EPS: f64 = 1e-5;

/// The keys that this version reads; `hf_keys` accounts for all others. Of a key that may say null, the outer
/// `Option` tells whether it is there.
pub(super) struct HfConfig {
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    pub num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: Option<usize>,
    pub max_position_embeddings: Option<usize>,
    pub original_max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f64>,
    hidden_act: Option<String>,
    hidden_activation: Option<String>,
    tie_word_embeddings: Option<bool>,
    pub rope_theta: Option<f64>,
    pub rope_scaling: Option<Object>,
    pub rope_parameters: Option<Object>,
    pub rope_local_base_freq: Option<f64>,
    pub partial_rotary_factor: Option<f64>,
    pub query_pre_attn_scalar: Option<f64>,
    pub sliding_window: Option<Option<usize>>,
    pub sliding_window_pattern: Option<usize>,
    pub use_sliding_window: Option<bool>,
    pub max_window_layers: Option<usize>,
    pub layer_types: Option<Vec<String>>,
    clip_qkv: Option<f64>,
    pub attn_logit_softcapping: Option<Option<f64>>,
    pub final_logit_softcapping: Option<Option<f64>>,
}

/// What the file leaves open and was taken as transformers takes it, and what is not known or not used, for a person.
#[derive(Default)]
pub(super) struct Notes {
    pub assumed: Vec<String>,
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads `config.json`.
    pub fn from_hf_file(path: &Path) -> Result<Config, ModelError> {
        let value = json::read_file(path).map_err(|why| ModelError::Damaged {
            path: path.to_path_buf(),
            why,
        })?;
        let folder = path.parent().unwrap_or(path);
        Config::from_hf_json(value).map_err(|why| why.in_file(folder))
    }

    fn from_hf_json(value: Value) -> Result<Config, ModelError> {
        let Value::Object(entries) = value else {
            return Err(unsupported("the file", "no object", "{...}"));
        };
        let top = Object::top(entries);
        let family = family(&top)?;
        let mut notes = Notes {
            warnings: hf_keys::check(&top, family)?,
            ..Notes::default()
        };
        for key in family.needed_keys {
            need(top.value(key), key, family)?;
        }
        let raw = HfConfig::read(&top)?;
        let n_heads = need(raw.num_attention_heads, "num_attention_heads", family)?;
        let d_model = need(raw.hidden_size, "hidden_size", family)?;
        let head_dim = raw.head_dim(d_model, n_heads)?;
        let attention = raw.attention(family, head_dim, &mut notes)?;
        Ok(Config {
            family,
            d_model,
            d_mlp: need(raw.intermediate_size, "intermediate_size", family)?,
            n_heads,
            n_kv_heads: raw.num_key_value_heads.unwrap_or(n_heads),
            head_dim,
            vocab_size: need(raw.vocab_size, "vocab_size", family)?,
            max_positions: raw.max_positions(family)?,
            norm_eps: raw.norm_eps(family)?,
            attention_scale: raw.attention_scale(family, head_dim)?,
            attention_softcap: raw.attention_softcap(family)?,
            final_softcap: raw.final_softcap(family)?,
            clip_qkv: raw.clip_qkv(family)?,
            activation: raw.activation(family, &mut notes.assumed)?,
            tied_head: raw.tie_word_embeddings.unwrap_or(family.tied_by_default),
            attention,
            assumed: notes.assumed,
            warnings: notes.warnings,
        })
    }
}

fn family(top: &Object) -> Result<&'static Family, ModelError> {
    let found = top.text("model_type")?;
    let found = found.as_deref().unwrap_or("(absent)");
    let key = "model_type";
    Family::by_model_type(found).ok_or_else(|| match Family::refusal(found) {
        Some(reason) => ModelError::Refused {
            file: FILE,
            key,
            value: found.to_string(),
            reason,
        },
        None => {
            let known: Vec<_> = FAMILIES.iter().map(|f| f.model_type).collect();
            unsupported(key, found, &known.join(", "))
        }
    })
}

impl HfConfig {
    fn read(top: &Object) -> Result<HfConfig, ModelError> {
        let present = |key| top.has(key).then(|| top.number(key)).transpose();
        let window = "sliding_window";
        Ok(HfConfig {
            hidden_size: top.count("hidden_size")?,
            intermediate_size: top.count("intermediate_size")?,
            num_hidden_layers: top.count("num_hidden_layers")?,
            num_attention_heads: top.count("num_attention_heads")?,
            num_key_value_heads: top.count("num_key_value_heads")?,
            head_dim: top.count("head_dim")?,
            vocab_size: top.count("vocab_size")?,
            max_position_embeddings: top.count("max_position_embeddings")?,
            original_max_position_embeddings: top.count("original_max_position_embeddings")?,
            rms_norm_eps: top.number("rms_norm_eps")?,
            hidden_act: top.text("hidden_act")?,
            hidden_activation: top.text("hidden_activation")?,
            tie_word_embeddings: top.flag("tie_word_embeddings")?,
            rope_theta: top.number("rope_theta")?,
            rope_scaling: top.object("rope_scaling")?,
            rope_parameters: top.object("rope_parameters")?,
            rope_local_base_freq: top.number("rope_local_base_freq")?,
            partial_rotary_factor: top.number("partial_rotary_factor")?,
            query_pre_attn_scalar: top.number("query_pre_attn_scalar")?,
            sliding_window: top.has(window).then(|| top.count(window)).transpose()?,
            sliding_window_pattern: top.count("sliding_window_pattern")?,
            use_sliding_window: top.flag("use_sliding_window")?,
            max_window_layers: top.count("max_window_layers")?,
            layer_types: top.texts("layer_types")?,
            clip_qkv: top.number("clip_qkv")?,
            attn_logit_softcapping: present("attn_logit_softcapping")?,
            final_logit_softcapping: present("final_logit_softcapping")?,
        })
    }

    /// The number of layers. Each has an entry in memory before the tensors are looked at, so it is bounded here.
    pub fn n_layers(&self, family: &'static Family) -> Result<usize, ModelError> {
        let key = "num_hidden_layers";
        let count = need(self.num_hidden_layers, key, family)?;
        match count <= MOST_LAYERS {
            true => Ok(count),
            false => Err(out_of_range(key, count, &format!("1 to {MOST_LAYERS}"))),
        }
    }

    fn head_dim(&self, d_model: usize, n_heads: usize) -> Result<usize, ModelError> {
        let key = "head_dim";
        let allowed = || format!("an even number up to {WIDEST_HEAD}");
        match self.head_dim {
            Some(width) if width > WIDEST_HEAD => Err(out_of_range(key, width, &allowed())),
            Some(width) => Ok(width),
            None if n_heads == 0 || n_heads > d_model => Err(out_of_range(
                "num_attention_heads",
                n_heads,
                &format!("1 to hidden_size, {d_model}"),
            )),
            None if d_model / n_heads > WIDEST_HEAD => {
                let key = "hidden_size / num_attention_heads";
                Err(out_of_range(key, d_model / n_heads, &allowed()))
            }
            None => Ok(d_model / n_heads),
        }
    }

    fn clip_qkv(&self, family: &Family) -> Result<Option<f64>, ModelError> {
        match self.clip_qkv {
            Some(clip) if family.norm != NormKind::LayerNorm => {
                Err(unsupported("clip_qkv", &clip.to_string(), "null"))
            }
            clip => Ok(clip),
        }
    }

    fn norm_eps(&self, family: &'static Family) -> Result<f64, ModelError> {
        match family.norm {
            NormKind::LayerNorm => Ok(LAYER_NORM_EPS),
            NormKind::Rms | NormKind::RmsOnePlus => need(self.rms_norm_eps, "rms_norm_eps", family),
        }
    }

    fn activation(
        &self,
        family: &'static Family,
        assumed: &mut Vec<String>,
    ) -> Result<Activation, ModelError> {
        let (key, name) = match family.activation_key {
            ActivationKey::HiddenAct => ("hidden_act", &self.hidden_act),
            ActivationKey::HiddenActivation => ("hidden_activation", &self.hidden_activation),
        };
        let Some(name) = name else {
            return Ok(family.activation);
        };
        let is_gemma_1 = family.activation == Activation::GeluTanh && key == "hidden_act";
        if name == "gelu" && is_gemma_1 {
            assumed.push(
                "hidden_act = gelu means the tanh form in Gemma 1, as in transformers 5"
                    .to_string(),
            );
            return Ok(Activation::GeluTanh);
        }
        Activation::HF_NAMES
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, activation)| *activation)
            .ok_or_else(|| {
                let names: Vec<_> = Activation::HF_NAMES.iter().map(|(name, _)| *name).collect();
                unsupported(key, name, &names.join(", "))
            })
    }
}

pub(super) fn need<T>(
    value: Option<T>,
    key: &str,
    family: &'static Family,
) -> Result<T, ModelError> {
    value.ok_or_else(|| ModelError::MissingKey {
        file: FILE,
        key: key.to_string(),
        family: family.name,
    })
}

pub(super) fn unsupported(key: &str, value: &str, accepted: &str) -> ModelError {
    ModelError::unsupported(FILE, key, value, accepted)
}

pub(super) fn out_of_range(key: &str, value: usize, allowed: &str) -> ModelError {
    ModelError::OutOfRange {
        file: FILE,
        key: key.to_string(),
        value: value.to_string(),
        allowed: allowed.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rope::{RopeScaling, RopeSpec};
    use super::*;

    fn from_text(text: &str) -> Result<Config, ModelError> {
        Config::from_hf_json(json::read(text.as_bytes()).unwrap())
    }

    fn gemma(extra: &str) -> Result<Config, ModelError> {
        from_text(&format!(
            r#"{{"model_type": "gemma3_text", "hidden_size": 640, "intermediate_size": 2048,
                "num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 1,
                "head_dim": 256, "vocab_size": 262144, "max_position_embeddings": 32768,
                "rms_norm_eps": 1e-6,
                "query_pre_attn_scalar": 256, "sliding_window": 512 {extra}}}"#
        ))
    }

    #[test]
    fn both_dialects_say_the_same() {
        let old = gemma(r#", "rope_theta": 1e6, "rope_local_base_freq": 1e4"#).unwrap();
        let new = gemma(
            r#", "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}"#,
        )
        .unwrap();
        assert_eq!(old, new);
        let rope = |theta| RopeSpec {
            theta,
            width: 256,
            scaling: RopeScaling::None,
        };
        assert_eq!(old.attention[5].rope, rope(1e6));
        assert_eq!(old.attention[5].window, None);
        assert_eq!(old.attention[6].rope, rope(1e4));
        assert_eq!(old.attention[6].window, Some(512));
        assert_eq!(old.attention_scale, 1.0 / 16.0);
    }

    #[test]
    fn gemma3_scales_its_global_layers_alone() {
        let old = gemma(
            r#", "rope_theta": 1e6, "rope_local_base_freq": 1e4,
                "rope_scaling": {"rope_type": "linear", "factor": 8.0}"#,
        )
        .unwrap();
        let scaling = RopeScaling::Linear { factor: 8.0 };
        assert_eq!(old.attention[5].rope.scaling, scaling);
        assert_eq!(old.attention[4].rope.scaling, RopeScaling::None);
    }

    /// A config of some family with what most of them need.
    fn read(family: &str, extra: &str) -> Result<Config, ModelError> {
        from_text(&format!(
            r#"{{"model_type": "{family}", "hidden_size": 64, "intermediate_size": 128,
                "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4,
                "head_dim": 16, "vocab_size": 300,
                "max_position_embeddings": 4096, "rms_norm_eps": 1e-6 {extra}}}"#
        ))
    }

    #[test]
    fn llama_2_has_no_rope_base_and_says_what_was_taken() {
        let config = read("llama", "").unwrap();
        assert_eq!(config.attention[0].rope.theta, 10_000.0);
        assert!(config.assumed[0].contains("rope_theta"));
        let error = read("olmo2", "").unwrap_err().to_string();
        assert!(error.contains("rope_theta"), "{error}");
    }

    #[test]
    fn windows_of_each_family() {
        let windows = |family: &str, extra: &str| -> Vec<Option<usize>> {
            let config = read(family, &format!(r#", "rope_theta": 1e4 {extra}"#)).unwrap();
            config.attention.iter().map(|spec| spec.window).collect()
        };
        let all = |window| vec![window; 4];
        assert_eq!(windows("mistral", ""), all(Some(4096)));
        assert_eq!(windows("mistral", r#", "sliding_window": null"#), all(None));
        assert_eq!(windows("phi3", ""), all(None));
        assert_eq!(
            windows("phi3", r#", "sliding_window": 2047"#),
            all(Some(2047))
        );
        let qwen = r#", "sliding_window": 8, "max_window_layers": 3, "use_sliding_window""#;
        assert_eq!(windows("qwen2", &format!("{qwen}: false")), all(None));
        assert_eq!(
            windows("qwen2", &format!("{qwen}: true")),
            [None, None, None, Some(8)]
        );
        let gemma2 = r#", "sliding_window": 8, "query_pre_attn_scalar": 16,
            "attn_logit_softcapping": 50, "final_logit_softcapping": null"#;
        assert_eq!(windows("gemma2", gemma2), [Some(8), None, Some(8), None]);
    }

    #[test]
    fn longrope_holds_up_to_the_first_length() {
        let scaling = r#""rope_scaling": {"type": "longrope", "short_factor": [1, 2, 3, 4, 5, 6],
            "long_factor": [9, 9, 9, 9, 9, 9]}, "original_max_position_embeddings": 128,
            "partial_rotary_factor": 0.75, "rope_theta": 1e4"#;
        let config = read("phi3", &format!(", {scaling}")).unwrap();
        assert_eq!(config.max_positions, 128);
        let rope = &config.attention[0].rope;
        assert_eq!(rope.width, 12);
        let RopeScaling::Factors { factors, amplitude } = &rope.scaling else {
            panic!("{rope:?}")
        };
        assert_eq!(factors[..], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        // sqrt(1 + ln 32 / ln 128) = sqrt(1 + 5/7)
        assert!((amplitude - (12f64 / 7.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        for (extra, culprit) in [
            (
                r#", "rope_theta": 1e6, "rope_scaling": {"rope_type": "yarn"}"#,
                "yarn",
            ),
            (
                r#", "rope_theta": 1e6, "attention_bias": true"#,
                "attention_bias",
            ),
            (
                r#", "rope_theta": 1e6, "attn_logit_softcapping": 50.0"#,
                "softcapping",
            ),
            (
                r#", "rope_theta": 1e6, "layer_types": ["full_attention"]"#,
                "layer_types",
            ),
            (
                r#", "rope_theta": 1e6, "hidden_activation": "relu""#,
                "relu",
            ),
            (r#", "rope_theta": 1e6, "clip_qkv": 8"#, "clip_qkv"),
            (
                r#", "rope_theta": 1e6, "partial_rotary_factor": 0.5"#,
                "partial_rotary",
            ),
            ("", "rope_theta"),
        ] {
            let error = gemma(extra).unwrap_err().to_string();
            assert!(error.contains(culprit), "{error}");
        }
    }

    #[test]
    fn an_unknown_family_lists_the_known_ones() {
        let error = |family| read(family, "").unwrap_err().to_string();
        let unknown = error("nobody");
        assert!(unknown.contains("nobody") && unknown.contains("llama"));
        let refused = error("gpt2");
        assert!(refused.contains("gpt2") && refused.contains("no gate"));
    }
}
