//! One run: passes of an engine, one after the other, each kept as soon as it is through.
//!
//! ```text
//! Stage: units x conditions -> passes, by number -> Measure -> rows of each pass -> part, and on to the experiment
//! ```
//!
//! An experiment asks for stages and says what is measured; it has no loop over passes, no state and no resume of its own.
//! A run that goes on takes what has a part from there, and measures the rest: the same numbers to the last bit.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ExperimentError;
use super::groups::{groups, tokens_per_pass};
use super::part::{Part, PartStore, PlannedPass, Shard, Sharing, StagePlan};
use crate::engine::{Engine, EngineError, Progress, check_edits};
use crate::hooks::{Condition, EditCount};
use crate::tokens::TokenBatch;

/// Reads numbers off a pass: what rows of logits or sites it asks for, and what it makes of them.
pub trait Measure {
    /// One number or several of one unit under one condition, which the row names.
    type Row: Serialize + DeserializeOwned;

    /// Runs one pass.
    ///
    /// # Errors
    /// Those of the engine, and of what is measured.
    fn measure(
        &mut self,
        pass: &Pass<'_>,
        engine: &Engine<'_>,
        progress: &dyn Progress,
    ) -> Result<Measured<Self::Row>, ExperimentError>;
}

/// What a pass gave.
pub struct Measured<R> {
    /// What the edit of each condition of the pass changed.
    pub edits: Vec<EditCount>,
    /// The rows of [`Pass::reported`].
    pub rows: Vec<R>,
}

/// What one pass runs.
pub struct Pass<'p> {
    /// The units.
    pub batch: &'p TokenBatch,
    /// The conditions by their number.
    pub members: &'p [usize],
    /// The same conditions.
    pub conditions: &'p [Condition],
}

impl Pass<'_> {
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

    /// Is told how far the run is.
    pub fn progress(&self) -> &'r dyn Progress {
        self.progress
    }

    /// How many passes have a part, and how many were planned so far.
    pub fn passes(&self) -> (usize, usize) {
        (self.done, self.passes)
    }

    /// Runs a stage. `take` is given the rows of each pass, in the order of the passes.
    ///
    /// # Errors
    /// Those of the measure, the store and `take`; [`EngineError::NullEdit`] as soon as a condition has run on all units in
    /// vain, where that is refused; [`ExperimentError::StoppedAfter`] where it was asked for and something is kept;
    /// [`ExperimentError::OtherRun`] where the store holds the passes of something else.
    pub fn measure<M: Measure>(
        &mut self,
        stage: &Stage<'_>,
        measure: &mut M,
        take: &mut dyn FnMut(Vec<M::Row>) -> Result<(), ExperimentError>,
    ) -> Result<Ran, ExperimentError> {
        let passes = self.plan(stage)?;
        let first = self.passes;
        self.passes += passes.len();
        self.announce(stage, &passes, first);
        let mut ran = Ran {
            changed: vec![EditCount::default(); stage.conditions.len()],
            passes: passes.len(),
            missing: 0,
        };
        for (at, pass) in passes.iter().enumerate() {
            let number = first + at;
            let found = match self.load::<M::Row>(number, pass)? {
                Some(found) => found,
                None if !self.runs(stage, number) => {
                    ran.missing += 1;
                    continue;
                }
                None => self.run(stage, pass, number, measure)?,
            };
            self.done += 1;
            let Measured { edits, rows } = found;
            for (condition, edit) in pass.conditions.iter().zip(edits) {
                ran.changed[*condition] += edit;
            }
            take(rows)?;
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
    fn plan(&mut self, stage: &Stage<'_>) -> Result<Vec<PlannedPass>, ExperimentError> {
        let number = self.stages;
        self.stages += 1;
        let Some(store) = &mut self.store else {
            return plan_passes(stage);
        };
        if let Some(planned) = store.planned(number).map_err(ExperimentError::Store)? {
            return match are_of(&planned.passes, stage) {
                true => Ok(planned.passes),
                false => Err(ExperimentError::OtherRun),
            };
        }
        let planned = StagePlan {
            sharing: stage.sharing,
            passes: plan_passes(stage)?,
        };
        store
            .plan(number, &planned)
            .map_err(ExperimentError::Store)?;
        Ok(planned.passes)
    }

    fn load<R: DeserializeOwned>(
        &mut self,
        number: usize,
        pass: &PlannedPass,
    ) -> Result<Option<Measured<R>>, ExperimentError> {
        let Some(store) = &mut self.store else {
            return Ok(None);
        };
        let part = store.load(number).map_err(ExperimentError::Store)?;
        let part = part.filter(|part| part.edits.len() == pass.conditions.len());
        Ok(part.and_then(|part| {
            Some(Measured {
                rows: part.rows()?,
                edits: part.edits,
            })
        }))
    }

    fn run<M: Measure>(
        &mut self,
        stage: &Stage<'_>,
        pass: &PlannedPass,
        number: usize,
        measure: &mut M,
    ) -> Result<Measured<M::Row>, ExperimentError> {
        let input = Pass {
            batch: &stage.batch.subset(&pass.units)?,
            members: &pass.conditions,
            conditions: &pass.select(stage.conditions),
        };
        let found = match measure.measure(&input, stage.engine, self.progress) {
            Err(ExperimentError::Engine(EngineError::Stopped)) if self.is_kept() => {
                let (done, of) = self.passes();
                return Err(ExperimentError::StoppedAfter { done, of });
            }
            found => found?,
        };
        if let Some(store) = &mut self.store {
            let part = Part::new(&found.edits, &found.rows)?;
            store.save(number, &part).map_err(ExperimentError::Store)?;
        }
        Ok(found)
    }

    fn is_kept(&self) -> bool {
        self.store.is_some() && self.done > 0
    }

    fn announce(&self, stage: &Stage<'_>, passes: &[PlannedPass], first: usize) {
        let has_part = |number| self.store.as_ref().is_some_and(|store| store.has(number));
        let left = (first..).zip(passes);
        let left = left.filter(|(number, _)| !has_part(*number) && self.runs(stage, *number));
        let left: Vec<&PlannedPass> = left.map(|(_, pass)| pass).collect();
        let units = left.iter().map(|pass| {
            let conditions = pass.select(stage.conditions);
            stage.engine.work_units(&conditions)
        });
        let words = in_words(stage, left.len(), passes.len());
        self.progress.start(&words, units.sum());
    }
}

impl PlannedPass {
    /// The pass's own of something that there is one of for each condition.
    fn select<T: Clone>(&self, of_all: &[T]) -> Vec<T> {
        let conditions = self.conditions.iter();
        conditions.map(|&c| of_all[c].clone()).collect()
    }
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
    let units = format!("{} {}", stage.batch.sequences().len(), stage.unit);
    let what = match stage.conditions.len() {
        1 => format!("{units}, clean"),
        n => format!("{units}, {n} conditions"),
    };
    match all {
        1 => what,
        all if all == left => format!("{what}, {all} passes"),
        all => format!("{what}, {left} of {all} passes"),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::super::ablate::{Scores, run_scores};
    use super::super::part::StoreError;
    use super::super::score::{Score, ScoreRow};
    use super::*;
    use crate::hooks::{Edit, Mode, Neuron, NeuronSet};
    use crate::hub::ModelFiles;
    use crate::model::{Checkpoint, LoadOptions, Model};
    use crate::tokens::Sequence;

    fn edit(layer: usize, mode: Mode) -> Condition {
        let neurons = (0..20).map(|index| Neuron { layer, index });
        let neurons = NeuronSet::from_neurons(4, 80, neurons).unwrap();
        Condition::Edited(Edit::new(neurons, mode).called(format!("layer {layer}")))
    }

    fn model() -> Model {
        let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
        let files = ModelFiles::Gguf(vec![goldens.join("tiny-llama/model.gguf")]);
        Model::load(Checkpoint::open(&files).unwrap(), LoadOptions::default()).unwrap()
    }

    fn batch() -> TokenBatch {
        let sequences = (0..6).map(|prompt| Sequence {
            target: vec![11],
            ..Sequence::of_ids(
                prompt,
                (0..3 + prompt % 3)
                    .map(|i| (7 * prompt + 5 * i + 3) as u32)
                    .collect(),
            )
        });
        TokenBatch::new(sequences.collect()).unwrap()
    }

    /// Keeps all in memory.
    #[derive(Clone, Default)]
    struct Memory {
        shard: Option<Shard>,
        stages: Vec<StagePlan>,
        parts: BTreeMap<usize, Part>,
    }

    impl PartStore for Memory {
        fn shard(&self) -> Option<Shard> {
            self.shard
        }
        fn planned(&mut self, stage: usize) -> Result<Option<StagePlan>, StoreError> {
            Ok(self.stages.get(stage).cloned())
        }
        fn plan(&mut self, _: usize, planned: &StagePlan) -> Result<(), StoreError> {
            self.stages.push(planned.clone());
            Ok(())
        }
        fn has(&self, pass: usize) -> bool {
            self.parts.contains_key(&pass)
        }
        fn load(&mut self, pass: usize) -> Result<Option<Part>, StoreError> {
            Ok(self.parts.get(&pass).cloned())
        }
        fn save(&mut self, pass: usize, part: &Part) -> Result<(), StoreError> {
            self.parts.insert(pass, part.clone());
            Ok(())
        }
    }

    type Cut<'a> = &'a [(&'a [usize], &'a [usize])];

    /// A run that was cut into these passes when it began.
    fn cut(of: Cut<'_>) -> Memory {
        let passes = of.iter().map(|(conditions, units)| PlannedPass {
            conditions: conditions.to_vec(),
            units: units.to_vec(),
        });
        Memory {
            stages: vec![StagePlan {
                sharing: Sharing::Shared,
                passes: passes.collect(),
            }],
            ..Memory::default()
        }
    }

    const ALL: &[usize] = &[0, 1, 2, 3, 4, 5];

    const FOUR: [(&[usize], &[usize]); 4] = [
        (&[0, 1], &[0, 1, 2]),
        (&[0, 1], &[3, 4, 5]),
        (&[0, 2, 3], &[0, 1, 2]),
        (&[0, 2, 3], &[3, 4, 5]),
    ];

    fn conditions() -> Vec<Condition> {
        let edited = [0, 1, 3].map(|layer| edit(layer, Mode::Zero));
        std::iter::once(Condition::Clean).chain(edited).collect()
    }

    fn run(
        model: &Model,
        conditions: &[Condition],
        store: &mut Memory,
        progress: &dyn Progress,
    ) -> Result<(Scores, Vec<EditCount>), ExperimentError> {
        let stage = Stage {
            engine: &Engine::new(model),
            batch: &batch(),
            unit: "prompts",
            conditions,
            sharing: Sharing::Shared,
            null_edits: NullEdits::Refused,
        };
        let (scores, ran) = run_scores(&mut Run::kept(progress, store), &stage)?;
        Ok((scores, ran.changed))
    }

    /// Asks to stop after some units.
    struct StopAfter {
        left: Cell<u64>,
    }

    impl Progress for StopAfter {
        fn start(&self, _what: &str, _units: u64) {}
        fn advance(&self, units: u64) {
            self.left.set(self.left.get().saturating_sub(units));
        }
        fn stop_requested(&self) -> bool {
            self.left.get() == 0
        }
    }

    #[test]
    fn any_cut_gives_what_one_pass_gives() {
        let model = model();
        let of = |passes: Cut<'_>| run(&model, &conditions(), &mut cut(passes), &()).unwrap();
        let together = of(&[(&[0, 1, 2, 3], ALL)]);
        assert!(
            together.0[1..]
                .iter()
                .all(|edited| *edited != together.0[0])
        );
        assert_eq!(of(&[(&[0, 1], ALL), (&[0, 2, 3], ALL)]), together);
        let halves = [&ALL[..2], &ALL[2..]];
        assert_eq!(
            of(&[(&[0, 1, 2, 3], halves[0]), (&[0, 1, 2, 3], halves[1])]),
            together
        );
        assert_eq!(of(&FOUR), together);
    }

    #[test]
    fn a_stopped_run_goes_on_where_it_was() {
        let model = model();
        let expected = run(&model, &conditions(), &mut cut(&FOUR), &()).unwrap();
        let units = Engine::new(&model).work_units(&conditions()[..2]);
        for after in [1, units, units + 3, 2 * units + 5] {
            let mut store = cut(&FOUR);
            let left = Cell::new(after);
            let stopped = run(&model, &conditions(), &mut store, &StopAfter { left });
            match stopped.unwrap_err() {
                ExperimentError::StoppedAfter { done, of } => {
                    assert_eq!((done as u64, of), (after / units, 4));
                }
                error => assert!(after < units, "{error}"),
            }
            assert_eq!(store.parts.len() as u64, after / units);
            let found = run(&model, &conditions(), &mut store, &()).unwrap();
            assert_eq!(found, expected, "stopped after {after} units");
        }
    }

    #[test]
    fn shards_have_all_passes_together_and_no_shard_has_the_result() {
        let model = model();
        let expected = run(&model, &conditions(), &mut cut(&FOUR), &()).unwrap();
        for count in [1, 2, 3, 7] {
            let mut joined = cut(&FOUR);
            for index in 0..count {
                let mut store = cut(&FOUR);
                store.shard = Some(Shard { index, count });
                let found = run(&model, &conditions(), &mut store, &());
                let other = matches!(found, Err(ExperimentError::OtherShards { .. }));
                assert_eq!(other, count > 1);
                assert!(store.parts.keys().all(|pass| pass % count == index));
                joined.parts.append(&mut store.parts);
            }
            assert_eq!(joined.parts.len(), 4);
            assert_eq!(
                run(&model, &conditions(), &mut joined, &()).unwrap(),
                expected
            );
        }
    }

    #[test]
    fn a_part_comes_back_to_the_last_bit() {
        let row = |condition, value: f64| ScoreRow {
            condition,
            prompt: u32::MAX,
            score: Score {
                target_logprob: value,
                first_logprob: -0.0,
                first_rank: 1,
                entropy_nats: f64::MIN_POSITIVE / 2.0,
                kl_nats: 1.0 / 3.0,
                top_token: 7,
            },
        };
        let rows = vec![row(0, f64::NEG_INFINITY), row(1, -0.1)];
        let part = Part::new(&[EditCount::default()], &rows).unwrap();
        assert_eq!(part.rows::<ScoreRow>().unwrap(), rows);
        assert!(part.rows::<crate::experiment::TokenScore>().is_none());
        let none = Part::new::<ScoreRow>(&[], &[]).unwrap();
        assert!(none.rows::<ScoreRow>().unwrap().is_empty());
    }

    #[test]
    fn only_the_passes_of_the_run_are_gone_on_with() {
        let model = model();
        let goes_on = |passes: Cut<'_>| match run(&model, &conditions(), &mut cut(passes), &()) {
            Err(ExperimentError::OtherRun) => false,
            found => found.is_ok(),
        };
        assert!(goes_on(&[(&[0, 1], ALL), (&[0, 2, 3], ALL)]));
        assert!(!goes_on(&[(&[0, 1], ALL)]), "edits are missing");
        assert!(
            !goes_on(&[(&[0, 1, 2, 3], &ALL[1..])]),
            "a prompt is missing"
        );
        assert!(
            !goes_on(&[(&[0, 1, 2, 3], ALL), (&[0, 1], &ALL[..1])]),
            "twice"
        );
        assert!(!goes_on(&[(&[0, 1, 2, 4], ALL)]), "no such condition");
        assert!(
            !goes_on(&[(&[0, 1, 2, 3], &[0, 1, 2, 3, 4, 5, 6])]),
            "no such prompt"
        );
        assert!(
            !goes_on(&[(&[1, 2, 3], ALL), (&[0], ALL)]),
            "nothing to compare with"
        );
    }

    #[test]
    fn an_edit_in_vain_is_found_when_its_group_is_through() {
        let model = model();
        let mut conditions = conditions();
        conditions[1] = edit(0, Mode::ClampAbove(1e30));
        let mut store = cut(&[(&[0, 1], ALL), (&[0, 2, 3], ALL)]);
        let error = run(&model, &conditions, &mut store, &()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("`layer 0` changed no value"), "{error}");
        assert_eq!(store.parts.len(), 1);
    }
}
