//! The configuration from GGUF metadata, as llama.cpp names it.

use candle_core::quantized::gguf_file::{Content, Value};

use super::ModelError;
use super::config::{AttentionSpec, Config, windowed_pattern};
use super::family::{FAMILIES, Family};
use super::rope::RopeSpec;

const FILE: &str = "GGUF metadata";

impl Config {
    /// Reads the metadata of a GGUF file.
    pub fn from_gguf(content: &Content) -> Result<Config, ModelError> {
        let metadata = Metadata::new(content)?;
        metadata.refuse_unknown_arithmetic()?;
        let d_model = metadata.number("embedding_length")?;
        let n_heads = metadata.number("attention.head_count")?;
        let head_dim = match metadata.optional("attention.key_length") {
            Some(value) => metadata.to_usize("attention.key_length", value)?,
            None => d_model / n_heads.max(1),
        };
        let embedding = content.tensor_infos.get("token_embd.weight");
        let vocab_size = embedding.and_then(|info| info.shape.dims().first().copied());
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
            max_positions: metadata.number("context_length")?,
            norm_eps: metadata.float("attention.layer_norm_rms_epsilon")?,
            attention_scale: metadata.attention_scale(d_model, n_heads, head_dim)?,
            activation: metadata.family.activation,
            tied_head: !content.tensor_infos.contains_key("output.weight"),
            attention: metadata.attention()?,
        })
    }
}

struct Metadata<'a> {
    content: &'a Content,
    family: &'static Family,
}

impl<'a> Metadata<'a> {
    fn new(content: &'a Content) -> Result<Self, ModelError> {
        let arch = content.metadata.get("general.architecture");
        let arch = arch
            .and_then(|v| v.to_string().ok())
            .map_or("(absent)", |s| s.as_str());
        let family = Family::by_gguf_arch(arch).ok_or_else(|| {
            let known: Vec<_> = FAMILIES.iter().map(|f| f.gguf_arch).collect();
            unsupported("general.architecture", arch, &known.join(", "))
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

    fn float(&self, name: &str) -> Result<f64, ModelError> {
        Ok(f64::from(self.required(name)?.to_f32()?))
    }

    fn refuse_unknown_arithmetic(&self) -> Result<(), ModelError> {
        if let Some(kind) = self
            .optional("rope.scaling.type")
            .and_then(|v| v.to_string().ok())
            && kind != "none"
        {
            return Err(unsupported(&self.key("rope.scaling.type"), kind, "none"));
        }
        Ok(())
    }

    /// Gemma 3 27B alone scales by the width per head of the residual (llama.cpp keys it by its 62 layers).
    fn attention_scale(
        &self,
        d_model: usize,
        n_heads: usize,
        head_dim: usize,
    ) -> Result<f64, ModelError> {
        let gemma_27b = self.family.name == "gemma3" && self.number("block_count")? == 62;
        let width = if gemma_27b {
            d_model / n_heads
        } else {
            head_dim
        };
        Ok((width as f64).powf(-0.5))
    }

    fn attention(&self) -> Result<Vec<AttentionSpec>, ModelError> {
        let n_layers = self.number("block_count")?;
        let theta = match self.optional("rope.freq_base") {
            Some(value) => f64::from(value.to_f32()?),
            None => 10_000.0, // llama.cpp omits the key exactly when the base is this
        };
        let global = AttentionSpec {
            rope: RopeSpec { theta },
            window: None,
        };
        let Some(pattern) = self.family.window_pattern else {
            return Ok(vec![global; n_layers]);
        };
        let theta = match self.optional("rope.freq_base_swa") {
            Some(value) => f64::from(value.to_f32()?),
            None => self.family.local_rope_theta,
        };
        let window = Some(self.number("attention.sliding_window")?);
        let local = AttentionSpec {
            rope: RopeSpec { theta },
            window,
        };
        match self.optional("attention.sliding_window_pattern") {
            None => Ok(windowed_pattern(n_layers, pattern, local, global)),
            Some(value) => self.pattern(n_layers, value, local, global),
        }
    }

    /// The pattern's key holds a period, or one flag per layer that says whether it is windowed.
    fn pattern(
        &self,
        n_layers: usize,
        value: &Value,
        local: AttentionSpec,
        global: AttentionSpec,
    ) -> Result<Vec<AttentionSpec>, ModelError> {
        let name = "attention.sliding_window_pattern";
        let Ok(flags) = value.to_vec() else {
            let period = self.to_usize(name, value)?.max(1);
            return Ok(windowed_pattern(n_layers, period, local, global));
        };
        let flags = flags
            .iter()
            .map(Value::to_bool)
            .collect::<Result<Vec<_>, _>>()?;
        if flags.len() != n_layers {
            let count = format!("{} entries", flags.len());
            return Err(unsupported(
                &self.key(name),
                &count,
                &format!("{n_layers} entries"),
            ));
        }
        Ok(flags
            .into_iter()
            .map(|windowed| if windowed { local } else { global })
            .collect())
    }
}

fn unsupported(key: &str, value: &str, accepted: &str) -> ModelError {
    ModelError::unsupported(FILE, key, value, accepted)
}
