//! One text under one condition, token after token: the keys and values of earlier tokens are kept, so
//! that each token passes through the model once.

use candle_nn::kv_cache::KvCache;

use super::error::EngineError;
use super::head::Readout;
use super::logits::LogitBlock;
use super::run::Engine;
use super::walk::Past;
use crate::hooks::{Condition, EditCount, ReadError};
use crate::tokens::{Positions, Sequence, TokenBatch};

/// Keys and values are stored along this dimension of `[sequences, n_kv_heads, tokens, head_dim]`.
const TOKENS: usize = 2;

/// Tokens that a cache has room for at first, and grows by.
const ROOM: usize = 256;

/// A text that grows.
pub struct Session<'e, 'm> {
    engine: &'e Engine<'m>,
    condition: Condition,
    past: Past,
}

impl<'e, 'm> Session<'e, 'm> {
    /// An empty text under `condition`.
    pub fn new(engine: &'e Engine<'m>, condition: Condition) -> Self {
        let n_layers = engine.model.config().n_layers();
        let past = Past {
            caches: vec![KvCache::new(TOKENS, ROOM); n_layers],
            tokens: 0,
        };
        Self {
            engine,
            condition,
            past,
        }
    }

    /// Checks before any work that `texts` texts of at most `tokens` tokens, each after `prompt`, fit the model and its
    /// memory.
    ///
    /// # Errors
    /// [`EngineError::TooLong`], [`EngineError::Memory`].
    pub fn check(
        engine: &Engine<'_>,
        prompt: &TokenBatch,
        tokens: usize,
        texts: usize,
    ) -> Result<(), EngineError> {
        let config = engine.model.config();
        let max = config.max_positions;
        if tokens > max {
            return Err(EngineError::TooLong { tokens, max });
        }
        let width = 2 * config.n_kv_heads * config.head_dim * engine.model.dtype().size_in_bytes();
        let of_layer = (tokens.next_multiple_of(ROOM) * width) as u64;
        // While a cache grows there are two of it.
        let held = of_layer * (texts * config.n_layers() + 1) as u64;
        engine.beside(held).tokens_per_pass(prompt, 1).map(|_| ())
    }

    /// Appends the tokens of `sequence` and returns the logits of the token after its last, `[vocab_size]`,
    /// with what the edit changed.
    ///
    /// The first sequence is the prompt: an edit at particular positions of it does nothing to later ones, and none of
    /// these has the text's first token.
    pub fn extend(&mut self, sequence: Sequence) -> Result<(Vec<f32>, EditCount), EngineError> {
        let batch = TokenBatch::new(vec![sequence])?;
        let condition = match &self.condition {
            Condition::Edited(edit) if self.past.tokens > 0 => match edit.positions {
                Positions::All | Positions::NotFirst => edit.clone().at(Positions::All).into(),
                _ => Condition::Clean,
            },
            condition => condition.clone(),
        };
        let mut last = LastRow {
            row: [batch.tokens() - 1],
            logits: Vec::new(),
        };
        let readout: Option<&mut dyn Readout> = Some(&mut last);
        let past = Some(&mut self.past);
        let conditions = std::slice::from_ref(&condition);
        let counts = self
            .engine
            .forward(&batch, conditions, &mut [], readout, &(), past)?;
        Ok((last.logits, counts[0]))
    }
}

struct LastRow {
    row: [usize; 1],
    logits: Vec<f32>,
}

impl Readout for LastRow {
    fn rows(&self) -> &[usize] {
        &self.row
    }

    fn read(&mut self, block: &LogitBlock<'_>) -> Result<(), ReadError> {
        self.logits = block.logits()?.into_owned();
        Ok(())
    }
}
