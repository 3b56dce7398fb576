//! The configuration from GGUF metadata, with llama.cpp's names and llama.cpp's meaning of what is absent.

mod metadata;
mod rope;
mod shapes;
mod windows;

use super::config::{AttentionSpec, Config};
use super::config_keys::{
    ATTENTION_CAP, ATTENTION_SCALAR, CLIP_QKV, FINAL_CAP, LAYER_NORM_EPS, RMS_NORM_EPS,
};
use super::error::ModelError;
use super::kinds::{AttentionScale, NormKind, SoftCaps};
use super::store::TensorStore;
use crate::hub::gguf::GgufFile;
use crate::tokens::assumed_of_gguf;
use metadata::Metadata;
use shapes::Shapes;

/// llama.cpp's caps of Gemma 2, for the first files, which have none.
const GEMMA2_ATTENTION_CAP: f64 = 50.0;
const GEMMA2_LOGIT_CAP: f64 = 30.0;

impl Config {
    /// Reads the metadata of a GGUF file (of its first part), and the rope factors that stand among its tensors.
    pub fn from_gguf(header: &GgufFile, store: &TensorStore) -> Result<Config, ModelError> {
        let mut metadata = Metadata::new(header)?;
        let family = metadata.family;
        // The shapes first: what they bound is safe to allocate and to multiply.
        let shapes = shapes::read(&mut metadata, store)?;
        let attention = attention(&mut metadata, &shapes, store)?;
        let (attention_softcap, final_softcap) = soft_caps(&mut metadata)?;
        let of_tokenizer = assumed_of_gguf(&header.metadata);
        metadata.notes.assumed.extend(of_tokenizer);
        Ok(Config {
            family,
            d_model: shapes.d_model,
            d_mlp: shapes.d_mlp,
            n_heads: shapes.n_heads,
            n_kv_heads: shapes.n_kv_heads,
            head_dim: shapes.head_dim,
            vocab_size: shapes.vocab_size,
            max_positions: rope::max_positions(&metadata, store)?,
            norm_eps: metadata.keys.needed_number(match family.norm {
                NormKind::LayerNorm => &LAYER_NORM_EPS,
                NormKind::Rms | NormKind::RmsOnePlus => &RMS_NORM_EPS,
            })?,
            attention_scale: attention_scale(&metadata, &shapes)?,
            attention_softcap,
            final_softcap,
            clip_qkv: clip_qkv(&metadata)?,
            activation: family.activation,
            tied_head: !store.has("output.weight"),
            attention,
            warnings: metadata.notes.warnings,
            assumed: metadata.notes.assumed,
        })
    }
}

/// llama.cpp has no key for it in these architectures; one that is there must say the same.
fn attention_scale(metadata: &Metadata, shapes: &Shapes) -> Result<f64, ModelError> {
    let width = match metadata.family.attention_scale {
        AttentionScale::QueryPreAttnScalar { layers_of_27b }
            if shapes.n_layers == layers_of_27b =>
        {
            shapes.d_model / shapes.n_heads
        }
        _ => shapes.head_dim,
    };
    let scale = (width as f64).powf(-0.5);
    let key = ATTENTION_SCALAR.gguf;
    let said = metadata.keys.value(key);
    let is_scale = |said: f64| said == 0.0 || (said - scale).abs() <= 1e-5 * scale;
    match said {
        Some(said) if !said.as_f64().is_some_and(is_scale) => {
            let accepted = format!("{scale}, the square root of 1/{width}, or no such key");
            Err(metadata.keys.refused(key, said, &accepted))
        }
        _ => Ok(scale),
    }
}

/// llama.cpp clamps in OLMo alone.
fn clip_qkv(metadata: &Metadata) -> Result<Option<f64>, ModelError> {
    if metadata.family.norm != NormKind::LayerNorm {
        metadata.keys.none(&CLIP_QKV)?;
    }
    metadata.keys.number_but_zero(&CLIP_QKV)
}

/// Those of attention and of the logits.
fn soft_caps(metadata: &mut Metadata) -> Result<(Option<f64>, Option<f64>), ModelError> {
    if metadata.family.soft_caps == SoftCaps::AttentionAndLogits {
        let attention = metadata.number_or(&ATTENTION_CAP, GEMMA2_ATTENTION_CAP)?;
        let logits = metadata.number_or(&FINAL_CAP, GEMMA2_LOGIT_CAP)?;
        return Ok((Some(attention), Some(logits)));
    }
    metadata.keys.none(&ATTENTION_CAP)?;
    if metadata.family.soft_caps == SoftCaps::None {
        metadata.keys.none(&FINAL_CAP)?;
    }
    Ok((None, metadata.keys.number_but_zero(&FINAL_CAP)?))
}

fn attention(
    metadata: &mut Metadata,
    shapes: &Shapes,
    store: &TensorStore,
) -> Result<Vec<AttentionSpec>, ModelError> {
    let window = windows::window(metadata)?;
    let global = AttentionSpec {
        rope: rope::global(metadata, shapes.head_dim, store)?,
        window: None,
    };
    let windowed = windows::windowed_layers(metadata, shapes.n_layers, window)?;
    let local = AttentionSpec {
        rope: rope::local(metadata, &global.rope, window)?,
        window,
    };
    Ok(AttentionSpec::by_layer(&windowed, global, local))
}
