//! From a finding to a verdict: one rule for all claims, which can come out either way.

use serde::{Deserialize, Serialize};

use super::claim::Claim;
use super::finding::{Basis, Direction, Finding, LEVEL};
use crate::stats::holm_present;

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
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClaimTest {
    /// Which claim.
    pub id: &'static str,
    /// The claim in a sentence.
    pub claim: &'static str,
    /// What is measured, with its unit.
    pub quantity: String,
    /// Where the claim has it.
    pub direction: Direction,
    /// What it is compared with.
    pub compared_with: String,
    /// The difference to that.
    pub estimate: Option<f64>,
    /// Lower end of its 95 % interval.
    pub ci_low: Option<f64>,
    /// Upper end.
    pub ci_high: Option<f64>,
    /// Two-sided.
    pub p: Option<f64>,
    /// Holm-adjusted over all tests of the run.
    pub p_adjusted: Option<f64>,
    /// Random sets.
    pub draws: usize,
    /// Prompts, documents, neurons or layers.
    pub n: usize,
    /// What was published.
    pub published: &'static str,
    /// What follows.
    pub verdict: Verdict,
    /// The figures behind it, or why there is none.
    pub why: String,
}

/// The verdicts of a run; p values are adjusted over all of its tests.
pub(super) fn judge(findings: Vec<(&Claim, Finding)>) -> Vec<ClaimTest> {
    let raw: Vec<Option<f64>> = findings.iter().map(|(_, finding)| finding.p()).collect();
    let adjusted = holm_present(&raw);
    let findings = findings.into_iter().zip(adjusted);
    findings
        .map(|((claim, finding), p_adjusted)| {
            let verdict = finding.verdict(p_adjusted);
            match (verdict, finding.objection.clone()) {
                (Verdict::Supported, Some(objection)) => {
                    let why = format!("{}; {objection}", finding.why);
                    finding.into_test(claim, p_adjusted, Verdict::NotDistinguishable, why)
                }
                _ => {
                    let why = finding.why.clone();
                    finding.into_test(claim, p_adjusted, verdict, why)
                }
            }
        })
        .collect()
}

impl Finding {
    /// The verdict of this finding alone.
    fn verdict(&self, p_adjusted: Option<f64>) -> Verdict {
        match (&self.evidence, p_adjusted) {
            (Basis::Missing, _) => Verdict::NotTestable,
            (Basis::Counted { holds: true, .. }, _) => Verdict::Supported,
            (Basis::Counted { holds: false, .. }, _) => Verdict::Contradicted,
            (Basis::Tested { estimate, .. }, Some(p)) if p < LEVEL => {
                if self.direction.holds(*estimate) {
                    Verdict::Supported
                } else {
                    Verdict::Contradicted
                }
            }
            (Basis::Tested { .. }, _) => Verdict::NotDistinguishable,
        }
    }

    fn into_test(
        self,
        claim: &Claim,
        p_adjusted: Option<f64>,
        verdict: Verdict,
        why: String,
    ) -> ClaimTest {
        let (estimate, interval, p, draws) = match self.evidence {
            Basis::Tested {
                estimate,
                interval,
                p,
                draws,
            } => (Some(estimate), interval, p, draws),
            Basis::Counted { estimate, .. } => (Some(estimate), None, None, 0),
            Basis::Missing => (None, None, None, 0),
        };
        ClaimTest {
            id: claim.name,
            claim: claim.sentence,
            quantity: self.quantity,
            direction: self.direction,
            compared_with: self.compared_with,
            estimate,
            ci_low: interval.map(|interval| interval.low),
            ci_high: interval.map(|interval| interval.high),
            p,
            p_adjusted,
            draws,
            n: self.n,
            published: claim.published,
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
                estimate,
                interval: None,
                p: Some(p),
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
