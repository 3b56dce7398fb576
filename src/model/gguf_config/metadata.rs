//! The keys of a model's architecture as an object, each of them accounted for: computed with, accepted only with a value
//! that changes nothing, or known to change nothing; `keys.txt` has them all. Of every other key in a model's own
//! namespaces a warning tells.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value as Json};

use crate::hub::KnownKeys;
use crate::hub::gguf::Value;
use crate::model::activation::Activation;
use crate::model::error::ModelError;
use crate::model::family::Family;
use crate::model::object::Object;
use crate::model::reading::Reading;
use crate::model::store::Format;
use crate::tokens::is_known_gguf_key;

const FILE: &str = "GGUF metadata";

const KEYS: KnownKeys = KnownKeys(include_str!("keys.txt"));

const ARCHITECTURE: &str = "general.architecture";

/// The longest array that is read: one item for each layer.
const LONGEST_ARRAY: usize = 4096;

/// Warnings of unknown keys that are kept.
const MOST_WARNINGS: usize = 16;

/// The keys of the architecture, without its name.
///
/// # Errors
/// A file of something else than a model of a known family, and a key that asks for what is not computed.
pub(super) fn read(metadata: &BTreeMap<String, Value>) -> Result<Reading, ModelError> {
    let check = |key, is_right: fn(&Value) -> bool, accepted| match metadata.get(key) {
        Some(found) if !is_right(found) => Err(unsupported(key, found, accepted)),
        _ => Ok(()),
    };
    let is_model = |value: &Value| value.text() == Some("model");
    check("general.type", is_model, "\"model\"")?;
    check(
        "general.quantization_version",
        |value| value.integer() == Some(2),
        "2, the layout of quantized blocks since 2023",
    )?;
    let architecture = metadata.get(ARCHITECTURE);
    let shown = || architecture.map_or("(absent)".to_string(), Value::to_string);
    let name = architecture.and_then(Value::text);
    let name = name.map_or_else(shown, str::to_string);
    let family = Family::named(FILE, ARCHITECTURE, &name, |family| family.gguf_arch)?;
    let own = format!("{}.", family.gguf_arch);
    let entries = metadata.iter().filter_map(|(key, value)| {
        let key = key.strip_prefix(&own)?;
        Some((key.to_string(), to_json(value)))
    });
    let entries: Map<String, Json> = entries.collect();
    let mut reading = Reading::new(Object::new(Format::Gguf, own, entries), family);
    check_keys(&reading)?;
    reading.warnings = unknown_keys(metadata, &reading.keys);
    Ok(reading)
}

fn check_keys(reading: &Reading) -> Result<(), ModelError> {
    let keys = &reading.keys;
    for (key, value) in keys.values() {
        match KEYS.rule(key) {
            Some("read" | "any") | None => {}
            Some("activation") => {
                let names = activation_names(reading.family.activation);
                if !value.as_str().is_some_and(|name| names.contains(&name)) {
                    return Err(keys.refused(key, value, &names.join(", ")));
                }
            }
            Some(rule) => keys.check_rule(key, value, rule)?,
        }
    }
    Ok(())
}

/// A warning of each key that is not known, up to a number.
fn unknown_keys(metadata: &BTreeMap<String, Value>, keys: &Object) -> Vec<String> {
    let own = keys.path("");
    let unknown = metadata.iter().filter(|(key, _)| {
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
    let mut warnings: Vec<String> = warnings.collect();
    let more = unknown.count() - warnings.len();
    if more > 0 {
        warnings.push(format!("and {more} more GGUF keys that are not known here"));
    }
    warnings
}

/// A value as JSON has it; long arrays, which nothing here reads, as their description.
fn to_json(value: &Value) -> Json {
    let integer = |number: i128| i64::try_from(number).ok().map(Json::from);
    let number = |number: f32| Number::from_f64(number.into()).map(Json::Number);
    let found = if !value.is_array() {
        let text = value.text().map(Json::from);
        text.or_else(|| value.flag().map(Json::from))
            .or_else(|| value.integer().and_then(integer))
            .or_else(|| value.float().and_then(number))
    } else if value.len() <= LONGEST_ARRAY {
        let described = || Json::String(value.to_string());
        let integer = |item| integer(item).unwrap_or_else(described);
        let flags = value.flags().map(Json::from);
        flags.or_else(|| Some(value.integers()?.into_iter().map(integer).collect()))
    } else {
        None
    };
    found.unwrap_or_else(|| Json::String(value.to_string()))
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
