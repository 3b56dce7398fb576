//! The ablation experiment: clean on every prompt, then the edits on those that count.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::ExperimentError;
use super::outcome::{Arm, Outcome, PromptSubset};
use super::passes::{InVain, PassPart, Passes, Whole};
use super::plan::{AblationPlan, PlannedCondition};
use super::reference::{CleanReference, PendingMode};
use super::score::{Score, Scorer};
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
    /// How far the edits came, where the run was stopped before its end; [`Earlier`] goes on from there.
    pub stopped: Option<Passes>,
}

/// Scores by condition, then by prompt.
pub(super) type Scores = Vec<BTreeMap<usize, Score>>;

/// What a stopped run left behind.
pub struct Earlier {
    /// How far it came.
    pub passes: Passes,
    /// Scores of its outcomes but those of the clean arm, in their order.
    pub scores: Vec<Score>,
}

/// Runs the plan: the clean model on all of `batch`, then every condition on the prompts of the
/// plan's subset. The clean outcomes of those prompts come from the same pass as the edited ones.
/// Where `progress` asks for it, the run ends after the passes that are through; with what it left as `earlier`, the
/// same call goes on.
///
/// # Errors
/// Those of the engine, [`EngineError::Stopped`] before the first pass of edits is through among them;
/// [`ExperimentError::NothingKnown`]; [`ExperimentError::OtherState`] for what another run left.
pub fn ablate(
    engine: &Engine<'_>,
    batch: &TokenBatch,
    plan: &AblationPlan,
    earlier: Option<Earlier>,
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
    let (mut passes, mut scores) = match earlier {
        Some(earlier) => earlier.into_scores(&whole)?,
        None => (
            Passes::plan(&whole)?,
            vec![BTreeMap::new(); conditions.len()],
        ),
    };
    passes.run(&whole, &mut |part| {
        score_prompts(engine, &part, &mut scores, &mut [], progress)
    })?;
    if passes.done() == 0 {
        return Err(EngineError::Stopped.into());
    }
    clean.append(&mut scores[0]);
    scores[0] = clean;
    Ok(Ablation {
        outcomes: outcomes(scores, &planned, &known),
        known: known.len(),
        edited_prompts: edited_prompts.len(),
        changed: passes.changed(),
        reference: resolved.reference,
        passes: unedited.passes + resolved.passes + passes.len(),
        stopped: (!passes.finished()).then_some(passes),
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
    let mut scores = vec![BTreeMap::new(); whole.conditions.len()];
    passes.run(whole, &mut |part| {
        score_prompts(whole.engine, &part, &mut scores, observers, whole.progress)
    })?;
    match passes.finished() {
        true => Ok((scores, passes)),
        false => Err(EngineError::Stopped.into()),
    }
}

/// Runs a pass and adds what its prompts scored. Observers see the clean condition in every group of conditions.
pub(super) fn score_prompts(
    engine: &Engine<'_>,
    part: &PassPart<'_>,
    scores: &mut Scores,
    observers: &mut [&mut dyn Observer],
    progress: &dyn Progress,
) -> Result<Vec<EditCount>, ExperimentError> {
    let PassPart {
        batch,
        members,
        conditions,
    } = *part;
    let mut scorer = Scorer::new(batch, conditions.len());
    let readout = Some(&mut scorer as &mut dyn Readout);
    let changed = engine.run(batch, conditions, observers, readout, progress)?;
    for (&condition, new) in members.iter().zip(scorer.into_scores()) {
        let prompts = batch.sequences().iter().map(|sequence| sequence.prompt);
        scores[condition].extend(prompts.zip(new));
    }
    Ok(changed)
}

impl Earlier {
    /// The scores at their conditions and prompts. Clean scores are not among them: those of all prompts are
    /// computed again.
    fn into_scores(self, whole: &Whole<'_>) -> Result<(Passes, Scores), ExperimentError> {
        let mut scored = self.passes.scored();
        scored.retain(|(condition, _)| *condition > 0);
        if !self.passes.are_of(whole) || scored.len() != self.scores.len() {
            return Err(ExperimentError::OtherState);
        }
        let mut scores = vec![BTreeMap::new(); whole.conditions.len()];
        for ((condition, prompt), score) in scored.into_iter().zip(self.scores) {
            scores[condition].insert(prompt, score);
        }
        Ok((self.passes, scores))
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
