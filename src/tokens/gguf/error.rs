//! What can be wrong with a GGUF file's tokenizer metadata.

/// A tokenizer could not be built from GGUF metadata; every variant names the key.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// A key that this kind of tokenizer needs is absent.
    #[error("the GGUF file has no `{key}`, which its tokenizer needs; convert the model again")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value, or an item of an array, has another type.
    #[error("`{key}` in the GGUF file must be {expected}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// The type that is read.
        expected: &'static str,
    },
    /// A value that asks for what is not done here.
    #[error(
        "`{key}` in the GGUF file is {found}, which is not done here; accepted: {accepted}, or no such key; use the model's safetensors folder with its tokenizer.json instead"
    )]
    NotDone {
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What changes nothing.
        accepted: &'static str,
    },
    /// Two arrays that describe the same tokens differ in length.
    #[error("`{key}` in the GGUF file has {found} entries for {tokens} tokens")]
    WrongLength {
        /// The key.
        key: &'static str,
        /// Its length.
        found: usize,
        /// Length of `tokenizer.ggml.tokens`.
        tokens: usize,
    },
    /// An id that no token has.
    #[error("`{key}` in the GGUF file is {id}, but there are only {tokens} tokens")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// The id.
        id: i64,
        /// Length of `tokenizer.ggml.tokens`.
        tokens: usize,
    },
    /// A name that is not in a table of this program.
    #[error("`{key}` in the GGUF file is {found:?}, which is not known here; known are: {}; use the model's safetensors folder with its tokenizer.json instead", known.join(", "))]
    Unknown {
        /// The key.
        key: &'static str,
        /// The name.
        found: String,
        /// The accepted names.
        known: Vec<&'static str>,
    },
    /// Two tokens have one text, so one of them could never be made.
    #[error(
        "`tokenizer.ggml.tokens` in the GGUF file has the text {text:?} twice, at {first} and {second}"
    )]
    DuplicateToken {
        /// The text.
        text: String,
        /// The lower id.
        first: u32,
        /// The higher id.
        second: u32,
    },
    /// A merge is not two tokens with one space between that make a third.
    #[error("entry {index} of `tokenizer.ggml.merges` in the GGUF file is {merge:?}; {reason}")]
    BadMerge {
        /// Index in the array.
        index: usize,
        /// The entry.
        merge: String,
        /// What does not fit.
        reason: &'static str,
    },
    /// The tokenizers crate refused the parts.
    #[error("the tokenizer in the GGUF file (`tokenizer.ggml.*`) cannot be built: {reason}")]
    Build {
        /// The crate's reason.
        reason: String,
    },
}

/// For `map_err` on the tokenizers crate's results.
pub(super) fn build_error(reason: tokenizers::Error) -> GgufError {
    GgufError::Build {
        reason: reason.to_string(),
    }
}
