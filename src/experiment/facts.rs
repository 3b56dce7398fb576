//! What an experiment on facts is given.

use super::known::KnownWhen;
use crate::tokens::TokenBatch;

/// What is asked, each fact under its number.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The prompts that effects are measured on.
    pub asked: &'a TokenBatch,
    /// The same facts in other words, where these tell what is known: who is chosen by the very prompt that the effect is
    /// measured on falls back by itself (regression to the mean).
    pub rephrased: Option<&'a TokenBatch>,
    /// The other questions of those that have one
    /// ([`tokenize_counterfactuals`](crate::tokens::tokenize_counterfactuals)).
    pub counterfactual: Option<&'a TokenBatch>,
    /// When they count as known.
    pub known: KnownWhen<'a>,
}

impl<'a> From<&'a TokenBatch> for Facts<'a> {
    fn from(asked: &'a TokenBatch) -> Self {
        Self {
            asked,
            rephrased: None,
            counterfactual: None,
            known: KnownWhen::First,
        }
    }
}
