//! How many tokens a pass may have.

use std::collections::BTreeSet;

use super::error::EngineError;
use super::run::Engine;
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
        let plan = self.model.plan();
        let (tokens, per_token) = (batch.longest(), self.bytes_per_token(batch, conditions));
        let needed = self.held + tokens as u64 * per_token;
        if needed > plan.activation_limit {
            let needed_mib = plan.limit_for(needed).div_ceil(1 << 20);
            return Err(EngineError::Memory {
                tokens,
                conditions,
                needed_mib,
            });
        }
        Ok(tokens.max((self.activation_bytes() / per_token) as usize))
    }

    /// How many tokens of `batch` one pass of [`gradients`](Self::gradients) may have: it keeps two residuals a layer, and
    /// attention backwards some six times what it takes forwards.
    ///
    /// # Errors
    /// [`EngineError::Memory`] where not even the longest prompt alone fits.
    pub fn tokens_per_gradient_pass(&self, batch: &TokenBatch) -> Result<usize, EngineError> {
        const BACKWARDS: usize = 6;
        let layers = self.model.config().n_layers();
        self.tokens_per_pass(batch, BACKWARDS * 2 * layers)
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
        // Gate, up, the post that forks share, an edited post, and one to spare.
        let mlp = 5 * c.d_mlp;
        // Queries, keys and values as projected, by heads, rotated and scaled; scores in three steps.
        // A mask for each kind of attention, of all layers.
        let windows: BTreeSet<_> = c.attention.iter().map(|spec| spec.window).collect();
        let masks = windows.len() * batch.longest();
        let attention = 5 * q + 8 * kv + 3 * c.n_heads * batch.longest();
        4 * (residuals + masks + mlp.max(attention)) as u64
    }
}
