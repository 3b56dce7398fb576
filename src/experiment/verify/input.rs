//! What the claims are tested on, and how.

use super::super::attributes::AttributeInput;
use super::claim::Claim;
use crate::io_class::NeuronTable;
use crate::model::Model;
use crate::prompts::Documents;
use crate::stats::StatsSettings;
use crate::tokens::{TokenBatch, Window};

/// What the claims are tested on.
pub struct VerifyInput<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its neurons with their classes.
    pub table: &'a NeuronTable,
    /// Factual prompts.
    pub facts: &'a TokenBatch,
    /// The same facts in other words, by the same numbers, where all have some: they tell, too, which are known.
    pub rephrased: Option<&'a TokenBatch>,
    /// The other questions of those facts that have one, by the same numbers; absent where none has.
    pub counterfactuals: Option<&'a TokenBatch>,
    /// Neutral text.
    pub documents: &'a Documents,
    /// The stretches of it that are read; `prompt` of each is its index here.
    pub windows: &'a [Window],
    /// Prompts up to their subjects, with texts about these; absent where no prompt's subject has a text.
    pub subjects: Option<AttributeInput<'a>>,
}

/// How they are tested.
#[derive(Clone, Debug)]
pub struct VerifySettings {
    /// Which claims, in the order of [`CLAIMS`](super::CLAIMS).
    pub claims: Vec<&'static Claim>,
    /// Random sets per class that the estimates are over.
    pub draws: usize,
    /// So many random sets at most for a rank, not fewer than `draws`; fewer decide most.
    pub most_draws: usize,
    /// All of these are made in one stage, whatever decides: what shards can share.
    pub all_draws: bool,
    /// Seed and level of draws and intervals.
    pub statistics: StatsSettings,
}
