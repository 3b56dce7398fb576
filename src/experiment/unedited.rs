//! The clean model on facts: what it scores, and which it knows.

use std::collections::{BTreeMap, BTreeSet};

use super::ExperimentError;
use super::forecast::Step;
use super::known::KnownWhen;
use super::run::{Ran, Run};
use super::score::{FactScores, Score, ScoreRow};
use super::stage::Stage;
use crate::engine::Engine;
use crate::tokens::TokenBatch;

/// Scores by condition, then by prompt.
pub(super) type Scores = Vec<BTreeMap<usize, Score>>;

/// The clean model on all prompts.
pub(super) struct Unedited {
    pub scores: BTreeMap<usize, Score>,
    known: BTreeSet<usize>,
    pub passes: usize,
}

impl Unedited {
    /// Prompts that were run.
    pub fn prompts(&self) -> usize {
        self.scores.len()
    }

    /// The prompts whose top-1 is the first token of the target, or of another answer that is right.
    pub fn known(&self) -> BTreeSet<usize> {
        self.known.clone()
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

/// Asks the clean model.
pub(super) fn run_clean(
    run: &mut Run<'_>,
    engine: &Engine<'_>,
    batch: &TokenBatch,
) -> Result<Unedited, ExperimentError> {
    let stage = Stage::clean(engine, batch);
    let (mut scores, ran) = run_scores(run, &stage)?;
    let scores = scores.swap_remove(0);
    Ok(Unedited {
        known: KnownWhen::First.known((&*run, engine), batch, &scores)?,
        scores,
        passes: ran.passes,
    })
}

/// What a stage that is scored will take.
pub(super) fn scores_step(stage: &Stage<'_>) -> Result<Step, ExperimentError> {
    Step::of(stage, &FactScores, size_of::<ScoreRow>())
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
