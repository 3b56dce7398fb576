//! The configuration from GGUF metadata, with llama.cpp's names and llama.cpp's meaning of what is absent.

mod metadata;
mod rope;
mod shapes;
mod windows;

use super::config::{AttentionSpec, Config};
use super::config_keys::ATTENTION_SCALAR;
use super::error::ModelError;
use super::kinds::AttentionScale;
use super::reading::{Reading, Shapes};
use super::store::TensorStore;
use crate::hub::gguf::{GgufFile, Value};
use crate::tokens::assumed_of_gguf;

impl Config {
    /// Reads the metadata of a GGUF file (of its first part), and the rope factors that stand among its tensors.
    pub fn from_gguf(header: &GgufFile, store: &TensorStore) -> Result<Config, ModelError> {
        let metadata = &header.metadata;
        let mut reading = metadata::read(metadata)?;
        // The shapes first: what they bound is safe to allocate and to multiply.
        let tokens = metadata.get(shapes::TOKENS).map(Value::len);
        let shapes = shapes::read(&mut reading, store, tokens)?;
        let name = metadata.get("general.name").and_then(Value::text);
        let window = windows::window(&mut reading, name.unwrap_or_default())?;
        let attention = attention(&mut reading, &shapes, store, window)?;
        let scale = attention_scale(&reading, &shapes)?;
        let (activation, tied_head) = (reading.family.activation, !store.has("output.weight"));
        let mut config = reading.config(shapes, scale, activation, tied_head, attention)?;
        config.assumed.extend(assumed_of_gguf(metadata));
        Ok(config)
    }
}

/// llama.cpp has no key for it in these architectures; one that is there must say the same.
fn attention_scale(reading: &Reading, shapes: &Shapes) -> Result<f64, ModelError> {
    let width = match reading.family.attention_scale {
        AttentionScale::QueryPreAttnScalar { layers_of_27b }
            if shapes.n_layers == layers_of_27b =>
        {
            shapes.d_model / shapes.n_heads
        }
        _ => shapes.head_dim,
    };
    let scale = (width as f64).powf(-0.5);
    let key = ATTENTION_SCALAR.gguf;
    let said = reading.keys.value(key);
    let is_scale = |said: f64| said == 0.0 || (said - scale).abs() <= 1e-5 * scale;
    match said {
        Some(said) if !said.as_f64().is_some_and(is_scale) => {
            let accepted = format!("{scale}, the square root of 1/{width}, or no such key");
            Err(reading.keys.refused(key, said, &accepted))
        }
        _ => Ok(scale),
    }
}

fn attention(
    reading: &mut Reading,
    shapes: &Shapes,
    store: &TensorStore,
    window: Option<usize>,
) -> Result<Vec<AttentionSpec>, ModelError> {
    let global = AttentionSpec {
        rope: rope::global(reading, shapes.head_dim, store)?,
        window: None,
    };
    let windowed = windows::windowed_layers(reading, shapes.n_layers, window)?;
    let local = AttentionSpec {
        rope: rope::local(reading, &global.rope, window)?,
        window,
    };
    Ok(AttentionSpec::by_layer(&windowed, global, local))
}
