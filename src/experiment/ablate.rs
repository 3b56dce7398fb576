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
use crate::stats::{BootstrapSettings, Clusters};
use crate::tokens::TokenBatch;

/// What an ablation experiment measured.
pub struct Ablation {
    conditions: Conditions,
    scores: Scores,
    known: BTreeSet<usize>,
    /// Of each prompt, see [`Sequence::cluster`](crate::tokens::Sequence::cluster).
    clusters: BTreeMap<usize, usize>,
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
    // Too little memory for one edit beside the clean run shows before anything runs.
    engine.tokens_per_pass(batch, plan.len().min(2))?;
    let unedited = run_clean(run, engine, batch)?;
    let known = unedited.known();
    let edited_prompts = match plan.subset {
        PromptSubset::All => unedited.scores.keys().copied().collect(),
        PromptSubset::Known => unedited.some_known()?,
    };
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
        edited_prompts: edited_prompts.len(),
        changed: ran.changed(),
        reference: resolved.reference,
        passes: unedited.passes + resolved.passes + ran.passes,
    })
}

impl Ablation {
    /// Prompts whose first target token is the clean model's top-1, ascending.
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
        settings: &BootstrapSettings,
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
    /// Those whose first target token is the clean model's top-1.
    pub known: usize,
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
mod tests {
    use super::*;
    use crate::experiment::plan::Treatment;
    use crate::hooks::{Mode, NeuronSet, SignCase, SignConvention};
    use crate::tokens::Positions;

    fn score(logprob: f64) -> Score {
        Score {
            target_logprob: logprob,
            first_logprob: logprob,
            first_rank: if logprob > -2.0 { 1 } else { 2 },
            entropy_nats: 1.0,
            kl_nats: 0.0,
            top_token: 0,
        }
    }

    /// Two known prompts and one unknown, a class and two draws.
    fn example() -> (Ablation, AblationPlan) {
        let treatment = Treatment {
            class: "c".to_string(),
            layers: None,
            neurons: NeuronSet::empty(1),
            baseline: vec![NeuronSet::empty(1); 2],
            shortfall: vec![],
            written: None,
        };
        let plan = AblationPlan {
            treatments: vec![treatment],
            mode: Mode::Zero,
            positions: Positions::All,
            when: SignCase::default(),
            signs: SignConvention::Raw,
            subset: PromptSubset::All,
            seed: 0,
        };
        let arms = [
            [-1.0, -1.5, -9.0],
            [-2.0, -3.5, -9.5],
            [-1.2, -1.7, -9.0],
            [-1.4, -1.7, -9.0],
        ];
        let ablation = Ablation {
            conditions: plan.conditions(&plan.mode),
            scores: arms
                .map(|arm| arm.map(score).into_iter().enumerate().collect())
                .to_vec(),
            known: BTreeSet::from([0, 1]),
            clusters: (0..3).map(|prompt| (prompt, prompt)).collect(),
            edited_prompts: 3,
            changed: EditCount::default(),
            reference: None,
            passes: 1,
        };
        (ablation, plan)
    }

    #[test]
    fn a_prompt_that_is_not_there_has_no_relation() {
        let (ablation, _) = example();
        let counted = ablation.known_by_relation(&[]);
        assert_eq!(counted.len(), 1);
        assert_eq!((counted[0].prompts, counted[0].known), (3, 2));
    }

    #[test]
    fn means_and_differences_by_hand() {
        let (ablation, plan) = example();
        let effects = ablation
            .effects(&plan, &[], &BootstrapSettings::default())
            .unwrap();
        assert_eq!(effects.len(), 2 * of_facts().count(), "known and all");
        let close = |found: f64, expected: f64| {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}")
        };
        let known = &effects[0];
        assert_eq!(
            (known.metric, known.subset, known.prompts),
            (Metric::TARGET_LOGPROB, PromptSubset::Known, 2)
        );
        close(known.means.clean, -1.25);
        close(known.means.class, -2.75);
        close(known.means.baseline.unwrap(), -1.5);
        assert_eq!(known.draw_means.len(), 2);
        close(known.draw_means[0], -1.45);
        close(known.draw_means[1], -1.55);
        close(known.difference_to_clean, -1.5);
        close(known.estimate.difference_to_baseline.unwrap(), -1.25);
        // Differences -1 and -2: standard error 1/2; t(0.975; 1) = 12.706205.
        let ci = known.clean_ci.unwrap();
        close(ci.low, -1.5 - 6.353_102_368);
        close(ci.high, -1.5 + 6.353_102_368);
        // class means 2 top-1 answers lost of 2; the draws lose none
        let top1 = effects
            .iter()
            .find(|e| e.metric == Metric::TOP1 && e.subset == PromptSubset::Known)
            .unwrap();
        assert_eq!(top1.answers_lost(), (2.0, Some(0.0)));
        let all = effects
            .iter()
            .find(|e| e.subset == PromptSubset::All)
            .unwrap();
        close(all.means.class, -5.0);
        close(
            all.estimate.difference_to_baseline.unwrap(),
            (-1.25 * 2.0 - 0.5) / 3.0,
        );
    }

    #[test]
    fn holm_runs_over_the_primary_tests_alone() {
        let (ablation, plan) = example();
        let effects = ablation
            .effects(&plan, &[], &BootstrapSettings::default())
            .unwrap();
        let (primary, described) = effects.split_first().unwrap();
        // Farther out than both draws: 1 of 3; one class, so one test.
        let third = Some(1.0 / 3.0);
        assert_eq!(primary.estimate.permutation_p, third);
        assert_eq!(primary.estimate.p_adjusted, third);
        assert!(described.iter().all(|e| e.estimate.p_adjusted.is_none()));
        assert!(described.iter().any(|e| e.estimate.permutation_p.is_some()));
    }

    #[test]
    fn relations_are_clusters_and_told_apart() {
        let (mut ablation, plan) = example();
        ablation.known.insert(2);
        ablation.clusters = BTreeMap::from([(0, 0), (1, 1), (2, 0)]);
        let prompt = |relation: &str| Prompt {
            relation: Some(relation.to_string()),
            ..Prompt::new("", "a", "a", "x").unwrap()
        };
        let prompts = ["capital", "river", "capital"].map(prompt);
        let effects = ablation.effects(&plan, &prompts, &BootstrapSettings::default());
        let effect = &effects.unwrap()[0];
        assert_eq!((effect.prompts, effect.clusters), (3, 2));
        let close = |found: f64, expected: f64| {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}")
        };
        // Capitals lose 1.0 and 0.5, the river 2.0; the draws .3 and 0, and .2.
        let [capital, river] = &effect.by_relation[..] else {
            panic!("two relations")
        };
        assert_eq!((capital.relation.as_str(), capital.prompts), ("capital", 2));
        close(capital.differences.difference_to_clean, -0.75);
        close(capital.differences.difference_to_baseline.unwrap(), -0.6);
        assert_eq!((river.relation.as_str(), river.prompts), ("river", 1));
        close(river.differences.difference_to_baseline.unwrap(), -1.8);
        let alike = effect.clusters_alike.unwrap();
        close(alike.difference_to_clean, (-0.75 - 2.0) / 2.0);
        close(alike.difference_to_baseline.unwrap(), (-0.6 - 1.8) / 2.0);
        close(effect.difference_to_clean, -3.5 / 3.0);
    }
}
