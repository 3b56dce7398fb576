//! What is ranked among many draws, on few prompts: the draws, and not the prompts, make the variance.

use std::f64::consts::PI;

use super::super::ExperimentError;
use super::super::run::Run;
use super::few::Few;
use super::needs::{ClaimRuns, Need};
use super::ranked::Ranking;
use super::sets::DECIDING;
use super::signs::SignCaseArms;
use crate::io_class::Class;
use crate::stats::{WeightedRank, weighted_rank};

/// The numbers of a ranking without conditional enrichment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OfRecall {
    /// Log-probability of the answer, edited minus clean, nats.
    Target,
    /// What the first token of the answer loses, nats.
    FactLoss,
    /// What text loses, of tokens that are comparable, nats a token.
    TextLoss,
}

/// The numbers of a ranking of depletion's sign cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OfSigns {
    /// Entropy that the claim's case adds, minus the most that another one does, nats.
    Weakest,
    /// The same, minus the least.
    Strongest,
}

/// Ranks on their way.
#[derive(Default)]
pub(super) struct Rankings {
    pub recall: Option<Ranking>,
    pub entropy: Option<Ranking>,
    pub signs: Option<Ranking>,
    pub patch: Option<Ranking>,
    pub attributes: Option<Ranking>,
    /// Each sign case with the first draws, in the order of [`SIGNS`](super::signs::SIGNS); absent where the case never occurs in
    /// some set.
    pub sign_cases: Vec<Option<SignCaseArms>>,
}

/// With a larger p than this after some draws, more of them could hardly change what follows. (Who stops there rejects
/// nothing, so that it does not raise the chance of a false verdict.)
const FUTILE: f64 = 0.2;

impl Rankings {
    /// Nothing is measured yet.
    pub fn new(runs: &ClaimRuns<'_>, few: &Few) -> Self {
        let ranking = |need: Need, class: Class, tested: usize| {
            let is_asked = runs.has(need);
            let treatment = runs.sets.for_rank(runs.sets.primary(class)?)?;
            is_asked.then(|| Ranking::new(treatment, tested, runs.settings.all_draws))
        };
        let recall = ranking(Need::Recall, DECIDING, 1);
        let patch = ranking(Need::Patch, DECIDING, 1);
        let attributes = ranking(Need::Attributes, DECIDING, 1);
        Self {
            recall: recall.filter(|_| few.facts.is_some()),
            patch: patch.filter(|_| few.pairs.is_some()),
            attributes: attributes.filter(|_| few.subjects.is_some()),
            entropy: ranking(Need::Entropy, Class::Depletion, 1),
            signs: ranking(Need::SignCases, Class::Depletion, 2),
            sign_cases: Vec::new(),
        }
    }

    /// How many draws of a class were made.
    pub fn made(&self, class: Class) -> usize {
        let rankings: &[&Option<Ranking>] = match class {
            DECIDING => &[&self.recall, &self.patch, &self.attributes],
            Class::Depletion => &[&self.entropy, &self.signs],
            _ => &[],
        };
        let there = rankings.iter().filter_map(|ranking| ranking.as_ref());
        let made = there.map(Ranking::made);
        made.max().unwrap_or(0)
    }

    /// Whether both what recall loses and the direction of the damage are decided.
    fn recall_is_decided(&self) -> bool {
        let is_futile = |found: Specificity| found.rank.p > FUTILE;
        self.recall.as_ref().is_none_or(|ranking| {
            let both = || ranking.is_decided() && self.specificity().is_none_or(is_futile);
            ranking.is_through() || both()
        })
    }

    /// The next batch of each that is not decided; whether there was any.
    ///
    /// # Errors
    /// Those of the runs, of passes that other shards do after all have begun.
    pub fn go_on(
        &mut self,
        runs: &ClaimRuns<'_>,
        run: &mut Run<'_>,
        few: &Few,
    ) -> Result<bool, ExperimentError> {
        let open = |ranking: &&mut Ranking| !ranking.is_decided();
        let (mut any, mut elsewhere) = (false, None);
        let mut note = |found: Result<(), ExperimentError>| {
            any = true;
            match found {
                Err(error @ ExperimentError::OtherShards { .. }) => elsewhere = Some(error),
                found => found?,
            }
            Ok::<(), ExperimentError>(())
        };
        let is_decided = self.recall_is_decided();
        let recall = self.recall.as_mut().filter(|_| !is_decided);
        if let (Some(ranking), Some(facts)) = (recall, &few.facts) {
            note(ranking.go_on(|batch| runs.recall_numbers(run, few, facts, batch)))?;
        }
        let patch = self.patch.as_mut().filter(open);
        if let (Some(ranking), Some(pairs)) = (patch, &few.pairs) {
            note(ranking.go_on(|batch| runs.patch_numbers(run, pairs, batch)))?;
        }
        if let Some(ranking) = self.entropy.as_mut().filter(open) {
            note(ranking.go_on(|batch| runs.entropy_numbers(run, few, batch)))?;
        }
        if let Some(ranking) = self.signs.as_mut().filter(open) {
            let first = &mut self.sign_cases;
            note(ranking.go_on(|batch| runs.sign_numbers(run, few, batch, first)))?;
        }
        let attributes = self.attributes.as_mut().filter(open);
        let subjects = runs.input.subjects.as_ref().zip(few.subjects.as_ref());
        if let (Some(ranking), Some(subjects)) = (attributes, subjects) {
            note(ranking.go_on(|batch| runs.attribute_numbers(run, subjects, batch)))?;
        }
        elsewhere.map_or(Ok(any), Err)
    }
}

/// Where a class's damage goes, beside that of its random sets.
pub(super) struct Specificity {
    /// Direction of the class's damage, degrees.
    pub class: f64,
    /// That of all damage of the draws together.
    pub draws: f64,
    pub rank: WeightedRank,
}

impl Rankings {
    /// The rank of the direction of the class's damage, where each draw counts by the damage that it does: of the damage that random
    /// sets do, how much is as specific? Sets that do next to none have a direction that is noise, and hardly count. Absent
    /// where they do none at all.
    pub fn specificity(&self) -> Option<Specificity> {
        let values = |number: OfRecall| self.recall.as_ref()?.values(number as usize);
        let (class_fact, facts) = values(OfRecall::FactLoss)?;
        let (class_text, texts) = values(OfRecall::TextLoss)?;
        let pairs = || facts.iter().copied().zip(texts.iter().copied());
        let directions: Vec<f64> = pairs().map(|(fact, text)| direction(fact, text)).collect();
        let weights: Vec<f64> = pairs().map(|(fact, text)| damage(fact, text)).collect();
        let class = direction(class_fact, class_text);
        Some(Specificity {
            class,
            draws: direction(facts.iter().sum(), texts.iter().sum()),
            rank: weighted_rank(class, &directions, &weights)?,
        })
    }
}

/// The direction of a damage, degrees: 0 where text alone loses, 90 where known answers alone do, 45 where both lose as much a
/// token. It is the ratio of the two losses, for a set that damages one of them, too; twice the damage has the same
/// direction.
fn direction(fact_loss: f64, text_loss: f64) -> f64 {
    fact_loss.atan2(text_loss) * 180.0 / PI
}

/// How much it is: what improves is no damage.
fn damage(fact_loss: f64, text_loss: f64) -> f64 {
    fact_loss.max(0.0).hypot(text_loss.max(0.0))
}

#[cfg(test)]
mod tests;
