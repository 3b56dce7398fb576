//! What is ranked among many draws, on few prompts: the draws, and not the prompts, make the variance.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::super::ExperimentError;
use super::super::LayerWindow;
use super::super::ablate::ablate;
use super::super::attributes::{AttributeInput, RateSettings, Share, attributes, default_layers};
use super::super::effects::Arms;
use super::super::metric::Metric;
use super::super::outcome::{Arm, PromptSubset};
use super::super::plan::{AblationPlan, Treatment};
use super::super::run::Run;
use super::super::score::TokenScore;
use super::super::text::{TokenSink, ablate_text};
use super::against::of;
use super::needs::{ClaimRuns, Need, SIGNS, SignCaseArms};
use super::ranked::Ranking;
use super::tokens::{as_sure_as, weighted_rise};
use crate::hooks::Mode;
use crate::io_class::Class;
use crate::stats::{WeightedRank, weighted_rank};
use crate::tokens::{TokenBatch, TokenError, Window};

/// Known facts that a rank is on, spread over the relations.
const FACTS: usize = 40;

/// Documents of the text that a rank is on, the first ones.
const DOCUMENTS: usize = 20;

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
    pub attributes: Option<Ranking>,
}

/// What ranks are on; absent where nothing is known, or nothing asked for.
#[derive(Default)]
pub(super) struct Few {
    /// Known facts.
    pub facts: Option<TokenBatch>,
    /// Prompts up to their subjects, of known facts.
    pub subjects: Option<TokenBatch>,
}

impl Rankings {
    /// Nothing is measured yet.
    pub fn new(runs: &ClaimRuns<'_>, few: &Few) -> Self {
        let ranking = |need: Need, class: Class, tested: usize| {
            let is_asked = runs.has(need);
            let treatment = runs.sets.for_rank(runs.sets.primary(class)?)?;
            is_asked.then(|| Ranking::new(treatment, tested, runs.settings.all_draws))
        };
        let recall = ranking(Need::Recall, Class::ConditionalEnrichment, 1);
        let attributes = ranking(Need::Attributes, Class::ConditionalEnrichment, 1);
        Self {
            recall: recall.filter(|_| few.facts.is_some()),
            attributes: attributes.filter(|_| few.subjects.is_some()),
            entropy: ranking(Need::Text(Class::Depletion), Class::Depletion, 1),
            signs: ranking(Need::SignCases, Class::Depletion, 2),
        }
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
        if let (Some(ranking), Some(facts)) = (self.recall.as_mut().filter(open), &few.facts) {
            note(ranking.go_on(|batch| runs.recall_numbers(run, facts, batch)))?;
        }
        if let Some(ranking) = self.entropy.as_mut().filter(open) {
            note(ranking.go_on(|batch| runs.entropy_numbers(run, batch)))?;
        }
        if let Some(ranking) = self.signs.as_mut().filter(open) {
            note(ranking.go_on(|batch| runs.sign_numbers(run, batch)))?;
        }
        let attributes = self.attributes.as_mut().filter(open);
        if let (Some(ranking), Some(subjects)) = (attributes, &few.subjects) {
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

/// Some of the known facts, one of each relation after the other.
pub(super) fn spread_over_relations(
    known: &TokenBatch,
    seed: u64,
) -> Result<TokenBatch, TokenError> {
    let mut relations: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for sequence in known.sequences() {
        let relation = relations.entry(sequence.cluster).or_default();
        relation.push(sequence.prompt);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut relations: Vec<Vec<usize>> = relations.into_values().collect();
    for relation in &mut relations {
        relation.sort_unstable();
        relation.shuffle(&mut rng);
    }
    relations.shuffle(&mut rng);
    let longest = relations.iter().map(Vec::len).max().unwrap_or(0);
    let rounds = (0..longest).flat_map(|round| relations.iter().filter_map(move |r| r.get(round)));
    let chosen: Vec<usize> = rounds.take(FACTS).copied().collect();
    known.subset(&chosen)
}

impl ClaimRuns<'_> {
    /// The text that ranks are on.
    fn few_documents(&self) -> &[Window] {
        &self.input.windows[..self.input.windows.len().min(DOCUMENTS)]
    }

    /// The numbers of [`OfRecall`].
    fn recall_numbers(
        &self,
        run: &mut Run<'_>,
        facts: &TokenBatch,
        batch: &Treatment,
    ) -> Result<Vec<Vec<f64>>, ExperimentError> {
        let plan = self.plan(vec![batch.clone()], Mode::Zero);
        let recall = ablate(run, self.engine, facts, &plan);
        // Both are begun before either is waited for.
        let text = self.text_scores(run, &plan);
        let (recall, text) = (recall?, text?);
        let arms = |metric| recall.arms(0, PromptSubset::Known, &metric);
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
        plan: &AblationPlan,
    ) -> Result<Vec<Vec<TokenScore>>, ExperimentError> {
        type Place = (usize, usize, usize);
        let mut scores: Vec<BTreeMap<Place, TokenScore>> = vec![BTreeMap::new(); plan.len()];
        let sink: TokenSink<'_> = &mut |outcomes| {
            for outcome in outcomes {
                let number = match outcome.condition.arm {
                    Arm::Clean => 0,
                    Arm::Class => 1,
                    Arm::Baseline => 2 + outcome.condition.draw as usize,
                };
                let place = (outcome.document, outcome.window, outcome.position);
                scores[number].insert(place, outcome.score);
            }
            Ok(())
        };
        ablate_text(run, self.engine, self.few_documents(), plan, sink)?;
        let in_order = scores
            .into_iter()
            .map(|scores| scores.into_values().collect());
        Ok(in_order.collect())
    }

    /// Entropy of the text's predictions, edited minus clean, nats.
    fn entropy_numbers(
        &self,
        run: &mut Run<'_>,
        batch: &Treatment,
    ) -> Result<Vec<Vec<f64>>, ExperimentError> {
        let plan = self.plan(vec![batch.clone()], Mode::Zero);
        let sink: TokenSink<'_> = &mut |_| Ok(());
        let text = ablate_text(run, self.engine, self.few_documents(), &plan, sink)?;
        Ok(vec![changes(&text.arms(0, Metric::TOKEN_ENTROPY))])
    }

    /// Attribute rate with the subjects' own texts minus that with other subjects', edited minus clean.
    fn attribute_numbers(
        &self,
        run: &mut Run<'_>,
        few: &TokenBatch,
        batch: &Treatment,
    ) -> Result<Vec<Vec<f64>>, ExperimentError> {
        let Some(subjects) = &self.input.subjects else {
            return Ok(Vec::new());
        };
        let input = AttributeInput {
            batch: few,
            ..*subjects
        };
        let plan = AblationPlan {
            subset: PromptSubset::All, // they are known
            ..self.plan(vec![batch.clone()], Mode::Zero)
        };
        let rates = attributes(run, self.engine, &input, &plan, RateSettings::published())?;
        let layers = default_layers(self.input.table.layers.len());
        let layers = LayerWindow {
            first: layers.start,
            last: layers.end - 1,
        };
        let excess = rates.arms((0, 0), layers, Share::excess).arms;
        Ok(vec![changes(&excess)])
    }

    /// The numbers of [`OfSigns`].
    fn sign_numbers(
        &self,
        run: &mut Run<'_>,
        batch: &Treatment,
    ) -> Result<Vec<Vec<f64>>, ExperimentError> {
        let cases = self.sign_cases(run, batch, self.few_documents())?;
        let added = |case: &Option<SignCaseArms>| case.as_ref().map(|case| changes(&case.arms));
        let added: Vec<Option<Vec<f64>>> = cases.iter().map(added).collect();
        let sets = 1 + batch.baseline.len();
        // A case that never occurs adds nothing.
        let of_set = |case: usize, set: usize| added[case].as_ref().map_or(0.0, |added| added[set]);
        let apart = |set: usize, pick: fn(f64, f64) -> f64| {
            let others = (1..SIGNS.len()).map(|case| of_set(case, set));
            of_set(0, set) - others.reduce(pick).unwrap_or(0.0)
        };
        let numbers = |pick: fn(f64, f64) -> f64| (0..sets).map(|set| apart(set, pick)).collect();
        Ok(vec![numbers(f64::max), numbers(f64::min)])
    }
}

/// Means of the class and of each draw, minus clean.
fn changes(arms: &Arms) -> Vec<f64> {
    let clean = of(&arms.clean);
    let sets = std::iter::once(&arms.class).chain(&arms.draws);
    sets.map(|set| of(set) - clean).collect()
}

#[cfg(test)]
mod tests;
