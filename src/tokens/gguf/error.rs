//! What can be wrong with a GGUF file's tokenizer metadata.

use std::fmt::Display;

/// A tokenizer could not be built from GGUF metadata; the text names the key.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct GgufError(String);

/// The way out where a name or a value is not known here.
pub(super) const INSTEAD: &str =
    "use the model's safetensors folder with its tokenizer.json instead";

impl GgufError {
    /// What is wrong with the value of `tokenizer.ggml.KEY`, in words that go on from its name.
    pub(super) fn of(key: &str, why: impl Display) -> Self {
        Self(format!("`tokenizer.ggml.{key}` in the GGUF file {why}"))
    }

    pub(super) fn missing(key: &str) -> Self {
        Self(format!(
            "the GGUF file has no `tokenizer.ggml.{key}`, which its tokenizer needs; convert the model again"
        ))
    }

    /// A merge that is not two tokens with one space between that make a third.
    pub(super) fn merge(index: usize, merge: &str, why: &str) -> Self {
        Self(format!(
            "entry {index} of `tokenizer.ggml.merges` in the GGUF file is {merge:?}; {why}"
        ))
    }

    /// A name that is in no table of this program.
    pub(super) fn unknown(key: &str, found: &str, known: &[&str]) -> Self {
        let known = known.join(", ");
        let why = format!("is {found:?}, which is not known here; known are: {known}; {INSTEAD}");
        Self::of(key, why)
    }

    /// A value that asks for what is not done here.
    pub(super) fn not_done(key: &str, found: impl Display, accepted: &str) -> Self {
        let accepted = format!("accepted: {accepted}, or no such key");
        Self::of(
            key,
            format!("is {found}, which is not done here; {accepted}; {INSTEAD}"),
        )
    }
}

/// For `map_err` on the tokenizers crate's results.
pub(super) fn build_error(reason: tokenizers::Error) -> GgufError {
    GgufError(format!(
        "the tokenizer in the GGUF file (`tokenizer.ggml.*`) cannot be built: {reason}"
    ))
}
