//! Typed access to the keys `tokenizer.ggml.*`, named by what follows that, with errors that name the key.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::error::GgufError;
use crate::hub::gguf::Value;
use crate::hub::hex;

/// What the keys begin with.
const PREFIX: &str = "tokenizer.ggml.";

/// The metadata of a GGUF file.
pub(super) struct Metadata<'a>(pub &'a BTreeMap<String, Value>);

impl<'a> Metadata<'a> {
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        self.0.get(&format!("{PREFIX}{key}"))
    }

    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let wrong = || GgufError::of(key, format!("must be {expected}"));
        let read = |value| read(value).ok_or_else(wrong);
        self.value(key).map(read).transpose()
    }

    pub fn text(&self, key: &str) -> Result<&'a str, GgufError> {
        needed(key, self.read(key, "a string", Value::text)?)
    }

    pub fn flag(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.read(key, "a boolean", Value::flag)
    }

    /// An id below `tokens`, or `None` where the key is absent.
    pub fn token_id(&self, key: &str, tokens: usize) -> Result<Option<u32>, GgufError> {
        let Some(id) = self.read(key, "an integer", Value::integer)? else {
            return Ok(None);
        };
        let known = u32::try_from(id).ok().filter(|&id| (id as usize) < tokens);
        let why = || format!("is {id}, but there are only {tokens} tokens");
        known.map(Some).ok_or_else(|| GgufError::of(key, why()))
    }

    pub fn texts(&self, key: &str) -> Result<Vec<&'a str>, GgufError> {
        needed(
            key,
            self.read(key, "an array of strings in UTF-8", Value::texts)?,
        )
    }

    /// One number per token.
    pub fn scores(&self, key: &str, tokens: usize) -> Result<Vec<f32>, GgufError> {
        self.check_length(key, tokens)?;
        let scores = |value: &Value| {
            let scores = value.floats();
            scores.filter(|scores| !scores.iter().any(|score| score.is_nan()))
        };
        needed(key, self.read(key, "an array of f32 numbers", scores)?)
    }

    /// One integer per token.
    pub fn integers(&self, key: &str, tokens: usize) -> Result<Vec<i128>, GgufError> {
        self.check_length(key, tokens)?;
        needed(
            key,
            self.read(key, "an array of integers", Value::integers)?,
        )
    }

    fn check_length(&self, key: &str, tokens: usize) -> Result<(), GgufError> {
        match self
            .value(key)
            .map(Value::len)
            .filter(|found| *found != tokens)
        {
            None => Ok(()),
            Some(found) => {
                let why = format!("has {found} entries for {tokens} tokens");
                Err(GgufError::of(key, why))
            }
        }
    }

    /// Hex sha256 over all entries, sorted by key; every text goes in with its length.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for (key, value) in self.0.iter().filter(|(key, _)| key.starts_with(PREFIX)) {
            hash.update((key.len() as u64).to_le_bytes());
            hash.update(key);
            hash_value(&mut hash, value);
        }
        hex(&hash.finalize())
    }
}

fn needed<T>(key: &str, found: Option<T>) -> Result<T, GgufError> {
    found.ok_or_else(|| GgufError::missing(key))
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
