//! `config.json` of a Hugging Face checkpoint, in both dialects: the older `rope_theta` beside
//! `rope_scaling`, and the newer `rope_parameters`, which may differ by layer type.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::ModelError;
use super::config::{Activation, AttentionSpec, Config, windowed_pattern};
use super::family::{FAMILIES, Family};
use super::rope::RopeSpec;

const FILE: &str = "config.json";
const GLOBAL: &str = "full_attention";
const LOCAL: &str = "sliding_attention";

/// The keys that this version reads. Everything that changes the arithmetic and is not computed
/// here stands in `refused`.
#[derive(Deserialize)]
struct HfConfig {
    model_type: Option<String>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f64>,
    hidden_act: Option<String>,
    hidden_activation: Option<String>,
    tie_word_embeddings: Option<bool>,
    rope_theta: Option<f64>,
    rope_scaling: Option<Value>,
    rope_parameters: Option<Value>,
    rope_local_base_freq: Option<f64>,
    query_pre_attn_scalar: Option<f64>,
    sliding_window: Option<usize>,
    sliding_window_pattern: Option<usize>,
    layer_types: Option<Vec<String>>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    rope_interleaved: Option<bool>,
    use_bidirectional_attention: Option<bool>,
    attn_logit_softcapping: Option<f64>,
    final_logit_softcapping: Option<f64>,
}

impl Config {
    /// Reads `config.json`.
    pub fn from_hf_file(path: &Path) -> Result<Config, ModelError> {
        let text = std::fs::read_to_string(path).map_err(|why| ModelError::Read {
            path: path.to_path_buf(),
            why,
        })?;
        Config::from_hf_json(&text).map_err(|error| match error {
            HfError::Json(why) => ModelError::Damaged {
                path: path.to_path_buf(),
                why: why.to_string(),
            },
            HfError::Model(error) => error,
        })
    }

    fn from_hf_json(text: &str) -> Result<Config, HfError> {
        let raw: HfConfig = serde_json::from_str(text)?;
        let family = raw.family()?;
        raw.refuse_unknown_arithmetic()?;
        let n_heads = need(raw.num_attention_heads, "num_attention_heads", family)?;
        let d_model = need(raw.hidden_size, "hidden_size", family)?;
        let head_dim = raw.head_dim.unwrap_or(d_model / n_heads.max(1));
        let scalar = raw.query_pre_attn_scalar.unwrap_or(head_dim as f64);
        Ok(Config {
            family,
            d_model,
            d_mlp: need(raw.intermediate_size, "intermediate_size", family)?,
            n_heads,
            n_kv_heads: raw.num_key_value_heads.unwrap_or(n_heads),
            head_dim,
            vocab_size: need(raw.vocab_size, "vocab_size", family)?,
            max_positions: need(
                raw.max_position_embeddings,
                "max_position_embeddings",
                family,
            )?,
            norm_eps: need(raw.rms_norm_eps, "rms_norm_eps", family)?,
            attention_scale: scalar.powf(-0.5),
            activation: raw.activation(family)?,
            tied_head: raw.tie_word_embeddings.unwrap_or(family.tied_by_default),
            attention: raw.attention(family)?,
        })
    }
}

impl HfConfig {
    fn family(&self) -> Result<&'static Family, ModelError> {
        let found = self.model_type.as_deref().unwrap_or("(absent)");
        Family::by_model_type(found).ok_or_else(|| {
            let known: Vec<_> = FAMILIES
                .iter()
                .flat_map(|f| f.model_types)
                .copied()
                .collect();
            unsupported("model_type", found, &known.join(", "))
        })
    }

    /// A value that would change the numbers and is not computed must not pass unseen.
    fn refuse_unknown_arithmetic(&self) -> Result<(), ModelError> {
        for (key, value) in [
            ("attention_bias", self.attention_bias),
            ("mlp_bias", self.mlp_bias),
            ("rope_interleaved", self.rope_interleaved),
            (
                "use_bidirectional_attention",
                self.use_bidirectional_attention,
            ),
        ] {
            if value == Some(true) {
                return Err(unsupported(key, "true", "false"));
            }
        }
        for (key, value) in [
            ("attn_logit_softcapping", self.attn_logit_softcapping),
            ("final_logit_softcapping", self.final_logit_softcapping),
        ] {
            if let Some(value) = value {
                return Err(unsupported(key, &value.to_string(), "null"));
            }
        }
        Ok(())
    }

    fn activation(&self, family: &'static Family) -> Result<Activation, ModelError> {
        // Gemma configs carry both keys; hidden_activation is the one that is used.
        let Some(name) = self.hidden_activation.as_ref().or(self.hidden_act.as_ref()) else {
            return Ok(family.activation);
        };
        Activation::HF_NAMES
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, activation)| *activation)
            .ok_or_else(|| {
                let names: Vec<_> = Activation::HF_NAMES.iter().map(|(name, _)| *name).collect();
                unsupported("hidden_act", name, &names.join(", "))
            })
    }

    fn attention(&self, family: &'static Family) -> Result<Vec<AttentionSpec>, ModelError> {
        let n_layers = need(self.num_hidden_layers, "num_hidden_layers", family)?;
        let global = AttentionSpec {
            rope: self.rope(GLOBAL, family)?,
            window: None,
        };
        let Some(pattern) = family.window_pattern else {
            return Ok(vec![global; n_layers]);
        };
        let window = Some(need(self.sliding_window, "sliding_window", family)?);
        let local = AttentionSpec {
            rope: self.rope(LOCAL, family)?,
            window,
        };
        let Some(types) = &self.layer_types else {
            let pattern = self.sliding_window_pattern.unwrap_or(pattern).max(1);
            return Ok(windowed_pattern(n_layers, pattern, local, global));
        };
        if types.len() != n_layers {
            let count = format!("{} entries", types.len());
            return Err(unsupported(
                "layer_types",
                &count,
                &format!("{n_layers} entries"),
            ));
        }
        types
            .iter()
            .map(|kind| match kind.as_str() {
                GLOBAL => Ok(global),
                LOCAL => Ok(local),
                other => Err(unsupported(
                    "layer_types",
                    other,
                    &format!("{GLOBAL}, {LOCAL}"),
                )),
            })
            .collect()
    }

    /// The rotation of one layer type, from whichever dialect the file speaks.
    fn rope(&self, layer_type: &str, family: &'static Family) -> Result<RopeSpec, ModelError> {
        if let Some(parameters) = &self.rope_parameters {
            return self.rope_of_new_dialect(parameters, layer_type, family);
        }
        if let Some(scaling) = self.rope_scaling.as_ref().filter(|v| !v.is_null()) {
            require_default_rope(scaling)?;
        }
        let theta = match layer_type {
            LOCAL => self.rope_local_base_freq.unwrap_or(family.local_rope_theta),
            _ => need(self.rope_theta, "rope_theta (or rope_parameters)", family)?,
        };
        Ok(RopeSpec { theta })
    }

    fn rope_of_new_dialect(
        &self,
        parameters: &Value,
        layer_type: &str,
        family: &'static Family,
    ) -> Result<RopeSpec, ModelError> {
        let by_type: BTreeMap<&str, &Value> = [GLOBAL, LOCAL]
            .into_iter()
            .filter_map(|kind| Some((kind, parameters.get(kind)?)))
            .collect();
        let key = format!("rope_parameters.{layer_type}");
        let entry = match by_type.is_empty() {
            true => parameters,
            false => need(by_type.get(layer_type).copied(), &key, family)?,
        };
        require_default_rope(entry)?;
        let theta = entry.get("rope_theta").and_then(Value::as_f64);
        Ok(RopeSpec {
            theta: need(theta, &format!("{key} rope_theta"), family)?,
        })
    }
}

fn require_default_rope(entry: &Value) -> Result<(), ModelError> {
    let kind = entry.get("rope_type").or_else(|| entry.get("type"));
    match kind.and_then(Value::as_str) {
        None | Some("default") => Ok(()),
        Some(other) => Err(unsupported("rope_type", other, "default")),
    }
}

fn need<T>(value: Option<T>, key: &str, family: &'static Family) -> Result<T, ModelError> {
    value.ok_or_else(|| ModelError::MissingKey {
        file: FILE,
        key: key.to_string(),
        family: family.name,
    })
}

fn unsupported(key: &str, value: &str, accepted: &str) -> ModelError {
    ModelError::unsupported(FILE, key, value, accepted)
}

/// Either the text is no JSON of the expected kind, or the model is not one that runs here.
#[derive(Debug, thiserror::Error)]
enum HfError {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Model(#[from] ModelError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gemma(extra: &str) -> Result<Config, HfError> {
        Config::from_hf_json(&format!(
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
        assert_eq!(
            old.attention[5],
            AttentionSpec {
                rope: RopeSpec { theta: 1e6 },
                window: None
            }
        );
        assert_eq!(old.attention[6].rope.theta, 1e4);
        assert_eq!(old.attention[6].window, Some(512));
        assert_eq!(old.attention_scale, 1.0 / 16.0);
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
            (r#", "rope_theta": 1e6, "hidden_act": "relu""#, "relu"),
            ("", "rope_theta"),
        ] {
            let error = gemma(extra).unwrap_err().to_string();
            assert!(error.contains(culprit), "{error}");
        }
    }

    #[test]
    fn an_unknown_family_lists_the_known_ones() {
        let error = Config::from_hf_json(r#"{"model_type": "gpt2"}"#)
            .unwrap_err()
            .to_string();
        assert!(error.contains("gpt2") && error.contains("llama"), "{error}");
    }
}
