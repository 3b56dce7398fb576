//! `config.json` of a configuration that was not read from one, in the newer dialect of transformers.

use serde_json::{Map, Value, json};

use super::activation::Activation;
use super::config::{AttentionSpec, Config};
use super::hf_rope::{GLOBAL, LOCAL};
use super::kinds::{AttentionScale, NormKind, Windows};
use super::rope::{RopeScaling, RopeSpec};

impl Config {
    /// The same configuration as `config.json` has it; `dtype` is that of the weights beside it.
    pub fn to_hf_json(&self, dtype: &str) -> Value {
        let family = self.family;
        let activation = Activation::HF_NAMES.iter();
        let activation = activation.rev().find(|(_, kind)| *kind == self.activation);
        let mut keys = Map::new();
        let mut set = |key: &str, value: Value| keys.insert(key.to_string(), value);
        let class = format!("{}ForCausalLM", family.transformers_class);
        set("architectures", json!([class]));
        set("model_type", json!(family.model_type));
        set("dtype", json!(dtype));
        set("hidden_size", json!(self.d_model));
        set("intermediate_size", json!(self.d_mlp));
        set("num_hidden_layers", json!(self.n_layers()));
        set("num_attention_heads", json!(self.n_heads));
        set("num_key_value_heads", json!(self.n_kv_heads));
        set("head_dim", json!(self.head_dim));
        set("vocab_size", json!(self.vocab_size));
        set("max_position_embeddings", json!(self.max_positions));
        set("tie_word_embeddings", json!(self.tied_head));
        set(
            family.activation_key,
            json!(activation.map(|(name, _)| name)),
        );
        if family.norm != NormKind::LayerNorm {
            set("rms_norm_eps", json!(self.norm_eps));
        }
        if let AttentionScale::QueryPreAttnScalar { .. } = family.attention_scale {
            // transformers takes a whole number alone.
            let scalar = self.attention_scale.powi(-2).round() as u64;
            set("query_pre_attn_scalar", json!(scalar));
        }
        for (key, cap) in [
            ("attn_logit_softcapping", self.attention_softcap),
            ("final_logit_softcapping", self.final_softcap),
            ("clip_qkv", self.clip_qkv),
        ] {
            if let Some(cap) = cap {
                set(key, json!(cap));
            }
        }
        for (key, value) in self.windows() {
            set(key, value);
        }
        for (key, value) in self.rotations() {
            set(key, value);
        }
        Value::Object(keys)
    }

    fn windows(&self) -> Vec<(&'static str, Value)> {
        let windows = self.attention.iter().map(|spec| spec.window);
        let window = windows.clone().flatten().next();
        let kind = |window: Option<usize>| if window.is_some() { LOCAL } else { GLOBAL };
        let types: Vec<&str> = windows.clone().map(kind).collect();
        match self.family.windows {
            Windows::Never => Vec::new(),
            Windows::EveryLayer { .. } => vec![("sliding_window", json!(window))],
            Windows::AllButEvery(_) => vec![
                (
                    "sliding_window",
                    json!(window.unwrap_or(self.max_positions)),
                ),
                ("layer_types", json!(types)),
            ],
            Windows::FromLayer => {
                let first = windows.clone().position(|window| window.is_some());
                vec![
                    ("use_sliding_window", json!(window.is_some())),
                    ("sliding_window", json!(window)),
                    ("max_window_layers", json!(first.unwrap_or(self.n_layers()))),
                    ("layer_types", json!(types)),
                ]
            }
        }
    }

    /// One rotation for all layers, or where a family has two, one for each kind of layer.
    fn rotations(&self) -> Vec<(&'static str, Value)> {
        let of = |is_local: bool| {
            let mut specs = self.attention.iter();
            let spec = specs.find(|spec: &&AttentionSpec| spec.window.is_some() == is_local);
            let spec = spec.or(self.attention.first());
            spec.map(|spec| self.rotation(&spec.rope))
        };
        let parameters = match self.family.local_rope_theta {
            Some(_) => json!({GLOBAL: of(false), LOCAL: of(true)}),
            None => json!(self.attention.first().map(|spec| self.rotation(&spec.rope))),
        };
        let is_long =
            |spec: &AttentionSpec| matches!(spec.rope.scaling, RopeScaling::Factors { .. });
        let mut keys = vec![("rope_parameters", parameters)];
        if self.attention.iter().any(is_long) {
            keys.push((
                "original_max_position_embeddings",
                json!(self.max_positions),
            ));
        }
        keys
    }

    fn rotation(&self, rope: &RopeSpec) -> Value {
        let mut entry = match &rope.scaling {
            RopeScaling::None => json!({"rope_type": "default"}),
            RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_positions,
            } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": *original_max_positions as u64,
            }),
            // The factors of inputs up to the first training's length, which is all that is computed here.
            RopeScaling::Factors { factors, amplitude } => json!({
                "rope_type": "longrope",
                "factor": 1.0,
                "short_factor": factors,
                "long_factor": factors,
                "attention_factor": amplitude,
                "original_max_position_embeddings": self.max_positions,
            }),
        };
        entry["rope_theta"] = json!(rope.theta);
        if rope.width != self.head_dim {
            entry["partial_rotary_factor"] = json!(rope.width as f64 / self.head_dim as f64);
        }
        entry
    }
}
