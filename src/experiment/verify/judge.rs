//! From evidence to a verdict: one rule for all claims, which can come out either way.

use super::claim::{Claim, ClaimTest, Direction, Verdict};
use crate::stats::{Contrast, Interval, Tested, holm_present};

/// The chance of any false verdict in a run, after Holm's adjustment.
pub const LEVEL: f64 = 0.05;

/// What a test found.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Basis {
    /// An estimate with its uncertainty.
    Tested {
        estimate: f64,
        interval: Option<Interval>,
        p: Option<f64>,
        draws: usize,
    },
    /// A property of all neurons or layers, which no chance enters; the estimate is shown beside it.
    Counted { estimate: f64, holds: bool },
    /// Nothing could be tested.
    Missing,
}

impl Basis {
    /// The same relative to a value that the claim compares with.
    pub fn minus(self, reference: f64) -> Self {
        match self {
            Basis::Tested {
                estimate,
                interval,
                p,
                draws,
            } => Basis::Tested {
                estimate: estimate - reference,
                interval: interval.map(|interval| Interval {
                    low: interval.low - reference,
                    high: interval.high - reference,
                }),
                p,
                draws,
            },
            other => other,
        }
    }
}

impl From<Contrast> for Basis {
    fn from(contrast: Contrast) -> Self {
        Basis::Tested {
            estimate: contrast.estimate,
            interval: contrast.interval,
            p: contrast.p,
            draws: contrast.draws,
        }
    }
}

impl From<Tested> for Basis {
    fn from(tested: Tested) -> Self {
        Basis::Tested {
            estimate: tested.estimate,
            interval: tested.interval,
            p: Some(tested.p),
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

    fn p(&self) -> Option<f64> {
        match self.evidence {
            Basis::Tested { p, .. } => p,
            _ => None,
        }
    }

    /// The p of "not in the claimed direction"; 1 where nothing was tested.
    pub fn one_sided_p(&self) -> f64 {
        match (&self.evidence, self.p()) {
            (Basis::Tested { estimate, .. }, Some(p)) => match self.direction.holds(*estimate) {
                true => p / 2.0,
                false => 1.0 - p / 2.0,
            },
            _ => 1.0,
        }
    }

    /// The verdict of this finding alone.
    fn verdict(&self, p_adjusted: Option<f64>) -> Verdict {
        match (&self.evidence, p_adjusted) {
            (Basis::Missing, _) => Verdict::NotTestable,
            (Basis::Counted { holds: true, .. }, _) => Verdict::Supported,
            (Basis::Counted { holds: false, .. }, _) => Verdict::Contradicted,
            (Basis::Tested { estimate, .. }, Some(p)) if p < LEVEL => {
                match self.direction.holds(*estimate) {
                    true => Verdict::Supported,
                    false => Verdict::Contradicted,
                }
            }
            (Basis::Tested { .. }, _) => Verdict::NotDistinguishable,
        }
    }
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
