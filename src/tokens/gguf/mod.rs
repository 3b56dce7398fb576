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

/// A tokenizer and what GGUF says about its BOS token.
#[derive(Debug)]
pub(super) struct Built {
    pub tokenizer: tokenizers::Tokenizer,
    pub bos: Option<u32>,
    pub adds_bos: bool,
    /// Hex sha256 of all `tokenizer.ggml.*` entries.
    pub sha256: String,
}

const KINDS: &[&str] = &["gpt2", "llama"];

/// Builds the tokenizer that `metadata` describe.
///
/// # Errors
/// [`GgufError`] with the key at fault.
pub(super) fn build(metadata: &BTreeMap<String, Value>) -> Result<Built, GgufError> {
    let metadata = Metadata::new(metadata);
    let kind = metadata.text("tokenizer.ggml.model")?;
    keys::check(&metadata, kind)?;
    let (mut tokenizer, adds_bos, vocabulary) = match kind {
        "gpt2" => {
            let pre = pre::find(metadata.text("tokenizer.ggml.pre")?)?;
            keys::check_merges(&metadata, pre.whole_words == WholeWords::Taken)?;
            let vocabulary = Vocabulary::read(&metadata)?;
            (
                bpe::build(&metadata, &vocabulary, pre)?,
                pre.adds_bos,
                vocabulary,
            )
        }
        "llama" => {
            keys::check_merges(&metadata, false)?;
            let vocabulary = spm::vocabulary(&metadata)?;
            (spm::build(&metadata, &vocabulary)?, true, vocabulary)
        }
        found => {
            return Err(GgufError::Unknown {
                key: "tokenizer.ggml.model",
                found: found.to_owned(),
                known: KINDS.to_vec(),
            });
        }
    };
    vocabulary.add_special_tokens(&mut tokenizer)?;
    Ok(Built {
        tokenizer,
        bos: metadata.token_id("tokenizer.ggml.bos_token_id", vocabulary.tokens.len())?,
        adds_bos: metadata
            .flag("tokenizer.ggml.add_bos_token")?
            .unwrap_or(adds_bos),
        sha256: metadata.sha256(),
    })
}

#[cfg(test)]
mod tests;
