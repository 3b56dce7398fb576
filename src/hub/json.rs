//! JSON files of a model, read strictly: a key that stands twice in one object is an error that names it.
//! serde_json by itself lets the last one win, and Python's reader too; which one was meant nobody knows.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// The longest file that is read, bytes. A parsed value takes up to 16 times the room of its text; real files are
/// below a third of this (Gemma 3's tokenizer_config.json has 1.2 MB).
const LONGEST: u64 = 4 << 20;

/// Reads a file of JSON; nesting beyond 128 levels is an error of serde_json.
///
/// # Errors
/// In words, without the file's name: what is wrong and where.
pub(crate) fn read_file(path: &Path) -> Result<Value, String> {
    let length = fs::metadata(path).map_err(|why| why.to_string())?.len();
    if length > LONGEST {
        return Err(format!(
            "it has {length} bytes; a file of this kind has at most {LONGEST}"
        ));
    }
    let text = fs::read(path).map_err(|why| why.to_string())?;
    read(&text).map_err(|why| why.to_string())
}

/// Reads JSON; see [`read_file`].
pub(crate) fn read(text: &[u8]) -> serde_json::Result<Value> {
    check_keys(text)?;
    serde_json::from_slice(text)
}

/// Looks for a key that stands twice in one object, and builds nothing.
pub(crate) fn check_keys(text: &[u8]) -> serde_json::Result<()> {
    let mut text = serde_json::Deserializer::from_slice(text);
    Keys.deserialize(&mut text)?;
    text.end()
}

/// Passes over a value whose objects have each key once.
struct Keys;

impl<'de> DeserializeSeed<'de> for Keys {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keys {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Keys)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if !keys.insert(key.clone()) {
                return Err(A::Error::custom(twice(&key)));
            }
            entries.next_value_seed(Keys)?;
        }
        Ok(())
    }
}

/// The message for a key that stands twice.
pub(crate) fn twice(key: &str) -> String {
    format!("the key {key:?} stands twice; keep the one that is meant")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        read(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn values_are_those_of_serde_json() {
        let text =
            r#"{"a": [1, -2, 2.5, "x\u00e9", null, true, {"b": {}}], "c": 18446744073709551615}"#;
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(read(text.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn a_key_twice_is_named_at_any_depth() {
        assert!(error(r#"{"a": 1, "b": 2, "a": 1}"#).contains(r#""a" stands twice"#));
        assert!(error(r#"[{"x": {"rope": 1, "rope": 2}}]"#).contains(r#""rope" stands twice"#));
        assert!(read(br#"{"a": {"x": 1}, "b": {"x": 2}}"#).is_ok());
        assert!(check_keys(br#"{"a": {"x": 1}, "b": [{"x": 2}]}"#).is_ok());
        let error = check_keys(br#"{"a": [{"\u0078": 1, "x": null}]}"#).unwrap_err();
        assert!(error.to_string().contains(r#""x" stands twice"#), "{error}");
    }

    #[test]
    fn nesting_and_what_python_alone_reads_are_errors() {
        assert!(error(&"[".repeat(1_000_000)).contains("recursion limit"));
        for text in ["{", r#"{"a": NaN}"#, r#"{"a": 1e999}"#, "{} {}"] {
            error(text);
        }
    }
}
