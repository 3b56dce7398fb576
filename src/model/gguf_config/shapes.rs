//! Counts and widths, held against the tensors that are in the file.

use crate::hub::gguf::Value;
use crate::model::config_keys::*;
use crate::model::error::ModelError;
use crate::model::store::TensorStore;

use super::metadata::{Metadata, unsupported};

const EMBEDDING: &str = "token_embd.weight";
const TOKENS: &str = "tokenizer.ggml.tokens";

/// What the metadata say of the sizes of a model.
pub(super) struct Shapes {
    pub n_layers: usize,
    pub d_model: usize,
    pub d_mlp: usize,
    pub n_heads: usize,
    pub n_kv_heads: usize,
    pub head_dim: usize,
    pub vocab_size: usize,
}

pub(super) fn read(metadata: &mut Metadata, store: &TensorStore) -> Result<Shapes, ModelError> {
    let n_layers = layers(metadata, store)?;
    let (vocab_size, d_model) = embedding(metadata, store)?;
    let n_heads = metadata.layers_count(&N_HEADS, n_layers)?;
    let n_kv_heads = match metadata.keys.has(N_KV_HEADS.gguf) {
        true => metadata.layers_count(&N_KV_HEADS, n_layers)?,
        false => {
            metadata.assume(N_KV_HEADS.gguf, format!("{n_heads}, as many as heads"));
            n_heads
        }
    };
    let head_dim = head_dim(metadata, d_model, n_heads)?;
    metadata.keys.check_heads(n_heads, n_kv_heads, head_dim)?;
    Ok(Shapes {
        n_layers,
        d_model,
        d_mlp: metadata.layers_count(&D_MLP, n_layers)?,
        n_heads,
        n_kv_heads,
        head_dim,
        vocab_size,
    })
}

/// The number of layers, which must be that of the layers that have tensors: a larger one would be believed before a
/// missing tensor shows.
fn layers(metadata: &Metadata, store: &TensorStore) -> Result<usize, ModelError> {
    let key = N_LAYERS.gguf;
    let said = metadata.keys.need(key, metadata.keys.value(key))?;
    let there = store.layers("blk.");
    match said.as_u64() == Some(there as u64) && (1..=N_LAYERS.most as usize).contains(&there) {
        true => Ok(there),
        false => {
            let accepted =
                format!("{there}, the number of layers whose tensors (blk.N) the file has");
            Err(metadata.keys.refused(key, said, &accepted))
        }
    }
}

/// The shape of the embedding, `[vocab_size, d_model]`, which the keys must agree with.
fn embedding(metadata: &Metadata, store: &TensorStore) -> Result<(usize, usize), ModelError> {
    let [vocab_size, d_model] = *store.shape(EMBEDDING)? else {
        let found = store.shape(EMBEDDING)?;
        let why = format!("tensor {EMBEDDING} has shape {found:?}, and must have two dimensions");
        return Err(ModelError::Unfit(why));
    };
    let keys = &metadata.keys;
    for (key, said, there) in [
        (D_MODEL.gguf, Some(keys.needed_count(&D_MODEL)?), d_model),
        (
            VOCAB_SIZE.gguf,
            keys.whole(VOCAB_SIZE.gguf, 0..=LONGEST_INPUT)?,
            vocab_size,
        ),
        (
            "embedding_length_out",
            keys.whole("embedding_length_out", 0..=LONGEST_INPUT)?,
            d_model,
        ),
    ] {
        // 0 is llama.cpp's "none".
        if let Some(said) = said.filter(|said| *said != there && *said != 0) {
            return Err(keys.refused(key, said, &format!("{there}, the shape of {EMBEDDING}")));
        }
    }
    if vocab_size > VOCAB_SIZE.most as usize {
        return Err(keys.refused(
            VOCAB_SIZE.gguf,
            vocab_size,
            &format!("at most {}", VOCAB_SIZE.most),
        ));
    }
    let tokens = metadata.header.metadata.get(TOKENS).map(Value::len);
    match tokens {
        Some(tokens) if tokens != vocab_size => {
            let accepted = format!("{vocab_size}, as many as rows of {EMBEDDING}");
            Err(unsupported(TOKENS, format!("{tokens} tokens"), &accepted))
        }
        _ => Ok((vocab_size, d_model)),
    }
}

/// The width of a head: that of keys and of values, in layers with and without a window.
fn head_dim(metadata: &Metadata, d_model: usize, n_heads: usize) -> Result<usize, ModelError> {
    let keys = &metadata.keys;
    // llama.cpp takes what is absent from embedding_length, whatever the other key says.
    let width = |key| match keys.count(key)? {
        Some(width) => Ok(width),
        None if d_model.is_multiple_of(n_heads) => Ok(d_model / n_heads),
        None => {
            let accepted = format!("a divisor of embedding_length, {d_model}, or a key_length");
            Err(keys.refused(N_HEADS.gguf, n_heads, &accepted))
        }
    };
    let (head_dim, values) = (width(&HEAD_DIM)?, width(&VALUE_DIM)?);
    let [keys_swa, values_swa] = ["attention.key_length_swa", "attention.value_length_swa"];
    for (key, found) in [
        (VALUE_DIM.gguf, Some(values)),
        (keys_swa, keys.whole(keys_swa, 0..=LONGEST_INPUT)?),
        (values_swa, keys.whole(values_swa, 0..=LONGEST_INPUT)?),
    ] {
        if let Some(found) = found.filter(|found| *found != head_dim) {
            let accepted = format!("{head_dim}, the width of keys in all layers");
            return Err(keys.refused(key, found, &accepted));
        }
    }
    Ok(head_dim)
}
