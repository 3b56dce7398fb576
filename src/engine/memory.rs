//! How many tokens a pass may have.

use std::collections::BTreeSet;

use super::error::EngineError;
use super::run::Engine;
use crate::model::Operations;
use crate::tokens::TokenBatch;

impl Engine<'_> {
    /// How much of what activations should fit into is held by the caller.
    pub(super) fn held_of_activations(&self) -> u64 {
        let plan = self.model.plan();
        let to_spare = plan.activation_limit.saturating_sub(plan.activation_bytes);
        self.held.saturating_sub(to_spare)
    }

    /// How many tokens of `batch` one pass may have, so that the residual streams of `conditions`
    /// conditions and the activations of one stream fit the model's memory.
    ///
    /// # Errors
    /// [`EngineError::Memory`] where not even the longest prompt alone fits.
    pub fn tokens_per_pass(
        &self,
        batch: &TokenBatch,
        conditions: usize,
    ) -> Result<usize, EngineError> {
        let per_token = self.bytes_per_token(batch, conditions);
        let too_little = |tokens, needed_mib| EngineError::Memory {
            tokens,
            conditions,
            needed_mib,
        };
        self.tokens_that_fit(batch.longest(), per_token, too_little)
    }

    /// How many tokens of `batch` one pass of [`gradients`](Self::gradients) may have, of a number that reads the logits of
    /// these `rows` of it: it keeps two residuals a layer, attention backwards some six times what it takes forwards,
    /// and a gradient of every logit.
    ///
    /// # Errors
    /// [`EngineError::GradientMemory`] where not even the longest prompt alone fits.
    pub fn tokens_per_gradient_pass(
        &self,
        batch: &TokenBatch,
        rows: &[usize],
    ) -> Result<usize, EngineError> {
        const BACKWARDS: usize = 6;
        let config = self.model.config();
        let of_logits = logit_bytes_per_token(batch, rows, config.vocab_size);
        let per_token = of_logits + self.bytes_per_token(batch, BACKWARDS * 2 * config.n_layers());
        let too_little = |tokens, needed_mib| EngineError::GradientMemory { tokens, needed_mib };
        self.tokens_that_fit(batch.longest(), per_token, too_little)
    }

    /// How many tokens a pass may have, at least the `longest` prompt's; `too_little` makes the error of that length and
    /// of what it needs in all, MiB.
    fn tokens_that_fit(
        &self,
        longest: usize,
        per_token: u64,
        too_little: impl Fn(usize, u64) -> EngineError,
    ) -> Result<usize, EngineError> {
        let plan = self.model.plan();
        let needed = self.held + longest as u64 * per_token;
        if needed > plan.activation_limit {
            let needed_mib = plan.limit_for(needed).div_ceil(1 << 20);
            return Err(too_little(longest, needed_mib));
        }
        Ok(longest.max((self.activation_bytes() / per_token) as usize))
    }

    /// Bytes that residual streams and activations should fit into, beside what the caller holds.
    pub fn activation_bytes(&self) -> u64 {
        let plan = self.model.plan();
        plan.activation_bytes
            .saturating_sub(self.held_of_activations())
    }

    /// What one token takes in the widest moment of a pass.
    fn bytes_per_token(&self, batch: &TokenBatch, conditions: usize) -> u64 {
        let c = self.model.config();
        let (q, kv) = (c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim);
        // The residuals of all streams, and of one stream what it came from, its normed rows and a product; the first
        // stream's keys and values.
        let residuals = (conditions + 3) * c.d_model + 2 * kv;
        // Gate, up, the post that forks share, an edited post, and one to spare; of tensor operations, each step apart.
        let mlp = c.d_mlp
            * match self.model.operations() {
                Operations::Fused => 5,
                Operations::Tensors => 12,
            };
        // Queries, keys and values as projected, by heads, rotated and scaled; scores in three steps.
        // A mask for each kind of attention, of all layers.
        let windows: BTreeSet<_> = c.attention.iter().map(|spec| spec.window).collect();
        let masks = windows.len() * batch.longest();
        let attention = 5 * q + 8 * kv + 3 * c.n_heads * batch.longest();
        4 * (residuals + masks + mlp.max(attention)) as u64
    }
}

/// Bytes of a gradient of every logit of some `rows` of a batch, for each token of the prompt that has most of them.
fn logit_bytes_per_token(batch: &TokenBatch, rows: &[usize], vocab_size: usize) -> u64 {
    let mut read = vec![false; batch.tokens()];
    rows.iter().for_each(|row| read[*row] = true);
    let of_prompt = batch.sequences().iter().enumerate().map(|(i, sequence)| {
        let first = batch.first_row(i);
        let own = &read[first..first + sequence.ids.len()];
        let rows = own.iter().filter(|is_read| **is_read).count();
        (4 * rows * vocab_size).div_ceil(own.len().max(1)) as u64
    });
    of_prompt.max().unwrap_or(0)
}
