//! Which tokens of a prompt an edit or an observer is limited to.

use strum::{Display, EnumString, VariantNames};

use super::error::unknown_word;

/// A choice of token positions, the same for every sequence of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Display, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = unknown)]
pub enum Positions {
    /// Every row: BOS, prompt, and the target tokens that are fed in.
    #[default]
    All,
    /// Every row but that of the sequence's first token, be it BOS or not: models park attention there, and some
    /// neurons are many times as strong there as anywhere else.
    NotFirst,
    /// The tokens of the subject.
    Subject,
    /// The last token of the subject.
    SubjectLast,
    /// The last token of the prompt, whose next-token distribution gives the answer.
    Last,
}

fn unknown(word: &str) -> String {
    unknown_word("positions", word, Positions::VARIANTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back() {
        for word in Positions::VARIANTS {
            assert_eq!(word.parse::<Positions>().unwrap().to_string(), *word);
        }
        let message = "first".parse::<Positions>().unwrap_err().to_string();
        assert_eq!(
            message,
            "unknown positions \"first\"; it must be one of: all, not-first, subject, subject-last, last"
        );
    }
}
