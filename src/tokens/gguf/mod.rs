//! A tokenizer from the metadata of a GGUF file.
//!
//! Two kinds, named by `tokenizer.ggml.model`: `gpt2` (byte-level BPE with a list of merges; how the text is cut
//! before is named by `tokenizer.ggml.pre`, see the table in `pre.rs`) and `llama` (SentencePiece BPE, whose
//! merges follow from the scores of the pieces, see `spm.rs`). An unknown name is an error: a tokenizer that is
//! nearly right gives wrong ids without a sign. Chat templates are not read.

mod bpe;
mod error;
mod keys;
mod metadata;
mod pre;
mod spm;
mod vocab;

use std::collections::BTreeMap;

pub use error::GgufError;
pub use keys::is_known_gguf_key;
use metadata::Metadata;
use pre::WholeWords;
use vocab::Vocabulary;

use crate::hub::gguf::Value;

/// A tokenizer and what GGUF says about the tokens that begin and end a text.
#[derive(Debug)]
pub(super) struct GgufTokenizer {
    pub tokenizer: tokenizers::Tokenizer,
    pub bos: Option<u32>,
    pub adds_bos: bool,
    pub eos: Option<u32>,
    /// Hex sha256 of all `tokenizer.ggml.*` entries.
    pub sha256: String,
}

/// Builds the tokenizer that `metadata` describe.
///
/// # Errors
/// [`GgufError`] with the key at fault.
pub(super) fn build(metadata: &BTreeMap<String, Value>) -> Result<GgufTokenizer, GgufError> {
    let metadata = Metadata(metadata);
    let kind = metadata.text("model")?;
    let adds_bos = adds_bos(&metadata)?;
    keys::check(&metadata, kind)?;
    let (mut tokenizer, vocabulary) = if kind == "llama" {
        keys::check_merges(&metadata, false)?;
        let vocabulary = spm::vocabulary(&metadata)?;
        (spm::build(&metadata, &vocabulary)?, vocabulary)
    } else {
        let pre = pre::find(metadata.text("pre")?)?;
        keys::check_merges(&metadata, pre.whole_words == WholeWords::Taken)?;
        let vocabulary = Vocabulary::read(&metadata)?;
        (bpe::build(&metadata, &vocabulary, pre)?, vocabulary)
    };
    vocabulary.add_special_tokens(&mut tokenizer)?;
    Ok(GgufTokenizer {
        tokenizer,
        bos: metadata.token_id("bos_token_id", vocabulary.tokens.len())?,
        eos: metadata.token_id("eos_token_id", vocabulary.tokens.len())?,
        adds_bos: metadata.flag("add_bos_token")?.unwrap_or(adds_bos),
        sha256: metadata.sha256(),
    })
}

/// Whether the tokenizer's kind, or its rule of cutting, begins a text with BOS where no key tells.
fn adds_bos(metadata: &Metadata) -> Result<bool, GgufError> {
    match metadata.text("model")? {
        "gpt2" => Ok(pre::find(metadata.text("pre")?)?.adds_bos),
        "llama" => Ok(true),
        found => Err(GgufError::unknown("model", found, &["gpt2", "llama"])),
    }
}

/// What a file leaves open of its tokenizer and is taken as llama.cpp takes it, for a person; nothing of a tokenizer
/// that cannot be built.
pub fn assumed_of_gguf(metadata: &BTreeMap<String, Value>) -> Vec<String> {
    let metadata = Metadata(metadata);
    let Ok(adds_bos) = adds_bos(&metadata) else {
        return Vec::new();
    };
    let bos = if adds_bos {
        "a BOS token before each text"
    } else {
        "no BOS token before a text"
    };
    let mut taken = vec![("add_bos_token", bos)];
    if metadata.text("model").is_ok_and(|kind| kind == "llama") {
        taken.push(("add_space_prefix", "a space before each text"));
    }
    taken.retain(|(key, _)| metadata.value(key).is_none());
    let line =
        |(key, taken)| format!("the file has no tokenizer.ggml.{key}: {taken}, as in llama.cpp");
    taken.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests;
