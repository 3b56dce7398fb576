//! One run: passes of an engine, one after the other, each kept as soon as it is through.
//!
//! ```text
//! Stage: units x conditions -> passes, by number -> Measure -> rows of each pass -> part, and on to the experiment
//! ```
//!
//! An experiment asks for stages and says what is measured; it has no loop over passes, no state and no resume of its own.
//! A run that goes on takes what has a part from there, and measures the rest: the same numbers to the last bit.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::ExperimentError;
use super::part::{Part, PartStore, PlannedPass, Shard, Sharing, StagePlan, Tables};
use super::stage::{Measure, Measured, NullEdits, Pass, Stage};
use crate::engine::{EngineError, Progress, check_edits};
use crate::hooks::{Condition, EditCount};
use crate::hub::hex;

/// What is known of a stage besides its rows.
#[must_use]
#[derive(Debug)]
pub struct Ran {
    /// What the edit of each condition changed.
    pub changed: Vec<EditCount>,
    /// How often the layers were walked through.
    pub passes: usize,
    /// Passes that other shards run.
    missing: usize,
}

impl Ran {
    /// The same, where every pass has its part.
    ///
    /// # Errors
    /// [`ExperimentError::OtherShards`] where some are those of other shards.
    pub fn complete(self) -> Result<Self, ExperimentError> {
        match self.missing {
            0 => Ok(self),
            missing => Err(ExperimentError::OtherShards { missing }),
        }
    }

    /// What all edits changed.
    pub fn changed(&self) -> EditCount {
        let mut sum = EditCount::default();
        self.changed.iter().for_each(|count| sum += *count);
        sum
    }
}

/// A run on its way.
pub struct Run<'r> {
    progress: &'r dyn Progress,
    store: Option<&'r mut dyn PartStore>,
    /// This process's share, where it has no more than one.
    shard: Option<Shard>,
    /// Stages that were begun.
    stages: usize,
    /// Their passes.
    passes: usize,
    /// Those of them that have a part.
    done: usize,
    /// Passes of other shards that something needs.
    missing: usize,
}

impl<'r> Run<'r> {
    /// A run that keeps nothing.
    pub fn new(progress: &'r dyn Progress) -> Self {
        Self {
            progress,
            store: None,
            shard: None,
            stages: 0,
            passes: 0,
            done: 0,
            missing: 0,
        }
    }

    /// A run that keeps its parts in `store`, and takes from there what has one.
    pub fn kept(progress: &'r dyn Progress, store: &'r mut dyn PartStore) -> Self {
        Self {
            shard: store.shard(),
            store: Some(store),
            ..Self::new(progress)
        }
    }

    /// Whether it is one shard of several, which makes no estimates.
    pub fn is_shard(&self) -> bool {
        self.shard.is_some()
    }

    /// Is told how far the run is.
    pub fn progress(&self) -> &'r dyn Progress {
        self.progress
    }

    /// How many passes have a part, and how many were planned so far.
    pub fn passes(&self) -> (usize, usize) {
        (self.done, self.passes)
    }

    /// Runs a stage. `take` is given what each pass gave, in the order of the passes.
    ///
    /// # Errors
    /// Those of the measure, the store and `take`; [`EngineError::NullEdit`] as soon as a condition has run on all units in
    /// vain, where that is refused; [`ExperimentError::StoppedAfter`] where it was asked for and something is kept;
    /// [`ExperimentError::OtherRun`] where the store holds the passes of something else.
    pub fn measure<M: Measure>(
        &mut self,
        stage: &Stage<'_>,
        measure: &mut M,
        take: &mut dyn FnMut(M::Found) -> Result<(), ExperimentError>,
    ) -> Result<Ran, ExperimentError> {
        let passes = self.plan(stage, measure)?;
        let first = self.passes;
        self.passes += passes.len();
        self.announce((stage, measure), &passes, first);
        let mut ran = Ran {
            changed: vec![EditCount::default(); stage.conditions.len()],
            passes: passes.len(),
            missing: 0,
        };
        for (at, pass) in passes.iter().enumerate() {
            let number = first + at;
            let found = match self.load(number, pass)? {
                Some(found) => found,
                None if !self.runs(stage, number) => {
                    ran.missing += 1;
                    continue;
                }
                None => self.run(stage, pass, number, measure)?,
            };
            self.done += 1;
            for (condition, edit) in pass.conditions.iter().zip(found.edits) {
                ran.changed[*condition] += edit;
            }
            take(found.found)?;
            let is_last = passes
                .get(at + 1)
                .is_none_or(|next| next.conditions != pass.conditions);
            // A shard runs all that is its own, whatever it finds: the others do not know of it.
            if is_last && self.shard.is_none() && stage.null_edits == NullEdits::Refused {
                check_edits(&pass.select(stage.conditions), &pass.select(&ran.changed))?;
            }
        }
        self.missing += ran.missing;
        Ok(ran)
    }

    /// What was found, where that needs no pass of another shard; what is asked for next can run meanwhile.
    /// [`Run::all_here`] ends the wait.
    ///
    /// # Errors
    /// Every other error.
    pub fn unless_elsewhere<T>(
        &self,
        found: Result<T, ExperimentError>,
    ) -> Result<Option<T>, ExperimentError> {
        match found {
            Err(ExperimentError::OtherShards { .. }) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Goes on only where no pass of another shard is missing.
    ///
    /// # Errors
    /// [`ExperimentError::OtherShards`].
    pub fn all_here(&self) -> Result<(), ExperimentError> {
        match self.missing {
            0 => Ok(()),
            missing => Err(ExperimentError::OtherShards { missing }),
        }
    }

    fn runs(&self, stage: &Stage<'_>, number: usize) -> bool {
        stage.sharing == Sharing::Everywhere || self.shard.is_none_or(|shard| shard.has(number))
    }

    /// The passes of the next stage: those of the store, which were cut to the memory that was free then; else they are
    /// planned now, and kept.
    fn plan(
        &mut self,
        stage: &Stage<'_>,
        measure: &impl Measure,
    ) -> Result<Vec<PlannedPass>, ExperimentError> {
        let number = self.stages;
        self.stages += 1;
        let Some(store) = &mut self.store else {
            return measure.passes(stage);
        };
        if let Some(planned) = store.planned(number).map_err(ExperimentError::Store)? {
            let sets = neurons_sha256(stage.conditions);
            let is_same = planned.neurons.is_none_or(|neurons| neurons == sets);
            return if is_same && are_of(&planned.passes, stage) {
                Ok(planned.passes)
            } else {
                Err(ExperimentError::OtherRun)
            };
        }
        let planned = StagePlan {
            sharing: stage.sharing,
            passes: measure.passes(stage)?,
            neurons: Some(neurons_sha256(stage.conditions)),
        };
        store
            .plan(number, &planned)
            .map_err(ExperimentError::Store)?;
        Ok(planned.passes)
    }

    fn load<F: Tables>(
        &mut self,
        number: usize,
        pass: &PlannedPass,
    ) -> Result<Option<Measured<F>>, ExperimentError> {
        let Some(store) = &mut self.store else {
            return Ok(None);
        };
        let part = store.load(number).map_err(ExperimentError::Store)?;
        let part = part.filter(|part| part.edits.len() == pass.conditions.len());
        Ok(part.and_then(|part| {
            Some(Measured {
                found: F::of_tables(&part.tables)?,
                edits: part.edits,
                files: part.files,
            })
        }))
    }

    fn run<M: Measure>(
        &mut self,
        stage: &Stage<'_>,
        pass: &PlannedPass,
        number: usize,
        measure: &mut M,
    ) -> Result<Measured<M::Found>, ExperimentError> {
        let input = Pass {
            number,
            engine: stage.engine,
            progress: self.progress,
            batch: &stage.batch.subset(&pass.units)?,
            members: &pass.conditions,
            conditions: &pass.select(stage.conditions),
        };
        let found = match measure.measure(&input) {
            Err(ExperimentError::Engine(EngineError::Stopped)) if self.is_kept() => {
                let (done, of) = self.passes();
                return Err(ExperimentError::StoppedAfter { done, of });
            }
            found => found?,
        };
        if let Some(store) = &mut self.store {
            let part = found.found.to_tables().map(|tables| Part {
                edits: found.edits.clone(),
                tables,
                files: found.files.clone(),
            });
            let saved = part.and_then(|part| store.save(number, part));
            saved.map_err(ExperimentError::Store)?;
        }
        Ok(found)
    }

    fn is_kept(&self) -> bool {
        self.store.is_some() && self.done > 0
    }

    fn announce<M: Measure>(
        &self,
        (stage, measure): (&Stage<'_>, &M),
        passes: &[PlannedPass],
        first: usize,
    ) {
        let has_part = |number| self.store.as_ref().is_some_and(|store| store.has(number));
        let left = (first..).zip(passes);
        let left = left.filter(|(number, _)| !has_part(*number) && self.runs(stage, *number));
        let left: Vec<&PlannedPass> = left.map(|(_, pass)| pass).collect();
        let units = left.iter().map(|pass| {
            let conditions = pass.select(stage.conditions);
            measure.units(stage.engine, &conditions)
        });
        let words = in_words(stage, left.len(), passes.len());
        self.progress.start(&words, units.sum());
    }
}

impl PlannedPass {
    /// The pass's own of something that there is one of for each condition.
    pub(super) fn select<T: Clone>(&self, of_all: &[T]) -> Vec<T> {
        let conditions = self.conditions.iter();
        conditions.map(|&c| of_all[c].clone()).collect()
    }
}

/// Of which neurons each condition edits.
fn neurons_sha256(conditions: &[Condition]) -> String {
    let mut hash = Sha256::new();
    for (condition, edit) in conditions.iter().map(Condition::edit).enumerate() {
        for neuron in edit.iter().flat_map(|edit| edit.neurons.iter()) {
            for number in [condition, neuron.layer, neuron.index] {
                hash.update((number as u64).to_le_bytes());
            }
        }
    }
    hex(&hash.finalize())
}

/// Whether these are the passes of a stage: each of its edits on each unit once, beside the clean condition.
fn are_of(passes: &[PlannedPass], stage: &Stage<'_>) -> bool {
    let units: Vec<usize> = stage.batch.sequences().iter().map(|s| s.prompt).collect();
    let conditions = stage.conditions.len();
    let mut seen = BTreeSet::new();
    let is_own = |pass: &PlannedPass| {
        let mut numbered = pass.conditions.iter().enumerate();
        let mut pairs = pass
            .conditions
            .iter()
            .flat_map(|&c| pass.units.iter().map(move |&unit| (c, unit)));
        // The clean condition, the first, is in passes of other edits too.
        numbered.all(|(at, &c)| c < conditions && (at == 0) == (c == 0))
            && pairs.all(|(c, unit)| seen.insert((c, unit)) || c == 0)
    };
    let all = (0..conditions).flat_map(|c| units.iter().map(move |&unit| (c, unit)));
    passes.iter().all(is_own) && seen == all.collect()
}

fn in_words(stage: &Stage<'_>, left: usize, all: usize) -> String {
    let what = stage.in_words();
    match all {
        1 => what,
        all if all == left => format!("{what}, {all} passes"),
        all => format!("{what}, {left} of {all} passes"),
    }
}

#[cfg(test)]
mod tests;
