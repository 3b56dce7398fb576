//! Known facts whose conditional enrichment neurons have, at the subject, the values of another subject.

use std::collections::BTreeSet;

use super::super::ExperimentError;
use super::super::ablate::ablate;
use super::super::effects::Arms;
use super::super::facts::Facts;
use super::super::metric::Metric;
use super::super::outcome::PromptSubset;
use super::super::plan::{AblationPlan, Treatment};
use super::super::run::Run;
use super::few::Few;
use super::needs::{ClaimRuns, Need};
use super::numbers::changes;
use super::sets::DECIDING;
use super::variants::{Variant, Varied, or_nothing, there};
use crate::hooks::{Mode, Reference};
use crate::tokens::{Positions, TokenBatch};

/// Known facts, patched from their counterfactuals.
pub(super) struct Patched {
    /// Logit of the answer minus that of the counterfactual's.
    pub logit_diff: Arms,
    /// What is left of the difference to the counterfactual's.
    pub recovered: Arms,
    /// That difference: the counterfactuals' own minus the facts', mean, logits.
    pub range: Option<f64>,
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
        let Some(treatment) = self.sets.primary_with_draws(DECIDING) else {
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
        let treatment = self.sets.primary_with_draws(DECIDING);
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
