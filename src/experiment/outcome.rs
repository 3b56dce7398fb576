//! What one prompt did under one condition.

use serde::{Deserialize, Serialize};

use super::score::Score;
use super::window::LayerWindow;

/// The part that a condition plays in a comparison.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::Display,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Arm {
    /// The unedited model.
    Clean,
    /// The unedited model on the counterfactual, or on the fact with noise, where values are patched.
    Corrupted,
    /// The class itself is edited.
    Class,
    /// A matched random set is edited.
    Baseline,
}

/// Which prompts are run under edits, and which a mean is over.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::Display, strum::EnumString,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = String, parse_err_fn = no_subset)]
pub enum PromptSubset {
    /// Those that count as known: where nothing else was asked for, those whose first target token is the clean model's
    /// top-1.
    Known,
    /// All prompts.
    All,
}

fn no_subset(text: &str) -> String {
    format!("`{text}` is no subset of prompts; accepted: known, all")
}

/// What the tables say of a condition.
#[derive(Clone, Debug, PartialEq)]
pub struct ConditionRow {
    /// Name of the class or neuron file; empty for clean.
    pub class: String,
    /// Its part in the comparison.
    pub arm: Arm,
    /// Which baseline draw, from 0; 0 in the other arms.
    pub draw: u32,
    /// The edit's mode; empty for clean.
    pub mode: String,
    /// How many neurons were edited.
    pub neurons: u32,
    /// The window of layers that the class is restricted to, if any.
    pub layers: Option<LayerWindow>,
    /// By which way the change reaches the logits ([`Path`](crate::hooks::Path)); empty for clean.
    pub path: String,
}

/// One prompt under one condition; a row of `outcomes.parquet`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome<'a> {
    /// Index of the prompt in its set.
    pub prompt: usize,
    /// The condition.
    pub condition: &'a ConditionRow,
    /// Whether the prompt counts as known: the clean model's top-1 is the first target token, after it or after its other
    /// words.
    pub known: bool,
    /// Which of the fact's noises it ran with, or took values from; absent where there was none.
    pub noise_seed: Option<u32>,
    /// The numbers.
    pub score: Score,
}
