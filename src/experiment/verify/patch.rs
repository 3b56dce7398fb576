//! The claim about pairs: what becomes of known answers where conditional enrichment neurons have, at the subject, the values
//! of another subject (activation patching: Heimersheim and Nanda 2024, arXiv 2404.15255).

use std::collections::BTreeSet;

use super::super::ExperimentError;
use super::super::ablate::ablate;
use super::super::effects::Arms;
use super::super::facts::Facts;
use super::super::metric::Metric;
use super::super::outcome::PromptSubset;
use super::super::plan::{AblationPlan, Treatment};
use super::super::run::Run;
use super::against::{Against, DRAWS, against_draws, levels, no_class, of, shortfall_in_words};
use super::few::Few;
use super::finding::{Direction, Finding, Room};
use super::needs::{ClaimRuns, Need};
use super::numbers::changes;
use super::results::Results;
use super::variants::{Variant, Varied, or_nothing, there, with_variants};
use crate::hooks::{Mode, Reference};
use crate::io_class::Class;
use crate::tokens::{Positions, TokenBatch};

/// The class that decides.
const CLASS: Class = Class::ConditionalEnrichment;

/// Known facts, patched from their counterfactuals.
pub(super) struct Patched {
    /// Logit of the answer minus that of the counterfactual's.
    logit_diff: Arms,
    /// What is left of the difference to the counterfactual's.
    recovered: Arms,
    /// That difference: the counterfactuals' own minus the facts', mean, logits.
    range: Option<f64>,
}

impl ClaimRuns<'_> {
    /// The facts of these that can be patched at their subject; nothing where that is not asked for, or there are none.
    pub fn pairs(&self, known: &TokenBatch) -> Result<Option<TokenBatch>, ExperimentError> {
        let asked = self.input.counterfactuals.filter(|_| self.has(Need::Patch));
        let Some(others) = asked else {
            return Ok(None);
        };
        let others = others.sequences().iter().map(|other| other.prompt);
        let others: BTreeSet<usize> = others.collect();
        let pairs = known
            .sequences()
            .iter()
            .filter(|fact| !fact.subject.is_empty() && others.contains(&fact.prompt));
        let pairs: Vec<usize> = pairs.map(|fact| fact.prompt).collect();
        if pairs.is_empty() {
            return Ok(None);
        }
        Ok(Some(known.subset(&pairs)?))
    }

    fn patch_plan(&self, treatments: Vec<Treatment>) -> AblationPlan {
        AblationPlan {
            mode: Mode::Patch(Reference::OwnPrompts),
            positions: Positions::Subject,
            ..self.plan(treatments)
        }
    }

    fn patch_arms(
        &self,
        run: &mut Run<'_>,
        pairs: &TokenBatch,
        plan: &AblationPlan,
    ) -> Result<Patched, ExperimentError> {
        let facts = Facts {
            counterfactual: self.input.counterfactuals,
            ..Facts::from(pairs)
        };
        let found = ablate(run, self.engine, facts, plan)?;
        let arms = |metric| found.arms(0, PromptSubset::All, metric);
        Ok(Patched {
            logit_diff: arms(&Metric::LOGIT_DIFF),
            recovered: arms(&Metric::RECOVERED),
            range: found.range(),
        })
    }

    /// All pairs, with the draws that estimates are over, or why nothing could be patched; nothing without such neurons.
    pub fn patched(
        &self,
        run: &mut Run<'_>,
        pairs: &TokenBatch,
    ) -> Result<Option<Result<Patched, String>>, ExperimentError> {
        let member = self.sets.primary(CLASS);
        let Some(treatment) = member.and_then(|member| self.sets.with_draws(member)) else {
            return Ok(None);
        };
        let plan = self.patch_plan(vec![treatment]);
        or_nothing(self.patch_arms(run, pairs, &plan)).map(Some)
    }

    /// Change of the difference of the logits, of the class and of each draw.
    pub fn patch_numbers(
        &self,
        run: &mut Run<'_>,
        pairs: &TokenBatch,
        batch: &Treatment,
    ) -> Result<Vec<Vec<f64>>, ExperimentError> {
        let plan = self.patch_plan(vec![batch.clone()]);
        let patched = self.patch_arms(run, pairs, &plan)?;
        Ok(vec![changes(&patched.logit_diff)])
    }

    /// The same on few pairs whose subject is behind the first position.
    pub fn patch_varied(
        &self,
        run: &mut Run<'_>,
        few: &Few,
    ) -> Result<Vec<Varied>, ExperimentError> {
        let beyond_first = few.pairs.as_ref().map(beyond_first).transpose()?.flatten();
        let variants = [Variant::NotFirst, Variant::Contribution];
        let variants = variants.map(|variant| (variant, beyond_first.as_ref()));
        let member = self.sets.primary(CLASS);
        let treatment = member.and_then(|member| self.sets.with_draws(member));
        let plan = self.patch_plan(treatment.into_iter().collect());
        let variants = there(variants.into_iter());
        self.plan_varied(run, (plan, "pairs"), &variants, &mut |run, pairs, plan| {
            Ok(self.patch_arms(run, pairs, plan)?.logit_diff)
        })
    }
}

/// Those whose subject does not begin at the first position.
fn beyond_first(pairs: &TokenBatch) -> Result<Option<TokenBatch>, ExperimentError> {
    let facts = pairs
        .sequences()
        .iter()
        .filter(|fact| fact.subject.start > 0);
    let facts: Vec<usize> = facts.map(|fact| fact.prompt).collect();
    if facts.is_empty() {
        return Ok(None);
    }
    Ok(Some(pairs.subset(&facts)?))
}

/// Known answers with conditional enrichment patched at the subject, against draws.
pub(super) fn enrichment_patch(results: &Results<'_>) -> Result<Vec<Finding>, ExperimentError> {
    let quantity = format!(
        "logit of known answers minus that of the counterfactual's, {CLASS} patched at the subject, logits"
    );
    let missing = no_class(CLASS, &quantity, Direction::Lower).primary();
    let treatment = results.sets.primary(CLASS);
    let Some(treatment) = treatment.and_then(|member| results.sets.treatment(member)) else {
        return Ok(vec![missing]);
    };
    let patched = match &results.patched {
        None => Err("no known fact has a counterfactual and a subject to be patched at"),
        Some(patched) => patched.as_ref().map_err(String::as_str),
    };
    let ranking = results.rankings.patch.as_ref();
    let ranked = ranking.and_then(|ranking| ranking.number(0));
    let (patched, ranked) = match (patched, ranked) {
        (Err(why), _) => {
            let why = why.to_string();
            return Ok(vec![Finding { why, ..missing }]);
        }
        (Ok(patched), Some(ranked)) => (patched, ranked),
        (Ok(_), None) => return Ok(vec![missing]),
    };
    let why = format!(
        "{}; of the difference to the counterfactuals {:.3} is left, with draws {:.3}{}",
        levels(&patched.logit_diff),
        of(&patched.recovered.class),
        of(&patched.recovered.draws.concat()),
        shortfall_in_words(treatment)
    );
    let settings = &results.settings.statistics;
    let blank = Finding::missing(&quantity, Direction::Lower, DRAWS, why);
    let finding = against_draws(&patched.logit_diff, blank, settings)?;
    let finding = finding.primary().ranked(&ranked);
    let largest = patched.range;
    let room = Room {
        largest,
        ..finding.room
    };
    let finding = Finding { room, ..finding };
    with_variants(finding, (&results.varied.patch, Against::Draws), settings)
}
