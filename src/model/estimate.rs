//! How much memory a model needs in each mode, from its configuration alone.

use serde::Serialize;

use super::config::Config;

/// Whether all layers are kept in memory or read one at a time from the mapped file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Residency {
    /// All layers stay in memory.
    Resident,
    /// Each layer is read when the engine reaches it, and released after.
    Streamed,
}

/// Bytes of weights in memory, activations left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryEstimate {
    /// All layers and the head.
    pub resident_bytes: u64,
    /// The larger of one layer and the head.
    pub streamed_bytes: u64,
}

/// What the program needs without a model: code, tokenizer, prompts, results.
pub const PROGRAM_BYTES: u64 = 64 << 20;

/// What a run's residual streams and activations are assumed to need besides the weights.
pub const ACTIVATION_BYTES: u64 = 512 << 20;

impl MemoryEstimate {
    /// The estimate for weights of `bytes_per_weight` bytes each.
    pub fn new(config: &Config, bytes_per_weight: usize) -> Self {
        let bytes = bytes_per_weight as u64;
        let head = config.embedding_parameters() * bytes;
        Self {
            resident_bytes: config.parameters() * bytes,
            streamed_bytes: head.max(config.layer_parameters() * bytes),
        }
    }
}
