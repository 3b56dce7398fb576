//! The numbers of each set that ranks are in.

use std::collections::BTreeMap;

use super::super::ExperimentError;
use super::super::ablate::ablate;
use super::super::attributes::{AttributeInput, Share};
use super::super::effects::Arms;
use super::super::metric::Metric;
use super::super::outcome::{Arm, PromptSubset};
use super::super::plan::{AblationPlan, Treatment};
use super::super::run::Run;
use super::super::score::TokenScore;
use super::super::text::{TokenSink, ablate_text};
use super::against::of;
use super::few::Few;
use super::needs::ClaimRuns;
use super::rates::mean_layers;
use super::signs::{Other, SignCaseArms, beside_others};
use super::tokens::{as_sure_as, weighted_rise};
use crate::tokens::TokenBatch;

impl ClaimRuns<'_> {
    /// The numbers of [`OfRecall`](super::rankings::OfRecall).
    pub fn recall_numbers(
        &self,
        run: &mut Run<'_>,
        few: &Few,
        facts: &TokenBatch,
        batch: &Treatment,
    ) -> Result<Vec<Vec<f64>>, ExperimentError> {
        let plan = self.plan(vec![batch.clone()]);
        let recall = ablate(run, self.engine, facts, &plan);
        // Both are begun before either is waited for.
        let text = self.text_scores(run, few, &plan);
        let (recall, text) = (recall?, text?);
        let arms = |metric| recall.arms(0, PromptSubset::All, &metric);
        let (target, first) = (arms(Metric::TARGET_LOGPROB), arms(Metric::FIRST_LOGPROB));
        let fact_losses = changes(&first).into_iter().map(|change| -change);
        let clean = &text[0];
        let weights = as_sure_as(&first.clean, clean);
        let rise = |edited: &Vec<TokenScore>| weighted_rise(&weights, clean, edited);
        let text_losses = text[1..].iter().map(rise).collect();
        Ok(vec![changes(&target), fact_losses.collect(), text_losses])
    }

    /// The scores of every token: clean, class, draws.
    fn text_scores(
        &self,
        run: &mut Run<'_>,
        few: &Few,
        plan: &AblationPlan,
    ) -> Result<Vec<Vec<TokenScore>>, ExperimentError> {
        type Place = (usize, usize, usize);
        let mut scores: Vec<BTreeMap<Place, TokenScore>> = vec![BTreeMap::new(); plan.len()];
        let sink: TokenSink<'_> = &mut |outcomes| {
            for outcome in outcomes {
                let number = match outcome.condition.arm {
                    Arm::Clean | Arm::Corrupted => 0,
                    Arm::Class => 1,
                    Arm::Baseline => 2 + outcome.condition.draw as usize,
                };
                let place = (outcome.document, outcome.window, outcome.position);
                scores[number].insert(place, outcome.score);
            }
            Ok(())
        };
        ablate_text(run, self.engine, &few.documents, plan, sink)?;
        let in_order = scores
            .into_iter()
            .map(|scores| scores.into_values().collect());
        Ok(in_order.collect())
    }

    /// Entropy of the text's predictions, edited minus clean, nats.
    pub fn entropy_numbers(
        &self,
        run: &mut Run<'_>,
        few: &Few,
        batch: &Treatment,
    ) -> Result<Vec<Vec<f64>>, ExperimentError> {
        let plan = self.plan(vec![batch.clone()]);
        let text = self.text(run, &few.documents, &plan)?;
        Ok(vec![changes(&text.arms(0, Metric::TOKEN_ENTROPY))])
    }

    /// The numbers of [`OfSigns`](super::rankings::OfSigns). The cases of the first batch stay in `first`, with as many draws as
    /// estimates are over.
    pub fn sign_numbers(
        &self,
        run: &mut Run<'_>,
        few: &Few,
        batch: &Treatment,
        first: &mut Vec<Option<SignCaseArms>>,
    ) -> Result<Vec<Vec<f64>>, ExperimentError> {
        let plan = self.plan(vec![batch.clone()]);
        let mut cases = self.sign_cases(run, &few.documents, &plan)?;
        let numbers = [Other::Strongest, Other::Weakest].map(|other| {
            beside_others(&cases, other)
                .map_or(vec![0.0; 1 + batch.baseline.len()], |a| changes(&a))
        });
        if first.is_empty() {
            for case in cases.iter_mut().flatten() {
                case.arms.draws.truncate(self.settings.draws);
            }
            *first = cases;
        }
        Ok(numbers.to_vec())
    }

    /// Attribute rate with the subjects' own texts minus that with other subjects', edited minus clean.
    pub fn attribute_numbers(
        &self,
        run: &mut Run<'_>,
        subjects: (&AttributeInput<'_>, &TokenBatch),
        batch: &Treatment,
    ) -> Result<Vec<Vec<f64>>, ExperimentError> {
        let rates = self.attributes(run, subjects, &self.plan(vec![batch.clone()]))?;
        let excess = rates.arms((0, 0), mean_layers(self.input.table), Share::excess);
        Ok(vec![changes(&excess.arms)])
    }
}

/// Means of the class and of each draw, minus clean.
pub(super) fn changes(arms: &Arms) -> Vec<f64> {
    let clean = of(&arms.clean);
    let sets = std::iter::once(&arms.class).chain(&arms.draws);
    sets.map(|set| of(set) - clean).collect()
}
