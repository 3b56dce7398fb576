//! What a test of a claim found, before its verdict.

use serde::{Deserialize, Serialize};

use super::super::effects::Estimate;
use super::ranked::Ranked;
use super::verdict::Verdict;
use crate::stats::{ClusteredMean, Contrast, Interval, Tested, mean, median, rank_floor};

/// The chance of any false verdict in a run, after Holm's adjustment.
pub const LEVEL: f64 = 0.05;

/// What the claim says of the estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// A property of all neurons or layers, which no chance enters, and whether the claim holds, where that can be said; the
    /// estimate is shown beside it.
    Counted { estimate: f64, holds: Option<bool> },
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

impl From<ClusteredMean> for Basis {
    fn from(found: ClusteredMean) -> Self {
        Basis::Tested {
            estimate: Estimate {
                difference_to_baseline: Some(found.mean),
                baseline_ci: Some(found.interval),
                p: found.p,
                ..Estimate::default()
            },
            draws: 0,
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
    /// Whether the claim is decided by it. Each claim has one such test, and Holm's family is these; the rest is described.
    pub is_primary: bool,
    /// Why the verdict is not the one that the estimate alone would give.
    pub objections: Vec<Objection>,
    /// What it could have found.
    pub room: Room,
}

/// What stands in the way of a verdict.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Objection {
    /// The verdict that it takes away ...
    pub of: Verdict,
    /// ... and the one that stands in its place.
    pub instead: Verdict,
    pub why: String,
}

/// What a test could have found, in the unit of the estimate.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Room {
    /// The largest effect that the measure has room for.
    pub largest: Option<f64>,
    /// How far every draw is from the mean of the draws on the claimed side, the farthest first; empty without draws.
    pub reached: Vec<f64>,
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
            is_primary: false,
            objections: Vec::new(),
            room: Room::default(),
        }
    }

    /// The estimate, where there is one.
    pub fn estimate(&self) -> Option<f64> {
        match &self.evidence {
            Basis::Tested { estimate, .. } => estimate.difference_to_baseline,
            Basis::Counted { estimate, .. } => Some(*estimate),
            Basis::Missing => None,
        }
    }

    /// Whether its interval lies on this side of 0.
    pub fn is_clearly(&self, side: Direction) -> bool {
        let Basis::Tested { estimate, .. } = &self.evidence else {
            return false;
        };
        let is_there = |ci: Interval| side.holds(ci.low) && side.holds(ci.high);
        estimate.baseline_ci.is_some_and(is_there)
    }

    /// The test that decides its claim.
    pub fn primary(self) -> Self {
        Self {
            is_primary: true,
            ..self
        }
    }

    /// What takes the verdict away that this estimate would have.
    pub fn objection(&self, estimate: f64, why: String) -> Objection {
        let claimed = self.direction.holds(estimate);
        Objection {
            of: if claimed {
                Verdict::Supported
            } else {
                Verdict::Contradicted
            },
            instead: Verdict::NotDistinguishable,
            why,
        }
    }

    /// With the rank among draws as the p that decides. The estimate must lie on the side of the draws on which the rank is:
    /// a few draws far out can move their mean beyond a class that lies beyond nearly all of them.
    pub fn ranked(mut self, ranked: &Ranked) -> Self {
        let side = ranked.class - median(&ranked.draws).unwrap_or(f64::NAN);
        if let Some(estimate) = self.estimate().filter(|estimate| estimate * side < 0.0) {
            let why = "but in the rank it is on the other side of the middle draw".to_string();
            self.objections.push(self.objection(estimate, why));
        }
        if let Basis::Tested { estimate, draws } = &mut self.evidence {
            estimate.permutation_p = Some(ranked.rank.p);
            estimate.permutation_floor = Some(rank_floor(ranked.rank.draws as f64));
            *draws = ranked.rank.draws;
        }
        let centre = mean(&ranked.draws).unwrap_or(f64::NAN);
        let sign = if self.direction == Direction::Higher {
            1.0
        } else {
            -1.0
        };
        let mut reached: Vec<f64> = ranked.draws.iter().map(|draw| draw - centre).collect();
        reached.sort_by(|a, b| (sign * b).total_cmp(&(sign * a)));
        self.room.reached = reached;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::sequential_rank;

    #[test]
    fn the_rank_and_the_estimate_must_be_on_one_side() {
        let objections = |estimate: f64, draws: &[f64]| {
            let finding = Finding {
                evidence: Basis::Tested {
                    estimate: Estimate {
                        difference_to_baseline: Some(estimate),
                        ..Estimate::default()
                    },
                    draws: draws.len(),
                },
                ..Finding::missing("nats", Direction::Lower, "draws", String::new())
            };
            let ranked = Ranked {
                class: -5.0,
                draws: draws.to_vec(),
                rank: sequential_rank(-5.0, draws).unwrap(),
            };
            finding.ranked(&ranked).objections
        };
        assert!(objections(-3.0, &[-1.0, -2.0, -3.0]).is_empty());
        // Most draws do less than the class; one does so much that their mean is below it.
        let far = objections(20.0, &[-1.0, -2.0, -99.0]);
        assert_eq!((far.len(), far[0].of), (1, Verdict::Contradicted));
    }
}
