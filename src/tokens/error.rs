//! What can go wrong between a text and its ids.

use std::fmt;

use super::gguf::GgufError;
use crate::hub::FileError;
use crate::prompts::{count_of, list};

/// Errors of the tokens stage.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A tokenizer or config file that could not be read, or does not say what it should.
    #[error(transparent)]
    File(#[from] FileError),
    /// The tokenizers crate panicked over what a tokenizer's file says.
    #[error("the tokenizer of {source_name} cannot be used, a part of it is broken: {reason}")]
    Broken {
        /// The file.
        source_name: String,
        /// The panic's message.
        reason: String,
    },
    /// A token that the model's embedding has no row for.
    #[error(
        "the token {text:?} has the id {id}, and the model has ids below {vocab_size} (the tokenizer {tokens}): the tokenizer \
         belongs to another model, or the token is one that this model was not made for; take it out of the texts"
    )]
    Vocabulary {
        /// The token's id.
        id: u32,
        /// Its text.
        text: String,
        /// Tokens of the tokenizer.
        tokens: usize,
        /// Rows of the embedding.
        vocab_size: usize,
    },
    /// The metadata of a GGUF file give no tokenizer.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The tokenizer's own template starts with something other than the BOS token.
    #[error(
        "the tokenizer puts {front:?} before a text, which is not one BOS token (BOS is {bos}); pass --bos always or --bos never"
    )]
    ForeignFront {
        /// The texts of the tokens in front.
        front: Vec<String>,
        /// The BOS token, or "not known".
        bos: String,
    },
    /// The policy asks for a BOS token and there is none.
    #[error(
        "--bos {policy} needs a BOS token, and the tokenizer's files name none; pass --bos never"
    )]
    NoBos {
        /// The policy in force.
        policy: String,
    },
    /// The tokenizers crate refused a text.
    #[error("cannot encode {text:?}: {reason}")]
    Encode {
        /// The text.
        text: String,
        /// The tokenizers crate's reason.
        reason: String,
    },
    /// Places in a text are held as 32 bits.
    #[error("a text of {bytes} bytes is too long, 4 GiB is the most; part it into documents")]
    LongText {
        /// Its length.
        bytes: usize,
    },
    /// The vocabulary has no tokens for a part of a text, and would drop it.
    #[error("the tokenizer has no tokens for {lost:?} in {text:?} and would drop it; take it out")]
    LostText {
        /// The text.
        text: String,
        /// The part that has no tokens.
        lost: String,
    },
    /// At least one prompt cannot be used with this tokenizer; all of them are listed.
    #[error("{name}: {} with this tokenizer\n{}", count_of(problems.len(), "problem"), list(problems))]
    Invalid {
        /// The prompt set's name.
        name: String,
        /// Every problem, in the order of the set.
        problems: Vec<PromptProblem>,
    },
    /// Windows of a text without room for one of its tokens.
    #[error("--context {context} leaves no room for text; it must be at least {needed}")]
    Context {
        /// Tokens of a window.
        context: usize,
        /// The least that is of use.
        needed: usize,
    },
    /// A batch needs at least one sequence.
    #[error("no prompts are left to run; at least one is needed")]
    EmptyBatch,
    /// The fields of a sequence contradict each other.
    #[error("the sequence of prompt {prompt} is malformed: {reason}")]
    MalformedSequence {
        /// Index in the prompt set.
        prompt: usize,
        /// Which fields, and how.
        reason: &'static str,
    },
    /// A subset names a prompt that the batch does not hold.
    #[error("prompt {prompt} is not in the batch of {sequences} prompts")]
    UnknownPrompt {
        /// Index in the prompt set.
        prompt: usize,
        /// How many prompts the batch holds.
        sequences: usize,
    },
}

/// The error for a word on the command line that is none of the accepted ones.
pub(super) fn unknown_word(what: &str, found: &str, allowed: &[&str]) -> String {
    let allowed = allowed.join(", ");
    format!("unknown {what} {found:?}; it must be one of: {allowed}")
}

/// Why one prompt cannot be used with a tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptProblem {
    /// The prompt's id.
    pub id: String,
    /// What is wrong, and the way out.
    pub what: String,
}

impl fmt::Display for PromptProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.what)
    }
}

/// All that is wrong with the prompts or documents of a file.
#[derive(Default)]
pub(super) struct Problems(Vec<PromptProblem>);

impl Problems {
    /// What was read of a prompt, or nothing and a note of what is wrong with it.
    pub fn keep<T>(&mut self, id: &str, read: Result<T, String>) -> Option<T> {
        let id = id.to_owned();
        let note = |what| self.0.push(PromptProblem { id, what });
        read.map_err(note).ok()
    }

    /// An error with all of them, if there are any.
    pub fn finish(self, name: &str) -> Result<(), TokenError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let (name, problems) = (name.to_owned(), self.0);
        Err(TokenError::Invalid { name, problems })
    }
}

/// So much of a text is shown in a message.
const SHOWN: usize = 40;

/// Why a long text cannot be encoded, without the whole text in the message.
pub(crate) fn text_problem(error: TokenError) -> String {
    match error {
        TokenError::LostText { lost, .. } => {
            let lost: String = lost.chars().take(SHOWN).collect();
            format!("the tokenizer has no tokens for {lost:?} and would drop it; take it out")
        }
        TokenError::Encode { reason, .. } => format!("it cannot be encoded: {reason}"),
        error => error.to_string(),
    }
}
