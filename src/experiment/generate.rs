//! Text that the model writes, token by token, under one condition.

use super::ExperimentError;
use super::sampling::{Choice, Sampler};
use crate::engine::{Engine, EngineError, Session};
use crate::hooks::{Condition, EditCount};
use crate::tokens::{Sequence, TokenBatch};

/// A text that is being written.
pub struct Generator<'e, 'm> {
    session: Session<'e, 'm>,
    sampler: Sampler,
    /// What the session has not read yet.
    unread: Vec<u32>,
    changed: EditCount,
}

impl<'e, 'm> Generator<'e, 'm> {
    /// Continues `prompt` (BOS included where the model wants one) under `condition`.
    pub fn new(
        engine: &'e Engine<'m>,
        condition: Condition,
        prompt: Vec<u32>,
        choice: Choice,
    ) -> Self {
        Self {
            session: Session::new(engine, condition),
            sampler: Sampler::new(choice),
            unread: prompt,
            changed: EditCount::default(),
        }
    }

    /// Checks before any work that `texts` texts of at most `tokens` tokens after `prompt` fit the model and its memory.
    ///
    /// # Errors
    /// Those of [`Session::check`].
    pub fn check(
        engine: &Engine<'_>,
        prompt: &[u32],
        tokens: usize,
        texts: usize,
    ) -> Result<(), ExperimentError> {
        let batch = TokenBatch::new(vec![Sequence::of_ids(0, prompt.to_vec())])?;
        // The last token is written and not read.
        let all = prompt.len().saturating_add(tokens).saturating_sub(1);
        Ok(Session::check(engine, &batch, all, texts)?)
    }

    /// The next token.
    ///
    /// # Errors
    /// Those of the engine, of a text longer than the model was made for among them.
    pub fn next_token(&mut self) -> Result<u32, ExperimentError> {
        let sequence = Sequence::of_ids(0, std::mem::take(&mut self.unread));
        let (logits, changed) = self.session.extend(sequence)?;
        self.changed += changed;
        let token = self.sampler.sample(&logits).map_err(EngineError::from)?;
        self.unread = vec![token];
        Ok(token)
    }

    /// What the edit changed so far.
    pub fn changed(&self) -> EditCount {
        self.changed
    }
}
