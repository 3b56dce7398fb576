//! The ablation that decides about a class, in other ways. A verdict must not depend on what stands in the place of the
//! values, on the first position, on how much random neurons write, or on the words that tell which facts are known.

use super::super::ExperimentError;
use super::super::ablate::ablate;
use super::super::attributes::Share;
use super::super::contribution::MatchedBy;
use super::super::effects::Arms;
use super::super::metric::Metric;
use super::super::outcome::PromptSubset;
use super::super::plan::{AblationPlan, Treatment};
use super::super::run::Run;
use super::super::text::predicted;
use super::against::{Against, levels};
use super::few::Few;
use super::finding::Finding;
use super::needs::{ClaimRuns, Need};
use super::rates::mean_layers;
use super::sets::DECIDING;
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

    fn compared_with(self, primary: &Finding) -> &str {
        match self {
            Variant::Contribution => "draws matched by layer and contribution",
            _ => &primary.compared_with,
        }
    }

    /// The plan, changed to this. One that is of the subject alone is so without the first position, too: the prompts say
    /// which these are.
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
            Variant::NotFirst | Variant::Contribution if plan.positions == Positions::All => {
                AblationPlan {
                    positions: Positions::NotFirst,
                    ..plan
                }
            }
            Variant::NotFirst | Variant::Contribution | Variant::OtherWords => plan,
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

/// What the variants gave, by what is run in other ways.
#[derive(Default)]
pub(super) struct AllVaried(Vec<(Need, Vec<Varied>)>);

impl AllVaried {
    /// Those of a need; none where it was not asked for.
    pub fn of(&self, need: Need) -> &[Varied] {
        let mut all = self.0.iter();
        let found = all.find(|(own, _)| *own == need);
        found.map_or(&[], |(_, varied)| varied)
    }

    /// All of them, in the order in which they were run.
    pub fn all(&self) -> impl Iterator<Item = &Varied> {
        self.0.iter().flat_map(|(_, varied)| varied)
    }
}

/// Runs something in other ways.
type Vary<'r> = fn(&ClaimRuns<'r>, &mut Run<'_>, &Few) -> Result<Vec<Varied>, ExperimentError>;

/// Measures, under a plan and on a batch, the number that decides.
type MeasureArms<'m> =
    &'m mut dyn FnMut(&mut Run<'_>, &TokenBatch, &AblationPlan) -> Result<Arms, ExperimentError>;

impl<'r> ClaimRuns<'r> {
    /// All variants that are asked for.
    pub fn all_varied(&self, run: &mut Run<'_>, few: &Few) -> Result<AllVaried, ExperimentError> {
        let ways: [(Need, Vary<'r>); 6] = [
            (Need::Recall, Self::recall_varied),
            (Need::Direct, Self::indirect_varied),
            (Need::Patch, Self::patch_varied),
            (Need::Entropy, Self::entropy_varied),
            (Need::SignCases, Self::signs_varied),
            (Need::Attributes, Self::attributes_varied),
        ];
        let mut all = AllVaried::default();
        for (need, vary) in ways.into_iter().filter(|(need, _)| self.has(*need)) {
            let varied = vary(self, run, few);
            let varied = run.unless_elsewhere(varied)?.unwrap_or_default();
            all.0.push((need, varied));
        }
        Ok(all)
    }

    /// Recall without conditional enrichment.
    fn recall_varied(&self, run: &mut Run<'_>, few: &Few) -> Result<Vec<Varied>, ExperimentError> {
        let of_facts = ENRICHMENT_VARIANTS.map(|variant| (variant, few.facts.as_ref()));
        let in_other_words = (Variant::OtherWords, few.in_other_words.as_ref());
        let variants = there(of_facts.into_iter().chain([in_other_words]));
        let of = (DECIDING, "facts");
        self.varied(run, of, &variants, &mut |run, batch, plan| {
            let found = ablate(run, self.engine, batch, plan)?;
            Ok(found.arms(0, PromptSubset::All, &Metric::TARGET_LOGPROB))
        })
    }

    /// Attribute rates beyond those with other subjects' texts, without conditional enrichment.
    fn attributes_varied(
        &self,
        run: &mut Run<'_>,
        few: &Few,
    ) -> Result<Vec<Varied>, ExperimentError> {
        let subjects = self.input.subjects.as_ref().zip(few.subjects.as_ref());
        let Some(subjects) = subjects else {
            return Ok(Vec::new());
        };
        let variants = ENRICHMENT_VARIANTS.map(|variant| (variant, subjects.1));
        let of = (DECIDING, "subjects");
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
        let treatment = self.sets.primary_with_draws(class);
        let plan = self.plan(treatment.into_iter().collect());
        self.plan_varied(run, (plan, what), variants, measure)
    }

    /// A plan of one class in other ways; nothing where it has none.
    pub fn plan_varied(
        &self,
        run: &mut Run<'_>,
        (plan, what): (AblationPlan, &str),
        variants: &[(Variant, &TokenBatch)],
        measure: MeasureArms<'_>,
    ) -> Result<Vec<Varied>, ExperimentError> {
        if plan.is_empty() {
            return Ok(Vec::new());
        }
        let (mut found, mut elsewhere) = (Vec::new(), None);
        for &(variant, batch) in variants {
            let mut plan = variant.of(plan.clone());
            let weighed = match variant {
                Variant::Contribution => {
                    let by = MatchedBy {
                        table: self.input.table,
                        matching: Match::LayerContribution,
                        text: None,
                    };
                    plan.weigh((run, self.engine), batch, by)
                }
                _ => Ok(()),
            };
            let arms = match weighed.and_then(|()| measure(run, batch, &plan)) {
                Err(error @ ExperimentError::OtherShards { .. }) => {
                    elsewhere = Some(error);
                    continue;
                }
                arms => or_nothing(arms)?,
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

/// Variants with the prompts that they are on, where there are any.
pub(super) fn there<'b>(
    variants: impl Iterator<Item = (Variant, Option<&'b TokenBatch>)>,
) -> Vec<(Variant, &'b TokenBatch)> {
    let there = variants.filter_map(|(variant, batch)| Some((variant, batch?)));
    there.collect()
}

/// What was measured, or why there is nothing to measure.
pub(super) fn or_nothing<T>(
    found: Result<T, ExperimentError>,
) -> Result<Result<T, String>, ExperimentError> {
    match found {
        Err(
            error @ (ExperimentError::NoTokens
            | ExperimentError::NoPairs
            | ExperimentError::Engine(EngineError::NullEdit { .. })),
        ) => Ok(Err(error.to_string())),
        found => found.map(Ok),
    }
}

impl Varied {
    /// As a row below the test that decides.
    fn finding(
        &self,
        primary: &Finding,
        against: Against,
        settings: &StatsSettings,
    ) -> Result<Finding, ExperimentError> {
        let quantity = format!("{}: {}", self.variant.in_words(), primary.quantity);
        let row = |why| {
            let compared_with = self.variant.compared_with(primary);
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
        against.finding(arms, row(format!("{}{written}", levels(arms))), settings)
    }
}

/// The test that decides, with the rows of its variants behind it. It decides nothing where the sign is not the same in all
/// of them.
pub(super) fn with_variants(
    primary: Finding,
    (varied, against): (&[Varied], Against),
    settings: &StatsSettings,
) -> Result<Vec<Finding>, ExperimentError> {
    let rows = varied
        .iter()
        .map(|varied| varied.finding(&primary, against, settings));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let objection = primary.estimate().and_then(|estimate| {
        let is_other = |varied: &&Varied| {
            let arms = varied.arms.as_ref().ok();
            let difference = arms.map(|arms| against.difference(arms));
            let difference = difference.filter(|found| found.is_finite());
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
mod tests;
