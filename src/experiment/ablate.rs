//! The ablation experiment: clean on every prompt, then the edits on those that count.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::ExperimentError;
use super::effects::{Arms, Effect, adjust};
use super::metric::{Metric, Source, of_facts};
use super::outcome::{Outcome, PromptSubset};
use super::part::Sharing;
use super::plan::{AblationPlan, Conditions};
use super::reference::{CleanReference, resolve};
use super::run::{Ran, Run};
use super::score::{FactScores, Score};
use super::stage::{NullEdits, Stage};
use crate::engine::Engine;
use crate::hooks::{Condition, EditCount};
use crate::prompts::Prompt;
use crate::stats::{Clusters, StatsSettings};
use crate::tokens::TokenBatch;

/// What an ablation experiment measured.
pub struct Ablation {
    conditions: Conditions,
    scores: Scores,
    known: BTreeSet<usize>,
    /// Of each prompt, see [`Sequence::cluster`](crate::tokens::Sequence::cluster).
    clusters: BTreeMap<usize, usize>,
    /// How many facts are known in which words, where both were asked.
    pub known_in: Option<KnownIn>,
    /// Prompts that the edits were run on.
    pub edited_prompts: usize,
    /// Values that the edits of all conditions changed.
    pub changed: EditCount,
    /// Where the values of the mode came from, if they came from these prompts.
    pub reference: Option<CleanReference>,
    /// How often the layers were walked through.
    pub passes: usize,
}

/// Scores by condition, then by prompt.
pub(super) type Scores = Vec<BTreeMap<usize, Score>>;

/// Runs the plan: the clean model on all of `batch`, then every condition on the prompts of the
/// plan's subset. The clean outcomes of those prompts come from the same pass as the edited ones.
///
/// # Errors
/// Those of the engine and of [`Run::measure`]; [`ExperimentError::NothingKnown`].
pub fn ablate(
    run: &mut Run<'_>,
    engine: &Engine<'_>,
    batch: &TokenBatch,
    plan: &AblationPlan,
) -> Result<Ablation, ExperimentError> {
    ablate_known_by(run, engine, (batch, None), plan)
}

/// The same, where the facts in other words, if they are given, tell what is known: who is chosen by the very prompt that
/// the effect is measured on falls back by itself (regression to the mean). Both batches number the facts alike.
///
/// # Errors
/// As [`ablate`].
pub fn ablate_known_by(
    run: &mut Run<'_>,
    engine: &Engine<'_>,
    (batch, rephrased): (&TokenBatch, Option<&TokenBatch>),
    plan: &AblationPlan,
) -> Result<Ablation, ExperimentError> {
    // Too little memory for one edit beside the clean run shows before anything runs.
    engine.tokens_per_pass(batch, plan.len().min(2))?;
    let unedited = run_clean(run, engine, batch)?;
    let rephrased = rephrased.map(|facts| run_clean(run, engine, facts));
    let rephrased = rephrased.transpose()?;
    let telling = rephrased.as_ref().unwrap_or(&unedited);
    let known = telling.known();
    let edited_prompts = match plan.subset {
        PromptSubset::All => unedited.scores.keys().copied().collect(),
        PromptSubset::Known => telling.some_known()?,
    };
    let known_in = rephrased.as_ref().map(|other| KnownIn {
        same: unedited.known().len(),
        rephrased: known.len(),
        both: unedited.known().intersection(&other.known()).count(),
    });
    let clean_passes = unedited.passes + rephrased.map_or(0, |other| other.passes);
    let mut clean = unedited.scores;
    let edited = batch.subset(&edited_prompts)?;
    let resolved = resolve(engine, plan, (batch, &edited), run.progress())?;
    let conditions = plan.conditions(&resolved.mode);
    let stage = Stage {
        engine: &engine.beside(resolved.bytes),
        batch: &edited,
        unit: "prompts",
        conditions: &conditions.run,
        sharing: Sharing::Shared,
        null_edits: NullEdits::Refused,
    };
    let (mut scores, ran) = run_scores(run, &stage)?;
    clean.append(&mut scores[0]);
    scores[0] = clean;
    Ok(Ablation {
        conditions,
        scores,
        known,
        clusters: batch
            .sequences()
            .iter()
            .map(|s| (s.prompt, s.cluster))
            .collect(),
        known_in,
        edited_prompts: edited_prompts.len(),
        changed: ran.changed(),
        reference: resolved.reference,
        passes: clean_passes + resolved.passes + ran.passes,
    })
}

impl Ablation {
    /// Prompts that count as known, ascending: the first target token is the clean model's top-1, after the prompt or after
    /// its other words.
    pub fn known(&self) -> Vec<usize> {
        self.known.iter().copied().collect()
    }

    /// One record per prompt and condition: clean first, then condition by condition.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome<'_>> {
        let of_conditions = self.scores.iter().zip(&self.conditions.rows);
        of_conditions.flat_map(|(scores, condition)| {
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
                    let arms = self.arms(at, subset, metric);
                    if arms.class.is_empty() {
                        continue;
                    }
                    let by_relation = if metric.is_primary() {
                        arms.by_relation(self.relations(subset, prompts))
                    } else {
                        Vec::new()
                    };
                    let mode = plan.mode.to_string();
                    let effect = arms.effect(treatment, mode, *metric, subset, settings)?;
                    effects.push(Effect {
                        by_relation,
                        ..effect
                    });
                }
            }
        }
        adjust(&mut effects, subsets[0]);
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

    /// A metric of every prompt of a subset, arm by arm, of number `treatment` of the plan's treatments.
    pub(super) fn arms(&self, treatment: usize, subset: PromptSubset, metric: &Metric) -> Arms {
        let read = match metric.of {
            Source::Fact(of) => of,
            // No statistic takes what is not a number.
            _ => |_: &Score| f64::NAN,
        };
        let prompts: Vec<usize> = self.edited(subset).collect();
        let values = |condition: usize| -> Vec<f64> {
            let scores = prompts
                .iter()
                .filter_map(|prompt| self.scores[condition].get(prompt));
            scores.map(read).collect()
        };
        Arms {
            clean: values(0),
            class: values(self.conditions.class(treatment)),
            draws: self.conditions.draws(treatment).map(values).collect(),
            clusters: Clusters::of(prompts.iter().map(|prompt| self.clusters[prompt])),
        }
    }

    /// How many prompts of each relation the model knows, in the relations' order of first appearance. `prompts` are
    /// those of the batch; one that is not among them has no relation.
    pub fn known_by_relation(&self, prompts: &[Prompt]) -> Vec<KnownByRelation> {
        let mut relations: Vec<KnownByRelation> = Vec::new();
        for prompt in self.scores[0].keys() {
            let relation = prompts
                .get(*prompt)
                .and_then(|prompt| prompt.relation.clone());
            let relation = relation.unwrap_or_default();
            let at = relations.iter().position(|r| r.relation == relation);
            let at = at.unwrap_or_else(|| {
                relations.push(KnownByRelation {
                    relation,
                    prompts: 0,
                    known: 0,
                });
                relations.len() - 1
            });
            relations[at].prompts += 1;
            relations[at].known += usize::from(self.known.contains(prompt));
        }
        relations
    }
}

/// How many prompts of a relation the model knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KnownByRelation {
    /// The relation; empty for prompts without one.
    pub relation: String,
    /// Its prompts.
    pub prompts: usize,
    /// Those that count as known.
    pub known: usize,
}

/// How many facts have a first target token that is the clean model's top-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KnownIn {
    /// After the prompt that the effect is measured on.
    pub same: usize,
    /// After the same fact in other words.
    pub rephrased: usize,
    /// After both.
    pub both: usize,
}

/// The clean model on all prompts.
pub(super) struct Unedited {
    scores: BTreeMap<usize, Score>,
    pub passes: usize,
}

impl Unedited {
    /// Prompts that were run.
    pub fn prompts(&self) -> usize {
        self.scores.len()
    }

    /// The prompts whose first target token is the top-1.
    pub fn known(&self) -> BTreeSet<usize> {
        let known = self
            .scores
            .iter()
            .filter(|(_, score)| score.first_rank == 1);
        known.map(|(prompt, _)| *prompt).collect()
    }

    /// The same, ascending, where there is any.
    ///
    /// # Errors
    /// [`ExperimentError::NothingKnown`].
    pub fn some_known(&self) -> Result<Vec<usize>, ExperimentError> {
        let known: Vec<usize> = self.known().into_iter().collect();
        let prompts = self.prompts();
        (!known.is_empty())
            .then_some(known)
            .ok_or(ExperimentError::NothingKnown { prompts })
    }
}

/// Which prompts the model knows decides what is run next, so every shard runs this.
pub(super) fn run_clean(
    run: &mut Run<'_>,
    engine: &Engine<'_>,
    batch: &TokenBatch,
) -> Result<Unedited, ExperimentError> {
    let stage = Stage {
        engine,
        batch,
        unit: "prompts",
        conditions: &[Condition::Clean],
        sharing: Sharing::Everywhere,
        null_edits: NullEdits::Refused,
    };
    let (mut scores, ran) = run_scores(run, &stage)?;
    Ok(Unedited {
        scores: scores.swap_remove(0),
        passes: ran.passes,
    })
}

/// Scores the prompts of a stage.
pub(super) fn run_scores(
    run: &mut Run<'_>,
    stage: &Stage<'_>,
) -> Result<(Scores, Ran), ExperimentError> {
    let mut scores: Scores = vec![BTreeMap::new(); stage.conditions.len()];
    let ran = run.measure(stage, &mut FactScores, &mut |rows| {
        for row in rows {
            let of_condition = scores.get_mut(row.condition as usize);
            let of_condition = of_condition.ok_or(ExperimentError::OtherRun)?;
            of_condition.insert(row.prompt as usize, row.score);
        }
        Ok(())
    })?;
    Ok((scores, ran.complete()?))
}

#[cfg(test)]
mod tests;
