//! The `gpt2` kind: byte-level BPE.
//!
//! Vocabularies need not hold all 256 bytes (SmolLM2's lacks 21, most of which no UTF-8 text has); a text that
//! needs an absent one is refused when it is encoded.

use tokenizers::Tokenizer;
use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::bpe::{BPE, Merges};
use tokenizers::normalizers::unicode::NFC;

use super::error::{GgufError, build_error};
use super::metadata::Metadata;
use super::pre::{NormalForm, Pre, WholeWords};
use super::vocab::Vocabulary;

pub(super) fn build(
    metadata: &Metadata,
    vocabulary: &Vocabulary,
    pre: &Pre,
) -> Result<Tokenizer, GgufError> {
    let model = BPE::builder()
        .vocab_and_merges(vocabulary.ids.clone(), merges(metadata, vocabulary)?)
        .ignore_merges(pre.whole_words == WholeWords::Taken)
        .build()
        .map_err(build_error)?;
    let mut tokenizer = Tokenizer::new(model);
    if pre.normal_form == NormalForm::Nfc {
        tokenizer.with_normalizer(Some(NFC)).map_err(build_error)?;
    }
    tokenizer.with_pre_tokenizer(Some(pre.pre_tokenizer()?));
    tokenizer.with_decoder(Some(ByteLevelDecoder::default()));
    Ok(tokenizer)
}

/// `left right`, in the order of their ranks.
fn merges(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<Merges, GgufError> {
    let texts = metadata.texts("merges")?;
    let merge = |(index, text): (usize, &str)| {
        let bad = |why| GgufError::merge(index, text, why);
        let known = |part: &str| vocabulary.ids.contains_key(part);
        let (left, right) = text
            .split_once(' ')
            .filter(|(left, right)| !left.is_empty() && !right.is_empty() && !right.contains(' '))
            .ok_or_else(|| bad("it must be two tokens with one space between"))?;
        if !known(left) || !known(right) {
            return Err(bad("one of its two parts is not a token"));
        }
        if !known(&format!("{left}{right}")) {
            return Err(bad("what it makes is not a token"));
        }
        Ok((left.to_owned(), right.to_owned()))
    };
    texts.into_iter().enumerate().map(merge).collect()
}
