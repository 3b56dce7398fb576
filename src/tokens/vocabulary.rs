//! Tokens against the model that reads them, before it is loaded: ids that it has no row for, and special tokens that stand in
//! a text.

use std::collections::BTreeMap;

use super::{Sequence, TokenError, Tokenizer};

/// A special token that was written in texts. It is read as that token and not as its letters, as transformers does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialInText {
    /// Its text.
    pub token: String,
    /// The index of each sequence with it ([`Sequence::prompt`]), in their order.
    pub sequences: Vec<usize>,
}

/// Every token id has a row in the model's embedding. (A tokenizer may have more tokens than the model, as Gemma 3's
/// smallest: what no text uses does no harm.)
///
/// # Errors
/// [`TokenError::Vocabulary`] with the first token that has none.
pub fn check_vocabulary<'a>(
    sequences: impl IntoIterator<Item = &'a Sequence>,
    tokenizer: &Tokenizer,
    vocab_size: usize,
) -> Result<(), TokenError> {
    let sequences = sequences.into_iter();
    let mut ids = sequences.flat_map(|s| s.ids.iter().chain(&s.target));
    let beyond = ids.find(|id| **id as usize >= vocab_size);
    beyond.map_or(Ok(()), |&id| {
        Err(TokenError::Vocabulary {
            id,
            text: tokenizer.token_text(id),
            tokens: tokenizer.vocab_size(),
            vocab_size,
        })
    })
}

/// The special tokens that stand in texts, by their ids. What was put there by [`super::BosPolicy`] is none of them.
pub fn special_tokens<'a>(
    sequences: impl IntoIterator<Item = &'a Sequence>,
    tokenizer: &Tokenizer,
) -> Vec<SpecialInText> {
    let mut found: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    let specials = tokenizer.special_ids();
    for sequence in sequences {
        let of_text = sequence.ids.iter().zip(&sequence.offsets);
        let of_text = of_text.filter(|(id, place)| place.is_some() && specials.contains(id));
        for (&id, _) in of_text {
            let sequences = found.entry(id).or_default();
            if sequences.last() != Some(&sequence.prompt) {
                sequences.push(sequence.prompt);
            }
        }
    }
    let found = found.into_iter().map(|(id, mut sequences)| {
        sequences.sort_unstable();
        SpecialInText {
            token: tokenizer.token_text(id),
            sequences,
        }
    });
    found.collect()
}
