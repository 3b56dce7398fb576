//! What a test of a claim found, before its verdict.

use serde::{Deserialize, Serialize};

use super::super::effects::Estimate;
use crate::stats::{Contrast, Interval, Tested};

/// The chance of any false verdict in a run, after Holm's adjustment.
pub const LEVEL: f64 = 0.05;

/// What the claim says of the estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Direction {
    /// Below the comparison.
    Lower,
    /// Above it.
    Higher,
}

impl Direction {
    /// Whether an estimate lies on the claimed side of 0.
    pub fn holds(self, estimate: f64) -> bool {
        match self {
            Direction::Lower => estimate < 0.0,
            Direction::Higher => estimate > 0.0,
        }
    }

    /// As in files.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What a test found.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Basis {
    /// An estimate with its uncertainty.
    Tested { estimate: Estimate, draws: usize },
    /// A property of all neurons or layers, which no chance enters; the estimate is shown beside it.
    Counted { estimate: f64, holds: bool },
    /// Nothing could be tested.
    Missing,
}

impl Basis {
    /// The same relative to a value that the claim compares with.
    pub fn minus(self, reference: f64) -> Self {
        let Basis::Tested { estimate, draws } = self else {
            return self;
        };
        let estimate = Estimate {
            difference_to_baseline: estimate.difference_to_baseline.map(|d| d - reference),
            baseline_ci: estimate.baseline_ci.map(|interval| Interval {
                low: interval.low - reference,
                high: interval.high - reference,
            }),
            ..estimate
        };
        Basis::Tested { estimate, draws }
    }
}

impl From<Contrast> for Basis {
    fn from(contrast: Contrast) -> Self {
        Basis::Tested {
            estimate: contrast.into(),
            draws: contrast.draws,
        }
    }
}

impl From<Tested> for Basis {
    fn from(tested: Tested) -> Self {
        Basis::Tested {
            estimate: Estimate {
                difference_to_baseline: Some(tested.estimate),
                baseline_ci: tested.interval,
                p: Some(tested.p),
                ..Estimate::default()
            },
            draws: 0,
        }
    }
}

/// A test before its verdict.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub quantity: String,
    pub direction: Direction,
    pub compared_with: String,
    pub evidence: Basis,
    /// Prompts, documents, neurons or layers.
    pub n: usize,
    pub why: String,
    /// Why this does not support the claim even where the estimate does. It can only take support away.
    pub objection: Option<String>,
}

impl Finding {
    /// Something that cannot be tested here.
    pub fn missing(quantity: &str, direction: Direction, compared_with: &str, why: String) -> Self {
        Self {
            quantity: quantity.to_string(),
            direction,
            compared_with: compared_with.to_string(),
            evidence: Basis::Missing,
            n: 0,
            why,
            objection: None,
        }
    }

    /// The p of "not in the claimed direction"; 1 where nothing was tested.
    pub fn one_sided_p(&self) -> f64 {
        let Basis::Tested { estimate, .. } = &self.evidence else {
            return 1.0;
        };
        match (estimate.difference_to_baseline, estimate.p) {
            (Some(difference), Some(p)) if self.direction.holds(difference) => p / 2.0,
            (Some(_), Some(p)) => 1.0 - p / 2.0,
            _ => 1.0,
        }
    }
}
