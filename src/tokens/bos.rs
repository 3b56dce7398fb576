//! The token that opens a text: which one it is, and whether a prompt gets it.

use std::path::Path;

use serde_json::Value;
use strum::{Display, EnumString, VariantNames};

use super::error::unknown_word;
use crate::hub::{FileError, json};

/// Whether prompts are given a BOS token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Display, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = unknown)]
pub enum BosPolicy {
    /// What the model's own tokenizer does.
    #[default]
    Auto,
    /// Always; a tokenizer without a BOS token is an error.
    Always,
    /// Never.
    Never,
}

fn unknown(word: &str) -> String {
    unknown_word("BOS policy", word, BosPolicy::VARIANTS)
}

/// The BOS id that the files next to `tokenizer.json` name: `bos_token` of tokenizer_config.json, else
/// `bos_token_id` of config.json. Null and absence mean that there is none.
pub(super) fn bos_from_files(
    tokenizer: &tokenizers::Tokenizer,
    tokenizer_config: Option<&Path>,
    config: Option<&Path>,
) -> Result<Option<u32>, FileError> {
    let accepted = "a word in quotes, an object with a word `content`, or null";
    if let Some(path) = tokenizer_config
        && let Some(text) = read(path, "bos_token", accepted, bos_text)?
    {
        let id = tokenizer.token_to_id(&text);
        return id.map(Some).ok_or_else(|| unknown_bos(path, text));
    }
    let accepted = "a whole number from 0 on, a list whose first entry is one, or null";
    if let Some(path) = config
        && let Some(id) = read(path, "bos_token_id", accepted, bos_id)?
    {
        let known = u32::try_from(id).ok();
        let known = known.filter(|&id| tokenizer.id_to_token(id).is_some());
        return known.map(Some).ok_or_else(|| unknown_bos(path, id));
    }
    Ok(None)
}

fn unknown_bos(path: &Path, token: impl std::fmt::Display) -> FileError {
    let why = "but the tokenizer has no such token; the files belong to different models";
    FileError::unusable(path, format!("names {token} as the BOS token, {why}"))
}

/// The value of a key, where it is there and not null.
fn read<T>(
    path: &Path,
    key: &str,
    accepted: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Option<T>, FileError> {
    let not_json = |why| FileError::unusable(path, format!("is not JSON that can be read: {why}"));
    let file = json::read_file(path).map_err(not_json)?;
    let value = file.get(key).filter(|value| !value.is_null());
    let wrong = |value: &Value| {
        let shown: String = value.to_string().chars().take(60).collect();
        FileError::value(path, key, shown, accepted)
    };
    value
        .map(|value| read(value).ok_or_else(|| wrong(value)))
        .transpose()
}

/// `bos_token` is a string, or an added token written out as an object.
fn bos_text(token: &Value) -> Option<String> {
    Some(token.get("content").unwrap_or(token).as_str()?.to_owned())
}

/// `bos_token_id` is a number, or a list whose first one counts.
fn bos_id(id: &Value) -> Option<u64> {
    id.as_array().map_or(Some(id), |ids| ids.first())?.as_u64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_policy_is_read_back() {
        for word in BosPolicy::VARIANTS {
            assert_eq!(word.parse::<BosPolicy>().unwrap().to_string(), *word);
        }
        assert!("on".parse::<BosPolicy>().is_err());
    }

    #[test]
    fn both_dialects_of_both_files_are_read() {
        let word = Some("<s>".to_owned());
        assert_eq!(bos_text(&json!("<s>")), word);
        assert_eq!(bos_text(&json!({"content": "<s>", "lstrip": false})), word);
        assert_eq!(bos_id(&json!(7)), Some(7));
        assert_eq!(bos_id(&json!([7, 8])), Some(7));
    }

    #[test]
    fn a_value_of_another_type_is_none_of_both() {
        for value in ["7", "true", "[]", "{\"content\": 1}", "{}"] {
            assert_eq!(bos_text(&serde_json::from_str(value).unwrap()), None);
        }
        for value in ["\"7\"", "-1", "2.5", "[]", "{}", "[\"x\"]"] {
            assert_eq!(bos_id(&serde_json::from_str(value).unwrap()), None);
        }
    }
}
