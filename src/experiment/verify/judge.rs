//! From a finding to a verdict: one rule for all claims, which can come out either way.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::super::effects::{Estimate, adjust_all};
use super::claim::Claim;
use super::finding::{Basis, Direction, Finding, LEVEL};
use super::verdict::Verdict;

/// One test of a claim; an entry of `claims.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClaimTest {
    /// Which claim, by its short name.
    pub id: Cow<'static, str>,
    /// The claim in a sentence.
    pub claim: Cow<'static, str>,
    /// What is measured, with the unit of the estimate and of its interval.
    pub quantity: String,
    /// On which side of the comparison the claim has the estimate.
    pub direction: Direction,
    /// What the quantity is compared with, in words.
    pub compared_with: String,
    /// The difference to that, where something is drawn; else a share or a mean.
    #[serde(flatten, with = "claim_keys")]
    #[cfg_attr(test, schemars(with = "claim_keys::Keys"))]
    pub estimate: Estimate,
    /// Number of random sets that the class is compared with; 0 where nothing is drawn.
    pub draws: usize,
    /// Number of prompts, documents, neurons or layers that the test is over.
    pub n: usize,
    /// What was published about the claim.
    pub published: Cow<'static, str>,
    /// What follows for the claim.
    pub verdict: Verdict,
    /// What the test could have found; empty where nothing is decided by it.
    #[serde(default)]
    pub room: String,
    /// The figures behind the verdict, or why there is none.
    pub why: String,
}

/// An [`Estimate`] as `claims.json` has it.
mod claim_keys {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::experiment::Estimate;
    use crate::stats::Interval;

    #[derive(Serialize, Deserialize)]
    #[cfg_attr(test, derive(schemars::JsonSchema))]
    pub struct Keys {
        /// The difference to the comparison, where something is drawn; else a share or a mean. Null where nothing could be
        /// tested.
        estimate: Option<f64>,
        /// Lower end of the estimate's 95 % interval; null where there is none.
        ci_low: Option<f64>,
        /// Upper end of the estimate's 95 % interval; null where there is none.
        ci_high: Option<f64>,
        /// The p that decides, two-sided: of the rank among the draws, where any are drawn; null where no chance enters.
        p: Option<f64>,
        /// The p that decides, Holm-adjusted over the tests of the run that decide alone; null for the others.
        p_adjusted: Option<f64>,
    }

    pub fn serialize<S: Serializer>(found: &Estimate, to: S) -> Result<S::Ok, S::Error> {
        let keys = Keys {
            estimate: found.difference_to_baseline,
            ci_low: found.baseline_ci.map(|interval| interval.low),
            ci_high: found.baseline_ci.map(|interval| interval.high),
            p: found.deciding_p(),
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

/// The verdicts of a run; the p of its primary tests are adjusted over them.
pub(super) fn judge(mut findings: Vec<(&Claim, Finding)>) -> Vec<ClaimTest> {
    let primary = findings
        .iter_mut()
        .filter(|(_, finding)| finding.is_primary);
    let mut tested: Vec<&mut Estimate> = primary
        .filter_map(|(_, finding)| match &mut finding.evidence {
            Basis::Tested { estimate, .. } => Some(estimate),
            _ => None,
        })
        .collect();
    let tests = tested.len();
    adjust_all(tested.iter_mut().map(|estimate| &mut **estimate));
    let findings = findings.into_iter();
    findings
        .map(|(claim, finding)| finding.test(claim, tests))
        .collect()
}

impl Finding {
    /// The verdict of this finding, without what stands in its way.
    fn plain_verdict(&self) -> Verdict {
        let holds = match &self.evidence {
            Basis::Missing => return Verdict::NotTestable,
            _ if !self.is_primary => return Verdict::Described,
            Basis::Counted { holds, .. } => *holds,
            Basis::Tested { estimate, .. } => {
                let decided = estimate.p_adjusted.is_some_and(|p| p < LEVEL);
                let difference = estimate.difference_to_baseline.filter(|_| decided);
                difference.map(|difference| self.direction.holds(difference))
            }
        };
        match holds {
            Some(true) => Verdict::Supported,
            Some(false) => Verdict::Contradicted,
            None => Verdict::NotDistinguishable,
        }
    }

    /// With a family of so many primary tests.
    fn test(self, claim: &Claim, tests: usize) -> ClaimTest {
        let plain = self.plain_verdict();
        let objection = self.objections.iter().find(|o| o.of == plain);
        let (verdict, why) = match objection {
            Some(objection) => (
                objection.instead,
                format!("{}; {}", self.why, objection.why),
            ),
            None => (plain, self.why.clone()),
        };
        let room = if self.is_primary {
            self.room_in_words(tests)
        } else {
            String::new()
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
            room,
            why,
        }
    }

    /// The largest effect that the measure has room for, and the smallest that would have counted in a family of so many
    /// tests.
    fn room_in_words(&self, tests: usize) -> String {
        let Basis::Tested { estimate, draws } = &self.evidence else {
            return String::new();
        };
        let number = |value: f64| format!("{value:+.3}");
        let largest = self
            .room
            .largest
            .map(|largest| format!("at most {} is possible", number(largest)));
        // Two-sided: of K draws so many may lie beyond the class.
        let level = LEVEL / tests.max(1) as f64;
        let may_be_beyond = (level * (draws + 1) as f64 / 2.0).ceil() as usize;
        let smallest = match (self.room.reached.as_slice(), may_be_beyond.checked_sub(1)) {
            ([], _) => estimate.baseline_ci.map(|ci| {
                let half = (ci.high - ci.low) / 2.0;
                format!("less than about {half:.3} to either side could not be told from none")
            }),
            ([farthest, ..], Some(0) | None) => Some(format!(
                "more than {} would have counted: the farthest of {draws} draws",
                number(*farthest)
            )),
            (reached, Some(beyond)) => {
                let last = reached[beyond.min(reached.len() - 1)];
                Some(format!("{} would have counted", number(last)))
            }
        };
        let parts: Vec<String> = largest.into_iter().chain(smallest).collect();
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::claim::CLAIMS;
    use super::super::finding::Objection;
    use super::*;

    fn finding(estimate: f64, p: f64) -> Finding {
        Finding {
            evidence: Basis::Tested {
                estimate: Estimate {
                    difference_to_baseline: Some(estimate),
                    // Student's, by which nothing is decided.
                    p: Some(1.0 - p),
                    permutation_p: Some(p),
                    ..Estimate::default()
                },
                draws: 5,
            },
            n: 3,
            ..Finding::missing("nats", Direction::Higher, "draws", "because".to_string()).primary()
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
            counted(Some(true)),
            counted(Some(false)),
            counted(None),
            missing,
            Finding {
                is_primary: false,
                ..finding(1.0, 0.001)
            },
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
                NotDistinguishable,
                NotTestable,
                Described
            ]
        );
    }

    #[test]
    fn p_values_are_adjusted_over_the_primary_tests() {
        let alone = verdicts(vec![finding(1.0, 0.03)]);
        let among_others = verdicts(vec![finding(1.0, 0.03), finding(1.0, 0.9)]);
        assert_eq!(alone[0], Verdict::Supported);
        assert_eq!(among_others[0], Verdict::NotDistinguishable);
        let described = Finding {
            is_primary: false,
            ..finding(1.0, 0.9)
        };
        let beside = verdicts(vec![finding(1.0, 0.03), described]);
        assert_eq!(beside, [Verdict::Supported, Verdict::Described]);
    }

    #[test]
    fn an_objection_takes_its_verdict_away_and_no_other() {
        let with = |estimate, of| {
            let finding = Finding {
                objections: vec![Objection {
                    of,
                    instead: Verdict::NotTestable,
                    why: "specificity".to_string(),
                }],
                ..finding(estimate, 1e-6)
            };
            judge(vec![(&CLAIMS[7], finding)]).remove(0)
        };
        let fallen = with(1.0, Verdict::Supported);
        assert_eq!(fallen.verdict, Verdict::NotTestable);
        assert_eq!(fallen.why, "because; specificity");
        assert_eq!(
            with(-1.0, Verdict::Supported).verdict,
            Verdict::Contradicted
        );
        assert_eq!(
            with(-1.0, Verdict::Contradicted).verdict,
            Verdict::NotTestable
        );
    }

    #[test]
    fn the_room_is_said_for_the_family() {
        let room = |draws: usize, tests: usize| {
            let mut finding = finding(1.0, 0.5);
            finding.room.largest = Some(9.0);
            finding.room.reached = (0..draws).rev().map(|draw| draw as f64).collect();
            if let Basis::Tested { draws: of, .. } = &mut finding.evidence {
                *of = draws;
            }
            finding.room_in_words(tests)
        };
        // .05/2 of 400 is 10: with 9 draws beyond it p is 2·10/400; the tenth is 389.
        assert_eq!(
            room(399, 1),
            "at most +9.000 is possible; +389.000 would have counted"
        );
        assert_eq!(
            room(47, 4),
            "at most +9.000 is possible; more than +46.000 would have counted: the farthest of 47 draws"
        );
    }
}
