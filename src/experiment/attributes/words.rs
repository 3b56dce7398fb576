//! What of a token is compared with what of a text.
//!
//! Tokens are compared, not words: the vocabulary's tokens with the tokens that the model's own tokenizer cuts the text
//! into. Of each token counts its text, as it decodes inside a sentence (so without the tokenizers' marks of a word's
//! beginning), without white space at its ends, in lower case. So " Paris", "Paris" and " PARIS" are one, while "Par" and
//! "Paris" are two. Dropped on both sides: stop words; texts of at most two characters; tokens that are part of a character
//! and have no text of their own. A text is cut twice, as it is and with a space before it, so that its first word is
//! found in both of its forms.
//!
//! The published programs compare tokens with their white space and letter case: a text with " Paris" alone has no "Paris"
//! there. On the side of the ranked tokens each token counts, here as there: " Paris" and "Paris" are two of those kept.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use serde::Serialize;

use super::rate::Share;
use crate::prompts::{StopWords, SubjectText, Subjects};
use crate::stats::median;
use crate::tokens::{PromptProblem, TokenError, Tokenizer, text_problem};

/// Texts of at most so many characters are dropped.
const SHORT: usize = 2;

/// Numbers a distinct text of a token.
type Word = u32;

/// The least, the median and the most of some sizes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// 0 of none.
    pub least: usize,
    /// 0 of none.
    pub median: f64,
    /// 0 of none.
    pub most: usize,
}

/// What counts of each token, and of each subject's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeWords {
    /// By token id; none where the token is dropped.
    word_of: Vec<Option<Word>>,
    /// By subject.
    texts: Vec<HashSet<Word>>,
    /// By word, how many texts have it.
    texts_with: Vec<u32>,
}

impl AttributeWords {
    /// The words of a vocabulary of `vocab_size` ids (which may be more than the tokenizer's) and of each subject's text.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] with every subject whose text cannot be encoded or has no word.
    pub fn new(
        tokenizer: &Tokenizer,
        vocab_size: usize,
        stop_words: &StopWords,
        subjects: &Subjects,
    ) -> Result<Self, TokenError> {
        let tokens = (0..vocab_size as u32).into_par_iter();
        let words = tokens.map(|id| word(&tokenizer.token_text(id), stop_words));
        let word_of = numbered(words.collect());
        let mut texts = Vec::with_capacity(subjects.subjects.len());
        let mut problems = Vec::new();
        for subject in &subjects.subjects {
            match words_of_text(subject, tokenizer, &word_of) {
                Ok(words) => texts.push(words),
                Err(what) => problems.push(PromptProblem {
                    id: subject.subject.clone(),
                    what,
                }),
            }
        }
        if !problems.is_empty() {
            return Err(TokenError::Invalid {
                name: subjects.name.clone(),
                problems,
            });
        }
        let numbers = word_of.iter().flatten().max();
        let mut texts_with = vec![0; numbers.map_or(0, |&most| most as usize + 1)];
        let words = texts.iter().flatten();
        words.for_each(|&word| texts_with[word as usize] += 1);
        Ok(Self {
            word_of,
            texts,
            texts_with,
        })
    }

    /// Which tokens the filter keeps, by id.
    pub fn kept(&self) -> Vec<bool> {
        self.word_of.iter().map(Option::is_some).collect()
    }

    /// How many of some tokens are kept, and how many of these occur in a subject's text, and in those of all others.
    pub fn share(&self, text: usize, tokens: &[u32]) -> Share {
        let words = tokens
            .iter()
            .filter_map(|&token| self.word_of[token as usize]);
        let mut share = Share {
            other_texts: self.texts.len() as u32 - 1,
            ..Share::default()
        };
        for word in words {
            let own = u32::from(self.texts[text].contains(&word));
            share.kept += 1;
            share.hits += own;
            share.other_hits += self.texts_with[word as usize] - own;
        }
        share
    }

    /// How many texts there are.
    pub fn texts(&self) -> usize {
        self.texts.len()
    }

    /// How many distinct words some of the texts have.
    pub fn text_sizes(&self, texts: impl IntoIterator<Item = usize>) -> Spread {
        let sizes = texts.into_iter().map(|text| self.texts[text].len());
        let sizes: Vec<usize> = sizes.collect();
        let values: Vec<f64> = sizes.iter().map(|&size| size as f64).collect();
        Spread {
            least: sizes.iter().copied().min().unwrap_or(0),
            median: median(&values).unwrap_or(0.0),
            most: sizes.iter().copied().max().unwrap_or(0),
        }
    }
}

/// What counts of a token's text; nothing where the token is dropped.
fn word(text: &str, stop_words: &StopWords) -> Option<String> {
    let text = text.trim();
    if text.chars().count() <= SHORT || text.contains(char::REPLACEMENT_CHARACTER) {
        return None;
    }
    let word = text.to_lowercase();
    (!stop_words.contains(&word)).then_some(word)
}

fn numbered(words: Vec<Option<String>>) -> Vec<Option<Word>> {
    let mut numbers: HashMap<String, Word> = HashMap::new();
    let mut number = |word| {
        let next = numbers.len() as Word;
        *numbers.entry(word).or_insert(next)
    };
    words
        .into_iter()
        .map(|word| word.map(&mut number))
        .collect()
}

fn words_of_text(
    subject: &SubjectText,
    tokenizer: &Tokenizer,
    word_of: &[Option<Word>],
) -> Result<HashSet<Word>, String> {
    let mut ids = tokenizer.encode(&subject.text).map_err(text_problem)?.ids;
    ids.extend(
        tokenizer
            .encode_target(&subject.text)
            .map_err(text_problem)?,
    );
    let words = ids
        .iter()
        .filter_map(|&id| word_of.get(id as usize)?.as_ref());
    let words: HashSet<Word> = words.copied().collect();
    if words.is_empty() {
        Err(format!(
            "its text has nothing but stop words and tokens of at most {SHORT} characters; give a longer one"
        ))
    } else {
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::fixtures::{byte_level, sentencepiece, tokenizer};

    fn of(text: &str) -> Option<String> {
        word(text, &StopWords::bundled())
    }

    #[test]
    fn tokens_are_filtered_and_folded_by_hand() {
        for (text, expected) in [
            (" Paris", Some("paris")),
            ("PARIS\n", Some("paris")),
            ("\u{a0}Größe", Some("größe")),
            ("été", Some("été")),
            (" the", None),
            ("The", None),
            (" don\u{2019}t", None),
            ("'re", None),
            ("is", None),
            ("  a ", None),
            ("ab\u{fffd}", None),
            ("", None),
            (" 19", None),
            (" 1789", Some("1789")),
            ("...", Some("...")),
            ("東京都", Some("東京都")),
            ("東京", None),
        ] {
            assert_eq!(of(text).as_deref(), expected, "{text:?}");
        }
    }

    fn subjects(texts: &[&str]) -> Subjects {
        let subjects = texts.iter().enumerate();
        let subjects = subjects.map(|(i, text)| SubjectText {
            subject: format!("s{i}"),
            text: (*text).to_owned(),
        });
        Subjects {
            name: "texts".to_owned(),
            subjects: subjects.collect(),
            sha256: String::new(),
        }
    }

    fn words(tokenizer: &Tokenizer, texts: &[&str]) -> Result<AttributeWords, TokenError> {
        let size = tokenizer.vocab_size() + 3; // a padded embedding
        AttributeWords::new(tokenizer, size, &StopWords::bundled(), &subjects(texts))
    }

    /// The share of single tokens with these texts.
    fn share(tokenizer: &Tokenizer, text: &str, tokens: &[&str]) -> Share {
        let id = |token: &&str| {
            let ids = tokenizer.encode(token).unwrap().ids;
            assert_eq!(ids.len(), 1, "{token:?} is not one token");
            ids[0]
        };
        let ids: Vec<u32> = tokens.iter().map(id).collect();
        words(tokenizer, &[text]).unwrap().share(0, &ids)
    }

    #[test]
    fn marks_case_and_repeats_do_not_count_and_stop_words_and_short_tokens_do_not_either() {
        let words = ["ĠOslo", "Oslo", "ĠOSLO", "Ġthe", "Ġis", "Ġfjord", "Ġsea"];
        let tokenizer = tokenizer(byte_level("gpt-2", &words));
        let tokens = [" Oslo", "Oslo", " OSLO", " the", " is", " fjord", " sea"];
        let found = share(&tokenizer, "the fjord is Oslo Oslo fjord", &tokens);
        assert_eq!((found.kept, found.hits), (5, 4));
        // The text's first word is found in both of its forms, and is no word of its own as a piece.
        assert_eq!(share(&tokenizer, "Oslo", &[" Oslo", "Oslo"]).hits, 2);
        let found = share(&tokenizer, "sea", &[" sea"]);
        assert_eq!((found.kept, found.hits), (1, 1));
        assert_eq!((found.other_texts, found.rate_other()), (0, None));
    }

    #[test]
    fn other_subjects_texts_are_counted_by_hand() {
        let tokenizer = tokenizer(byte_level(
            "gpt-2",
            &["ĠOslo", "Oslo", "Ġfjord", "Ġsea", "Ġthe"],
        ));
        let ids = [" Oslo", "Oslo", " fjord", " sea", " the"];
        let ids = ids.map(|token| tokenizer.encode(token).unwrap().ids[0]);
        let texts = ["in Oslo", "Oslo fjord", "a fjord, a sea"];
        let words = words(&tokenizer, &texts).unwrap();
        let of = |text| {
            let found = words.share(text, &ids);
            (found.kept, found.hits, found.other_hits, found.other_texts)
        };
        // Of " Oslo", "Oslo", " fjord", " sea": the texts have 2, 3 and 2.
        assert_eq!(
            [of(0), of(1), of(2)],
            [(4, 2, 5, 2), (4, 3, 4, 2), (4, 2, 5, 2)]
        );
        let found = words.share(1, &ids);
        assert_eq!((found.rate(), found.rate_other()), (Some(0.75), Some(0.5)));
        assert_eq!(found.excess(), Some(0.25));
    }

    #[test]
    fn sentencepieces_marks_do_not_count_either() {
        let pieces = ["▁", "▁s", "se", "▁se", "▁sea", "a", "s", "e", "sea"];
        let scored: Vec<(&str, f32)> = (0i8..)
            .zip(pieces)
            .map(|(i, p)| (p, -f32::from(i)))
            .collect();
        let tokenizer = tokenizer(sentencepiece(&scored));
        let id = |piece: &str| {
            let size = tokenizer.vocab_size() as u32;
            let found = (0..size).find(|&id| tokenizer.token_text(id) == piece);
            found.unwrap()
        };
        let words = words(&tokenizer, &["sea sea"]).unwrap();
        let ids = [id(" sea"), id("sea"), id("se"), id(" ")];
        let found = words.share(0, &ids);
        assert_eq!((found.kept, found.hits), (2, 2));
    }

    #[test]
    fn ids_beyond_the_tokenizer_are_dropped() {
        let tokenizer = tokenizer(byte_level("gpt-2", &["ĠOslo"]));
        let words = words(&tokenizer, &["in Oslo"]).unwrap();
        let kept = words.kept();
        assert_eq!(kept.len(), tokenizer.vocab_size() + 3);
        assert!(kept[tokenizer.vocab_size()..].iter().all(|kept| !kept));
    }

    #[test]
    fn every_text_without_a_word_is_named() {
        let tokenizer = tokenizer(byte_level("gpt-2", &["ĠOslo", "Ġthe"]));
        let error = words(&tokenizer, &["in Oslo", "in the", "a b"]).unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("texts: 2 problems"), "{message}");
        assert!(message.contains("s1: its text has nothing but") && message.contains("s2: "));
    }
}
