//! `config.json` of a Hugging Face checkpoint, in both dialects: the older `rope_theta` beside
//! `rope_scaling`, and the newer `rope_parameters`, which may differ by layer type.

use std::path::Path;

use serde_json::Value;

use super::activation::Activation;
use super::config::{Config, Notes};
use super::config_keys::*;
use super::error::ModelError;
use super::family::Family;
use super::files::damaged;
use super::kinds::{NormKind, SoftCaps};
use super::object::Object;
use super::store::Format;
use super::{hf_attention, hf_keys, hf_rope};
use crate::hub::json;

/// OLMo's LayerNorm has this epsilon in transformers, whatever the file says.
const LAYER_NORM_EPSILON: f64 = 1e-5;

impl Config {
    /// Reads `config.json`.
    pub fn from_hf_file(path: &Path) -> Result<Config, ModelError> {
        let value = json::read_file(path).map_err(damaged(path))?;
        let folder = path.parent().unwrap_or(path);
        Config::from_hf_json(value).map_err(|why| why.in_file(folder))
    }

    fn from_hf_json(value: Value) -> Result<Config, ModelError> {
        let Value::Object(entries) = value else {
            return Err(ModelError::value(
                "config.json",
                "the file",
                "no object",
                "{...}",
            ));
        };
        let mut top = Object::new(Format::Safetensors, String::new(), entries);
        let model_type = top.text("model_type")?;
        let model_type = model_type.as_deref().unwrap_or("(absent)");
        let family = Family::named("config.json", "model_type", model_type, |f| f.model_type)?;
        top.family = family.name;
        let mut notes = Notes {
            warnings: hf_keys::check(&top, family)?,
            ..Notes::default()
        };
        for key in family.needed_keys {
            top.need(key, top.value(key))?;
        }
        let n_heads = top.needed_count(&N_HEADS)?;
        let n_kv_heads = top.count(&N_KV_HEADS)?.unwrap_or(n_heads);
        let d_model = top.needed_count(&D_MODEL)?;
        let head_dim = top.count(&HEAD_DIM)?.unwrap_or(d_model / n_heads);
        top.check_heads(n_heads, n_kv_heads, head_dim)?;
        Ok(Config {
            family,
            d_model,
            d_mlp: top.needed_count(&D_MLP)?,
            n_heads,
            n_kv_heads,
            head_dim,
            vocab_size: top.needed_count(&VOCAB_SIZE)?,
            max_positions: hf_rope::max_positions(&top)?,
            norm_eps: match family.norm {
                NormKind::LayerNorm => LAYER_NORM_EPSILON,
                NormKind::Rms | NormKind::RmsOnePlus => top.needed_number(&RMS_NORM_EPS)?,
            },
            attention_scale: hf_attention::scale(&top, family, head_dim)?,
            attention_softcap: softcap(&top, &ATTENTION_CAP, family, SoftCaps::AttentionAndLogits)?,
            final_softcap: softcap(&top, &FINAL_CAP, family, SoftCaps::Logits)?,
            clip_qkv: clip_qkv(&top, family)?,
            activation: activation(&top, family, &mut notes)?,
            tied_head: top
                .flag("tie_word_embeddings")?
                .unwrap_or(family.tied_by_default),
            attention: hf_attention::layers(&top, family, head_dim, &mut notes)?,
            assumed: notes.assumed,
            warnings: notes.warnings,
        })
    }
}

/// The soft cap of a key, in the families that have so many caps or more; Gemma 2's must be there, if only as null.
fn softcap(
    top: &Object,
    key: &Key,
    family: &Family,
    fewest: SoftCaps,
) -> Result<Option<f64>, ModelError> {
    if family.soft_caps == SoftCaps::AttentionAndLogits {
        top.need(key.json, top.has(key.json).then_some(()))?;
    } else if family.soft_caps != fewest {
        top.none(key)?;
    }
    top.number(key)
}

fn clip_qkv(top: &Object, family: &Family) -> Result<Option<f64>, ModelError> {
    if family.norm != NormKind::LayerNorm {
        top.none(&CLIP_QKV)?;
    }
    top.number(&CLIP_QKV)
}

fn activation(top: &Object, family: &Family, notes: &mut Notes) -> Result<Activation, ModelError> {
    let key = family.activation_key.name();
    let Some(name) = top.text(key)? else {
        return Ok(family.activation);
    };
    let is_gemma_1 = family.activation == Activation::GeluTanh && key == "hidden_act";
    if name == "gelu" && is_gemma_1 {
        let assumed = "hidden_act = gelu means the tanh form in Gemma 1, as in transformers 5";
        notes.assumed.push(assumed.to_string());
        return Ok(Activation::GeluTanh);
    }
    let names = Activation::HF_NAMES;
    let known = names.iter().find(|(known, _)| *known == name);
    known.map(|(_, activation)| *activation).ok_or_else(|| {
        let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        top.refused(key, name, &names.join(", "))
    })
}

#[cfg(test)]
mod tests;
