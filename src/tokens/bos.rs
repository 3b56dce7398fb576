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

/// The BOS id that the files next to `tokenizer.json` name: `bos_token` of tokenizer_config.json, else
/// `bos_token_id` of config.json. Null and absence mean that there is none.
pub(super) fn bos_from_files(
    tokenizer: &tokenizers::Tokenizer,
    tokenizer_config: Option<&Path>,
    config: Option<&Path>,
) -> Result<Option<u32>, TokenError> {
    if let Some(path) = tokenizer_config
        && let Some(text) = bos_text(&read_json(path)?)
    {
        let id = tokenizer.token_to_id(&text);
        return id.map(Some).ok_or_else(|| unknown_bos(path, text));
    }
    if let Some(path) = config
        && let Some(id) = bos_id(&read_json(path)?)
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

fn read_json(path: &Path) -> Result<Value, TokenError> {
    json::read_file(path).map_err(|reason| TokenError::Json {
        path: path.to_owned(),
        reason,
    })
}

/// `bos_token` is a string, or an added token written out as an object.
fn bos_text(tokenizer_config: &Value) -> Option<String> {
    let token = tokenizer_config.get("bos_token")?;
    let text = token.get("content").unwrap_or(token).as_str()?;
    Some(text.to_owned())
}

/// `bos_token_id` is a number, or a list whose first one counts.
fn bos_id(config: &Value) -> Option<u64> {
    let id = config.get("bos_token_id")?;
    id.as_array()
        .and_then(|ids| ids.first())
        .unwrap_or(id)
        .as_u64()
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
        assert_eq!(bos_text(&json!({"bos_token": "<s>"})), Some("<s>".into()));
        let object = json!({"bos_token": {"content": "<s>", "lstrip": false}});
        assert_eq!(bos_text(&object), Some("<s>".into()));
        assert_eq!(bos_text(&json!({"bos_token": null})), None);
        assert_eq!(bos_id(&json!({"bos_token_id": 7})), Some(7));
        assert_eq!(bos_id(&json!({"bos_token_id": [7, 8]})), Some(7));
        assert_eq!(bos_id(&json!({"bos_token_id": null})), None);
    }
}
