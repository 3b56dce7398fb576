//! What one prompt did under one condition.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::score::Score;
use super::window::LayerWindow;

/// The part that a condition plays in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    /// The unedited model.
    Clean,
    /// The class itself is edited.
    Class,
    /// A matched random set is edited.
    Baseline,
}

impl Arm {
    /// The value of the column `arm`.
    pub fn as_str(self) -> &'static str {
        match self {
            Arm::Clean => "clean",
            Arm::Class => "class",
            Arm::Baseline => "baseline",
        }
    }
}

/// Which prompts are run under edits, and which a mean is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptSubset {
    /// Those whose first target token is the clean model's top-1.
    Known,
    /// All of them.
    All,
}

impl fmt::Display for PromptSubset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PromptSubset::Known => "known",
            PromptSubset::All => "all",
        })
    }
}

impl FromStr for PromptSubset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "known" => Ok(PromptSubset::Known),
            "all" => Ok(PromptSubset::All),
            _ => Err(format!(
                "`{text}` is no subset of prompts; accepted: known, all"
            )),
        }
    }
}

/// One prompt under one condition; a row of `outcomes.parquet`.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Index of the prompt in its set.
    pub prompt: usize,
    /// Name of the class or neuron file; empty for clean.
    pub class: String,
    /// The condition's part.
    pub arm: Arm,
    /// Which baseline draw, from 0; 0 in the other arms.
    pub draw: u32,
    /// The edit's mode; empty for clean.
    pub mode: String,
    /// How many neurons were edited.
    pub neurons: u32,
    /// The window of layers that the class was restricted to, if any.
    pub layers: Option<LayerWindow>,
    /// Whether the clean model's top-1 is the first target token.
    pub known: bool,
    /// The numbers.
    pub score: Score,
}
