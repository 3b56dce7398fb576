//! Typed access to the keys of a model's architecture; what is of another type is refused by name.

use crate::hub::gguf::{GgufFile, Value};
use crate::model::ModelError;
use crate::model::family::{FAMILIES, Family};

use super::FILE;

/// The largest whole number that is read: what 32 bits with a sign hold, so that products of two fit 64.
const LARGEST: i128 = i32::MAX as i128;

const ARCHITECTURE: &str = "general.architecture";
const TYPE: &str = "general.type";
const QUANTIZATION: &str = "general.quantization_version";

pub(super) struct Metadata<'a> {
    pub header: &'a GgufFile,
    pub family: &'static Family,
    /// What was absent, and what was taken.
    pub assumed: Vec<String>,
    /// What is there and was left out of account.
    pub warnings: Vec<String>,
}

impl<'a> Metadata<'a> {
    pub fn new(header: &'a GgufFile) -> Result<Self, ModelError> {
        if let Some(value) = header.metadata.get(TYPE)
            && value.text() != Some("model")
        {
            return Err(unsupported(TYPE, &value.to_string(), "\"model\""));
        }
        if let Some(value) = header.metadata.get(QUANTIZATION)
            && value.integer() != Some(2)
        {
            let accepted = "2, the layout of quantized blocks since 2023";
            return Err(unsupported(QUANTIZATION, &value.to_string(), accepted));
        }
        Ok(Self {
            header,
            family: family(header)?,
            assumed: Vec::new(),
            warnings: Vec::new(),
        })
    }

    pub fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.family.gguf_arch)
    }

    pub fn optional(&self, name: &str) -> Option<&'a Value> {
        self.header.metadata.get(&self.key(name))
    }

    pub fn required(&self, name: &str) -> Result<&'a Value, ModelError> {
        self.optional(name).ok_or_else(|| ModelError::MissingKey {
            file: FILE,
            key: self.key(name),
            family: self.family.name,
        })
    }

    pub fn unsupported(&self, name: &str, value: &str, accepted: &str) -> ModelError {
        unsupported(&self.key(name), value, accepted)
    }

    pub fn to_number(&self, name: &str, value: &Value) -> Result<usize, ModelError> {
        let number = value.integer().filter(|n| (0..=LARGEST).contains(n));
        number.map(|n| n as usize).ok_or_else(|| {
            let accepted = format!("one whole number from 0 to {LARGEST}");
            self.unsupported(name, &value.to_string(), &accepted)
        })
    }

    pub fn optional_number(&self, name: &str) -> Result<Option<usize>, ModelError> {
        let value = self.optional(name);
        value.map(|value| self.to_number(name, value)).transpose()
    }

    /// A count or a width: at least 1.
    pub fn count(&self, name: &str) -> Result<usize, ModelError> {
        let value = self.required(name)?;
        match self.to_number(name, value)? {
            0 => Err(self.unsupported(name, "0", "at least 1")),
            count => Ok(count),
        }
    }

    pub fn optional_count(&self, name: &str) -> Result<Option<usize>, ModelError> {
        self.optional(name).map(|_| self.count(name)).transpose()
    }

    /// A count that a file may give for each layer; it must be the same in all of them.
    pub fn layers_count(&self, name: &str, n_layers: usize) -> Result<usize, ModelError> {
        let value = self.required(name)?;
        if !value.is_array() {
            return self.count(name);
        }
        let same = format!("one whole number from 1 to {LARGEST}, or {n_layers} times the same");
        let wrong = |found: String| self.unsupported(name, &found, &same);
        if value.len() != n_layers {
            return Err(wrong(value.to_string()));
        }
        let counts = value.integers().ok_or_else(|| wrong(value.to_string()))?;
        let first = counts.first().copied().unwrap_or(0);
        let other = counts
            .iter()
            .enumerate()
            .find(|(_, count)| **count != first);
        match other {
            Some((l, other)) => Err(wrong(format!("{first} in layer 0, {other} in layer {l}"))),
            None if (1..=LARGEST).contains(&first) => Ok(first as usize),
            None => Err(wrong(format!("{first} in all layers"))),
        }
    }

    fn to_float(&self, name: &str, value: &Value) -> Result<f64, ModelError> {
        let float = value.float().map(f64::from);
        float.ok_or_else(|| self.unsupported(name, &value.to_string(), "a number, as f32"))
    }

    pub fn float(&self, name: &str) -> Result<f64, ModelError> {
        self.to_float(name, self.required(name)?)
    }

    pub fn optional_float(&self, name: &str) -> Result<Option<f64>, ModelError> {
        let value = self.optional(name);
        value.map(|value| self.to_float(name, value)).transpose()
    }

    /// A number, or llama.cpp's where there is none, which is noted.
    pub fn float_or(&mut self, name: &str, default: f64) -> Result<f64, ModelError> {
        let found = self.optional_float(name)?;
        Ok(found.unwrap_or_else(|| {
            self.assume(name, default);
            default
        }))
    }

    /// Refuses a number other than 0.
    pub fn absent_or_zero(&self, name: &str) -> Result<(), ModelError> {
        match self.optional_float(name)? {
            None | Some(0.0) => Ok(()),
            Some(value) => Err(self.unsupported(name, &value.to_string(), "0, or no such key")),
        }
    }

    pub fn optional_text(&self, name: &str) -> Result<Option<&'a str>, ModelError> {
        let Some(value) = self.optional(name) else {
            return Ok(None);
        };
        let text = value.text();
        text.map(Some)
            .ok_or_else(|| self.unsupported(name, &value.to_string(), "a string"))
    }

    /// Notes that a key is absent, and what was taken, as llama.cpp does.
    pub fn assume(&mut self, name: &str, taken: impl std::fmt::Display) {
        let key = self.key(name);
        self.assumed
            .push(format!("the file has no {key}: {taken}, as in llama.cpp"));
    }
}

fn family(header: &GgufFile) -> Result<&'static Family, ModelError> {
    let value = header.metadata.get(ARCHITECTURE);
    let arch = value.and_then(Value::text);
    if let Some(family) = arch.and_then(Family::by_gguf_arch) {
        return Ok(family);
    }
    if let Some(arch) = arch
        && let Some(reason) = Family::refusal(arch)
    {
        return Err(ModelError::Refused {
            file: FILE,
            key: ARCHITECTURE,
            value: arch.to_string(),
            reason,
        });
    }
    let mut known: Vec<_> = FAMILIES.iter().map(|f| f.gguf_arch).collect();
    known.dedup();
    let found = match (arch, value) {
        (Some(arch), _) => arch.to_string(),
        (None, Some(value)) => value.to_string(),
        (None, None) => "(absent)".to_string(),
    };
    Err(unsupported(ARCHITECTURE, &found, &known.join(", ")))
}

pub(super) fn unsupported(key: &str, value: &str, accepted: &str) -> ModelError {
    ModelError::unsupported(FILE, key, value, accepted)
}
