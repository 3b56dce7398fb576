//! `config.json` of a Hugging Face checkpoint, in both dialects: the older `rope_theta` beside
//! `rope_scaling`, and the newer `rope_parameters`, which may differ by layer type.

use std::path::Path;

use serde_json::Value;

use super::activation::Activation;
use super::config::Config;
use super::config_keys::*;
use super::error::ModelError;
use super::family::Family;
use super::object::Object;
use super::reading::{Reading, Shapes};
use super::store::Format;
use super::{hf_attention, hf_keys, hf_rope};
use crate::hub::{FileError, json};

impl Config {
    /// Reads `config.json`.
    pub fn from_hf_file(path: &Path) -> Result<Config, ModelError> {
        let value = json::read_file(path).map_err(|why| FileError::damaged(path, why))?;
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
        let keys = Object::new(Format::Safetensors, String::new(), entries);
        let model_type = keys.text("model_type")?;
        let model_type = model_type.as_deref().unwrap_or("(absent)");
        let family = Family::named("config.json", "model_type", model_type, |f| f.model_type)?;
        let mut reading = Reading::new(keys, family);
        hf_keys::check(&mut reading)?;
        let shapes = shapes(&reading)?;
        let scale = hf_attention::scale(&reading, shapes.head_dim)?;
        let activation = activation(&mut reading)?;
        let tied_head = reading.keys.flag("tie_word_embeddings")?;
        let attention = hf_attention::layers(&mut reading, &shapes)?;
        let tied_head = tied_head.unwrap_or(family.tied_by_default);
        reading.config(shapes, scale, activation, tied_head, attention)
    }
}

fn shapes(reading: &Reading) -> Result<Shapes, ModelError> {
    let keys = &reading.keys;
    for key in reading.family.needed_keys {
        keys.need(key, keys.value(key))?;
    }
    let n_heads = keys.needed_count(&N_HEADS)?;
    let n_kv_heads = keys.count(&N_KV_HEADS)?.unwrap_or(n_heads);
    let d_model = keys.needed_count(&D_MODEL)?;
    let head_dim = keys.count(&HEAD_DIM)?.unwrap_or(d_model / n_heads);
    keys.check_heads(n_heads, n_kv_heads, head_dim)?;
    Ok(Shapes {
        d_model,
        d_mlp: keys.needed_count(&D_MLP)?,
        n_heads,
        n_kv_heads,
        head_dim,
        vocab_size: keys.needed_count(&VOCAB_SIZE)?,
        max_positions: hf_rope::max_positions(keys)?,
        // Each layer has an entry in memory before the tensors are looked at: its key is bounded.
        n_layers: keys.needed_count(&N_LAYERS)?,
    })
}

fn activation(reading: &mut Reading) -> Result<Activation, ModelError> {
    let family = reading.family;
    let key = family.activation_key;
    let Some(name) = reading.keys.text(key)? else {
        return Ok(family.activation);
    };
    let is_gemma_1 = family.activation == Activation::GeluTanh && key == "hidden_act";
    if name == "gelu" && is_gemma_1 {
        let assumed = "hidden_act = gelu means the tanh form in Gemma 1, as in transformers 5";
        reading.assumed.push(assumed.to_string());
        return Ok(Activation::GeluTanh);
    }
    let names = Activation::HF_NAMES;
    let known = names.iter().find(|(known, _)| *known == name);
    known.map(|(_, activation)| *activation).ok_or_else(|| {
        let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        reading.keys.refused(key, name, &names.join(", "))
    })
}

#[cfg(test)]
mod tests;
