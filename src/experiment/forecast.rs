//! What a run will do, before it does: its steps, and about how long each takes on this machine.
//!
//! Each experiment counts its own steps, by the same plans of passes that it runs. Where the clean model decides what is
//! run, as by which facts it knows, a step is the most that there can be.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::ExperimentError;
use super::groups::tokens_per_pass;
use super::outcome::PromptSubset;
use super::stage::{Measure, Stage};
use crate::engine::Engine;
use crate::hooks::Condition;
use crate::tokens::TokenBatch;

/// Tokens of the pass that times are estimated from.
const CALIBRATION: usize = 256;

/// A step of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// What it does, for a person.
    pub what: String,
    /// Walks through the layers; absent where they depend on what is found on the way.
    pub passes: Option<usize>,
    /// Tokens times the engine's units of a pass.
    #[serde(skip)]
    pub work: u64,
    /// What it takes of the disk at most: the parts of its passes, and the tables that are made of them.
    pub bytes: u64,
}

impl Step {
    /// The passes of a stage, of which each unit leaves so many bytes under each condition in a part, and as much in a table.
    ///
    /// # Errors
    /// Those of [`Measure::passes`].
    pub(super) fn of(
        stage: &Stage<'_>,
        measure: &impl Measure,
        bytes: usize,
    ) -> Result<Self, ExperimentError> {
        let passes = measure.passes(stage)?;
        let (mut work, mut rows) = (0, 0);
        for pass in &passes {
            let conditions = pass.select(stage.conditions);
            let tokens = stage.batch.subset(&pass.units)?.tokens() as u64;
            work += tokens * measure.units(stage.engine, &conditions);
            rows += pass.units.len() * conditions.len();
        }
        Ok(Self {
            what: stage.in_words(),
            passes: Some(passes.len()),
            work,
            bytes: 2 * (rows * bytes) as u64,
        })
    }

    /// The same of those that the model knows, where no others are run.
    pub(super) fn of_known(mut self, subset: PromptSubset) -> Self {
        if subset == PromptSubset::Known {
            self.what += " (fewer where fewer are known)";
        }
        self
    }

    /// A clean walk over a batch that keeps nothing.
    ///
    /// # Errors
    /// [`EngineError::Memory`](crate::engine::EngineError::Memory) where not even the shortest pass has room.
    pub(super) fn clean(
        engine: &Engine<'_>,
        batch: &TokenBatch,
        what: String,
    ) -> Result<Self, ExperimentError> {
        let passes = batch.split(tokens_per_pass(engine, batch, 1)?)?.len();
        Ok(Self {
            what,
            passes: Some(passes),
            work: batch.tokens() as u64 * engine.work_units(&[Condition::Clean]),
            bytes: 0,
        })
    }
}

/// About how long each step takes on this machine: a clean pass over a few tokens of `batch` tells.
///
/// # Errors
/// Those of the engine, of too little memory for one token among them.
pub fn expected_times(
    steps: &[Step],
    engine: &Engine<'_>,
    batch: &TokenBatch,
) -> Result<Vec<Duration>, ExperimentError> {
    let parts = batch.split(CALIBRATION)?;
    let clean = [Condition::Clean];
    engine.tokens_per_pass(&parts[0], 1)?; // too little memory shows before anything runs
    let started = Instant::now();
    engine.run(&parts[0], &clean, &mut [], None, &())?;
    let took = started.elapsed().as_secs_f64();
    let per_unit = took / (parts[0].tokens() as u64 * engine.work_units(&clean)) as f64;
    let times = steps
        .iter()
        .map(|step| Duration::from_secs_f64(step.work as f64 * per_unit));
    Ok(times.collect())
}
