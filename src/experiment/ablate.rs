//! The ablation experiment: clean on every prompt, then the edits on those that count.

use std::collections::{BTreeMap, BTreeSet};

use super::ExperimentError;
use super::effects::{Arms, Effect, adjust};
use super::known::{KnownByRelation, KnownIn, KnownWhen, known_by_relation};
use super::metric::{Metric, Source, of_facts};
use super::outcome::{Outcome, PromptSubset};
use super::part::Sharing;
use super::plan::{AblationPlan, Conditions, PatchDirection};
use super::recovered::recovered;
use super::reference::{CleanReference, Units, resolve};
use super::run::Run;
use super::score::Score;
use super::stage::{NullEdits, Stage};
use super::unedited::{Scores, Unedited, run_clean, run_scores};
use crate::engine::Engine;
use crate::hooks::{EditCount, Needs};
use crate::prompts::Prompt;
use crate::stats::{Clusters, StatsSettings, mean};
use crate::tokens::TokenBatch;

/// What is asked, each fact under its number.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The prompts that effects are measured on.
    pub asked: &'a TokenBatch,
    /// The same facts in other words, where these tell what is known: who is chosen by the very prompt that the effect is
    /// measured on falls back by itself (regression to the mean).
    pub rephrased: Option<&'a TokenBatch>,
    /// The other questions of those that have one
    /// ([`tokenize_counterfactuals`](crate::tokens::tokenize_counterfactuals)).
    pub counterfactual: Option<&'a TokenBatch>,
    /// When they count as known.
    pub known: KnownWhen<'a>,
}

impl<'a> From<&'a TokenBatch> for Facts<'a> {
    fn from(asked: &'a TokenBatch) -> Self {
        Self {
            asked,
            rephrased: None,
            counterfactual: None,
            known: KnownWhen::First,
        }
    }
}

/// What an ablation experiment measured.
pub struct Ablation {
    conditions: Conditions,
    /// Of the facts; of the counterfactuals where these were edited, but for the clean ones.
    scores: Scores,
    /// Of the counterfactuals, unedited, where values were patched.
    corrupted: Option<BTreeMap<usize, Score>>,
    direction: PatchDirection,
    known: BTreeSet<usize>,
    /// Of each prompt, see [`Sequence::cluster`](crate::tokens::Sequence::cluster).
    clusters: BTreeMap<usize, usize>,
    /// How many facts are known in which words, where both were asked.
    pub known_in: Option<KnownIn>,
    /// Prompts that the edits were run on.
    pub edited_prompts: usize,
    /// Prompts that would have been edited, and have nothing to be patched from.
    pub without_pair: Vec<usize>,
    /// Values that the edits of all conditions changed.
    pub changed: EditCount,
    /// Where the values of the mode came from, if they came from these prompts.
    pub reference: Option<CleanReference>,
    /// How often the layers were walked through.
    pub passes: usize,
}

/// Runs the plan: the clean model on all facts, then every condition on the prompts of the plan's subset. The clean outcomes of
/// those prompts come from the same pass as the edited ones.
///
/// # Errors
/// Those of the engine and of [`Run::measure`]; [`ExperimentError::NothingKnown`]; [`ExperimentError::NoPairs`] where values
/// are to be patched and no chosen fact has another question.
pub fn ablate<'a>(
    run: &mut Run<'_>,
    engine: &Engine<'_>,
    facts: impl Into<Facts<'a>>,
    plan: &AblationPlan,
) -> Result<Ablation, ExperimentError> {
    let facts = facts.into();
    let batch = facts.asked;
    // Too little memory for one edit beside the clean run shows before anything runs.
    engine.tokens_per_pass(batch, plan.len().min(2))?;
    let unedited = run_clean(run, engine, batch)?;
    let rephrased = facts.rephrased.map(|facts| run_clean(run, engine, facts));
    let rephrased = rephrased.transpose()?;
    let known_of = |unedited: &Unedited, batch| {
        let scores = &unedited.scores;
        facts.known.known((&*run, engine), batch, scores)
    };
    let same = known_of(&unedited, batch)?;
    let other = rephrased.as_ref().zip(facts.rephrased);
    let other = other.map(|(unedited, batch)| known_of(unedited, batch));
    let other = other.transpose()?;
    let known_in = other.as_ref().map(|other| KnownIn {
        same: same.len(),
        rephrased: other.len(),
        both: same.intersection(other).count(),
    });
    let known = other.unwrap_or(same);
    let chosen = match plan.subset {
        PromptSubset::All => unedited.scores.keys().copied().collect(),
        PromptSubset::Known if known.is_empty() => {
            let prompts = unedited.prompts();
            return Err(ExperimentError::NothingKnown { prompts });
        }
        PromptSubset::Known => known.iter().copied().collect(),
    };
    let chosen = Chosen::of(chosen, &facts, plan)?;
    let mut passes = unedited.passes + rephrased.map_or(0, |other| other.passes);
    let units = Units {
        all: batch,
        edited: &chosen.edited,
        paired: chosen.paired.as_ref(),
    };
    let resolved = resolve(engine, plan, units, run.progress())?;
    let conditions = plan.conditions(&resolved.mode);
    let stage = Stage {
        engine: &engine.beside(resolved.bytes),
        batch: &chosen.edited,
        unit: "prompts",
        conditions: &conditions.run,
        sharing: Sharing::Shared,
        null_edits: NullEdits::Refused,
    };
    let other = chosen.corrupted.as_ref();
    let other = other.map(|corrupted| run_clean(run, engine, corrupted));
    let other = other.transpose()?;
    let (mut scores, ran) = run_scores(run, &stage)?;
    passes += resolved.passes + ran.passes + other.as_ref().map_or(0, |other| other.passes);
    let mut clean = unedited.scores;
    let corrupted = match (&chosen.paired, plan.direction) {
        (None, _) => None,
        (Some(_), PatchDirection::Noise) => other.map(|other| other.scores),
        (Some(_), PatchDirection::Denoise) => Some(std::mem::take(&mut scores[0])),
    };
    clean.append(&mut scores[0]);
    scores[0] = clean;
    Ok(Ablation {
        conditions,
        scores,
        corrupted,
        direction: plan.direction,
        known,
        clusters: batch
            .sequences()
            .iter()
            .map(|s| (s.prompt, s.cluster))
            .collect(),
        known_in,
        edited_prompts: chosen.edited.sequences().len(),
        without_pair: chosen.without_pair,
        changed: ran.changed(),
        reference: resolved.reference,
        passes,
    })
}

/// The prompts that a plan edits.
struct Chosen {
    edited: TokenBatch,
    /// What they are patched from.
    paired: Option<TokenBatch>,
    /// Counterfactuals that are run for their own scores, since they are not edited.
    corrupted: Option<TokenBatch>,
    without_pair: Vec<usize>,
}

impl Chosen {
    /// Those of the facts in `chosen` that have all that the plan needs.
    fn of(
        chosen: Vec<usize>,
        facts: &Facts<'_>,
        plan: &AblationPlan,
    ) -> Result<Self, ExperimentError> {
        if plan.mode.needs() != Needs::Counterfactuals {
            return Ok(Self {
                edited: facts.asked.subset(&chosen)?,
                paired: None,
                corrupted: None,
                without_pair: Vec::new(),
            });
        }
        let counterfactual = facts.counterfactual.ok_or(ExperimentError::NoPairs)?;
        let sequences = counterfactual.sequences().iter();
        let there: BTreeSet<usize> = sequences.map(|sequence| sequence.prompt).collect();
        let (paired, without_pair): (Vec<usize>, Vec<usize>) = chosen
            .into_iter()
            .partition(|prompt| there.contains(prompt));
        if paired.is_empty() {
            return Err(ExperimentError::NoPairs);
        }
        let fact = facts.asked.subset(&paired)?;
        let other = counterfactual.subset(&paired)?;
        Ok(match plan.direction {
            PatchDirection::Noise => Self {
                edited: fact,
                corrupted: Some(other.clone()),
                paired: Some(other),
                without_pair,
            },
            PatchDirection::Denoise => Self {
                edited: other,
                paired: Some(fact),
                corrupted: None,
                without_pair,
            },
        })
    }
}

impl Ablation {
    /// Prompts that count as known, ascending: the first target token is the clean model's top-1, after the prompt or after
    /// its other words.
    pub fn known(&self) -> Vec<usize> {
        self.known.iter().copied().collect()
    }

    /// One record per prompt and condition: clean first, then condition by condition, and the counterfactuals where there are any.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome<'_>> {
        let corrupted = self
            .corrupted
            .iter()
            .map(|scores| (scores, &self.conditions.corrupted));
        let of_conditions = self.scores.iter().zip(&self.conditions.rows);
        of_conditions
            .chain(corrupted)
            .flat_map(|(scores, condition)| {
                scores.iter().map(|(prompt, score)| Outcome {
                    prompt: *prompt,
                    condition,
                    known: self.known.contains(prompt),
                    score: *score,
                })
            })
    }

    /// The effects of the plan that was run, in its order of classes; `prompts`, those of the batch, name the relations.
    ///
    /// # Errors
    /// Those of the statistics.
    pub fn effects(
        &self,
        plan: &AblationPlan,
        prompts: &[Prompt],
        settings: &StatsSettings,
    ) -> Result<Vec<Effect>, ExperimentError> {
        let subsets: &[PromptSubset] = match plan.subset {
            PromptSubset::Known => &[PromptSubset::Known],
            PromptSubset::All => &[PromptSubset::Known, PromptSubset::All],
        };
        let mut effects = Vec::new();
        for (at, treatment) in plan.treatments.iter().enumerate() {
            for &subset in subsets {
                for metric in of_facts() {
                    let arms = plan.by_path(at, |at| self.arms(at, subset, metric));
                    for (path, arms) in arms {
                        if arms.class.is_empty() {
                            continue;
                        }
                        let by_relation = if metric == plan.primary() {
                            arms.by_relation(self.relations(subset, prompts))
                        } else {
                            Vec::new()
                        };
                        let how = (plan.mode.to_string(), path);
                        let effect = arms.effect(treatment, how, *metric, subset, settings)?;
                        effects.push(Effect {
                            by_relation,
                            ..effect
                        });
                    }
                }
            }
        }
        adjust(&mut effects, plan.primary(), plan.subset);
        Ok(effects)
    }

    /// The prompts of a subset that the edits were run on.
    fn edited(&self, subset: PromptSubset) -> impl Iterator<Item = usize> {
        let edited = self.scores.last().into_iter().flat_map(BTreeMap::keys);
        edited
            .copied()
            .filter(move |prompt| subset == PromptSubset::All || self.known.contains(prompt))
    }

    /// The relations of a subset in the order of their clusters; none where no prompt has one.
    fn relations(&self, subset: PromptSubset, prompts: &[Prompt]) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let clusters = self.edited(subset).map(|prompt| self.clusters[&prompt]);
        let first = clusters.filter(|cluster| seen.insert(*cluster));
        let relation = |cluster: usize| prompts.get(cluster)?.relation.clone();
        let relations: Vec<Option<String>> = first.map(relation).collect();
        if relations.iter().all(Option::is_none) {
            return Vec::new();
        }
        relations
            .into_iter()
            .map(Option::unwrap_or_default)
            .collect()
    }

    /// A metric of every prompt of a subset that has it, arm by arm, of a comparison of the plan by its number. The arm
    /// `clean` is the run that is edited, so that it is the counterfactual's where that is.
    pub(super) fn arms(&self, comparison: usize, subset: PromptSubset, metric: &Metric) -> Arms {
        let read = match metric.of {
            Source::Fact(of) => of,
            Source::Recovered => |score: &Score| score.logit_diff,
            Source::Token(_) | Source::Subject(_) => |_: &Score| None,
        };
        let unedited = match (self.direction, &self.corrupted) {
            (PatchDirection::Denoise, Some(corrupted)) => corrupted,
            _ => &self.scores[0],
        };
        let has_it = |prompt: &usize| unedited.get(prompt).and_then(read).is_some();
        let prompts: Vec<usize> = self.edited(subset).filter(has_it).collect();
        let values = |scores: &BTreeMap<usize, Score>| -> Vec<f64> {
            let scores = prompts.iter().filter_map(|prompt| scores.get(prompt));
            scores.filter_map(read).collect()
        };
        let arms = Arms {
            clean: values(unedited),
            class: values(&self.scores[self.conditions.class(comparison)]),
            draws: self
                .conditions
                .draws(comparison)
                .map(|draw| values(&self.scores[draw]))
                .collect(),
            clusters: Clusters::of(prompts.iter().map(|prompt| self.clusters[prompt])),
        };
        match (metric.of, &self.corrupted) {
            (Source::Recovered, Some(corrupted)) => {
                recovered(arms, &values(&self.scores[0]), &values(corrupted))
            }
            (Source::Recovered, None) => Arms::default(),
            _ => arms,
        }
    }

    /// What there is to lose where values are patched: the logit difference of the counterfactuals minus that of their facts,
    /// unedited, mean over all pairs.
    pub(super) fn range(&self) -> Option<f64> {
        let corrupted = self.corrupted.as_ref()?.iter();
        let ranges = corrupted.filter_map(|(prompt, score)| {
            let clean = self.scores[0].get(prompt)?;
            Some(score.logit_diff? - clean.logit_diff?)
        });
        mean(&ranges.collect::<Vec<f64>>())
    }

    /// How many prompts of each relation the model knows, in the relations' order of first appearance. `prompts` are
    /// those of the batch; one that is not among them has no relation.
    pub fn known_by_relation(&self, prompts: &[Prompt]) -> Vec<KnownByRelation> {
        known_by_relation(self.scores[0].keys().copied(), &self.known, prompts)
    }
}

#[cfg(test)]
mod tests;
