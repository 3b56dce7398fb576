//! What an edit costs on some prompts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::score::Score;
use crate::stats::{Clusters, Interval, mean};

/// What an edit does to the targets of known prompts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Edited minus clean, mean over prompts of the log-probability of the whole target, nats.
    pub effect: f64,
    /// Interval over clusters of prompts; absent for one cluster.
    #[serde(flatten)]
    pub interval: Option<Interval>,
    /// Prompts whose first target token is no longer the top-1.
    pub facts_lost: usize,
}

impl Cost {
    /// From the scores of the same known prompts, clean and edited.
    pub(super) fn new(
        clean: &BTreeMap<usize, Score>,
        edited: &BTreeMap<usize, Score>,
        (clusters, level): (&Clusters, f64),
    ) -> Self {
        let pairs = edited.values().zip(clean.values());
        let differences: Vec<f64> = pairs
            .map(|(edited, clean)| edited.target_logprob - clean.target_logprob)
            .collect();
        let lost = edited.values().filter(|score| score.first_rank != 1);
        Self {
            effect: mean(&differences).unwrap_or(f64::NAN),
            interval: clusters.mean(&differences, level).map(|mean| mean.interval),
            facts_lost: lost.count(),
        }
    }
}
