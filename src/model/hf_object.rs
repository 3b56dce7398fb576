//! One object of `config.json`, read by key: a value of another type than the key has is an error that names it, never
//! a value that is passed over.

use serde_json::{Map, Value};

use super::ModelError;
use super::hf_config::unsupported;

/// The longest value that a message shows, in characters.
const SHOWN: usize = 60;

/// An object and the way to it.
#[derive(Clone, Debug)]
pub(super) struct Object {
    /// `rope_scaling.` for the keys of that object; empty at the top.
    prefix: String,
    entries: Map<String, Value>,
}

impl Object {
    /// The object at the top of the file.
    pub fn top(entries: Map<String, Value>) -> Self {
        let prefix = String::new();
        Self { prefix, entries }
    }

    /// The whole way to a key, as messages name it.
    pub fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether the key is there, be it with null.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The value, where it is there and not null.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.entries.get(key).filter(|value| !value.is_null())
    }

    pub fn count(&self, key: &str) -> Result<Option<usize>, ModelError> {
        let read = |value: &Value| usize::try_from(value.as_u64()?).ok();
        self.read(key, read, "a whole number from 0 on")
    }

    pub fn number(&self, key: &str) -> Result<Option<f64>, ModelError> {
        self.read(key, Value::as_f64, "a number")
    }

    pub fn flag(&self, key: &str) -> Result<Option<bool>, ModelError> {
        self.read(key, Value::as_bool, "true or false")
    }

    pub fn text(&self, key: &str) -> Result<Option<String>, ModelError> {
        let read = |value: &Value| value.as_str().map(str::to_string);
        self.read(key, read, "a word in quotes")
    }

    pub fn texts(&self, key: &str) -> Result<Option<Vec<String>>, ModelError> {
        let text = |value: &Value| value.as_str().map(str::to_string);
        let read = |value: &Value| value.as_array()?.iter().map(text).collect();
        self.read(key, read, "a list of words")
    }

    pub fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>, ModelError> {
        let read = |value: &Value| value.as_array()?.iter().map(Value::as_f64).collect();
        self.read(key, read, "a list of numbers")
    }

    pub fn object(&self, key: &str) -> Result<Option<Object>, ModelError> {
        let prefix = format!("{}.", self.path(key));
        let read = |value: &Value| value.as_object().cloned();
        let entries = self.read(key, read, "an object or null")?;
        Ok(entries.map(|entries| Object { prefix, entries }))
    }

    fn read<T>(
        &self,
        key: &str,
        read: impl Fn(&Value) -> Option<T>,
        accepted: &str,
    ) -> Result<Option<T>, ModelError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let found = read(value).ok_or_else(|| self.refused(key, value, accepted));
        found.map(Some)
    }

    /// The error for a value that is not accepted.
    pub fn refused(&self, key: &str, value: &Value, accepted: &str) -> ModelError {
        unsupported(&self.path(key), &shown(value), accepted)
    }
}

/// A value as the file has it, the beginning of a long one.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.chars().nth(SHOWN) {
        None => text,
        Some(_) => text.chars().take(SHOWN).chain("...".chars()).collect(),
    }
}
