//! Counts and widths, held against the tensors that are in the file.

use crate::hub::gguf::Value;
use crate::model::ModelError;
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
    let n_heads = metadata.layers_count("attention.head_count", n_layers)?;
    let n_kv_heads = match metadata.optional("attention.head_count_kv") {
        Some(_) => metadata.layers_count("attention.head_count_kv", n_layers)?,
        None => {
            metadata.assume(
                "attention.head_count_kv",
                format!("{n_heads}, as many as heads"),
            );
            n_heads
        }
    };
    if !n_heads.is_multiple_of(n_kv_heads) {
        let accepted = format!("a divisor of the {n_heads} heads");
        let found = n_kv_heads.to_string();
        return Err(metadata.unsupported("attention.head_count_kv", &found, &accepted));
    }
    Ok(Shapes {
        n_layers,
        d_model,
        d_mlp: metadata.layers_count("feed_forward_length", n_layers)?,
        n_heads,
        n_kv_heads,
        head_dim: head_dim(metadata, d_model, n_heads)?,
        vocab_size,
    })
}

/// The number of layers, which must be that of the layers that have tensors: a larger one would be believed before a
/// missing tensor shows.
fn layers(metadata: &Metadata, store: &TensorStore) -> Result<usize, ModelError> {
    let name = "block_count";
    let said = metadata.required(name)?;
    let numbers = store.names().filter_map(|name| {
        let (number, _) = name.strip_prefix("blk.")?.split_once('.')?;
        number.parse::<usize>().ok()
    });
    let there = numbers.max().map_or(0, |last| last.saturating_add(1));
    match said.integer() {
        Some(said) if said == there as i128 && there > 0 => Ok(there),
        _ => Err(metadata.unsupported(
            name,
            &said.to_string(),
            &format!("{there}, the number of layers whose tensors (blk.N) the file has"),
        )),
    }
}

/// The shape of the embedding, `[vocab_size, d_model]`, which the keys must agree with.
fn embedding(metadata: &Metadata, store: &TensorStore) -> Result<(usize, usize), ModelError> {
    let [vocab_size, d_model] = *store.shape(EMBEDDING)? else {
        return Err(ModelError::Shape {
            name: EMBEDDING.to_string(),
            found: store.shape(EMBEDDING)?.to_vec(),
            expected: vec![0, 0],
        });
    };
    let disagrees = |key: &str, found: usize, there: usize| {
        let accepted = format!("{there}, the shape of {EMBEDDING}");
        unsupported(key, &found.to_string(), &accepted)
    };
    let said = metadata.count("embedding_length")?;
    if said != d_model {
        return Err(disagrees(&metadata.key("embedding_length"), said, d_model));
    }
    for (name, there) in [
        ("vocab_size", vocab_size),
        ("embedding_length_out", d_model),
    ] {
        match metadata.optional_number(name)? {
            Some(said) if said != there && said != 0 => {
                return Err(disagrees(&metadata.key(name), said, there));
            }
            _ => {}
        }
    }
    let tokens = metadata.header.metadata.get(TOKENS).map(Value::len);
    match tokens {
        Some(tokens) if tokens != vocab_size => {
            let accepted = format!("{vocab_size}, as many as rows of {EMBEDDING}");
            Err(unsupported(TOKENS, &format!("{tokens} tokens"), &accepted))
        }
        _ => Ok((vocab_size, d_model)),
    }
}

/// The width of a head: that of keys and of values, in layers with and without a window.
fn head_dim(metadata: &Metadata, d_model: usize, n_heads: usize) -> Result<usize, ModelError> {
    let default = || match d_model.is_multiple_of(n_heads) && d_model > 0 {
        true => Ok(d_model / n_heads),
        false => {
            let accepted = format!("a divisor of embedding_length, {d_model}, or a key_length");
            Err(metadata.unsupported("attention.head_count", &n_heads.to_string(), &accepted))
        }
    };
    let width = match metadata.optional_count("attention.key_length")? {
        Some(width) => width,
        None => default()?,
    };
    // llama.cpp takes what is absent from embedding_length, whatever key_length says.
    let values = match metadata.optional_count("attention.value_length")? {
        Some(values) => values,
        None => default()?,
    };
    let [keys_swa, values_swa] = ["attention.key_length_swa", "attention.value_length_swa"];
    for (name, found) in [
        ("attention.value_length", Some(values)),
        (keys_swa, metadata.optional_number(keys_swa)?),
        (values_swa, metadata.optional_number(values_swa)?),
    ] {
        if let Some(found) = found.filter(|found| *found != width) {
            let accepted = format!("{width}, the width of keys in all layers");
            return Err(metadata.unsupported(name, &found.to_string(), &accepted));
        }
    }
    Ok(width)
}
