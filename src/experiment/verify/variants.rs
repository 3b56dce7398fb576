//! The ablation that decides about a class, in other ways. A verdict must not depend on what stands in the place of the
//! values, on the first position, on how much random neurons write, or on the words that tell which facts are known.

use super::super::ExperimentError;
use super::super::ablate::ablate;
use super::super::attributes::{AttributeInput, Share};
use super::super::effects::Arms;
use super::super::metric::Metric;
use super::super::outcome::PromptSubset;
use super::super::plan::{AblationPlan, Treatment};
use super::super::run::Run;
use super::super::text::predicted;
use super::against::{DRAWS, against_draws, levels, of};
use super::few::Few;
use super::finding::Finding;
use super::needs::{ClaimRuns, Need};
use super::rates::mean_layers;
use super::signs::{Other, beside_others};
use crate::engine::EngineError;
use crate::hooks::{Mode, Reference};
use crate::io_class::{Class, Match};
use crate::stats::StatsSettings;
use crate::tokens::{Positions, TokenBatch};

/// Another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    Mean,
    Resample,
    NotFirst,
    /// Without the first position too: there a few neurons write more than all others, so that nothing can be matched.
    Contribution,
    OtherWords,
}

/// For all claims about enrichment: the paper speaks of ablation, whatever the kind.
const ENRICHMENT_VARIANTS: [Variant; 4] = [
    Variant::Mean,
    Variant::Resample,
    Variant::NotFirst,
    Variant::Contribution,
];

/// For the claims about depletion, which are about zero ablation.
const DEPLETION_VARIANTS: [Variant; 2] = [Variant::NotFirst, Variant::Contribution];

impl Variant {
    fn in_words(self) -> &'static str {
        match self {
            Variant::Mean => "with mean instead of zero ablation",
            Variant::Resample => "with resample instead of zero ablation",
            Variant::NotFirst => "without the first position",
            Variant::Contribution => {
                "without the first position, beside random neurons that write as much"
            }
            Variant::OtherWords => "on facts that are known in other words",
        }
    }

    fn compared_with(self) -> &'static str {
        match self {
            Variant::Contribution => "draws matched by layer and contribution",
            _ => DRAWS,
        }
    }

    /// The plan, changed to this.
    fn of(self, plan: AblationPlan) -> AblationPlan {
        match self {
            Variant::Mean => AblationPlan {
                mode: Mode::Mean(Reference::OwnPrompts),
                ..plan
            },
            Variant::Resample => AblationPlan {
                mode: Mode::Resample(Reference::OwnPrompts),
                ..plan
            },
            Variant::NotFirst | Variant::Contribution => AblationPlan {
                positions: Positions::NotFirst,
                ..plan
            },
            Variant::OtherWords => plan,
        }
    }
}

/// What a variant gave.
pub(super) struct Varied {
    variant: Variant,
    /// Or why there is nothing.
    arms: Result<Arms, String>,
    /// With its draws, where these are others: matched by what they write.
    pub redrawn: Option<Treatment>,
}

/// What the variants of each claim gave.
#[derive(Default)]
pub(super) struct AllVaried {
    pub recall: Vec<Varied>,
    pub entropy: Vec<Varied>,
    pub signs: Vec<Varied>,
    pub attributes: Vec<Varied>,
}

impl AllVaried {
    /// Claim by claim.
    pub fn all(&self) -> impl Iterator<Item = &Varied> {
        let claims = [&self.recall, &self.entropy, &self.signs, &self.attributes];
        claims.into_iter().flatten()
    }
}

/// Measures, under a plan and on a batch, the number that decides.
type MeasureArms<'m> =
    &'m mut dyn FnMut(&mut Run<'_>, &TokenBatch, &AblationPlan) -> Result<Arms, ExperimentError>;

impl ClaimRuns<'_> {
    /// All variants that are asked for.
    pub fn all_varied(&self, run: &mut Run<'_>, few: &Few) -> Result<AllVaried, ExperimentError> {
        let mut all = AllVaried::default();
        if self.has(Need::Recall) {
            let recall = self.recall_varied(run, few);
            all.recall = run.unless_elsewhere(recall)?.unwrap_or_default();
        }
        if self.has(Need::Entropy) {
            let entropy = self.entropy_varied(run, few);
            all.entropy = run.unless_elsewhere(entropy)?.unwrap_or_default();
        }
        if self.has(Need::SignCases) {
            let signs = self.signs_varied(run, few);
            all.signs = run.unless_elsewhere(signs)?.unwrap_or_default();
        }
        let subjects = self.input.subjects.as_ref().zip(few.subjects.as_ref());
        if let Some(subjects) = subjects {
            let attributes = self.attributes_varied(run, subjects);
            all.attributes = run.unless_elsewhere(attributes)?.unwrap_or_default();
        }
        Ok(all)
    }

    /// Recall without conditional enrichment.
    fn recall_varied(&self, run: &mut Run<'_>, few: &Few) -> Result<Vec<Varied>, ExperimentError> {
        let of_facts = ENRICHMENT_VARIANTS.map(|variant| (variant, few.facts.as_ref()));
        let in_other_words = (Variant::OtherWords, few.in_other_words.as_ref());
        let variants = of_facts.into_iter().chain([in_other_words]);
        let variants: Vec<_> = variants.filter_map(|(v, on)| Some((v, on?))).collect();
        let of = (Class::ConditionalEnrichment, "facts");
        self.varied(run, of, &variants, &mut |run, batch, plan| {
            let found = ablate(run, self.engine, batch, plan)?;
            Ok(found.arms(0, PromptSubset::All, &Metric::TARGET_LOGPROB))
        })
    }

    /// Attribute rates beyond those with other subjects' texts, without conditional enrichment.
    fn attributes_varied(
        &self,
        run: &mut Run<'_>,
        subjects: (&AttributeInput<'_>, &TokenBatch),
    ) -> Result<Vec<Varied>, ExperimentError> {
        let variants = ENRICHMENT_VARIANTS.map(|variant| (variant, subjects.1));
        let of = (Class::ConditionalEnrichment, "subjects");
        self.varied(run, of, &variants, &mut |run, batch, plan| {
            let found = self.attributes(run, (subjects.0, batch), plan)?;
            let layers = mean_layers(self.input.table);
            Ok(found.arms((0, 0), layers, Share::excess).arms)
        })
    }

    /// Entropy of text without depletion.
    fn entropy_varied(&self, run: &mut Run<'_>, few: &Few) -> Result<Vec<Varied>, ExperimentError> {
        self.depletion_varied(run, few, &mut |run, plan| {
            let found = self.text(run, &few.documents, plan)?;
            Ok(found.arms(0, Metric::TOKEN_ENTROPY))
        })
    }

    /// Entropy that the claim's sign case of depletion adds, minus the most of the others.
    fn signs_varied(&self, run: &mut Run<'_>, few: &Few) -> Result<Vec<Varied>, ExperimentError> {
        self.depletion_varied(run, few, &mut |run, plan| {
            let cases = self.sign_cases(run, &few.documents, plan)?;
            let beside = beside_others(&cases, Other::Strongest);
            beside.ok_or(ExperimentError::NoTokens)
        })
    }

    /// Depletion on the few documents.
    fn depletion_varied(
        &self,
        run: &mut Run<'_>,
        few: &Few,
        measure: &mut dyn FnMut(&mut Run<'_>, &AblationPlan) -> Result<Arms, ExperimentError>,
    ) -> Result<Vec<Varied>, ExperimentError> {
        let batch = predicted(&few.documents)?;
        let variants = DEPLETION_VARIANTS.map(|variant| (variant, &batch));
        let of = (Class::Depletion, "text");
        self.varied(run, of, &variants, &mut |run, _, plan| measure(run, plan))
    }

    /// The part of a class that decides, with the draws that estimates are over, in other ways.
    fn varied(
        &self,
        run: &mut Run<'_>,
        (class, what): (Class, &str),
        variants: &[(Variant, &TokenBatch)],
        measure: MeasureArms<'_>,
    ) -> Result<Vec<Varied>, ExperimentError> {
        let member = self.sets.primary(class);
        let Some(treatment) = member.and_then(|member| self.sets.with_draws(member)) else {
            return Ok(Vec::new());
        };
        let (mut found, mut elsewhere) = (Vec::new(), None);
        for &(variant, batch) in variants {
            let mut plan = variant.of(self.plan(vec![treatment.clone()]));
            let weighed = match variant {
                Variant::Contribution => {
                    let by = (self.input.table, Match::LayerContribution);
                    plan.weigh((run, self.engine), batch, by)
                }
                _ => Ok(()),
            };
            let arms = match weighed.and_then(|()| measure(run, batch, &plan)) {
                Err(error @ ExperimentError::OtherShards { .. }) => {
                    elsewhere = Some(error);
                    continue;
                }
                Err(
                    error @ (ExperimentError::NoTokens
                    | ExperimentError::Engine(EngineError::NullEdit { .. })),
                ) => Err(error.to_string()),
                arms => Ok(arms?),
            };
            let redrawn = plan.treatments.into_iter().find(|t| t.written.is_some());
            found.push(Varied {
                variant,
                arms,
                redrawn: redrawn.map(|treatment| Treatment {
                    class: format!("{}, by contribution, {what}", treatment.class),
                    ..treatment
                }),
            });
        }
        elsewhere.map_or(Ok(found), Err)
    }
}

impl Varied {
    /// As a row below the test that decides.
    fn finding(
        &self,
        primary: &Finding,
        settings: &StatsSettings,
    ) -> Result<Finding, ExperimentError> {
        let quantity = format!("{}: {}", self.variant.in_words(), primary.quantity);
        let row = |why| {
            let compared_with = self.variant.compared_with();
            Finding::missing(&quantity, primary.direction, compared_with, why)
        };
        let arms = match &self.arms {
            Ok(arms) if !arms.class.is_empty() => arms,
            Ok(_) => return Ok(row("no prompt has a value in every arm".to_string())),
            Err(why) => return Ok(row(why.clone())),
        };
        let written = self
            .redrawn
            .as_ref()
            .and_then(|redrawn| redrawn.written.as_ref()?.ratio);
        let written = written.map_or(String::new(), |ratio| {
            format!("; the class writes {ratio:.2} times what its draws do")
        });
        against_draws(arms, row(format!("{}{written}", levels(arms))), settings)
    }

    /// Class minus draws.
    fn difference(&self) -> Option<f64> {
        let arms = self.arms.as_ref().ok()?;
        Some(of(&arms.class) - of(&arms.draws.concat()))
    }
}

/// The test that decides, with the rows of its variants behind it. It decides nothing where the sign is not the same in all
/// of them.
pub(super) fn with_variants(
    primary: Finding,
    varied: &[Varied],
    settings: &StatsSettings,
) -> Result<Vec<Finding>, ExperimentError> {
    let rows = varied
        .iter()
        .map(|varied| varied.finding(&primary, settings));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let objection = primary.estimate().and_then(|estimate| {
        let is_other = |varied: &&Varied| {
            let difference = varied.difference().filter(|found| found.is_finite());
            difference.is_none_or(|found| found * estimate <= 0.0)
        };
        let other = varied.iter().find(is_other)?;
        let why = format!("but {} the sign is another", other.variant.in_words());
        Some(primary.objection(estimate, why))
    });
    let primary = Finding {
        objections: primary.objections.into_iter().chain(objection).collect(),
        ..primary
    };
    Ok(std::iter::once(primary).chain(rows).collect())
}

#[cfg(test)]
mod tests {
    use super::super::finding::{Basis, Direction, Objection};
    use super::super::verdict::Verdict;
    use super::*;
    use crate::experiment::Estimate;
    use crate::stats::Clusters;

    fn varied(variant: Variant, difference: f64) -> Varied {
        let values = |mean: f64| vec![mean - 0.1, mean + 0.1];
        Varied {
            variant,
            arms: Ok(Arms {
                clean: values(0.0),
                class: values(difference),
                draws: vec![values(-0.01), values(0.01)],
                clusters: Clusters::alone(2),
            }),
            redrawn: None,
        }
    }

    fn primary(estimate: f64) -> Finding {
        Finding {
            evidence: Basis::Tested {
                estimate: Estimate {
                    difference_to_baseline: Some(estimate),
                    ..Estimate::default()
                },
                draws: 2,
            },
            ..Finding::missing("nats", Direction::Lower, DRAWS, String::new()).primary()
        }
    }

    fn objections(estimate: f64, all: &[Varied]) -> Vec<Objection> {
        let rows = with_variants(primary(estimate), all, &StatsSettings::default()).unwrap();
        assert_eq!(rows.len(), 1 + all.len());
        assert!(rows[0].is_primary && rows[1..].iter().all(|row| !row.is_primary));
        rows[0].objections.clone()
    }

    #[test]
    fn every_variant_must_have_the_sign_of_the_deciding_test() {
        let agreeing = [varied(Variant::Mean, -1.0), varied(Variant::NotFirst, -0.5)];
        assert!(objections(-2.0, &agreeing).is_empty());
        let other = [
            varied(Variant::Mean, -1.0),
            varied(Variant::Contribution, 0.5),
        ];
        let against = objections(-2.0, &other);
        assert_eq!(against[0].of, Verdict::Supported);
        assert_eq!(against[0].instead, Verdict::NotDistinguishable);
        assert!(
            against[0]
                .why
                .contains("beside random neurons that write as much")
        );
        // On the other side of the claim it takes away "contradicted".
        assert_eq!(objections(2.0, &agreeing)[0].of, Verdict::Contradicted);
    }

    #[test]
    fn a_variant_that_changed_nothing_agrees_with_nothing() {
        let nothing = Varied {
            arms: Err("it changed no value".to_string()),
            ..varied(Variant::Resample, -1.0)
        };
        let all = [nothing];
        assert_eq!(objections(-2.0, &all).len(), 1);
        let rows = with_variants(primary(-2.0), &all, &StatsSettings::default()).unwrap();
        assert_eq!(
            (&rows[1].evidence, &*rows[1].why),
            (&Basis::Missing, "it changed no value")
        );
    }
}
