//! How a recording is cut into passes.

use super::super::ExperimentError;
use super::super::part::PlannedPass;
use super::input::RecordInput;
use crate::engine::Engine;
use crate::tokens::TokenBatch;

/// How much one pass may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PassBudget {
    /// Tokens.
    pub tokens: usize,
    /// Pairs of tokens of one sequence: what attention holds, over the heads.
    pub pairs: usize,
}

/// A pass takes so many tokens where memory has room, and more where the parts would be more than 64: one pass
/// is what a run loses that is ended, and each leaves the sums of all neurons on the disk.
const TOKENS_PER_PASS: usize = 1 << 15;

/// Parts that a recording leaves at most, where memory has room for passes so large.
const MAX_PARTS: usize = 64;

/// `gate` and `up` are kept until `post` comes: two rows of d_mlp beside the five that the engine counts with.
const KEPT_SHARE: (usize, usize) = (5, 7);

/// Scores, masked scores and pattern are held together, 4 bytes each.
const BYTES_PER_PAIR: u64 = 12;

impl PassBudget {
    /// What the engine's memory has room for, where the longest sequence is one of `input`'s.
    ///
    /// # Errors
    /// Not even the longest sequence fits.
    pub fn of(engine: &Engine<'_>, input: &RecordInput) -> Result<Self, ExperimentError> {
        let longest = input.batch().sequences().last();
        let batch = TokenBatch::new(longest.cloned().into_iter().collect())?;
        let wanted = TOKENS_PER_PASS.max(input.batch().tokens().div_ceil(MAX_PARTS));
        let tokens = engine.tokens_per_pass(&batch, 1)?;
        let per_pair = BYTES_PER_PAIR * engine.config().n_heads as u64;
        Ok(Self {
            tokens: (tokens * KEPT_SHARE.0 / KEPT_SHARE.1).clamp(1, wanted),
            pairs: (engine.activation_bytes() / per_pair) as usize,
        })
    }

    /// Consecutive sequences of the input in passes that keep to this; a longer sequence has one of its own.
    pub fn passes(&self, input: &RecordInput) -> Vec<PlannedPass> {
        let mut passes: Vec<PlannedPass> = Vec::new();
        let mut filled = PassBudget::default();
        for i in 0..input.sequences() {
            let len = input.sequence(i).ids.len();
            filled = filled.plus(len);
            match passes.last_mut() {
                Some(pass) if filled.within(self) => pass.units.push(i),
                _ => {
                    filled = PassBudget::default().plus(len);
                    passes.push(PlannedPass {
                        conditions: vec![0],
                        units: vec![i],
                    });
                }
            }
        }
        passes
    }

    fn plus(self, len: usize) -> Self {
        Self {
            tokens: self.tokens + len,
            pairs: self.pairs + len * len,
        }
    }

    fn within(&self, limit: &PassBudget) -> bool {
        self.tokens <= limit.tokens && self.pairs <= limit.pairs
    }
}
