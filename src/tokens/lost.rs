//! Whether the tokens of a text stand for all of it.
//!
//! What a normalizer composed, changed or took away is not lost: a part of the text without tokens is looked up in the
//! normalized text, through the alignment that the tokenizers crate keeps, and counts as lost where something of it is
//! left there. White space may be left out of the offsets (they are trimmed by some tokenizer.json files).

use std::ops::Range;

use tokenizers::tokenizer::normalizer::Range as Offsets;
use tokenizers::{NormalizedString, PreTokenizer};

/// The first part of a text that no token stands for.
pub(super) fn lost_part<'a>(
    inner: &tokenizers::Tokenizer,
    text: &'a str,
    offsets: &[Range<u32>],
) -> Result<Option<&'a str>, tokenizers::Error> {
    let gaps = gaps(text, offsets);
    if gaps.is_empty() {
        return Ok(None);
    }
    let kept = kept(&pre_tokens(inner, text)?);
    let lost = gaps.into_iter().find(|gap| {
        let first = kept.partition_point(|place| place.end <= gap.start);
        kept.get(first).is_some_and(|place| place.start < gap.end)
    });
    Ok(lost.map(|gap| &text[gap]))
}

/// The parts of a text that are cut before the model sees it, normalized; added tokens are not among them.
pub(super) fn pre_tokens(
    inner: &tokenizers::Tokenizer,
    text: &str,
) -> Result<Vec<NormalizedString>, tokenizers::Error> {
    let added = inner.get_added_vocabulary();
    let mut cut = added.extract_and_normalize(inner.get_normalizer(), text);
    if let Some(pre_tokenizer) = inner.get_pre_tokenizer() {
        pre_tokenizer.pre_tokenize(&mut cut)?;
    }
    let mut parts = Vec::new();
    cut.split(|_, part| {
        parts.push(part.clone());
        Ok([part])
    })?;
    Ok(parts)
}

/// What lies between the tokens, and behind the last one, without white space at its ends.
fn gaps(text: &str, offsets: &[Range<u32>]) -> Vec<Range<usize>> {
    let mut gaps = Vec::new();
    let mut covered = 0;
    let ranges = offsets.iter().map(|r| r.start as usize..r.end as usize);
    for range in ranges.chain(std::iter::once(text.len()..text.len())) {
        let gap = text.get(covered..range.start).unwrap_or_default();
        let start = covered + gap.len() - gap.trim_start().len();
        let gap = gap.trim();
        if !gap.is_empty() {
            gaps.push(start..start + gap.len());
        }
        covered = covered.max(range.end);
    }
    gaps
}

/// The places in the text of all characters that the normalizer left, but for white space; in order.
fn kept(parts: &[NormalizedString]) -> Vec<Range<usize>> {
    let of_part = |part: &NormalizedString| {
        let (shift, _) = part.offsets_original();
        let chars = part.get().char_indices();
        let chars = chars.filter(|(_, c)| !c.is_whitespace());
        let places = chars.filter_map(|(at, c)| {
            let place = part.convert_offsets(Offsets::Normalized(at..at + c.len_utf8()))?;
            Some(place.start + shift..place.end + shift)
        });
        places.collect::<Vec<_>>()
    };
    let mut kept: Vec<_> = parts.iter().flat_map(of_part).collect();
    // A normalizer may change the order of marks.
    kept.sort_unstable_by_key(|place| (place.start, place.end));
    kept
}
