//! Which tokens of a prompt an edit or an observer is limited to.

use std::fmt;
use std::str::FromStr;

use super::TokenError;

/// A choice of token positions, the same for every sequence of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Positions {
    /// Every row: BOS, prompt, and the target tokens that are fed in.
    #[default]
    All,
    /// The tokens of the subject.
    Subject,
    /// The last token of the subject.
    SubjectLast,
    /// The last token of the prompt, whose next-token distribution gives the answer.
    Last,
}

impl Positions {
    const ALLOWED: &str = "all, subject, subject-last, last";
}

impl FromStr for Positions {
    type Err = TokenError;

    fn from_str(word: &str) -> Result<Self, TokenError> {
        match word {
            "all" => Ok(Self::All),
            "subject" => Ok(Self::Subject),
            "subject-last" => Ok(Self::SubjectLast),
            "last" => Ok(Self::Last),
            _ => Err(TokenError::UnknownWord {
                what: "positions",
                found: word.to_owned(),
                allowed: Self::ALLOWED,
            }),
        }
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Subject => "subject",
            Self::SubjectLast => "subject-last",
            Self::Last => "last",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back() {
        for word in Positions::ALLOWED.split(", ") {
            assert_eq!(word.parse::<Positions>().unwrap().to_string(), word);
        }
        let message = "first".parse::<Positions>().unwrap_err().to_string();
        assert_eq!(
            message,
            "unknown positions \"first\"; it must be one of: all, subject, subject-last, last"
        );
    }
}
