//! Where a subject stands in its prompt.
//!
//! The data may say so (`{}` in CounterFact's prompts, the field `template`). Where it does not, the subject is looked for
//! as a whole word: no letter, digit or underscore of the prompt is joined to it. Scripts that write words without spaces
//! between them, or particles right behind the noun (Han, kana, Thai, Lao, Khmer, Burmese, Tibetan, Hangul), have a border
//! between any two characters. Of several places the last one counts, since only there has the model read all that is
//! said of the subject; a subject that is a whole word nowhere is taken where it stands inside a word. Both are doubts that
//! a person is told of.
//!
//! A subject and a prompt that differ only in how a letter is composed (é as one character or two) are the same text.

use std::ops::Range;

use tokenizers::NormalizedString;
use tokenizers::tokenizer::normalizer::Range as Offsets;
use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

/// A subject's place, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectPlace {
    /// Bytes of the prompt.
    pub span: Range<usize>,
    /// How it was found.
    pub found: Found,
}

/// How a subject was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    /// The data says where it is.
    Given,
    /// It is a whole word in one place.
    OneWord,
    /// It is a whole word in several places, and the last one was taken.
    LastWord,
    /// It is part of a longer word, and a whole word nowhere.
    InsideWord,
    /// The record's template does not begin as its prompt does; the subject was looked for.
    OtherTemplate,
}

impl SubjectPlace {
    /// The place that the data gives.
    pub(super) fn given(start: usize, subject: &str) -> Self {
        Self {
            span: start..start + subject.len(),
            found: Found::Given,
        }
    }

    /// Looks for a subject; `None` where it does not occur.
    pub(crate) fn find(prompt: &str, subject: &str) -> Option<Self> {
        let mut places = occurrences(prompt, subject);
        if places.is_empty() {
            places = composed(prompt, subject);
        }
        let words = places.iter().filter(|place| is_whole(prompt, place));
        let words: Vec<_> = words.cloned().collect();
        let found = match words.len() {
            0 => Found::InsideWord,
            1 => Found::OneWord,
            _ => Found::LastWord,
        };
        let span = words.last().or(places.last())?.clone();
        Some(Self { span, found })
    }
}

/// All places of a text, overlapping ones included.
fn occurrences(text: &str, wanted: &str) -> Vec<Range<usize>> {
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut places = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find(wanted) {
        let start = from + at;
        places.push(start..start + wanted.len());
        from = start + text[start..].chars().next().map_or(1, char::len_utf8);
    }
    places
}

/// The places of the same text with other compositions, through the alignment of the normalized prompt.
fn composed(prompt: &str, subject: &str) -> Vec<Range<usize>> {
    let [mut normalized, mut wanted] = [prompt, subject].map(NormalizedString::from);
    normalized.nfc();
    wanted.nfc();
    let places = occurrences(normalized.get(), wanted.get()).into_iter();
    let places = places.filter_map(|place| normalized.convert_offsets(Offsets::Normalized(place)));
    // What a letter was composed of is aligned with its first character alone.
    let whole = |place: Range<usize>| place.start..next_border(prompt, place.end);
    places.map(whole).collect()
}

fn next_border(text: &str, at: usize) -> usize {
    let mut ends = (at..=text.len()).filter(|end| text.is_char_boundary(*end));
    ends.find(|end| is_border(text, *end)).unwrap_or(text.len())
}

/// Whether a character as a person sees it (a grapheme cluster) begins or ends here.
fn is_border(text: &str, at: usize) -> bool {
    GraphemeCursor::new(at, text.len(), true)
        .is_boundary(text, 0)
        .unwrap_or(false)
}

fn is_whole(text: &str, place: &Range<usize>) -> bool {
    let borders = [place.start, place.end];
    borders.into_iter().all(|at| {
        let before = text[..at].graphemes(true).next_back();
        let after = text[at..].graphemes(true).next();
        is_border(text, at) && !joined(before, after)
    })
}

/// Whether two neighbours belong to one word.
fn joined(before: Option<&str>, after: Option<&str>) -> bool {
    let letter = |grapheme: &str| {
        let first = grapheme.chars().next()?;
        let of_word = first.is_alphanumeric() || first == '_';
        (of_word && !has_no_spaces(first)).then_some(())
    };
    before
        .and_then(letter)
        .and(after.and_then(letter))
        .is_some()
}

/// Whether a character is of a script in which words follow each other, or their particles, without a space.
fn has_no_spaces(c: char) -> bool {
    matches!(c as u32,
        0x0E00..=0x0FFF // Thai, Lao, Tibetan
        | 0x1000..=0x109F | 0xAA60..=0xAA7F // Burmese
        | 0x1100..=0x11FF | 0xA960..=0xA97F | 0xAC00..=0xD7FF // Hangul
        | 0x1780..=0x17FF | 0x19E0..=0x19FF // Khmer
        | 0x1980..=0x19DF | 0x1A20..=0x1AAF // New Tai Lue, Tai Tham
        | 0x2E80..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF // Han, kana
        | 0xA000..=0xA4CF // Yi
        | 0xFF66..=0xFFDC // half-width kana and Hangul
        | 0x1AFF0..=0x1B16F | 0x20000..=0x3FFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(prompt: &str, subject: &str) -> Option<(usize, usize, Found)> {
        let place = SubjectPlace::find(prompt, subject)?;
        Some((place.span.start, place.span.end, place.found))
    }

    #[test]
    fn whole_words_go_before_later_parts_of_words() {
        let niger = "Unlike Niger, whose people are not Nigerians, the country is";
        assert_eq!(found(niger, "Niger"), Some((7, 12, Found::OneWord)));
        assert_eq!(found("Niger's land", "Niger"), Some((0, 5, Found::OneWord)));
        assert_eq!(
            found("Apollo 11 and Apollo 1 are", "Apollo 1"),
            Some((14, 22, Found::OneWord))
        );
        assert_eq!(
            found("Oslo is Oslo in", "Oslo"),
            Some((8, 12, Found::LastWord))
        );
        assert_eq!(
            found("Nigerians, Nigerien", "Niger"),
            Some((11, 16, Found::InsideWord))
        );
        assert_eq!(found("a b a b a c", "a b a"), Some((4, 9, Found::LastWord)));
        assert_eq!(found("banana is", "ana"), Some((3, 6, Found::InsideWord)));
        assert_eq!(
            found("so \"Yahoo!\" is", "Yahoo!"),
            Some((4, 10, Found::OneWord))
        );
        assert_eq!(found("Oslo", "Rome"), None);
        assert_eq!(found("Oslo", ""), None);
    }

    #[test]
    fn scripts_without_spaces_have_a_border_everywhere() {
        assert_eq!(found("東京は日本の", "東京"), Some((0, 6, Found::OneWord)));
        assert_eq!(found("서울은 한국의", "서울"), Some((0, 6, Found::OneWord)));
        assert_eq!(
            found("iPhoneを作る", "iPhone"),
            Some((0, 6, Found::OneWord))
        );
        // But none inside a character: the first jamo of a syllable is no word.
        assert_eq!(
            found("\u{1112}\u{1161}\u{11ab}", "\u{1112}\u{1161}")
                .unwrap()
                .2,
            Found::InsideWord
        );
    }

    #[test]
    fn compositions_of_a_letter_are_the_same_letter() {
        let decomposed = "The cafe\u{301} in";
        assert_eq!(found(decomposed, "café"), Some((4, 10, Found::OneWord)));
        assert_eq!(
            found("The café in", "cafe\u{301}"),
            Some((4, 9, Found::OneWord))
        );
        assert_eq!(found(decomposed, "cafe").unwrap().2, Found::InsideWord);
        assert_eq!(
            found("\u{212b}ngstro\u{308}m is", "Ångström"),
            Some((0, 12, Found::OneWord))
        );
        let jamo = "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}은";
        assert_eq!(found(jamo, "한국"), Some((0, 18, Found::OneWord)));
    }
}
