//! Words that say nothing of a topic.

use std::collections::HashSet;

use crate::hub::sha256_hex;

/// The list that comes with the program.
const BUNDLED: &str = include_str!("../../prompts/stop_words.txt");

/// English function words, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopWords {
    words: HashSet<&'static str>,
    /// Hex sha256 of the file's bytes.
    pub sha256: String,
}

impl StopWords {
    /// The list that comes with the program (`prompts/stop_words.txt`): one word a line, `#` begins a comment line.
    pub fn bundled() -> Self {
        let lines = BUNDLED.lines().map(str::trim);
        Self {
            words: lines
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .collect(),
            sha256: sha256_hex(BUNDLED.as_bytes()),
        }
    }

    /// Whether a word, in lower case, is on the list. A typographic apostrophe counts as a plain one.
    pub fn contains(&self, word: &str) -> bool {
        if word.contains('\u{2019}') {
            return self.words.contains(word.replace('\u{2019}', "'").as_str());
        }
        self.words.contains(word)
    }

    /// How many words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_plain_lower_case_without_repeats() {
        let lines = BUNDLED.lines().filter(|line| !line.starts_with('#'));
        let words: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        let plain = |word: &&&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '\'');
        assert_eq!(words.iter().find(|word| !plain(word)), None);
        assert_eq!(StopWords::bundled().len(), words.len());
    }

    #[test]
    fn function_words_are_on_it_and_topics_are_not() {
        let stop_words = StopWords::bundled();
        for word in ["the", "were", "whose", "don't", "don\u{2019}t", "'re"] {
            assert!(stop_words.contains(word), "{word}");
        }
        for word in ["paris", "won", "capital", "", "#"] {
            assert!(!stop_words.contains(word), "{word}");
        }
    }
}
