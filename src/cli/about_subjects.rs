//! Prompts up to their subjects, with texts about these: what attribute rates are taken of.

use super::table::count;
use crate::experiment::attributes::{AttributeInput, AttributeWords};
use crate::prompts::{PromptSet, SubjectPrompts};
use crate::tokens::TokenBatch;

/// So many names are printed.
const NAMES: usize = 8;

/// Who is asked about.
pub struct AboutSubjects {
    /// Prompts with the texts about their subjects.
    pub prompts: SubjectPrompts,
    /// The prompts up to their subjects.
    pub batch: TokenBatch,
    /// The prompts whole; absent where nothing is asked of a subject.
    pub facts: Option<TokenBatch>,
    /// What counts of the texts.
    pub words: AttributeWords,
    /// The texts' file.
    pub subjects: String,
}

impl AboutSubjects {
    /// What the experiment takes.
    pub fn input(&self) -> AttributeInput<'_> {
        AttributeInput {
            batch: &self.batch,
            facts: self.facts.as_ref().unwrap_or(&self.batch),
            texts: &self.prompts.texts,
            words: &self.words,
        }
    }

    /// The prompts that are run.
    pub fn set(&self) -> &PromptSet {
        &self.prompts.prompts
    }
}

/// How many prompts hold nothing but one token.
pub fn subjects_first(batch: &TokenBatch) -> usize {
    let sequences = batch.sequences().iter();
    sequences.filter(|s| s.prompt_len == 1).count()
}

/// Says what will not be run, and what is run and perhaps should not; `subjects` names the file of texts.
pub fn warn_of_prompts(prompts: &SubjectPrompts, batch: &TokenBatch, subjects: &str) {
    let SubjectPrompts {
        repeated, unused, ..
    } = prompts;
    if !repeated.is_empty() {
        notice!(
            "warning: {} of the prompts are the same as an earlier one up to the subject, and are left out: {}",
            count(repeated.len()),
            some(repeated)
        );
    }
    if !unused.is_empty() {
        notice!(
            "warning: no prompt asks about {} subjects of {subjects} (--bare needs none): {}",
            count(unused.len()),
            some(unused)
        );
    }
    let first = subjects_first(batch);
    if first > 0 {
        notice!(
            "warning: in {} of {} prompts the subject is the first and only token, whose residual is unlike all others \
             in many models; --bos always puts a token before it",
            count(first),
            count(batch.sequences().len())
        );
    }
}

/// The first few of some names.
fn some(names: &[String]) -> String {
    let shown = names[..names.len().min(NAMES)].join("; ");
    match names.len() {
        n if n > NAMES => format!("{shown} and {} more", count(n - NAMES)),
        _ => shown,
    }
}
