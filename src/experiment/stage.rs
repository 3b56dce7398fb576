//! What a run is made of: units under conditions, and what is measured of them, pass by pass.

use std::collections::BTreeMap;

use super::ExperimentError;
use super::groups::{groups, tokens_per_pass};
use super::part::{PlannedPass, Sharing, Tables};
use crate::engine::{Engine, EngineError, Progress, Readout};
use crate::hooks::{Condition, EditCount, Observer};
use crate::stats::Clusters;
use crate::tokens::TokenBatch;

/// Reads numbers off a pass: what rows of logits or sites it asks for, and what it makes of them.
pub trait Measure {
    /// What it gives of a pass: as a rule rows, each with a number or several of one unit under one condition, which the
    /// row names.
    type Found: Tables;

    /// The passes of a stage: as a rule every condition on every unit, in as many as memory asks for.
    ///
    /// # Errors
    /// [`EngineError::Memory`] where not even the smallest pass has room.
    fn passes(&self, stage: &Stage<'_>) -> Result<Vec<PlannedPass>, ExperimentError> {
        plan_passes(stage)
    }

    /// The units of progress that a pass with these conditions reports.
    fn units(&self, engine: &Engine<'_>, conditions: &[Condition]) -> u64 {
        engine.work_units(conditions)
    }

    /// Runs one pass.
    ///
    /// # Errors
    /// Those of the engine, and of what is measured.
    fn measure(&mut self, pass: &Pass<'_>) -> Result<Measured<Self::Found>, ExperimentError>;
}

/// What a pass gave.
pub struct Measured<F> {
    /// What the edit of each condition of the pass changed.
    pub edits: Vec<EditCount>,
    /// What was found; rows are those of [`Pass::reported`].
    pub found: F,
    /// Names of the files that were written meanwhile, where the parts of the run are kept.
    pub files: Vec<String>,
}

impl<F> Measured<F> {
    /// What was found, without files.
    pub fn new(edits: Vec<EditCount>, found: F) -> Self {
        Self {
            edits,
            found,
            files: Vec::new(),
        }
    }
}

/// What one pass runs.
pub struct Pass<'p> {
    /// Its number in the run, from 0.
    pub number: usize,
    /// Runs it.
    pub engine: &'p Engine<'p>,
    /// Is told how far it is.
    pub progress: &'p dyn Progress,
    /// The units.
    pub batch: &'p TokenBatch,
    /// The conditions by their number.
    pub members: &'p [usize],
    /// The same conditions.
    pub conditions: &'p [Condition],
}

impl Pass<'_> {
    /// Runs it; what the edit of each condition changed.
    ///
    /// # Errors
    /// Those of the engine, and of what reads.
    pub fn run(
        &self,
        observers: &mut [&mut dyn Observer],
        readout: Option<&mut dyn Readout>,
    ) -> Result<Vec<EditCount>, EngineError> {
        let Pass { engine, batch, .. } = *self;
        engine.run(batch, self.conditions, observers, readout, self.progress)
    }

    /// The conditions that have rows, each by its place in the pass and its number. The clean condition is in every group
    /// of conditions; its rows are those of the first.
    pub fn reported(&self) -> impl Iterator<Item = (usize, usize)> {
        let is_first_group = self.members.get(1).is_none_or(|condition| *condition == 1);
        let members = self.members.iter().copied().enumerate();
        members.filter(move |(_, condition)| *condition > 0 || is_first_group)
    }
}

/// What becomes of an edit that changed no value on any unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NullEdits {
    /// It is an error, not a null result.
    Refused,
    /// It is counted; the experiment says so.
    Counted,
}

/// Units under conditions.
pub struct Stage<'s> {
    /// Runs them.
    pub engine: &'s Engine<'s>,
    /// The units: prompts, or windows of text.
    pub batch: &'s TokenBatch,
    /// What they are, for a person.
    pub unit: &'static str,
    /// The clean condition first.
    pub conditions: &'s [Condition],
    /// Where it runs.
    pub sharing: Sharing,
    /// Whether an edit may change nothing.
    pub null_edits: NullEdits,
}

impl<'s> Stage<'s> {
    /// The clean model on prompts. What it does decides what is run next, so every shard runs this.
    pub fn clean(engine: &'s Engine<'s>, batch: &'s TokenBatch) -> Self {
        Self {
            engine,
            batch,
            unit: "prompts",
            conditions: &[Condition::Clean],
            sharing: Sharing::Everywhere,
            null_edits: NullEdits::Refused,
        }
    }

    /// Edits, beside the clean model.
    pub fn edited(
        engine: &'s Engine<'s>,
        (batch, unit): (&'s TokenBatch, &'static str),
        conditions: &'s [Condition],
    ) -> Self {
        Self {
            unit,
            conditions,
            sharing: Sharing::Shared,
            ..Self::clean(engine, batch)
        }
    }

    /// Its units and conditions, for a person.
    pub(super) fn in_words(&self) -> String {
        let units = format!("{} {}", self.batch.sequences().len(), self.unit);
        match self.conditions.len() {
            1 => format!("{units}, clean"),
            n => format!("{units}, {n} conditions"),
        }
    }
}

/// The clusters of a batch's prompts, prompts ascending.
pub(super) fn clusters_of(batch: &TokenBatch) -> Clusters {
    let by_prompt = batch.sequences().iter().map(|s| (s.prompt, s.cluster));
    Clusters::of(by_prompt.collect::<BTreeMap<usize, usize>>().into_values())
}

/// Every condition on every unit, in as many passes as memory asks for.
///
/// # Errors
/// [`EngineError::Memory`] where not even one edited condition fits beside the clean one.
fn plan_passes(stage: &Stage<'_>) -> Result<Vec<PlannedPass>, ExperimentError> {
    let Stage {
        engine,
        batch,
        conditions,
        ..
    } = *stage;
    let mut passes = Vec::new();
    for conditions in groups(engine, batch, conditions)? {
        for part in batch.split(tokens_per_pass(engine, batch, conditions.len())?)? {
            passes.push(PlannedPass {
                conditions: conditions.clone(),
                units: part.sequences().iter().map(|s| s.prompt).collect(),
            });
        }
    }
    Ok(passes)
}
