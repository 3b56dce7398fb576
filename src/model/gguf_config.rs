//! The configuration from GGUF metadata, as llama.cpp names it.

use candle_core::quantized::gguf_file::{Content, Value};

use super::ModelError;
use super::config::{AttentionSpec, Config};
use super::family::{FAMILIES, Family};
use super::kinds::{AttentionScale, NormKind, SoftCaps, Windows};
use super::rope::{RopeScaling, RopeSpec};
use super::store::TensorStore;

const FILE: &str = "GGUF metadata";

/// Divisors of Llama 3's rope frequencies.
const LLAMA3_FACTORS: &str = "rope_freqs.weight";
/// Divisors of Phi-3's rope frequencies, for inputs up to the length of its first training and beyond.
const LONGROPE_SHORT: &str = "rope_factors_short.weight";
const LONGROPE_LONG: &str = "rope_factors_long.weight";

/// Tensors that belong to the configuration.
pub(super) const ROPE_TENSORS: &[&str] = &[LLAMA3_FACTORS, LONGROPE_SHORT, LONGROPE_LONG];

impl Config {
    /// Reads the metadata of a GGUF file, and the rope factors that stand among its tensors.
    pub fn from_gguf(content: &Content, store: &TensorStore) -> Result<Config, ModelError> {
        let metadata = Metadata::new(content)?;
        let d_model = metadata.number("embedding_length")?;
        let n_heads = metadata.number("attention.head_count")?;
        let head_dim = metadata.optional_number("attention.key_length")?;
        let head_dim = head_dim.unwrap_or(d_model / n_heads.max(1));
        let embedding = content.tensor_infos.get("token_embd.weight");
        let vocab_size = embedding.and_then(|info| info.shape.dims().first().copied());
        let mut assumed = Vec::new();
        Ok(Config {
            family: metadata.family,
            d_model,
            d_mlp: metadata.number("feed_forward_length")?,
            n_heads,
            n_kv_heads: metadata.number("attention.head_count_kv")?,
            head_dim,
            vocab_size: vocab_size.ok_or_else(|| ModelError::MissingTensor {
                name: "token_embd.weight".to_string(),
            })?,
            max_positions: metadata.max_positions(store)?,
            norm_eps: metadata.norm_eps()?,
            attention_scale: metadata.attention_scale(d_model, n_heads, head_dim)?,
            attention_softcap: metadata.attention_softcap()?,
            final_softcap: metadata.final_softcap()?,
            clip_qkv: metadata.optional_float("attention.clamp_kqv")?,
            activation: metadata.family.activation,
            tied_head: !content.tensor_infos.contains_key("output.weight"),
            attention: metadata.attention(head_dim, store, &mut assumed)?,
            assumed,
            warnings: Vec::new(),
        })
    }
}

struct Metadata<'a> {
    content: &'a Content,
    family: &'static Family,
}

impl<'a> Metadata<'a> {
    fn new(content: &'a Content) -> Result<Self, ModelError> {
        let key = "general.architecture";
        let arch = content.metadata.get(key);
        let arch = arch
            .and_then(|v| v.to_string().ok())
            .map_or("(absent)", |s| s.as_str());
        let family = Family::by_gguf_arch(arch);
        let family = family.ok_or_else(|| match Family::refusal(arch) {
            Some(reason) => ModelError::Refused {
                file: FILE,
                key,
                value: arch.to_string(),
                reason,
            },
            None => {
                let mut known: Vec<_> = FAMILIES.iter().map(|f| f.gguf_arch).collect();
                known.dedup();
                unsupported(key, arch, &known.join(", "))
            }
        })?;
        Ok(Self { content, family })
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.family.gguf_arch)
    }

    fn optional(&self, name: &str) -> Option<&'a Value> {
        self.content.metadata.get(&self.key(name))
    }

    fn required(&self, name: &str) -> Result<&'a Value, ModelError> {
        self.optional(name).ok_or_else(|| ModelError::MissingKey {
            file: FILE,
            key: self.key(name),
            family: self.family.name,
        })
    }

    fn to_usize(&self, name: &str, value: &Value) -> Result<usize, ModelError> {
        let number = match value {
            Value::U64(v) => Some(*v as usize),
            Value::I32(v) => usize::try_from(*v).ok(),
            other => other.to_u32().ok().map(|v| v as usize),
        };
        number
            .ok_or_else(|| unsupported(&self.key(name), &format!("{value:?}"), "one whole number"))
    }

    fn number(&self, name: &str) -> Result<usize, ModelError> {
        self.to_usize(name, self.required(name)?)
    }

    fn optional_number(&self, name: &str) -> Result<Option<usize>, ModelError> {
        let value = self.optional(name);
        value.map(|value| self.to_usize(name, value)).transpose()
    }

    fn float(&self, name: &str) -> Result<f64, ModelError> {
        Ok(f64::from(self.required(name)?.to_f32()?))
    }

    fn optional_float(&self, name: &str) -> Result<Option<f64>, ModelError> {
        self.optional(name).map(|_| self.float(name)).transpose()
    }

    fn norm_eps(&self) -> Result<f64, ModelError> {
        match self.family.norm {
            NormKind::LayerNorm => self.float("attention.layer_norm_epsilon"),
            NormKind::Rms | NormKind::RmsOnePlus => self.float("attention.layer_norm_rms_epsilon"),
        }
    }

    fn attention_scale(
        &self,
        d_model: usize,
        n_heads: usize,
        head_dim: usize,
    ) -> Result<f64, ModelError> {
        let n_layers = self.number("block_count")?;
        let width = match self.family.attention_scale {
            AttentionScale::QueryPreAttnScalar { layers_of_27b } if n_layers == layers_of_27b => {
                d_model / n_heads
            }
            _ => head_dim,
        };
        Ok((width as f64).powf(-0.5))
    }

    fn attention_softcap(&self) -> Result<Option<f64>, ModelError> {
        match self.family.soft_caps {
            SoftCaps::AttentionAndLogits => self.float("attn_logit_softcapping").map(Some),
            SoftCaps::None | SoftCaps::Logits => Ok(None),
        }
    }

    fn final_softcap(&self) -> Result<Option<f64>, ModelError> {
        match self.family.soft_caps {
            SoftCaps::AttentionAndLogits => self.float("final_logit_softcapping").map(Some),
            SoftCaps::Logits => self.optional_float("final_logit_softcapping"),
            SoftCaps::None => Ok(None),
        }
    }

    /// The longest input; with LongRoPE, the longest for which the short factors hold.
    fn max_positions(&self, store: &TensorStore) -> Result<usize, ModelError> {
        match store.has(LONGROPE_SHORT) {
            true => self.number("rope.scaling.original_context_length"),
            false => self.number("context_length"),
        }
    }

    fn attention(
        &self,
        head_dim: usize,
        store: &TensorStore,
        assumed: &mut Vec<String>,
    ) -> Result<Vec<AttentionSpec>, ModelError> {
        let n_layers = self.number("block_count")?;
        let global = AttentionSpec {
            rope: self.rope(head_dim, store)?,
            window: None,
        };
        let window = self.optional_number("attention.sliding_window")?;
        let windowed = self.windowed_layers(n_layers, window)?;
        if self.family.gguf_arch == "llama" {
            let name = self.content.metadata.get("general.name");
            let name = name.and_then(|name| name.to_string().ok());
            if name.is_some_and(|name| name.to_lowercase().contains("mistral")) {
                assumed.push(NO_WINDOW_IN_FILE.to_string());
            }
        }
        if !windowed.contains(&true) {
            return Ok(vec![global; n_layers]);
        }
        let local = AttentionSpec {
            rope: self.local_rope(&global.rope)?,
            window: Some(self.number("attention.sliding_window")?),
        };
        let specs = windowed
            .iter()
            .map(|windowed| if *windowed { &local } else { &global });
        Ok(specs.cloned().collect())
    }

    /// Which layers attend through a window. The pattern's key holds a period, or one flag per layer.
    fn windowed_layers(
        &self,
        n_layers: usize,
        window: Option<usize>,
    ) -> Result<Vec<bool>, ModelError> {
        let name = "attention.sliding_window_pattern";
        let period = match self.family.windows {
            Windows::Never | Windows::FromLayer => return Ok(vec![false; n_layers]),
            // 0 is how Phi-3 files say that there is none.
            Windows::EveryLayer { .. } => return Ok(vec![window.is_some_and(|w| w > 0); n_layers]),
            Windows::AllButEvery(n) => n,
        };
        let period = match self.optional(name) {
            None => period,
            Some(Value::Array(flags)) => return self.flags(name, flags, n_layers),
            Some(value) => self.to_usize(name, value)?.max(1),
        };
        Ok((1..=n_layers).map(|l| l % period != 0).collect())
    }

    fn flags(&self, name: &str, flags: &[Value], n_layers: usize) -> Result<Vec<bool>, ModelError> {
        if flags.len() != n_layers {
            let count = format!("{} entries", flags.len());
            let expected = format!("{n_layers} entries");
            return Err(unsupported(&self.key(name), &count, &expected));
        }
        Ok(flags.iter().map(Value::to_bool).collect::<Result<_, _>>()?)
    }

    fn rope(&self, head_dim: usize, store: &TensorStore) -> Result<RopeSpec, ModelError> {
        // llama.cpp's base where a file has none, as those of Gemma 1 and 2.
        let theta = self.optional_float("rope.freq_base")?.unwrap_or(10_000.0);
        let width = self
            .optional_number("rope.dimension_count")?
            .unwrap_or(head_dim);
        let scaling = self.scaling(width, store)?;
        Ok(RopeSpec {
            theta,
            width,
            scaling,
        })
    }

    /// The rotation of windowed layers: no scaling, where they have a base of their own.
    fn local_rope(&self, global: &RopeSpec) -> Result<RopeSpec, ModelError> {
        let Some(default) = self.family.local_rope_theta else {
            return Ok(global.clone());
        };
        Ok(RopeSpec {
            theta: self
                .optional_float("rope.freq_base_swa")?
                .unwrap_or(default),
            width: global.width,
            scaling: RopeScaling::None,
        })
    }

    fn scaling(&self, width: usize, store: &TensorStore) -> Result<RopeScaling, ModelError> {
        for (name, amplitude) in [
            (LLAMA3_FACTORS, None),
            (
                LONGROPE_SHORT,
                self.optional_float("rope.scaling.attn_factor")?,
            ),
        ] {
            if store.has(name) {
                let factors: Vec<f32> = store.read(name)?.to_vec1()?;
                if factors.len() != width / 2 {
                    let count = format!("{} numbers", factors.len());
                    return Err(unsupported(name, &count, &(width / 2).to_string()));
                }
                let amplitude = amplitude.unwrap_or(1.0);
                return Ok(RopeScaling::Factors { factors, amplitude });
            }
        }
        let kind = self.optional("rope.scaling.type");
        match kind.and_then(|v| v.to_string().ok()).map(String::as_str) {
            None | Some("none") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear {
                factor: self.float("rope.scaling.factor")?,
            }),
            Some(other) => Err(unsupported(
                &self.key("rope.scaling.type"),
                other,
                "none, linear",
            )),
        }
    }
}

const NO_WINDOW_IN_FILE: &str = "GGUF files of Mistral do not hold the sliding window: none, as in llama.cpp; \
    prompts longer than the window (4,096 tokens in Mistral 7B v0.1) differ from transformers";

fn unsupported(key: &str, value: &str, accepted: &str) -> ModelError {
    ModelError::unsupported(FILE, key, value, accepted)
}
