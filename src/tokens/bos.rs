//! The token that opens a text: which one it is, and whether a prompt gets it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde_json::Value;

use super::TokenError;
use crate::hub::json;

/// Whether prompts are given a BOS token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BosPolicy {
    /// What the model's own tokenizer does.
    #[default]
    Auto,
    /// Always; a tokenizer without a BOS token is an error.
    Always,
    /// Never.
    Never,
}

impl BosPolicy {
    const ALLOWED: &str = "auto, always, never";
}

impl FromStr for BosPolicy {
    type Err = TokenError;

    fn from_str(word: &str) -> Result<Self, TokenError> {
        match word {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err(TokenError::UnknownWord {
                what: "BOS policy",
                found: word.to_owned(),
                allowed: Self::ALLOWED,
            }),
        }
    }
}

impl fmt::Display for BosPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        })
    }
}

/// A key of a file, and what it may be.
type Key = (&'static str, &'static str);

const TOKEN: Key = (
    "bos_token",
    "a word in quotes, an object with a word `content`, or null",
);
const ID: Key = (
    "bos_token_id",
    "a whole number from 0 on, a list whose first entry is one, or null",
);

/// The BOS id that the files next to `tokenizer.json` name: `bos_token` of tokenizer_config.json, else
/// `bos_token_id` of config.json. Null and absence mean that there is none.
pub(super) fn bos_from_files(
    tokenizer: &tokenizers::Tokenizer,
    tokenizer_config: Option<&Path>,
    config: Option<&Path>,
) -> Result<Option<u32>, TokenError> {
    if let Some(path) = tokenizer_config
        && let Some(text) =
            bos_text(&read_json(path)?).map_err(|value| wrong_type(path, TOKEN, &value))?
    {
        let id = tokenizer.token_to_id(&text);
        return id.map(Some).ok_or_else(|| unknown_bos(path, text));
    }
    if let Some(path) = config
        && let Some(id) = bos_id(&read_json(path)?).map_err(|value| wrong_type(path, ID, &value))?
    {
        let known = u32::try_from(id)
            .ok()
            .filter(|&id| tokenizer.id_to_token(id).is_some());
        return known
            .map(Some)
            .ok_or_else(|| unknown_bos(path, id.to_string()));
    }
    Ok(None)
}

fn unknown_bos(path: &Path, token: String) -> TokenError {
    TokenError::UnknownBos {
        path: path.to_owned(),
        token,
    }
}

fn wrong_type(path: &Path, (key, allowed): Key, value: &Value) -> TokenError {
    let shown: String = value.to_string().chars().take(60).collect();
    TokenError::Value {
        path: path.to_owned(),
        key,
        value: shown,
        allowed,
    }
}

fn read_json(path: &Path) -> Result<Value, TokenError> {
    json::read_file(path).map_err(|reason| TokenError::Json {
        path: path.to_owned(),
        reason,
    })
}

/// `bos_token` is a string, or an added token written out as an object. A value of another type comes back as the error.
fn bos_text(tokenizer_config: &Value) -> Result<Option<String>, Value> {
    let Some(token) = named(tokenizer_config, TOKEN) else {
        return Ok(None);
    };
    match token.get("content").unwrap_or(token).as_str() {
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(token.clone()),
    }
}

/// `bos_token_id` is a number, or a list whose first one counts. A value of another type comes back as the error.
fn bos_id(config: &Value) -> Result<Option<u64>, Value> {
    let Some(id) = named(config, ID) else {
        return Ok(None);
    };
    let first = match id.as_array() {
        Some(ids) => ids.first(),
        None => Some(id),
    };
    match first.and_then(Value::as_u64) {
        Some(id) => Ok(Some(id)),
        None => Err(id.clone()),
    }
}

/// The value of a key, where it is there and not null.
fn named(file: &Value, (key, _): Key) -> Option<&Value> {
    file.get(key).filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_policy_is_read_back() {
        for word in BosPolicy::ALLOWED.split(", ") {
            assert_eq!(word.parse::<BosPolicy>().unwrap().to_string(), word);
        }
        assert!("on".parse::<BosPolicy>().is_err());
    }

    #[test]
    fn both_dialects_of_both_files_are_read() {
        let word = Ok(Some("<s>".to_owned()));
        assert_eq!(bos_text(&json!({"bos_token": "<s>"})), word);
        let object = json!({"bos_token": {"content": "<s>", "lstrip": false}});
        assert_eq!(bos_text(&object), word);
        assert_eq!(bos_text(&json!({"bos_token": null})), Ok(None));
        assert_eq!(bos_id(&json!({"bos_token_id": 7})), Ok(Some(7)));
        assert_eq!(bos_id(&json!({"bos_token_id": [7, 8]})), Ok(Some(7)));
        assert_eq!(bos_id(&json!({"bos_token_id": null})), Ok(None));
    }

    #[test]
    fn a_value_of_another_type_is_none_of_both() {
        for value in [
            json!(7),
            json!(true),
            json!([]),
            json!({"content": 1}),
            json!({}),
        ] {
            assert!(bos_text(&json!({"bos_token": value})).is_err(), "{value}");
        }
        for value in [
            json!("7"),
            json!(-1),
            json!(2.5),
            json!([]),
            json!({}),
            json!(["x"]),
        ] {
            assert!(bos_id(&json!({"bos_token_id": value})).is_err(), "{value}");
        }
    }
}
