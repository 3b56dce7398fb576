//! A long text in pieces that give the ids which the whole would give: the tokenizers crate holds some 300 bytes for a byte
//! of text.
//!
//! A text is cut only where the tokens on either side do not depend on each other:
//!
//! - between two characters as a person sees them, so that no normalizer that composes acts across;
//! - and where the pre-tokenizer cuts as well, wherever before it one begins to read; or, for BPE and Unigram,
//!   where no token of the vocabulary could reach from one side to the other, so that no merge can (the way of
//!   SentencePiece models, which have no pre-tokenizer);
//! - and where the text around gives the same tokens in one as in two parts, which is tried.
//!
//! A piece is encoded with some text before it, whose tokens are dropped: what a tokenizer does to the beginning of a text
//! (a space in front) it does there. Where no such place is in reach (one word of megabytes) the piece grows.

use std::ops::Range;

use tokenizers::ModelWrapper;
use tokenizers::tokenizer::normalizer::Range as Offsets;
use tokenizers::{Model, NormalizedString};

use super::lost::pre_tokens;
use super::{Encoded, TokenError, Tokenizer};

/// Bytes of a piece, as long as there is a place to cut.
const PIECE: usize = 64 << 10;

/// So much further a place to cut is looked for, where there was none.
const STEP: usize = PIECE / 4;

/// Bytes before and behind a cut that are looked at.
const CONTEXT: usize = 512;

/// Bytes before a piece's wanted end in which a place is looked for.
const REACH: usize = 4 << 10;

/// Places that are tried: between a word and the space behind it, and any.
const TRIED: [usize; 2] = [32, 64];

/// A pre-tokenizer has to cut at a place from so many beginnings: one that groups digits by three does so from every third.
const BEGINNINGS: usize = 7;

impl Tokenizer {
    /// Encodes a text; no special tokens are added, but those written in the text are recognised. A long text is
    /// encoded in pieces, with the same result.
    ///
    /// # Errors
    /// [`TokenError::Encode`] when the tokenizer refuses the text, [`TokenError::LostText`] when it would leave a
    /// part out, [`TokenError::LongText`] for more than 4 GiB.
    pub fn encode(&self, text: &str) -> Result<Encoded, TokenError> {
        // So every place in it fits 32 bits.
        if u32::try_from(text.len()).is_err() {
            return Err(TokenError::LongText { bytes: text.len() });
        }
        if text.len() > 2 * PIECE {
            return encode(self, text);
        }
        self.encode_whole(text)
    }
}

impl Encoded {
    /// Puts what follows in the text behind.
    fn append(&mut self, next: Encoded) {
        self.ids.extend(next.ids);
        self.offsets.extend(next.offsets);
    }
}

/// The tokens of a text that is longer than a piece.
fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Encoded, TokenError> {
    let mut encoded = Encoded::default();
    let mut start = 0;
    while start < text.len() {
        let end = next_cut(tokenizer, text, start)?;
        encoded.append(between(tokenizer, text, CONTEXT, start..end)?);
        start = end;
    }
    Ok(encoded)
}

/// The tokens of a part of a text, with their places in the whole; so many bytes before it are read as well.
fn between(
    tokenizer: &Tokenizer,
    text: &str,
    context: usize,
    Range { start, end }: Range<usize>,
) -> Result<Encoded, TokenError> {
    let from = text.floor_char_boundary(start.saturating_sub(context));
    let piece = tokenizer.encode_whole(&text[from..end])?;
    let own = |offset: &Range<u32>| start == 0 || offset.start as usize + from >= start;
    let first = piece.offsets.iter().position(own);
    let first = first.unwrap_or(piece.ids.len());
    let shift = from as u32;
    let offsets = piece.offsets[first..].iter();
    Ok(Encoded {
        ids: piece.ids[first..].to_vec(),
        offsets: offsets.map(|r| r.start + shift..r.end + shift).collect(),
    })
}

/// Where the piece from `start` on ends.
fn next_cut(tokenizer: &Tokenizer, text: &str, start: usize) -> Result<usize, TokenError> {
    let mut end = start + PIECE;
    while end + CONTEXT < text.len() {
        for cut in candidates(text, text.floor_char_boundary(end)) {
            if is_safe(tokenizer, text, cut)? {
                return Ok(cut);
            }
        }
        end += STEP;
    }
    Ok(text.len())
}

/// Places before `end` that are worth a try, the likely ones first. None is behind white space, which offsets may leave out.
fn candidates(text: &str, end: usize) -> Vec<usize> {
    let reach = text.floor_char_boundary(end - REACH);
    let pairs = text[reach..end].char_indices().rev();
    let mut words = Vec::new();
    let mut others = Vec::new();
    for (at, c) in pairs {
        let cut = reach + at + c.len_utf8();
        match text[cut..].chars().next() {
            _ if c.is_whitespace() => {}
            Some(' ' | '\n') if c.is_alphabetic() => words.push(cut),
            _ => others.push(cut),
        }
    }
    words.truncate(TRIED[0]);
    others.truncate(TRIED[1]);
    words.append(&mut others);
    words
}

/// Whether the tokens before and behind a place do not depend on each other.
fn is_safe(tokenizer: &Tokenizer, text: &str, cut: usize) -> Result<bool, TokenError> {
    let mut grapheme = unicode_segmentation::GraphemeCursor::new(cut, text.len(), true);
    if !grapheme.is_boundary(text, 0).unwrap_or(false) {
        return Ok(false);
    }
    let end = text.ceil_char_boundary(cut + CONTEXT);
    for beginning in 0..BEGINNINGS {
        let start = text.floor_char_boundary(cut - CONTEXT + beginning);
        let parts = tokenizer.guarded(|inner| pre_tokens(inner, &text[start..end]))?;
        if let Some((part, at)) = holds(&parts, cut - start) {
            if tokenizer.guarded(|inner| Ok(no_token_crosses(inner, part, at)))? {
                break;
            }
            return Ok(false);
        }
    }
    let start = text.floor_char_boundary(cut - CONTEXT);
    let around = between(tokenizer, text, 0, start..end)?;
    let mut parts = between(tokenizer, text, 0, start..cut)?;
    parts.append(between(tokenizer, text, CONTEXT / 8, cut..end)?);
    Ok(around == parts)
}

/// The part that a place of the text lies inside of, and its place there.
fn holds(parts: &[NormalizedString], place: usize) -> Option<(&str, usize)> {
    let inside = |part: &&NormalizedString| {
        let (start, end) = part.offsets_original();
        start < place && place < end
    };
    let part = parts.iter().find(inside)?;
    let before = 0..place - part.offsets_original().0;
    let at = part.convert_offsets(Offsets::Original(before));
    Some((part.get(), at.map_or(0, |range| range.end)))
}

/// Whether no token of the vocabulary has its beginning before a place and its end behind it.
fn no_token_crosses(inner: &tokenizers::Tokenizer, part: &str, at: usize) -> bool {
    let model = inner.get_model();
    let is_plain = match model {
        ModelWrapper::BPE(bpe) => {
            bpe.continuing_subword_prefix.is_none() && bpe.end_of_word_suffix.is_none()
        }
        ModelWrapper::Unigram(_) => true,
        _ => false,
    };
    let (Some(before), Some(behind)) = (part[..at].chars().next_back(), part[at..].chars().next())
    else {
        return false;
    };
    // Neighbours without a token may become one token for unknown text.
    let known = |c: char| model.token_to_id(c.encode_utf8(&mut [0; 4])).is_some();
    if !is_plain || !known(before) || !known(behind) {
        return false;
    }
    let starts = part[..at].char_indices().rev().map(|(start, _)| start);
    let mut starts = starts.take(LONGEST_TOKEN);
    !starts.any(|start| {
        let ends = part[at..]
            .char_indices()
            .map(|(i, c)| at + i + c.len_utf8());
        let mut ends = ends.take_while(|end| end - start <= 4 * LONGEST_TOKEN);
        ends.any(|end| model.token_to_id(&part[start..end]).is_some())
    })
}

/// Characters of the longest token that is looked for across a cut.
const LONGEST_TOKEN: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::gguf::GgufFile;
    use crate::hub::{ModelFiles, locate};

    fn real(alias: &str) -> Tokenizer {
        let ModelFiles::Gguf(parts) = locate(alias, &()).unwrap().files else {
            panic!("{alias} is not one GGUF file");
        };
        Tokenizer::from_gguf(&GgufFile::open(&parts[0]).unwrap()).unwrap()
    }

    /// Byte-level with a regex, and SentencePiece without a pre-tokenizer, whose merges go over runs of spaces.
    #[test]
    fn real_tokenizers_give_the_tokens_of_the_whole() {
        let stretches = [
            ("The gate lets the value through, it's 1987. ", 900),
            (" ", 70_000),
            ("0123456789", 4_000),
            ("日本語のテキスト。", 3_000),
            ("\n\n  \t", 9_000),
            ("👩‍👩‍👧🇫🇷 e\u{301}\u{323}", 2_000),
            ("abcdefghij", 9_000),
            ("▁▁ ▁", 5_000),
            ("Plain words again and again. ", 4_000),
        ];
        let text: String = stretches
            .iter()
            .map(|(part, times)| part.repeat(*times))
            .collect();
        for alias in ["smollm2-135m", "gemma3-270m"] {
            let tokenizer = real(alias);
            let cut = next_cut(&tokenizer, &text[text.len() - 3 * PIECE / 2..], 0).unwrap();
            assert!(cut <= PIECE, "{alias}: prose is cut at {cut}");
            let whole = tokenizer.encode_whole(&text).unwrap();
            assert!(encode(&tokenizer, &text).unwrap() == whole, "{alias}");
        }
    }
}
