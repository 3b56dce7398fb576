//! The configuration from GGUF metadata, with llama.cpp's names and llama.cpp's meaning of what is absent.
//!
//! Keys are read in three ways, and `keys.rs` lists them all: computed here, accepted only with a value that changes
//! nothing, or known to change nothing. Of every other key in a model's own namespaces a warning tells.

mod keys;
mod metadata;
mod rope;
mod shapes;
mod windows;

use super::ModelError;
use super::config::{AttentionSpec, Config};
use super::kinds::{AttentionScale, NormKind, SoftCaps};
use super::store::TensorStore;
use crate::hub::gguf::GgufFile;

use metadata::Metadata;

pub(super) use rope::ROPE_TENSORS;

const FILE: &str = "GGUF metadata";

/// llama.cpp's caps of Gemma 2, for the first files, which have none.
const GEMMA2_ATTENTION_CAP: f64 = 50.0;
const GEMMA2_LOGIT_CAP: f64 = 30.0;

impl Config {
    /// Reads the metadata of a GGUF file (of its first part), and the rope factors that stand among its tensors.
    pub fn from_gguf(header: &GgufFile, store: &TensorStore) -> Result<Config, ModelError> {
        let mut metadata = Metadata::new(header)?;
        let warnings = keys::check(&metadata)?;
        // The shapes first: what they bound is safe to allocate and to multiply.
        let shapes = shapes::read(&mut metadata, store)?;
        let attention = attention(&mut metadata, &shapes, store)?;
        let attention_scale = attention_scale(&metadata, &shapes)?;
        Ok(Config {
            family: metadata.family,
            d_model: shapes.d_model,
            d_mlp: shapes.d_mlp,
            n_heads: shapes.n_heads,
            n_kv_heads: shapes.n_kv_heads,
            head_dim: shapes.head_dim,
            vocab_size: shapes.vocab_size,
            max_positions: rope::max_positions(&metadata, store)?,
            norm_eps: norm_eps(&metadata)?,
            attention_scale,
            attention_softcap: attention_softcap(&mut metadata)?,
            final_softcap: final_softcap(&mut metadata)?,
            clip_qkv: clip_qkv(&metadata)?,
            activation: metadata.family.activation,
            tied_head: !store.has("output.weight"),
            attention,
            warnings: [warnings, metadata.warnings].concat(),
            assumed: metadata.assumed,
        })
    }
}

fn norm_eps(metadata: &Metadata) -> Result<f64, ModelError> {
    match metadata.family.norm {
        NormKind::LayerNorm => metadata.float("attention.layer_norm_epsilon"),
        NormKind::Rms | NormKind::RmsOnePlus => metadata.float("attention.layer_norm_rms_epsilon"),
    }
}

/// llama.cpp has no key for it in these architectures; one that is there must say the same.
fn attention_scale(metadata: &Metadata, shapes: &shapes::Shapes) -> Result<f64, ModelError> {
    let width = match metadata.family.attention_scale {
        AttentionScale::QueryPreAttnScalar { layers_of_27b }
            if shapes.n_layers == layers_of_27b =>
        {
            shapes.d_model / shapes.n_heads
        }
        _ => shapes.head_dim,
    };
    let scale = (width as f64).powf(-0.5);
    let name = "attention.scale";
    let said = metadata.optional_float(name)?.filter(|said| *said != 0.0);
    match said {
        // Also false for NaN.
        Some(said) if (said - scale).abs() <= 1e-5 * scale => Ok(scale),
        Some(said) => Err(metadata.unsupported(
            name,
            &said.to_string(),
            &format!("{scale}, the square root of 1/{width}, or no such key"),
        )),
        None => Ok(scale),
    }
}

/// llama.cpp clamps in OLMo alone; 0 is its "none".
fn clip_qkv(metadata: &Metadata) -> Result<Option<f64>, ModelError> {
    let name = "attention.clamp_kqv";
    if metadata.family.gguf_arch != "olmo" {
        return metadata.absent_or_zero(name).map(|()| None);
    }
    Ok(metadata.optional_float(name)?.filter(|clip| *clip != 0.0))
}

fn attention_softcap(metadata: &mut Metadata) -> Result<Option<f64>, ModelError> {
    let name = "attn_logit_softcapping";
    match metadata.family.soft_caps {
        SoftCaps::AttentionAndLogits => metadata.float_or(name, GEMMA2_ATTENTION_CAP).map(Some),
        SoftCaps::None | SoftCaps::Logits => metadata.absent_or_zero(name).map(|()| None),
    }
}

fn final_softcap(metadata: &mut Metadata) -> Result<Option<f64>, ModelError> {
    let name = "final_logit_softcapping";
    match metadata.family.soft_caps {
        SoftCaps::AttentionAndLogits => metadata.float_or(name, GEMMA2_LOGIT_CAP).map(Some),
        SoftCaps::Logits => Ok(metadata.optional_float(name)?.filter(|cap| *cap != 0.0)),
        SoftCaps::None => metadata.absent_or_zero(name).map(|()| None),
    }
}

fn attention(
    metadata: &mut Metadata,
    shapes: &shapes::Shapes,
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
    let specs = windowed
        .iter()
        .map(|windowed| if *windowed { &local } else { &global });
    Ok(specs.cloned().collect())
}
