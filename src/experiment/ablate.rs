//! The ablation experiment: clean on every prompt, then the edits on those that count.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::ExperimentError;
use super::groups::{Group, begin, groups};
use super::outcome::{Arm, Outcome, PromptSubset};
use super::plan::{AblationPlan, PlannedCondition};
use super::reference::{CleanReference, PendingMode};
use super::score::{Score, Scorer};
use crate::engine::{Engine, Progress, Readout, check_edits};
use crate::hooks::{Condition, EditCount, Observer};
use crate::prompts::Prompt;
use crate::tokens::TokenBatch;

/// What an ablation experiment measured.
pub struct Ablation {
    /// One record per prompt and condition: clean first, then condition by condition.
    pub outcomes: Vec<Outcome>,
    /// Prompts whose first target token is the clean model's top-1.
    pub known: usize,
    /// Prompts that the edits were run on.
    pub edited_prompts: usize,
    /// Values that the edits of all conditions changed.
    pub changed: EditCount,
    /// Where the values of the mode came from, if they came from these prompts.
    pub reference: Option<CleanReference>,
    /// How often the layers were walked through.
    pub passes: usize,
}

/// Runs the plan: the clean model on all of `batch`, then every condition on the prompts of the
/// plan's subset. The clean outcomes of those prompts come from the same pass as the edited ones.
pub fn ablate(
    engine: &Engine<'_>,
    batch: &TokenBatch,
    plan: &AblationPlan,
    progress: &dyn Progress,
) -> Result<Ablation, ExperimentError> {
    // Too little memory for one edit beside the clean run shows before anything runs.
    engine.tokens_per_pass(batch, plan.len().min(2))?;
    let mut pending = PendingMode::new(engine, plan);
    let clean_only = [PlannedCondition::clean()];
    let observers = &mut pending.observers();
    let unedited = run(engine, batch, &clean_only, observers, progress)?;
    let mut clean = unedited.by_prompt(0);
    let known: BTreeSet<usize> = clean
        .iter()
        .filter(|(_, score)| score.first_rank == 1)
        .map(|(prompt, _)| *prompt)
        .collect();
    let edited_prompts: Vec<usize> = match plan.subset {
        PromptSubset::All => clean.keys().copied().collect(),
        PromptSubset::Known => known.iter().copied().collect(),
    };
    if edited_prompts.is_empty() {
        return Err(ExperimentError::NothingKnown {
            prompts: clean.len(),
        });
    }

    let edited_batch = batch.subset(&edited_prompts)?;
    let resolved = pending.resolve(engine, plan, batch, &edited_batch, progress)?;
    let planned = plan.conditions(&resolved.mode);
    let engine = &engine.beside(resolved.bytes);
    let edited = run(engine, &edited_batch, &planned, &mut [], progress)?;
    clean.extend(edited.by_prompt(0));
    let conditions = (1..planned.len()).map(|condition| edited.by_prompt(condition));
    let outcomes = std::iter::once(clean)
        .chain(conditions)
        .zip(&planned)
        .flat_map(|(scores, condition)| {
            let known = &known;
            scores.into_iter().map(move |(prompt, score)| Outcome {
                prompt,
                class: condition.class.clone(),
                arm: condition.arm,
                draw: condition.draw,
                mode: condition.mode.clone(),
                neurons: condition.neurons,
                known: known.contains(&prompt),
                score,
            })
        })
        .collect();
    Ok(Ablation {
        outcomes,
        known: known.len(),
        edited_prompts: edited_prompts.len(),
        changed: edited.changed,
        reference: resolved.reference,
        passes: unedited.passes + resolved.passes + edited.passes,
    })
}

/// Scores by condition, then by prompt.
struct Scored {
    prompts: Vec<usize>,
    scores: Vec<Vec<Score>>,
    changed: EditCount,
    passes: usize,
}

impl Scored {
    fn by_prompt(&self, condition: usize) -> BTreeMap<usize, Score> {
        self.prompts
            .iter()
            .copied()
            .zip(self.scores[condition].iter().copied())
            .collect()
    }
}

impl Group {
    /// Scores by member, then by prompt, and what the members' edits changed.
    fn run(
        &self,
        engine: &Engine<'_>,
        observers: &mut [&mut dyn Observer],
        progress: &dyn Progress,
    ) -> Result<(Vec<Vec<Score>>, Vec<EditCount>), ExperimentError> {
        let mut scores = vec![Vec::new(); self.members.len()];
        let mut counts = vec![EditCount::default(); self.members.len()];
        for part in &self.parts {
            let mut scorer = Scorer::new(part, self.members.len());
            let readout = Some(&mut scorer as &mut dyn Readout);
            let changed = engine.run(part, &self.conditions, observers, readout, progress)?;
            for (sum, count) in counts.iter_mut().zip(changed) {
                *sum += count;
            }
            for (all, new) in scores.iter_mut().zip(scorer.into_scores()) {
                all.extend(new);
            }
        }
        Ok((scores, counts))
    }
}

/// Runs a batch under the planned conditions, in as many passes as the memory limit asks for.
/// Observers see the clean condition in every group of conditions.
fn run(
    engine: &Engine<'_>,
    batch: &TokenBatch,
    planned: &[PlannedCondition],
    observers: &mut [&mut dyn Observer],
    progress: &dyn Progress,
) -> Result<Scored, ExperimentError> {
    let conditions: Vec<Condition> = planned.iter().map(|p| p.condition.clone()).collect();
    let groups = groups(engine, batch, &conditions)?;
    run_groups(engine, batch, &conditions, groups, observers, progress)
}

fn run_groups(
    engine: &Engine<'_>,
    batch: &TokenBatch,
    conditions: &[Condition],
    groups: Vec<Vec<usize>>,
    observers: &mut [&mut dyn Observer],
    progress: &dyn Progress,
) -> Result<Scored, ExperimentError> {
    let (groups, passes) = begin(engine, batch, conditions, groups, progress)?;
    let mut scored = Scored {
        prompts: batch.sequences().iter().map(|s| s.prompt).collect(),
        scores: vec![Vec::new(); conditions.len()],
        changed: EditCount::default(),
        passes,
    };
    let mut counts = vec![EditCount::default(); conditions.len()];
    for group in &groups {
        let (scores, changed) = group.run(engine, observers, progress)?;
        let of_members = scores.into_iter().zip(changed);
        for (&condition, (scores, changed)) in group.members.iter().zip(of_members) {
            scored.scores[condition] = scores;
            counts[condition] = changed;
        }
    }
    check_edits(conditions, &counts)?;
    for count in counts {
        scored.changed += count;
    }
    Ok(scored)
}

/// How many prompts of each relation the model knows, in the relations' order of first appearance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KnownByRelation {
    /// The relation; empty for prompts without one.
    pub relation: String,
    /// Its prompts.
    pub prompts: usize,
    /// Those whose first target token is the clean model's top-1.
    pub known: usize,
}

/// Counts the known prompts by relation.
pub fn known_by_relation(outcomes: &[Outcome], prompts: &[Prompt]) -> Vec<KnownByRelation> {
    let mut relations: Vec<KnownByRelation> = Vec::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.arm == Arm::Clean) {
        let relation = prompts[outcome.prompt].relation.clone().unwrap_or_default();
        let at = relations
            .iter()
            .position(|r| r.relation == relation)
            .unwrap_or_else(|| {
                relations.push(KnownByRelation {
                    relation,
                    prompts: 0,
                    known: 0,
                });
                relations.len() - 1
            });
        relations[at].prompts += 1;
        relations[at].known += usize::from(outcome.known);
    }
    relations
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::hooks::{Edit, Mode, Neuron, NeuronSet, SignCase, SignConvention};
    use crate::hub::ModelFiles;
    use crate::model::{Checkpoint, LoadOptions, Model};
    use crate::tokens::{Positions, Sequence};

    fn zero(layer: usize) -> Condition {
        let neurons = (0..20).map(|index| Neuron { layer, index });
        Condition::Edited(Edit {
            label: format!("layer {layer}"),
            neurons: NeuronSet::from_neurons(4, 80, neurons).unwrap(),
            mode: Mode::Zero,
            positions: Positions::All,
            when: SignCase::default(),
            signs: SignConvention::Raw,
        })
    }

    #[test]
    fn groups_of_conditions_give_what_all_together_give() {
        let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
        let files = ModelFiles::Gguf(goldens.join("tiny-llama/model.gguf"));
        let model = Model::load(Checkpoint::open(&files).unwrap(), LoadOptions::default()).unwrap();
        let sequences = (0..6).map(|prompt| Sequence {
            prompt,
            ids: (0..3 + prompt % 3)
                .map(|i| (7 * prompt + 5 * i + 3) as u32)
                .collect(),
            offsets: vec![None; 3 + prompt % 3],
            prompt_len: 3 + prompt % 3,
            subject: 0..0,
            target: vec![11],
        });
        let batch = TokenBatch::new(sequences.collect()).unwrap();
        let conditions = [Condition::Clean, zero(0), zero(1), zero(3)];
        let run = |groups: &[&[usize]]| {
            let groups = groups.iter().map(|group| group.to_vec()).collect();
            run_groups(
                &Engine::new(&model),
                &batch,
                &conditions,
                groups,
                &mut [],
                &(),
            )
            .unwrap()
        };
        let together = run(&[&[0, 1, 2, 3]]);
        let apart = run(&[&[0, 1], &[0, 2, 3]]);
        assert_eq!((together.passes, apart.passes), (1, 2));
        assert_eq!(together.prompts, apart.prompts);
        assert_eq!(together.scores, apart.scores);
        assert_eq!(together.changed, apart.changed);
        assert!(
            together.scores[1..]
                .iter()
                .all(|scores| *scores != together.scores[0])
        );
    }
}
