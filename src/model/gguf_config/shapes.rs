//! Counts and widths, held against the tensors that are in the file.

use serde_json::Value;

use super::metadata::unsupported;
use super::rope::max_positions;
use crate::model::config_keys::*;
use crate::model::error::ModelError;
use crate::model::object::Object;
use crate::model::reading::{Reading, Shapes};
use crate::model::store::TensorStore;

const EMBEDDING: &str = "token_embd.weight";
pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";

/// `tokens` is the number of tokens that the metadata list, if they do.
pub(super) fn read(
    reading: &mut Reading,
    store: &TensorStore,
    tokens: Option<usize>,
) -> Result<Shapes, ModelError> {
    let keys = &reading.keys;
    let n_layers = layers(keys, store)?;
    let (vocab_size, d_model) = embedding(keys, store, tokens)?;
    let n_heads = layers_count(keys, &N_HEADS, n_layers)?;
    let n_kv_heads = if keys.has(N_KV_HEADS.gguf) {
        layers_count(keys, &N_KV_HEADS, n_layers)?
    } else {
        reading.assume(N_KV_HEADS.gguf, format!("{n_heads}, as many as heads"));
        n_heads
    };
    let keys = &reading.keys;
    let head_dim = head_dim(keys, d_model, n_heads)?;
    keys.check_heads(n_heads, n_kv_heads, head_dim)?;
    Ok(Shapes {
        n_layers,
        d_model,
        d_mlp: layers_count(keys, &D_MLP, n_layers)?,
        n_heads,
        n_kv_heads,
        head_dim,
        vocab_size,
        max_positions: max_positions(keys, store)?,
    })
}

/// A count that a file may give for each layer; it must be the same in all of them.
fn layers_count(keys: &Object, key: &Key, n_layers: usize) -> Result<usize, ModelError> {
    let Some(Value::Array(each)) = keys.value(key.gguf) else {
        return keys.needed_count(key);
    };
    let first = each.first().and_then(Value::as_u64).unwrap_or(0);
    let is_count = (1..=key.range.most as u64).contains(&first);
    let other = each.iter().position(|count| count.as_u64() != Some(first));
    let found = match other {
        _ if each.len() != n_layers || !is_count => {
            format!("{} numbers from {first} on", each.len())
        }
        Some(l) => format!("{first} in layer 0, {} in layer {l}", each[l]),
        None => return Ok(first as usize),
    };
    let accepted = format!("one whole number, at least 1, or {n_layers} times the same");
    Err(keys.refused(key.gguf, found, &accepted))
}

/// The number of layers, which must be that of the layers that have tensors: a larger one would be believed before a
/// missing tensor shows.
fn layers(keys: &Object, store: &TensorStore) -> Result<usize, ModelError> {
    let key = N_LAYERS.gguf;
    let said = keys.need(key, keys.value(key))?;
    let there = store.layers("blk.");
    if said.as_u64() == Some(there as u64) && (1..=N_LAYERS.range.most as usize).contains(&there) {
        return Ok(there);
    }
    let accepted = format!("{there}, the number of layers whose tensors (blk.N) the file has");
    Err(keys.refused(key, said, &accepted))
}

/// The shape of the embedding, `[vocab_size, d_model]`, which the keys must agree with.
fn embedding(
    keys: &Object,
    store: &TensorStore,
    tokens: Option<usize>,
) -> Result<(usize, usize), ModelError> {
    let [vocab_size, d_model] = *store.shape(EMBEDDING)? else {
        let found = store.shape(EMBEDDING)?;
        let why = format!("tensor {EMBEDDING} has shape {found:?}, and must have two dimensions");
        return Err(ModelError::Unfit(why));
    };
    let (size, out) = (VOCAB_SIZE.gguf, "embedding_length_out");
    for (key, said, there) in [
        (D_MODEL.gguf, Some(keys.needed_count(&D_MODEL)?), d_model),
        (size, keys.length(size)?, vocab_size),
        (out, keys.length(out)?, d_model),
    ] {
        // 0 is llama.cpp's "none".
        if let Some(said) = said.filter(|said| *said != there && *said != 0) {
            return Err(keys.refused(key, said, &format!("{there}, the shape of {EMBEDDING}")));
        }
    }
    let most = VOCAB_SIZE.range.most;
    if vocab_size > most as usize {
        return Err(keys.refused(size, vocab_size, &format!("at most {most}")));
    }
    match tokens.filter(|tokens| *tokens != vocab_size) {
        Some(tokens) => {
            let accepted = format!("{vocab_size}, as many as rows of {EMBEDDING}");
            Err(unsupported(TOKENS, format!("{tokens} tokens"), &accepted))
        }
        None => Ok((vocab_size, d_model)),
    }
}

/// The width of a head: that of keys and of values, in layers with and without a window.
fn head_dim(keys: &Object, d_model: usize, n_heads: usize) -> Result<usize, ModelError> {
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
        (keys_swa, keys.length(keys_swa)?),
        (values_swa, keys.length(values_swa)?),
    ] {
        if let Some(found) = found.filter(|found| *found != head_dim) {
            let accepted = format!("{head_dim}, the width of keys in all layers");
            return Err(keys.refused(key, found, &accepted));
        }
    }
    Ok(head_dim)
}
