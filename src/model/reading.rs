//! A configuration while it is read, from either kind of file.

use std::fmt::Display;

use super::activation::Activation;
use super::config::{AttentionSpec, Config};
use super::config_keys::*;
use super::error::ModelError;
use super::family::Family;
use super::kinds::{NormKind, SoftCaps};
use super::object::Object;
use super::store::Format;

/// OLMo's LayerNorm has this epsilon in transformers, whatever the file says.
const LAYER_NORM_EPSILON: f64 = 1e-5;

/// llama.cpp's caps of Gemma 2, for the first files, which have none.
const GEMMA2_ATTENTION_CAP: f64 = 50.0;
const GEMMA2_LOGIT_CAP: f64 = 30.0;

/// The keys of a file with the family that they are of, and what is to be told to a person.
pub(super) struct Reading {
    pub keys: Object,
    pub family: &'static Family,
    /// What the file leaves open and was taken as transformers or llama.cpp take it.
    pub assumed: Vec<String>,
    /// What is not known, or not used.
    pub warnings: Vec<String>,
}

/// Counts and widths.
pub(super) struct Shapes {
    pub n_layers: usize,
    pub d_model: usize,
    pub d_mlp: usize,
    pub n_heads: usize,
    pub n_kv_heads: usize,
    pub head_dim: usize,
    pub vocab_size: usize,
    pub max_positions: usize,
}

impl Reading {
    pub fn new(mut keys: Object, family: &'static Family) -> Self {
        keys.family = family.name;
        Self {
            keys,
            family,
            assumed: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Notes that a key is absent, and what was taken.
    pub fn assume(&mut self, key: &str, taken: impl Display) {
        self.assumed.push(self.keys.absent(key, taken));
    }

    /// A number, or what is taken where there is none, which is noted.
    pub fn number_or(&mut self, key: &Key, default: f64) -> Result<f64, ModelError> {
        let number = self.keys.number(key)?;
        if number.is_none() {
            self.assume(self.keys.own(key), default);
        }
        Ok(number.unwrap_or(default))
    }

    /// The whole, from what each kind of file says in its own way, and what both say alike.
    pub fn config(
        mut self,
        shapes: Shapes,
        attention_scale: f64,
        activation: Activation,
        tied_head: bool,
        attention: Vec<AttentionSpec>,
    ) -> Result<Config, ModelError> {
        let of_attention = SoftCaps::AttentionAndLogits;
        Ok(Config {
            family: self.family,
            d_model: shapes.d_model,
            d_mlp: shapes.d_mlp,
            n_heads: shapes.n_heads,
            n_kv_heads: shapes.n_kv_heads,
            head_dim: shapes.head_dim,
            vocab_size: shapes.vocab_size,
            max_positions: shapes.max_positions,
            norm_eps: self.norm_eps()?,
            attention_scale,
            attention_softcap: self.softcap(&ATTENTION_CAP, of_attention, GEMMA2_ATTENTION_CAP)?,
            final_softcap: self.softcap(&FINAL_CAP, SoftCaps::Logits, GEMMA2_LOGIT_CAP)?,
            clip_qkv: self.clip_qkv()?,
            activation,
            tied_head,
            attention,
            assumed: self.assumed,
            warnings: self.warnings,
        })
    }

    fn norm_eps(&self) -> Result<f64, ModelError> {
        match (self.family.norm, self.keys.format) {
            (NormKind::LayerNorm, Format::Safetensors) => Ok(LAYER_NORM_EPSILON),
            (NormKind::LayerNorm, Format::Gguf) => self.keys.needed_number(&LAYER_NORM_EPS),
            _ => self.keys.needed_number(&RMS_NORM_EPS),
        }
    }

    /// The soft cap of a key, in the families that have so many caps or more. Gemma 2's must be in `config.json`, if only
    /// as null; in GGUF metadata llama.cpp takes those of Gemma 2 for absent ones.
    fn softcap(
        &mut self,
        key: &Key,
        fewest: SoftCaps,
        of_gemma2: f64,
    ) -> Result<Option<f64>, ModelError> {
        match (self.family.soft_caps, self.keys.format) {
            (SoftCaps::AttentionAndLogits, Format::Gguf) => {
                return self.number_or(key, of_gemma2).map(Some);
            }
            (SoftCaps::AttentionAndLogits, Format::Safetensors) => {
                let there = self.keys.has(key.json).then_some(());
                self.keys.need(key.json, there)?;
            }
            (caps, _) if caps != fewest => self.keys.none(key)?,
            _ => {}
        }
        self.keys.number_if_any(key)
    }

    /// OLMo alone clamps.
    fn clip_qkv(&self) -> Result<Option<f64>, ModelError> {
        if self.family.norm != NormKind::LayerNorm {
            self.keys.none(&CLIP_QKV)?;
        }
        self.keys.number_if_any(&CLIP_QKV)
    }
}
