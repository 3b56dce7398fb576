//! The keys of a model's architecture as an object, each of them accounted for: computed with, accepted only with a value
//! that changes nothing, or known to change nothing; `keys.txt` has them all. Of every other key in a model's own
//! namespaces a warning tells.

use serde_json::{Map, Number, Value as Json};

use crate::hub::KnownKeys;
use crate::hub::gguf::{GgufFile, Value};
use crate::model::activation::Activation;
use crate::model::config::Notes;
use crate::model::config_keys::Key;
use crate::model::error::ModelError;
use crate::model::family::Family;
use crate::model::object::Object;
use crate::model::store::Format;
use crate::tokens::is_known_gguf_key;

const FILE: &str = "GGUF metadata";

const KEYS: KnownKeys = KnownKeys(include_str!("keys.txt"));

const ARCHITECTURE: &str = "general.architecture";

/// The longest array that is read: one item for each layer.
const LONGEST_ARRAY: usize = 4096;

/// Warnings of unknown keys that are kept.
const MOST_WARNINGS: usize = 16;

pub(super) struct Metadata<'a> {
    pub header: &'a GgufFile,
    pub family: &'static Family,
    /// The keys of the architecture, without its name.
    pub keys: Object,
    pub notes: Notes,
}

impl<'a> Metadata<'a> {
    /// # Errors
    /// A file of something else than a model of a known family, and a key that asks for what is not computed.
    pub fn new(header: &'a GgufFile) -> Result<Self, ModelError> {
        let value = |key| header.metadata.get(key);
        let check = |key, is_right: fn(&Value) -> bool, accepted| match value(key) {
            Some(found) if !is_right(found) => Err(unsupported(key, found, accepted)),
            _ => Ok(()),
        };
        check(
            "general.type",
            |value| value.text() == Some("model"),
            "\"model\"",
        )?;
        let accepted = "2, the layout of quantized blocks since 2023";
        check(
            "general.quantization_version",
            |value| value.integer() == Some(2),
            accepted,
        )?;
        let absent = || value(ARCHITECTURE).map_or("(absent)".to_string(), Value::to_string);
        let arch = value(ARCHITECTURE).and_then(Value::text);
        let arch = arch.map_or_else(absent, str::to_string);
        let family = Family::named(FILE, ARCHITECTURE, &arch, |family| family.gguf_arch)?;
        let own = format!("{}.", family.gguf_arch);
        let entries = header.metadata.iter().filter_map(|(key, value)| {
            let key = key.strip_prefix(&own)?;
            Some((key.to_string(), to_json(value)))
        });
        let entries: Map<String, Json> = entries.collect();
        let mut keys = Object::new(Format::Gguf, own, entries);
        keys.family = family.name;
        let mut metadata = Self {
            header,
            family,
            keys,
            notes: Notes::default(),
        };
        metadata.check_keys()?;
        Ok(metadata)
    }

    fn check_keys(&mut self) -> Result<(), ModelError> {
        for key in self.keys.keys() {
            match (KEYS.rule(key), self.keys.value(key)) {
                (Some("read" | "any") | None, _) | (_, None) => {}
                (Some("activation"), Some(value)) => {
                    let names = activation_names(self.family.activation);
                    if !value.as_str().is_some_and(|name| names.contains(&name)) {
                        return Err(self.keys.refused(key, value, &names.join(", ")));
                    }
                }
                (Some(rule), Some(value)) => self.keys.check_rule(key, value, rule)?,
            }
        }
        let own = self.keys.path("");
        let unknown = self.header.metadata.iter().filter(|(key, _)| {
            let rule = key.strip_prefix(&own).map(|key| KEYS.rule(key).is_some());
            !rule.unwrap_or(!key.starts_with("tokenizer.ggml.") || is_known_gguf_key(key))
        });
        let warnings = unknown.clone().take(MOST_WARNINGS).map(|(key, value)| {
            format!(
                "the GGUF key {} = {value} is not known here and was not used; if it changes what the model computes, \
                 the numbers are not the model's",
                key.escape_debug()
            )
        });
        let warnings: Vec<String> = warnings.collect();
        let more = unknown.count() - warnings.len();
        self.notes.warnings.extend(warnings);
        if more > 0 {
            let more = format!("and {more} more GGUF keys that are not known here");
            self.notes.warnings.push(more);
        }
        Ok(())
    }

    /// Notes that a key is absent, and what was taken, as llama.cpp does.
    pub fn assume(&mut self, key: &str, taken: impl std::fmt::Display) {
        self.notes.assumed.push(self.keys.absent(key, taken));
    }

    /// A number, or llama.cpp's where there is none, which is noted.
    pub fn number_or(&mut self, key: &Key, default: f64) -> Result<f64, ModelError> {
        Ok(match self.keys.number(key)? {
            Some(number) => number,
            None => {
                self.assume(key.gguf, default);
                default
            }
        })
    }

    /// A count that a file may give for each layer; it must be the same in all of them.
    pub fn layers_count(&self, key: &Key, n_layers: usize) -> Result<usize, ModelError> {
        let Some(Json::Array(each)) = self.keys.value(key.gguf) else {
            return self.keys.needed_count(key);
        };
        let wrong = |found: String| {
            let accepted = format!("one whole number, at least 1, or {n_layers} times the same");
            self.keys.refused(key.gguf, found, &accepted)
        };
        let first = each.first().and_then(Json::as_u64).unwrap_or(0);
        if each.len() != n_layers || !(1..=key.most as u64).contains(&first) {
            return Err(wrong(format!("{} numbers from {first} on", each.len())));
        }
        match each.iter().position(|count| count.as_u64() != Some(first)) {
            Some(l) => Err(wrong(format!(
                "{first} in layer 0, {} in layer {l}",
                each[l]
            ))),
            None => Ok(first as usize),
        }
    }
}

/// A value as JSON has it; long arrays, which nothing here reads, as their description.
fn to_json(value: &Value) -> Json {
    let list = |items: Option<Vec<Json>>| items.map(Json::Array);
    let described = || Json::String(value.to_string());
    let integer = |number: i128| {
        i64::try_from(number)
            .map(Json::from)
            .unwrap_or_else(|_| described())
    };
    let float = |number: f32| Number::from_f64(number.into()).map_or_else(described, Json::Number);
    let found = if !value.is_array() {
        let text = value
            .text()
            .map(Json::from)
            .or(value.flag().map(Json::from));
        text.or(value.integer().map(integer))
            .or(value.float().map(float))
    } else if value.len() > LONGEST_ARRAY {
        None
    } else {
        let flags = value
            .flags()
            .map(|all| all.into_iter().map(Json::from).collect());
        let numbers = || {
            value
                .integers()
                .map(|all| all.into_iter().map(integer).collect())
        };
        list(flags.or_else(numbers))
    };
    found.unwrap_or_else(described)
}

fn activation_names(activation: Activation) -> &'static [&'static str] {
    match activation {
        Activation::Silu => &["silu", "swish", "swiglu"],
        Activation::GeluTanh => &["gelu", "gelu_tanh", "gelu_pytorch_tanh", "geglu"],
    }
}

pub(super) fn unsupported(key: &str, value: impl std::fmt::Display, accepted: &str) -> ModelError {
    ModelError::value(FILE, key, value, accepted)
}
