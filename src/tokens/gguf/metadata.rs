//! Typed access to GGUF metadata, with errors that name the key.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value;
use sha2::{Digest, Sha256};

use super::GgufError;
use crate::prompts::hex;

/// The metadata of a GGUF file.
pub(super) struct Metadata<'a> {
    values: &'a HashMap<String, Value>,
}

impl<'a> Metadata<'a> {
    pub fn new(values: &'a HashMap<String, Value>) -> Self {
        Self { values }
    }

    pub fn text(&self, key: &'static str) -> Result<&'a str, GgufError> {
        match self.values.get(key).ok_or(GgufError::Missing { key })? {
            Value::String(text) => Ok(text),
            _ => Err(wrong_type(key, "a string")),
        }
    }

    pub fn flag(&self, key: &'static str) -> Result<Option<bool>, GgufError> {
        match self.values.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(wrong_type(key, "a boolean")),
        }
    }

    /// An id below `tokens`, or `None` where the key is absent.
    pub fn token_id(&self, key: &'static str, tokens: usize) -> Result<Option<u32>, GgufError> {
        let Some(value) = self.values.get(key) else {
            return Ok(None);
        };
        let id = integer(value).ok_or(wrong_type(key, "an integer"))?;
        u32::try_from(id)
            .ok()
            .filter(|&id| (id as usize) < tokens)
            .map(Some)
            .ok_or(GgufError::OutOfRange { key, id, tokens })
    }

    fn array(&self, key: &'static str) -> Result<&'a [Value], GgufError> {
        match self.values.get(key).ok_or(GgufError::Missing { key })? {
            Value::Array(items) => Ok(items),
            _ => Err(wrong_type(key, "an array")),
        }
    }

    pub fn texts(&self, key: &'static str) -> Result<Vec<&'a str>, GgufError> {
        let text = |item: &'a Value| match item {
            Value::String(text) => Ok(text.as_str()),
            _ => Err(wrong_type(key, "an array of strings")),
        };
        self.array(key)?.iter().map(text).collect()
    }

    /// One number per token.
    pub fn scores(&self, key: &'static str, tokens: usize) -> Result<Vec<f32>, GgufError> {
        let score = |item: &Value| match item {
            Value::F32(score) if !score.is_nan() => Ok(*score),
            _ => Err(wrong_type(key, "an array of f32 numbers")),
        };
        let scores: Vec<f32> = self
            .array(key)?
            .iter()
            .map(score)
            .collect::<Result<_, _>>()?;
        same_length(key, scores.len(), tokens)?;
        Ok(scores)
    }

    /// One integer per token.
    pub fn integers(&self, key: &'static str, tokens: usize) -> Result<Vec<i64>, GgufError> {
        let number = |item| integer(item).ok_or(wrong_type(key, "an array of integers"));
        let numbers: Vec<i64> = self
            .array(key)?
            .iter()
            .map(number)
            .collect::<Result<_, _>>()?;
        same_length(key, numbers.len(), tokens)?;
        Ok(numbers)
    }

    /// Hex sha256 over all `tokenizer.ggml.*` entries, sorted by key; every text goes in with its length.
    pub fn sha256(&self) -> String {
        let mut keys: Vec<&String> = self.values.keys().collect();
        keys.retain(|key| key.starts_with("tokenizer.ggml."));
        keys.sort();
        let mut hash = Sha256::new();
        for key in keys {
            hash_text(&mut hash, key);
            hash_value(&mut hash, &self.values[key]);
        }
        hex(&hash.finalize())
    }
}

fn hash_text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text);
}

fn hash_value(hash: &mut Sha256, value: &Value) {
    match value {
        Value::String(text) => hash_text(hash, text),
        Value::Array(items) => {
            hash.update((items.len() as u64).to_le_bytes());
            items.iter().for_each(|item| hash_value(hash, item));
        }
        Value::F32(number) => hash.update(number.to_le_bytes()),
        Value::F64(number) => hash.update(number.to_le_bytes()),
        Value::Bool(flag) => hash.update([u8::from(*flag)]),
        other => hash.update(integer(other).unwrap_or_default().to_le_bytes()),
    }
}

/// Any integer type; values beyond i64 give `None`.
fn integer(value: &Value) -> Option<i64> {
    match *value {
        Value::U8(v) => Some(v.into()),
        Value::I8(v) => Some(v.into()),
        Value::U16(v) => Some(v.into()),
        Value::I16(v) => Some(v.into()),
        Value::U32(v) => Some(v.into()),
        Value::I32(v) => Some(v.into()),
        Value::U64(v) => i64::try_from(v).ok(),
        Value::I64(v) => Some(v),
        _ => None,
    }
}

fn wrong_type(key: &'static str, expected: &'static str) -> GgufError {
    GgufError::WrongType { key, expected }
}

fn same_length(key: &'static str, found: usize, tokens: usize) -> Result<(), GgufError> {
    match found == tokens {
        true => Ok(()),
        false => Err(GgufError::WrongLength { key, found, tokens }),
    }
}
