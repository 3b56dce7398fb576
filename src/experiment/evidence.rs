//! How well a difference is told from none, for tables and pictures.

use super::effects::Effect;

/// What classes are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versus {
    /// The mean of the draws.
    Baseline,
    /// The clean model, in a run without draws.
    Clean,
}

/// How well a difference is told from none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Its 95 % interval contains 0, or there is none.
    Weak,
    /// Its 95 % interval does not contain 0.
    Interval,
    /// Its p is below 0.05, too, after Holm's adjustment over all tests of the run.
    Adjusted,
}

impl Evidence {
    /// The mark behind a number.
    pub fn mark(self) -> &'static str {
        match self {
            Evidence::Weak => "",
            Evidence::Interval => "*",
            Evidence::Adjusted => "**",
        }
    }
}

impl Effect {
    /// The class minus what it is compared with, mean over prompts; absent where there is no baseline.
    pub fn difference(&self, versus: Versus) -> Option<f64> {
        match versus {
            Versus::Baseline => self.estimate.difference_to_baseline,
            Versus::Clean => Some(self.difference_to_clean),
        }
    }

    /// How well that difference is told from none.
    pub fn evidence(&self, versus: Versus) -> Evidence {
        let (interval, p) = match versus {
            Versus::Baseline => (self.estimate.baseline_ci, self.estimate.p_adjusted),
            Versus::Clean => (self.clean_ci, None),
        };
        match (interval, p) {
            (_, Some(p)) if p < 0.05 => Evidence::Adjusted,
            (Some(ci), _) if !ci.contains(0.0) => Evidence::Interval,
            _ => Evidence::Weak,
        }
    }
}
