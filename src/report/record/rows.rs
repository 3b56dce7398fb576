//! The tables of a recording that hold text; those of numbers alone are in `experiment::record`.

use serde::{Deserialize, Serialize};

use crate::experiment::record::Role;

/// A row of `tokens.parquet`: a recorded token, in the order of the input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokensRow {
    /// Id of its prompt or document.
    pub prompt_id: String,
    /// Position in its prompt or window, BOS included.
    pub position: u32,
    /// The token's id.
    pub token_id: u32,
    /// Its text.
    pub token: String,
    /// The character of the text where it begins; null for tokens without a place in it, as BOS.
    pub char_start: Option<u32>,
    /// The character behind its end; null likewise.
    pub char_end: Option<u32>,
    /// The first that holds: first (of the prompt or window, and not of the subject), last (of the prompt),
    /// subject-last, subject, other.
    pub role: Role,
    /// The window of a text that is longer than the context, from 0.
    pub window: u32,
    /// Whether it is the first of its prompt or window, whatever its role: its activations are unlike all others.
    pub first: bool,
}

/// A row of `top_tokens.parquet`: one of the strongest tokens of a neuron. A token whose whole context was recorded
/// before is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopTokensRow {
    /// Layer, from 0.
    pub layer: u16,
    /// Index in the layer, from 0.
    pub neuron: u32,
    /// Place among the neuron's tokens by |post|; 1 is the strongest.
    pub rank: u32,
    /// post there.
    pub value: f32,
    /// The token: its row in tokens.parquet, from 0.
    pub row: u64,
    /// Id of its prompt or document.
    pub prompt_id: String,
    /// Position in its prompt or window, BOS included.
    pub position: u32,
    /// The token's text.
    pub token: String,
    /// The token between ⟦ and ⟧, with some of the text before and after it.
    pub context: String,
}
