//! What orders neurons before any is ablated.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

/// An estimate of what a neuron does.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = String, parse_err_fn = no_estimate)]
pub enum RankBy {
    /// How much it writes where the target is scored, |post|·‖w_out‖, in the residual's unit. Blind to the direction.
    #[default]
    Output,
    /// The change of the target's log-probability by its edit on the direct path, to first order, nats.
    Direct,
    /// The same by all ways: gradient times change, nats (attribution patching).
    Gradient,
    /// The same with the mean of gradients between the edited values and those of the plain run, all neurons together, nats
    /// (integrated gradients).
    Integrated,
}

fn no_estimate(text: &str) -> String {
    let accepted = RankBy::VARIANTS.join(", ");
    format!("`{text}` is no estimate to rank by; accepted: {accepted}")
}

impl RankBy {
    /// What Spearman's rho of a perfect estimate with the exact effects is: harm is a negative effect.
    pub fn perfect(self) -> f64 {
        match self {
            RankBy::Output => -1.0,
            RankBy::Direct | RankBy::Gradient | RankBy::Integrated => 1.0,
        }
    }

    /// The effect that an estimate promises, up to its unit.
    pub(super) fn promise(self, estimate: f64) -> f64 {
        self.perfect() * estimate
    }
}
