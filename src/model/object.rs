//! One object of a configuration, of either kind of file, read by key: a value of another type than the key has, or
//! outside its range, is an error that names it, never a value that is passed over.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::config_keys::{HEAD_DIM, Key, LONGEST_INPUT, N_KV_HEADS, Range, WIDEST_HEAD};
use super::error::ModelError;
use super::store::Format;

/// The longest value that a message shows, in characters.
const SHOWN: usize = 60;

/// An object and the way to it.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub format: Format,
    /// The family that needs its keys; unknown until it is read.
    pub family: &'static str,
    /// `rope_scaling.` for the keys of that object, `llama.` for those of a GGUF file.
    prefix: String,
    entries: Map<String, Value>,
}

impl Object {
    pub fn new(format: Format, prefix: String, entries: Map<String, Value>) -> Self {
        Self {
            format,
            family: "",
            prefix,
            entries,
        }
    }

    /// The key's name in this kind of file.
    pub fn own(&self, key: &Key) -> &'static str {
        match self.format {
            Format::Safetensors => key.json,
            Format::Gguf => key.gguf,
        }
    }

    /// The whole way to a key, as messages name it.
    pub fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The keys whose value is not null, with it.
    pub fn values(&self) -> impl Iterator<Item = (&str, &Value)> {
        let values = self.entries.iter().filter(|(_, value)| !value.is_null());
        values.map(|(key, value)| (key.as_str(), value))
    }

    /// Whether the key is there, be it with null.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The value, where it is there and not null.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.entries.get(key).filter(|value| !value.is_null())
    }

    pub fn whole(
        &self,
        key: &str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<usize>, ModelError> {
        let number = |value: &Value| usize::try_from(value.as_u64()?).ok();
        let (least, most) = range.clone().into_inner();
        let accepted = format!("one whole number, at least {least} and at most {most}");
        let read = |value: &Value| number(value).filter(|number| range.contains(number));
        self.read(key, read, &accepted)
    }

    /// A length that may be 0.
    pub fn length(&self, key: &str) -> Result<Option<usize>, ModelError> {
        self.whole(key, 0..=LONGEST_INPUT)
    }

    pub fn count(&self, key: &Key) -> Result<Option<usize>, ModelError> {
        let Range { least, most, .. } = key.range;
        self.whole(self.own(key), least as usize..=most as usize)
    }

    pub fn number(&self, key: &Key) -> Result<Option<f64>, ModelError> {
        let Range {
            least,
            most,
            accepted,
        } = key.range;
        let fits = |number: &f64| (least..=most).contains(number);
        let (read, accepted): (fn(&Value) -> _, _) = match self.format {
            Format::Safetensors => (Value::as_f64, accepted.to_string()),
            Format::Gguf => (float, format!("{accepted}, as f32")),
        };
        let key = self.own(key);
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let found = read(value).filter(fits).ok_or_else(|| {
            let decimal = value.as_f64().map(|number| number.to_string());
            self.refused(key, decimal.unwrap_or_else(|| shown(value)), &accepted)
        });
        found.map(Some)
    }

    /// A number that may be none, which GGUF files say with 0.
    pub fn number_if_any(&self, key: &Key) -> Result<Option<f64>, ModelError> {
        match (self.format, self.value(self.own(key)).and_then(float)) {
            (Format::Gguf, Some(0.0)) => Ok(None),
            _ => self.number(key),
        }
    }

    /// Refuses a number that the family does not compute with.
    pub fn none(&self, key: &Key) -> Result<(), ModelError> {
        let key = self.own(key);
        let (zero, accepted) = match self.format {
            Format::Safetensors => (None, "null"),
            Format::Gguf => (Some(0.0), "0, or no such key"),
        };
        match self.value(key) {
            Some(value) if zero.is_none() || float(value) != zero => {
                Err(self.refused(key, shown(value), accepted))
            }
            _ => Ok(()),
        }
    }

    pub fn flag(&self, key: &str) -> Result<Option<bool>, ModelError> {
        self.read(key, Value::as_bool, "true or false")
    }

    pub fn text(&self, key: &str) -> Result<Option<String>, ModelError> {
        let read = |value: &Value| value.as_str().map(str::to_string);
        self.read(key, read, "a string")
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
        let read = |value: &Value| value.as_object().cloned();
        let entries = self.read(key, read, "an object or null")?;
        Ok(entries.map(|entries| Object {
            prefix: format!("{}.", self.path(key)),
            entries,
            format: self.format,
            family: self.family,
        }))
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
        let found = read(value).ok_or_else(|| self.refused(key, shown(value), accepted));
        found.map(Some)
    }

    /// Refuses a value other than the one that a rule of [`KnownKeys`](crate::hub::KnownKeys) names: the one with which a
    /// key of another kind of model changes nothing.
    pub fn check_rule(&self, key: &str, value: &Value, rule: &str) -> Result<(), ModelError> {
        let is_zero = |value: &Value| value.as_f64() == Some(0.0);
        let (is_neutral, accepted) = match rule {
            "false" | "true" => (value.as_bool() == rule.parse().ok(), rule),
            "0" => (is_zero(value), "0"),
            "1" => (value.as_f64() == Some(1.0), "1"),
            // llama.cpp's "none" is 0.
            "factor" => (is_zero(value) || float(value) == Some(1.0), "1"),
            "zeros" => match value.as_array() {
                Some(numbers) => (numbers.iter().all(is_zero), "zeros alone"),
                None => (is_zero(value), "zeros alone"),
            },
            "empty" => ([json!([]), json!({})].contains(value), "an empty one"),
            _ => (false, "null"),
        };
        if is_neutral {
            return Ok(());
        }
        Err(self.refused(key, shown(value), &format!("{accepted}, or no such key")))
    }

    /// The error for a value that is not accepted.
    pub fn refused(&self, key: &str, value: impl Display, accepted: &str) -> ModelError {
        ModelError::value(self.file(), self.path(key), value, accepted)
    }

    /// A value that the family needs.
    pub fn need<T>(&self, key: &str, found: Option<T>) -> Result<T, ModelError> {
        found.ok_or_else(|| {
            let (file, key, family) = (self.file(), self.path(key), self.family);
            ModelError::Unfit(format!("{file} has no {key}, which a {family} model needs"))
        })
    }

    pub fn needed_count(&self, key: &Key) -> Result<usize, ModelError> {
        self.need(self.own(key), self.count(key)?)
    }

    pub fn needed_number(&self, key: &Key) -> Result<f64, ModelError> {
        self.need(self.own(key), self.number(key)?)
    }

    /// The note that a key is absent, and what is taken.
    pub fn absent(&self, key: &str, taken: impl Display) -> String {
        let (file, other) = match self.format {
            Format::Safetensors => (self.file(), "transformers"),
            Format::Gguf => ("the file", "llama.cpp"),
        };
        format!("{file} has no {}: {taken}, as in {other}", self.path(key))
    }

    fn file(&self) -> &'static str {
        match self.format {
            Format::Safetensors => "config.json",
            Format::Gguf => "GGUF metadata",
        }
    }

    /// Query heads share keys in equal groups, and the halves of a head are rotated.
    pub fn check_heads(
        &self,
        n_heads: usize,
        n_kv_heads: usize,
        head_dim: usize,
    ) -> Result<(), ModelError> {
        if !n_heads.is_multiple_of(n_kv_heads) {
            let accepted = format!("a divisor of the {n_heads} heads");
            return Err(self.refused(self.own(&N_KV_HEADS), n_kv_heads, &accepted));
        }
        if !(2..=WIDEST_HEAD).contains(&head_dim) || !head_dim.is_multiple_of(2) {
            let accepted = format!("an even number from 2 to {WIDEST_HEAD}");
            return Err(self.refused(self.own(&HEAD_DIM), head_dim, &accepted));
        }
        Ok(())
    }

    /// Refuses divisors of the frequencies that f32 would make 0 or infinite.
    pub fn check_factors(&self, key: &str, factors: &[f32]) -> Result<(), ModelError> {
        let bad = factors.iter().find(|f| !(1e-6..=1e6).contains(*f));
        bad.map_or(Ok(()), |bad| {
            Err(self.refused(key, bad, "numbers above 0, from 1e-6 to 1e6"))
        })
    }
}

/// Whole numbers are another type in GGUF.
fn float(value: &Value) -> Option<f64> {
    value.as_f64().filter(|_| value.is_f64())
}

/// A value as the file has it, the beginning of a long one.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.chars().nth(SHOWN) {
        None => text,
        Some(_) => text.chars().take(SHOWN).chain("...".chars()).collect(),
    }
}
