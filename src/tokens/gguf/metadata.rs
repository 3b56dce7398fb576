//! Typed access to GGUF metadata, with errors that name the key.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::GgufError;
use crate::hub::gguf::Value;
use crate::prompts::hex;

/// The metadata of a GGUF file.
pub(super) struct Metadata<'a> {
    values: &'a BTreeMap<String, Value>,
}

impl<'a> Metadata<'a> {
    pub fn new(values: &'a BTreeMap<String, Value>) -> Self {
        Self { values }
    }

    pub fn optional(&self, key: &str) -> Option<&'a Value> {
        self.values.get(key)
    }

    fn required(&self, key: &'static str) -> Result<&'a Value, GgufError> {
        self.values.get(key).ok_or(GgufError::Missing { key })
    }

    pub fn text(&self, key: &'static str) -> Result<&'a str, GgufError> {
        let text = self.required(key)?.text();
        text.ok_or(wrong_type(key, "a string"))
    }

    pub fn flag(&self, key: &'static str) -> Result<Option<bool>, GgufError> {
        let Some(value) = self.values.get(key) else {
            return Ok(None);
        };
        let flag = value.flag().ok_or(wrong_type(key, "a boolean"));
        flag.map(Some)
    }

    /// An id below `tokens`, or `None` where the key is absent.
    pub fn token_id(&self, key: &'static str, tokens: usize) -> Result<Option<u32>, GgufError> {
        let Some(value) = self.values.get(key) else {
            return Ok(None);
        };
        let id = value.integer().and_then(|id| i64::try_from(id).ok());
        let id = id.ok_or(wrong_type(key, "an integer"))?;
        u32::try_from(id)
            .ok()
            .filter(|&id| (id as usize) < tokens)
            .map(Some)
            .ok_or(GgufError::OutOfRange { key, id, tokens })
    }

    pub fn texts(&self, key: &'static str) -> Result<Vec<&'a str>, GgufError> {
        let texts = self.required(key)?.texts();
        texts.ok_or(wrong_type(key, "an array of strings in UTF-8"))
    }

    /// One number per token.
    pub fn scores(&self, key: &'static str, tokens: usize) -> Result<Vec<f32>, GgufError> {
        let value = self.required(key)?;
        same_length(key, value.len(), tokens)?;
        let scores = value.floats();
        let scores = scores.filter(|scores| !scores.iter().any(|score| score.is_nan()));
        scores.ok_or(wrong_type(key, "an array of f32 numbers"))
    }

    /// One integer per token.
    pub fn integers(&self, key: &'static str, tokens: usize) -> Result<Vec<i128>, GgufError> {
        let value = self.required(key)?;
        same_length(key, value.len(), tokens)?;
        value
            .integers()
            .ok_or(wrong_type(key, "an array of integers"))
    }

    /// Hex sha256 over all `tokenizer.ggml.*` entries, sorted by key; every text goes in with its length.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for (key, value) in self.values {
            if key.starts_with("tokenizer.ggml.") {
                hash.update((key.len() as u64).to_le_bytes());
                hash.update(key);
                hash_value(&mut hash, value);
            }
        }
        hex(&hash.finalize())
    }
}

/// Texts stand in the file with their lengths; integers go in as 64 bits, whatever their width.
fn hash_value(hash: &mut Sha256, value: &Value) {
    if value.is_array() {
        hash.update((value.len() as u64).to_le_bytes());
    }
    match value.each_integer() {
        Some(numbers) => numbers.for_each(|number| {
            hash.update(i64::try_from(number).unwrap_or_default().to_le_bytes());
        }),
        None => hash.update(value.bytes()),
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
