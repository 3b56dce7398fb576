//! The ablation experiment: clean on every prompt, then the edits on those that count.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::ExperimentError;
use super::outcome::{Arm, Outcome, PromptSubset};
use super::passes::{InVain, PassPart, PassWork, Passes, Ran, Whole};
use super::plan::{AblationPlan, PlannedCondition};
use super::reference::{CleanReference, PendingMode};
use super::score::{Score, Scorer};
use super::store::PassStore;
use crate::engine::{Engine, EngineError, Progress, Readout};
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

/// Scores by condition, then by prompt.
pub(super) type Scores = Vec<BTreeMap<usize, Score>>;

/// Runs the plan: the clean model on all of `batch`, then every condition on the prompts of the
/// plan's subset. The clean outcomes of those prompts come from the same pass as the edited ones.
/// What each pass of edits gave is kept in `store`, if there is one; with what a run left there that was ended, the
/// same call goes on.
///
/// # Errors
/// Those of the engine, [`EngineError::Stopped`] before the first pass of edits is through among them, and of `store`;
/// [`ExperimentError::StoppedAfter`] where `progress` asked for it; [`ExperimentError::NothingKnown`];
/// [`ExperimentError::OtherState`] for what another run left.
pub fn ablate(
    engine: &Engine<'_>,
    batch: &TokenBatch,
    plan: &AblationPlan,
    store: Option<&mut dyn PassStore>,
    progress: &dyn Progress,
) -> Result<Ablation, ExperimentError> {
    // Too little memory for one edit beside the clean run shows before anything runs.
    engine.tokens_per_pass(batch, plan.len().min(2))?;
    let mut pending = PendingMode::new(engine, plan);
    let unedited = run_clean(engine, batch, &mut pending.observers(), progress)?;
    let known = unedited.known();
    let mut clean = unedited.scores;
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
    let conditions: Vec<Condition> = planned.iter().map(|p| p.condition.clone()).collect();
    let engine = &engine.beside(resolved.bytes);
    let whole = Whole {
        engine,
        batch: &edited_batch,
        conditions: &conditions,
        in_vain: InVain::Refused,
        unit: "prompts",
        progress,
    };
    let mut nowhere = ();
    let store = store.unwrap_or(&mut nowhere);
    let mut passes = Passes::stored_or_plan(&whole, store)?;
    let observers = &mut [];
    let mut work = FactWork::new(&whole, observers);
    passes.work(&whole, store, &mut work)?;
    passes.check_finished()?;
    let mut scores = work.scores;
    clean.append(&mut scores[0]);
    scores[0] = clean;
    Ok(Ablation {
        outcomes: outcomes(scores, &planned, &known),
        known: known.len(),
        edited_prompts: edited_prompts.len(),
        changed: passes.changed(),
        reference: resolved.reference,
        passes: unedited.passes + resolved.passes + passes.len(),
    })
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
}

pub(super) fn run_clean(
    engine: &Engine<'_>,
    batch: &TokenBatch,
    observers: &mut [&mut dyn Observer],
    progress: &dyn Progress,
) -> Result<Unedited, ExperimentError> {
    let whole = Whole {
        engine,
        batch,
        conditions: &[Condition::Clean],
        in_vain: InVain::Refused,
        unit: "prompts",
        progress,
    };
    let (mut scores, passes) = run_to_the_end(&whole, observers)?;
    Ok(Unedited {
        scores: scores.swap_remove(0),
        passes: passes.len(),
    })
}

/// Runs all passes of `whole`; a run that is stopped before is an error.
pub(super) fn run_to_the_end(
    whole: &Whole<'_>,
    observers: &mut [&mut dyn Observer],
) -> Result<(Scores, Passes), ExperimentError> {
    let mut passes = Passes::plan(whole)?;
    let mut work = FactWork::new(whole, observers);
    passes.work(whole, &mut (), &mut work)?;
    match passes.finished() {
        true => Ok((work.scores, passes)),
        false => Err(EngineError::Stopped.into()),
    }
}

/// Scores prompts. Observers see the clean condition in every group of conditions.
pub(super) struct FactWork<'w, 'o> {
    engine: &'w Engine<'w>,
    progress: &'w dyn Progress,
    observers: &'w mut [&'o mut dyn Observer],
    pub scores: Scores,
}

impl<'w, 'o> FactWork<'w, 'o> {
    /// Nothing scored yet of what `whole` runs.
    pub fn new(whole: &Whole<'w>, observers: &'w mut [&'o mut dyn Observer]) -> Self {
        Self {
            engine: whole.engine,
            progress: whole.progress,
            observers,
            scores: vec![BTreeMap::new(); whole.conditions.len()],
        }
    }
}

impl PassWork for FactWork<'_, '_> {
    /// Condition by condition, in each the prompts of the pass.
    type Score = Score;

    fn scores(&self, part: &PassPart<'_>) -> usize {
        part.members.len() * part.batch.sequences().len()
    }

    fn run(&mut self, part: &PassPart<'_>) -> Result<Ran<Score>, ExperimentError> {
        let (batch, conditions) = (part.batch, part.conditions);
        let mut scorer = Scorer::new(batch, conditions.len());
        let readout = Some(&mut scorer as &mut dyn Readout);
        let (engine, progress) = (self.engine, self.progress);
        let changed = engine.run(batch, conditions, self.observers, readout, progress)?;
        Ok((changed, scorer.into_scores().concat()))
    }

    fn take(&mut self, part: &PassPart<'_>, scores: Vec<Score>) -> Result<(), ExperimentError> {
        let prompts = part.batch.sequences();
        for (&condition, new) in part.members.iter().zip(scores.chunks(prompts.len())) {
            let prompts = prompts.iter().map(|sequence| sequence.prompt);
            self.scores[condition].extend(prompts.zip(new.iter().copied()));
        }
        Ok(())
    }
}

fn outcomes(scores: Scores, planned: &[PlannedCondition], known: &BTreeSet<usize>) -> Vec<Outcome> {
    let of_conditions = scores.into_iter().zip(planned);
    of_conditions
        .flat_map(|(scores, condition)| {
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
        .collect()
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
