//! From a finding to a verdict: one rule for all claims, which can come out either way.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::super::effects::{Estimate, adjust_all};
use super::claim::Claim;
use super::finding::{Basis, Direction, Finding, LEVEL};

/// What a test says of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
pub enum Verdict {
    /// The claim's direction, beyond chance.
    #[serde(rename = "supported")]
    #[strum(serialize = "supported")]
    Supported,
    /// The other direction, beyond chance.
    #[serde(rename = "contradicted")]
    #[strum(serialize = "contradicted")]
    Contradicted,
    /// Within what chance does.
    #[serde(rename = "not distinguishable")]
    #[strum(serialize = "not distinguishable")]
    NotDistinguishable,
    /// The model or the input does not have what the test needs.
    #[serde(rename = "not testable")]
    #[strum(serialize = "not testable")]
    NotTestable,
}

impl Verdict {
    /// As in files.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One test of a claim; an entry of `claims.json`. What could not be estimated is absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClaimTest {
    /// Which claim.
    pub id: Cow<'static, str>,
    /// The claim in a sentence.
    pub claim: Cow<'static, str>,
    /// What is measured, with its unit.
    pub quantity: String,
    /// Where the claim has it.
    pub direction: Direction,
    /// What it is compared with.
    pub compared_with: String,
    /// The difference to that, where something is drawn; else a share or a mean.
    #[serde(flatten, with = "claim_keys")]
    pub estimate: Estimate,
    /// Random sets.
    pub draws: usize,
    /// Prompts, documents, neurons or layers.
    pub n: usize,
    /// What was published.
    pub published: Cow<'static, str>,
    /// What follows.
    pub verdict: Verdict,
    /// The figures behind it, or why there is none.
    pub why: String,
}

/// An [`Estimate`] as `claims.json` has it.
mod claim_keys {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::experiment::Estimate;
    use crate::stats::Interval;

    #[derive(Serialize, Deserialize)]
    struct Keys {
        estimate: Option<f64>,
        ci_low: Option<f64>,
        ci_high: Option<f64>,
        p: Option<f64>,
        p_adjusted: Option<f64>,
    }

    pub fn serialize<S: Serializer>(found: &Estimate, to: S) -> Result<S::Ok, S::Error> {
        let keys = Keys {
            estimate: found.difference_to_baseline,
            ci_low: found.baseline_ci.map(|interval| interval.low),
            ci_high: found.baseline_ci.map(|interval| interval.high),
            p: found.p,
            p_adjusted: found.p_adjusted,
        };
        keys.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Estimate, D::Error> {
        let keys = Keys::deserialize(from)?;
        let ends = keys.ci_low.zip(keys.ci_high);
        Ok(Estimate {
            difference_to_baseline: keys.estimate,
            baseline_ci: ends.map(|(low, high)| Interval { low, high }),
            p: keys.p,
            p_adjusted: keys.p_adjusted,
            ..Estimate::default()
        })
    }
}

/// The verdicts of a run; p values are adjusted over all of its tests.
pub(super) fn judge(mut findings: Vec<(&Claim, Finding)>) -> Vec<ClaimTest> {
    let tested = findings.iter_mut();
    adjust_all(
        tested.filter_map(|(_, finding)| match &mut finding.evidence {
            Basis::Tested { estimate, .. } => Some(estimate),
            _ => None,
        }),
    );
    let findings = findings.into_iter();
    findings
        .map(|(claim, finding)| finding.test(claim))
        .collect()
}

impl Finding {
    /// The verdict of this finding alone.
    fn verdict(&self) -> Verdict {
        let holds = match &self.evidence {
            Basis::Missing => return Verdict::NotTestable,
            Basis::Counted { holds, .. } => *holds,
            Basis::Tested { estimate, .. } => {
                match (estimate.difference_to_baseline, estimate.p_adjusted) {
                    (Some(difference), Some(p)) if p < LEVEL => self.direction.holds(difference),
                    _ => return Verdict::NotDistinguishable,
                }
            }
        };
        if holds {
            Verdict::Supported
        } else {
            Verdict::Contradicted
        }
    }

    fn test(self, claim: &Claim) -> ClaimTest {
        let (verdict, why) = match (self.verdict(), &self.objection) {
            (Verdict::Supported, Some(objection)) => (
                Verdict::NotDistinguishable,
                format!("{}; {objection}", self.why),
            ),
            (verdict, _) => (verdict, self.why.clone()),
        };
        let (estimate, draws) = match self.evidence {
            Basis::Tested { estimate, draws } => (estimate, draws),
            Basis::Counted { estimate, .. } => (
                Estimate {
                    difference_to_baseline: Some(estimate),
                    ..Estimate::default()
                },
                0,
            ),
            Basis::Missing => (Estimate::default(), 0),
        };
        ClaimTest {
            id: claim.name.into(),
            claim: claim.sentence.into(),
            quantity: self.quantity,
            direction: self.direction,
            compared_with: self.compared_with,
            estimate,
            draws,
            n: self.n,
            published: claim.published.into(),
            verdict,
            why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::claim::CLAIMS;
    use super::*;

    fn finding(estimate: f64, p: f64) -> Finding {
        Finding {
            evidence: Basis::Tested {
                estimate: Estimate {
                    difference_to_baseline: Some(estimate),
                    p: Some(p),
                    ..Estimate::default()
                },
                draws: 5,
            },
            n: 3,
            ..Finding::missing("nats", Direction::Higher, "draws", "because".to_string())
        }
    }

    fn verdicts(findings: Vec<Finding>) -> Vec<Verdict> {
        judge(
            findings
                .into_iter()
                .map(|finding| (&CLAIMS[7], finding))
                .collect(),
        )
        .into_iter()
        .map(|test| test.verdict)
        .collect()
    }

    #[test]
    fn every_verdict_can_come_out() {
        let counted = |holds| Finding {
            evidence: Basis::Counted {
                estimate: 0.1,
                holds,
            },
            ..finding(0.0, 1.0)
        };
        let missing = Finding {
            evidence: Basis::Missing,
            ..finding(0.0, 1.0)
        };
        let all = vec![
            finding(1.0, 0.001),
            finding(-1.0, 0.001),
            finding(1.0, 0.2),
            counted(true),
            counted(false),
            missing,
        ];
        use Verdict::*;
        assert_eq!(
            verdicts(all),
            [
                Supported,
                Contradicted,
                NotDistinguishable,
                Supported,
                Contradicted,
                NotTestable
            ]
        );
    }

    #[test]
    fn p_values_are_adjusted_over_the_run() {
        let alone = verdicts(vec![finding(1.0, 0.03)]);
        let among_others = verdicts(vec![finding(1.0, 0.03), finding(1.0, 0.9)]);
        assert_eq!(alone[0], Verdict::Supported);
        assert_eq!(among_others[0], Verdict::NotDistinguishable);
    }

    #[test]
    fn an_objection_takes_support_away_and_nothing_else() {
        let with = |estimate| {
            let mut finding = finding(estimate, 1e-6);
            finding.objection = Some("any text suffers".to_string());
            judge(vec![(&CLAIMS[7], finding)]).remove(0)
        };
        let fallen = with(1.0);
        assert_eq!(fallen.verdict, Verdict::NotDistinguishable);
        assert_eq!(fallen.why, "because; any text suffers");
        assert_eq!(with(-1.0).verdict, Verdict::Contradicted);
    }
}
