//! Every key of `tokenizer.ggml.*` that llama.cpp knows: read, accepted only where it changes nothing, or without
//! effect on a text's ids; `keys.txt` has them all.

use super::error::GgufError;
use super::metadata::Metadata;
use crate::hub::KnownKeys;

const KEYS: KnownKeys = KnownKeys(include_str!("keys.txt"));

/// Whether a key of `tokenizer.ggml.*` is known.
pub fn is_known_gguf_key(key: &str) -> bool {
    key.strip_prefix("tokenizer.ggml.")
        .is_some_and(|key| KEYS.rule(key).is_some())
}

/// Refuses a flag that says otherwise than the rule of `tokenizer.ggml.pre` (or of the kind) whether a word that is a
/// token is taken at once.
pub(super) fn check_merges(metadata: &Metadata, taken: bool) -> Result<(), GgufError> {
    let key = "ignore_merges";
    match metadata.flag(key)? {
        Some(said) if said != taken => {
            let accepted = "what goes with `tokenizer.ggml.pre`";
            Err(GgufError::not_done(key, said, accepted))
        }
        _ => Ok(()),
    }
}

/// Refuses what is not done here.
pub(super) fn check(metadata: &Metadata, kind: &str) -> Result<(), GgufError> {
    for (rule, key) in KEYS.rules() {
        let Some(value) = metadata.value(key) else {
            continue;
        };
        let is_llama = kind == "llama";
        let (is_allowed, accepted) = match rule {
            "false" => (value.flag() == Some(false), "false"),
            "empty" => (value.is_empty(), "an array without items"),
            // What these kinds do.
            "llama" => (
                value.flag() == Some(is_llama),
                "true in the kind llama, false in gpt2",
            ),
            // `llama` reads it, and `gpt2` puts no space before a text.
            "prefix" => (
                is_llama || value.flag() == Some(false),
                "false in the kind gpt2",
            ),
            _ => continue,
        };
        if !is_allowed {
            return Err(GgufError::not_done(key, value, accepted));
        }
    }
    Ok(())
}
