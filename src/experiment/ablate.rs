//! The ablation experiment: clean on every prompt, then the edits on those that count.

use std::collections::{BTreeMap, BTreeSet};

use super::ExperimentError;
use super::chosen::Chosen;
use super::corruption::PatchDirection;
use super::effects::{Arms, Effect, adjust};
use super::facts::Facts;
use super::forecast::Step;
use super::known::{KnownByRelation, KnownIn, known_by_relation};
use super::metric::{Metric, Source, of_facts};
use super::noise::{ByFact, Repeats};
use super::outcome::{Arm, Outcome, PromptSubset};
use super::plan::{AblationPlan, Conditions};
use super::recovered::recovered;
use super::reference::{CleanReference, Units, reference_step, resolve};
use super::run::Run;
use super::score::Score;
use super::stage::Stage;
use super::unedited::{run_clean, run_scores, scores_step};
use crate::engine::Engine;
use crate::hooks::EditCount;
use crate::prompts::Prompt;
use crate::stats::{Clusters, StatsSettings, mean};

/// What an ablation experiment measured.
pub struct Ablation {
    conditions: Conditions,
    /// By condition, of the facts; of the corrupted runs where these were edited, but for the clean ones.
    scores: Vec<ByFact>,
    /// Of the corrupted runs, unedited, where values were patched.
    corrupted: Option<ByFact>,
    direction: PatchDirection,
    /// Whether a corrupted run is the fact with noise, and each fact has as many scores as noises.
    has_noise: bool,
    known: BTreeSet<usize>,
    /// Of each prompt, see [`Sequence::cluster`](crate::tokens::Sequence::cluster).
    clusters: BTreeMap<usize, usize>,
    /// How many facts are known in which words, where both were asked.
    pub known_in: Option<KnownIn>,
    /// Facts that the edits were run on, themselves or corrupted; one with several noises counts once.
    pub edited_prompts: usize,
    /// Prompts that would have been edited, and have nothing to be patched from.
    pub without_pair: Vec<usize>,
    /// Prompts that would have been edited, and have no subject that noise could be on.
    pub without_subject: Vec<usize>,
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
/// are to be patched and no chosen fact has another question, [`ExperimentError::NoSubjects`] where noise is to be on its subject
/// and none has one.
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
    let asked = facts.ask(run, engine)?;
    let chosen = Chosen::of(asked.subset(plan.subset)?, engine, &facts, plan)?;
    let mut passes = asked.passes;
    let units = Units {
        all: batch,
        edited: &chosen.edited,
        paired: chosen.paired.as_ref(),
    };
    let resolved = resolve(engine, plan, units, run.progress())?;
    let conditions = plan.conditions(&resolved.mode);
    let beside = engine.beside(resolved.bytes);
    let stage = Stage::edited(&beside, (&chosen.edited, "prompts"), &conditions.run);
    let other = chosen.corrupted.as_ref();
    let other = other.map(|corrupted| run_clean(run, engine, corrupted));
    let other = other.transpose()?;
    let (scores, ran) = run_scores(run, &stage)?;
    passes += resolved.passes + ran.passes + other.as_ref().map_or(0, |other| other.passes);
    let repeats = chosen.repeats;
    let scores = scores.into_iter().map(|scores| repeats.by_fact(scores));
    let mut scores: Vec<ByFact> = scores.collect();
    let mut clean = Repeats::ONE.by_fact(asked.scores);
    let of_edited = std::mem::take(&mut scores[0]);
    let corrupted = match (&chosen.paired, other, plan.direction) {
        (Some(_), _, PatchDirection::Denoise) => Some(of_edited),
        (_, other, _) => {
            // Without noise all of a fact's runs are the same.
            let first = |(fact, scores): (usize, Vec<Score>)| (fact, scores[..1].to_vec());
            clean.extend(of_edited.into_iter().map(first));
            other.map(|other| repeats.by_fact(other.scores))
        }
    };
    scores[0] = clean;
    Ok(Ablation {
        conditions,
        scores,
        corrupted,
        direction: plan.direction,
        has_noise: matches!(resolved.reference, Some(CleanReference::Noise { .. })),
        known: asked.known,
        clusters: batch
            .sequences()
            .iter()
            .map(|s| (s.prompt, s.cluster))
            .collect(),
        known_in: asked.known_in,
        edited_prompts: chosen.edited.sequences().len() / repeats.0,
        without_pair: chosen.without_pair,
        without_subject: chosen.without_subject,
        changed: ran.changed(),
        reference: resolved.reference,
        passes,
    })
}

/// The steps of [`ablate`], where every fact is known.
///
/// # Errors
/// As [`ablate`], as far as the plan and the memory tell.
pub fn ablation_steps(
    engine: &Engine<'_>,
    facts: &Facts<'_>,
    plan: &AblationPlan,
) -> Result<Vec<Step>, ExperimentError> {
    let batch = facts.asked;
    engine.tokens_per_pass(batch, plan.len().min(2))?;
    let all = batch.sequences().iter().map(|s| s.prompt).collect();
    let chosen = Chosen::of(all, engine, facts, plan)?;
    let units = Units {
        all: batch,
        edited: &chosen.edited,
        paired: chosen.paired.as_ref(),
    };
    let conditions = plan.conditions(&plan.mode);
    let mut steps = facts.steps(engine)?;
    steps.extend(reference_step(engine, plan, units)?);
    if let Some(corrupted) = &chosen.corrupted {
        steps.push(scores_step(&Stage::clean(engine, corrupted))?);
    }
    let stage = Stage::edited(engine, (&chosen.edited, "prompts"), &conditions.run);
    steps.push(scores_step(&stage)?.of_known(plan.subset));
    Ok(steps)
}

impl Ablation {
    /// Prompts that count as known, ascending: the first target token is the clean model's top-1, after the prompt or after
    /// its other words.
    pub fn known(&self) -> Vec<usize> {
        self.known.iter().copied().collect()
    }

    /// One record per prompt and condition, with noise one for each of the prompt's noises: clean first, then condition by
    /// condition, and the corrupted runs where there are any.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome<'_>> {
        let corrupted = self
            .corrupted
            .iter()
            .map(|scores| (scores, &self.conditions.corrupted));
        let of_conditions = self.scores.iter().zip(&self.conditions.rows);
        of_conditions
            .chain(corrupted)
            .flat_map(move |(scores, condition)| {
                let scores = scores.iter().flat_map(|(prompt, scores)| {
                    let seeds = (0..).zip(scores);
                    seeds.map(|(seed, score)| (*prompt, seed, *score))
                });
                let has_noise = self.has_noise && condition.arm != Arm::Clean;
                scores.map(move |(prompt, seed, score)| Outcome {
                    prompt,
                    condition,
                    known: self.known.contains(&prompt),
                    noise_seed: has_noise.then_some(seed),
                    score,
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

    /// A metric of every prompt of a subset that has it, arm by arm, of a comparison of the plan by its number; of a prompt with
    /// several noises the mean over these, also where it is a rank or whether the answer is the top-1. The arm `clean` is the run
    /// that is edited, so that it is the corrupted one where that is.
    pub(super) fn arms(&self, comparison: usize, subset: PromptSubset, metric: &Metric) -> Arms {
        let read = match metric.of {
            Source::Fact(of) => of,
            Source::Recovered(of) => of,
            Source::Token(_) | Source::Subject(_) => |_: &Score| None,
        };
        let unedited = match (self.direction, &self.corrupted) {
            (PatchDirection::Denoise, Some(corrupted)) => corrupted,
            _ => &self.scores[0],
        };
        let value = |scores: &Vec<Score>| {
            let of_seeds: Vec<f64> = scores.iter().filter_map(read).collect();
            mean(&of_seeds)
        };
        let has_it = |prompt: &usize| unedited.get(prompt).and_then(value).is_some();
        let prompts: Vec<usize> = self.edited(subset).filter(has_it).collect();
        let values = |scores: &ByFact| -> Vec<f64> {
            let scores = prompts.iter().filter_map(|prompt| scores.get(prompt));
            scores.filter_map(value).collect()
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
            (Source::Recovered(_), Some(corrupted)) => {
                recovered(arms, &values(&self.scores[0]), &values(corrupted))
            }
            (Source::Recovered(_), None) => Arms::default(),
            _ => arms,
        }
    }

    /// What there is to lose where values are patched: the logit difference of the counterfactuals minus that of their facts,
    /// unedited, mean over all pairs.
    pub(super) fn range(&self) -> Option<f64> {
        let corrupted = self.corrupted.as_ref()?;
        let of = |scores: &ByFact, prompt| scores.get(prompt)?.first()?.logit_diff;
        let range = |prompt| Some(of(corrupted, prompt)? - of(&self.scores[0], prompt)?);
        mean(&corrupted.keys().filter_map(range).collect::<Vec<f64>>())
    }

    /// How many prompts of each relation the model knows, in the relations' order of first appearance. `prompts` are
    /// those of the batch; one that is not among them has no relation.
    pub fn known_by_relation(&self, prompts: &[Prompt]) -> Vec<KnownByRelation> {
        known_by_relation(self.scores[0].keys().copied(), &self.known, prompts)
    }
}

#[cfg(test)]
mod tests;
