//! The passes of an ablation: which conditions run together on which prompts, one pass after the other, so that a
//! run can stop between two of them and go on later.
//!
//! What each pass gave goes to a [`PassStore`] as soon as the pass is through; a run that goes on takes it from there,
//! and runs what has no part. So it gives the same numbers to the last bit.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ExperimentError;
use super::groups::{groups, tokens_per_pass};
use super::store::{Numbers, PassStore};
use crate::engine::{Engine, EngineError, Progress, check_edits};
use crate::hooks::{Condition, EditCount};
use crate::tokens::TokenBatch;

/// One walk through the layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pass {
    conditions: Vec<usize>,
    prompts: Vec<usize>,
}

/// What becomes of an edit that changed no value on any prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InVain {
    /// It is an error, not a null result.
    Refused,
    /// It is kept; the caller says so.
    Kept,
}

/// What all passes together run.
pub(super) struct Whole<'a> {
    pub engine: &'a Engine<'a>,
    pub batch: &'a TokenBatch,
    pub conditions: &'a [Condition],
    pub in_vain: InVain,
    /// What the batch's sequences are, for a person.
    pub unit: &'static str,
    pub progress: &'a dyn Progress,
}

/// What one pass runs.
pub(super) struct PassPart<'a> {
    /// The pass's prompts.
    pub batch: &'a TokenBatch,
    /// The pass's conditions by their number.
    pub members: &'a [usize],
    /// The same conditions.
    pub conditions: &'a [Condition],
}

/// What is done in a pass, and what becomes of its scores.
pub(super) trait PassWork {
    /// What a pass gives.
    type Score: Numbers;

    /// How many scores the pass gives.
    fn scores(&self, part: &PassPart<'_>) -> usize;

    /// Runs the engine: what the edit of each condition of the pass changed, and the scores.
    fn run(&mut self, part: &PassPart<'_>) -> Result<Ran<Self::Score>, ExperimentError>;

    /// Takes the scores of a pass, just run or run before.
    fn take(
        &mut self,
        part: &PassPart<'_>,
        scores: Vec<Self::Score>,
    ) -> Result<(), ExperimentError>;
}

/// What the edits of a pass changed, by condition, and its scores.
pub(super) type Ran<S> = (Vec<EditCount>, Vec<S>);

/// A pass whose work keeps its own account, and which nothing is stored of.
struct Unstored<F>(F);

impl<F> PassWork for Unstored<F>
where
    F: FnMut(&PassPart<'_>) -> Result<Vec<EditCount>, ExperimentError>,
{
    type Score = ();

    fn scores(&self, _: &PassPart<'_>) -> usize {
        0
    }

    fn run(&mut self, part: &PassPart<'_>) -> Result<Ran<()>, ExperimentError> {
        Ok((self.0(part)?, Vec::new()))
    }

    fn take(&mut self, _: &PassPart<'_>, _: Vec<()>) -> Result<(), ExperimentError> {
        Ok(())
    }
}

/// All passes of a run, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Passes {
    passes: Vec<Pass>,
    done: usize,
    /// What the edit of each condition changed in the passes that are done.
    changed: Vec<EditCount>,
}

impl Passes {
    /// Every condition on every prompt, in as many passes as memory asks for.
    ///
    /// # Errors
    /// [`EngineError::Memory`] where not even one edited condition fits beside the clean one.
    pub(super) fn plan(whole: &Whole<'_>) -> Result<Self, ExperimentError> {
        let Whole {
            engine,
            batch,
            conditions,
            ..
        } = *whole;
        let mut passes = Vec::new();
        for conditions in groups(engine, batch, conditions)? {
            for part in batch.split(tokens_per_pass(engine, batch, conditions.len())?)? {
                passes.push(Pass {
                    conditions: conditions.clone(),
                    prompts: part.sequences().iter().map(|s| s.prompt).collect(),
                });
            }
        }
        Ok(Self::of(passes, conditions))
    }

    fn of(passes: Vec<Pass>, conditions: &[Condition]) -> Self {
        Self {
            passes,
            done: 0,
            changed: vec![EditCount::default(); conditions.len()],
        }
    }

    /// The passes that `store` has, which were cut to the memory that was free then; else they are planned, and stored.
    ///
    /// # Errors
    /// Those of [`Passes::plan`] and of the store; [`ExperimentError::OtherState`] for passes that are not those of
    /// `whole`, each edit on each prompt once.
    pub(super) fn stored_or_plan(
        whole: &Whole<'_>,
        store: &mut dyn PassStore,
    ) -> Result<Self, ExperimentError> {
        let Some(stored) = store.passes().map_err(ExperimentError::Store)? else {
            let planned = Self::plan(whole)?;
            let bytes = serde_json::to_vec(&planned.passes)
                .map_err(|e| ExperimentError::Store(e.into()))?;
            store.keep_passes(&bytes).map_err(ExperimentError::Store)?;
            return Ok(planned);
        };
        let passes = serde_json::from_slice(&stored).map_err(|_| ExperimentError::OtherState)?;
        let passes = Self::of(passes, whole.conditions);
        match passes.are_of(whole) {
            true => Ok(passes),
            false => Err(ExperimentError::OtherState),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.passes.len()
    }

    /// Whether all are done.
    pub(super) fn finished(&self) -> bool {
        self.done == self.passes.len()
    }

    /// Whether these are the passes of `whole`: each of its edits on each prompt once, beside the clean condition.
    fn are_of(&self, whole: &Whole<'_>) -> bool {
        let prompts: Vec<usize> = whole.batch.sequences().iter().map(|s| s.prompt).collect();
        let conditions = whole.conditions.len();
        let mut seen = BTreeSet::new();
        let is_own = |pass: &Pass| {
            let mut numbered = pass.conditions.iter().enumerate();
            let mut pairs = pass.conditions.iter().flat_map(|&c| {
                let prompts = pass.prompts.iter();
                prompts.map(move |&prompt| (c, prompt))
            });
            // The clean condition, the first, is in passes of other edits too.
            numbered.all(|(at, &c)| c < conditions && (at == 0) == (c == 0))
                && pairs.all(|(c, prompt)| seen.insert((c, prompt)) || c == 0)
        };
        let all = (0..conditions).flat_map(|c| prompts.iter().map(move |&prompt| (c, prompt)));
        self.passes.iter().all(is_own) && seen == all.collect()
    }

    /// What all edits changed so far.
    pub(super) fn changed(&self) -> EditCount {
        let mut sum = EditCount::default();
        self.changed.iter().for_each(|count| sum += *count);
        sum
    }

    /// What the edit of each condition changed so far.
    pub(super) fn changed_each(&self) -> &[EditCount] {
        &self.changed
    }

    /// Runs the passes by `run`, which is given the pass's part of the batch and its conditions, runs the engine and
    /// keeps what it gives. Ends between two passes where a run was [stopped](EngineError::Stopped).
    ///
    /// # Errors
    /// Those of `run`; [`EngineError::NullEdit`] as soon as a condition has run on all prompts in vain, where that is
    /// refused.
    pub(super) fn run(
        &mut self,
        whole: &Whole<'_>,
        run: &mut dyn FnMut(&PassPart<'_>) -> Result<Vec<EditCount>, ExperimentError>,
    ) -> Result<(), ExperimentError> {
        self.work(whole, &mut (), &mut Unstored(run))
    }

    /// The same with `work`, which is asked for what `store` has not; what it gives is stored.
    ///
    /// # Errors
    /// Those of [`Passes::run`], of `work` and of `store`.
    pub(super) fn work<W: PassWork>(
        &mut self,
        whole: &Whole<'_>,
        store: &mut dyn PassStore,
        work: &mut W,
    ) -> Result<(), ExperimentError> {
        let conditions = whole.conditions;
        let left = (0..self.passes.len()).filter(|pass| !store.has(*pass));
        let left: Vec<&Pass> = left.map(|pass| &self.passes[pass]).collect();
        let units = left
            .iter()
            .map(|pass| whole.engine.work_units(&pass.select(conditions)));
        whole
            .progress
            .start(&self.in_words(whole, left.len()), units.sum());
        while let Some(pass) = self.passes.get(self.done) {
            let number = self.done;
            let ran = pass.with_part(whole, &mut |part| {
                let (changed, scores) = match stored(number, &part, store, work)? {
                    Some(ran) => ran,
                    None => {
                        let ran = work.run(&part)?;
                        let kept = store.save(number, &numbers(&ran));
                        kept.map_err(ExperimentError::Store)?;
                        ran
                    }
                };
                work.take(&part, scores)?;
                Ok(changed)
            });
            let changed = match ran {
                Err(ExperimentError::Engine(EngineError::Stopped)) => return Ok(()),
                changed => changed?,
            };
            for (condition, changed) in pass.conditions.iter().zip(changed) {
                self.changed[*condition] += changed;
            }
            self.done += 1;
            if whole.in_vain == InVain::Refused {
                self.check_last(conditions)?;
            }
        }
        Ok(())
    }

    /// Refuses a run that was stopped before all passes were done.
    ///
    /// # Errors
    /// [`ExperimentError::StoppedAfter`]; [`EngineError::Stopped`] where none is done.
    pub(super) fn check_finished(&self) -> Result<(), ExperimentError> {
        match (self.done, self.passes.len()) {
            (done, of) if done == of => Ok(()),
            (0, _) => Err(EngineError::Stopped.into()),
            (done, of) => Err(ExperimentError::StoppedAfter { done, of }),
        }
    }

    /// Checks the edits of a group of conditions after its last pass.
    fn check_last(&self, conditions: &[Condition]) -> Result<(), EngineError> {
        let last = &self.passes[self.done - 1];
        let next = self.passes.get(self.done);
        if next.is_some_and(|next| next.conditions == last.conditions) {
            return Ok(());
        }
        check_edits(&last.select(conditions), &last.select(&self.changed))
    }

    fn in_words(&self, whole: &Whole<'_>, left: usize) -> String {
        let sequences = format!("{} {}", whole.batch.sequences().len(), whole.unit);
        let what = match whole.conditions.len() {
            1 => format!("{sequences}, clean"),
            n => format!("{sequences}, {n} conditions"),
        };
        match self.passes.len() {
            1 => what,
            all if all == left => format!("{what}, {all} passes"),
            all => format!("{what}, {left} of {all} passes"),
        }
    }
}

/// What the store has of a pass, where that is whole.
fn stored<W: PassWork>(
    pass: usize,
    part: &PassPart<'_>,
    store: &mut dyn PassStore,
    work: &W,
) -> Result<Option<Ran<W::Score>>, ExperimentError> {
    let Some(numbers) = store.load(pass).map_err(ExperimentError::Store)? else {
        return Ok(None);
    };
    let mut left = numbers.as_slice();
    let counts = part.members.iter().map(|_| EditCount::take(&mut left));
    let counts: Option<Vec<_>> = counts.collect();
    let scores = (0..work.scores(part)).map(|_| W::Score::take(&mut left));
    let scores: Option<Vec<_>> = scores.collect();
    Ok(counts.zip(scores).filter(|_| left.is_empty()))
}

fn numbers<S: Numbers>((changed, scores): &Ran<S>) -> Vec<u64> {
    let mut numbers = Vec::new();
    changed.iter().for_each(|count| count.put(&mut numbers));
    scores.iter().for_each(|score| score.put(&mut numbers));
    numbers
}

impl Pass {
    fn with_part<T>(
        &self,
        whole: &Whole<'_>,
        what: &mut dyn FnMut(PassPart<'_>) -> Result<T, ExperimentError>,
    ) -> Result<T, ExperimentError> {
        what(PassPart {
            batch: &whole.batch.subset(&self.prompts)?,
            members: &self.conditions,
            conditions: &self.select(whole.conditions),
        })
    }

    /// The pass's own of something that there is one of for each condition.
    fn select<T: Clone>(&self, of_all: &[T]) -> Vec<T> {
        let conditions = self.conditions.iter();
        conditions.map(|&c| of_all[c].clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::super::ablate::{FactWork, Scores};
    use super::super::store::StoreError;
    use super::*;
    use crate::hooks::{Edit, Mode, Neuron, NeuronSet, SignCase, SignConvention};
    use crate::hub::ModelFiles;
    use crate::model::{Checkpoint, LoadOptions, Model};
    use crate::tokens::{Positions, Sequence};

    fn edit(layer: usize, mode: Mode) -> Condition {
        let neurons = (0..20).map(|index| Neuron { layer, index });
        Condition::Edited(Edit {
            label: format!("layer {layer}"),
            neurons: NeuronSet::from_neurons(4, 80, neurons).unwrap(),
            mode,
            positions: Positions::All,
            when: SignCase::default(),
            signs: SignConvention::Raw,
        })
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

    fn passes(of: &[(&[usize], &[usize])]) -> Passes {
        let pass = |(conditions, prompts): &(&[usize], &[usize])| Pass {
            conditions: conditions.to_vec(),
            prompts: prompts.to_vec(),
        };
        Passes {
            passes: of.iter().map(pass).collect(),
            done: 0,
            changed: vec![EditCount::default(); 4],
        }
    }

    const ALL: &[usize] = &[0, 1, 2, 3, 4, 5];

    fn conditions() -> Vec<Condition> {
        let edited = [0, 1, 3].map(|layer| edit(layer, Mode::Zero));
        std::iter::once(Condition::Clean).chain(edited).collect()
    }

    /// Keeps all in memory.
    #[derive(Clone, Default)]
    struct Memory {
        passes: Option<Vec<u8>>,
        parts: BTreeMap<usize, Vec<u64>>,
    }

    impl PassStore for Memory {
        fn passes(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
            Ok(self.passes.clone())
        }
        fn keep_passes(&mut self, passes: &[u8]) -> Result<(), StoreError> {
            self.passes = Some(passes.to_vec());
            Ok(())
        }
        fn has(&self, pass: usize) -> bool {
            self.parts.contains_key(&pass)
        }
        fn load(&mut self, pass: usize) -> Result<Option<Vec<u64>>, StoreError> {
            Ok(self.parts.get(&pass).cloned())
        }
        fn save(&mut self, pass: usize, numbers: &[u64]) -> Result<(), StoreError> {
            self.parts.insert(pass, numbers.to_vec());
            Ok(())
        }
    }

    fn with_whole<T>(
        model: &Model,
        conditions: &[Condition],
        progress: &dyn Progress,
        what: impl FnOnce(&Whole<'_>) -> T,
    ) -> T {
        let (engine, batch) = (Engine::new(model), batch());
        what(&Whole {
            engine: &engine,
            batch: &batch,
            conditions,
            in_vain: InVain::Refused,
            unit: "prompts",
            progress,
        })
    }

    fn run(
        model: &Model,
        conditions: &[Condition],
        passes: &mut Passes,
        store: &mut Memory,
        progress: &dyn Progress,
    ) -> Result<Scores, ExperimentError> {
        with_whole(model, conditions, progress, |whole| {
            let observers = &mut [];
            let mut work = FactWork::new(whole, observers);
            passes.work(whole, store, &mut work)?;
            Ok(work.scores)
        })
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
        let of = |cut: &[(&[usize], &[usize])]| {
            let mut passes = passes(cut);
            let scores = run(
                &model,
                &conditions(),
                &mut passes,
                &mut Memory::default(),
                &(),
            );
            assert!(passes.finished());
            (scores.unwrap(), passes.changed)
        };
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
    }

    #[test]
    fn a_stopped_run_goes_on_where_it_was() {
        let model = model();
        let cut: [(&[usize], &[usize]); 4] = [
            (&[0, 1], &ALL[..3]),
            (&[0, 1], &ALL[3..]),
            (&[0, 2, 3], &ALL[..3]),
            (&[0, 2, 3], &ALL[3..]),
        ];
        let mut whole = passes(&cut);
        let expected = run(
            &model,
            &conditions(),
            &mut whole,
            &mut Memory::default(),
            &(),
        );
        let expected = expected.unwrap();
        let units = Engine::new(&model).work_units(&conditions()[..2]);
        for after in [1, units, units + 3, 2 * units + 5] {
            let (mut stopped, mut store) = (passes(&cut), Memory::default());
            let progress = StopAfter {
                left: Cell::new(after),
            };
            run(&model, &conditions(), &mut stopped, &mut store, &progress).unwrap();
            assert_eq!(stopped.done as u64, after / units);
            assert_eq!(store.parts.len(), stopped.done);
            // A part that is not whole is one that is not there.
            store.parts.entry(0).and_modify(|part| part.truncate(5));

            let mut resumed = passes(&cut);
            let scores = run(&model, &conditions(), &mut resumed, &mut store, &());
            assert_eq!(scores.unwrap(), expected, "stopped after {after} units");
            assert_eq!(resumed, whole);
        }
    }

    #[test]
    fn only_the_passes_of_the_run_are_gone_on_with() {
        let model = model();
        let stored = |cut: &[(&[usize], &[usize])]| {
            let mut store = Memory {
                passes: Some(serde_json::to_vec(&passes(cut).passes).unwrap()),
                ..Memory::default()
            };
            with_whole(&model, &conditions(), &(), |whole| {
                Passes::stored_or_plan(whole, &mut store).is_ok()
            })
        };
        assert!(stored(&[(&[0, 1], ALL), (&[0, 2, 3], ALL)]));
        assert!(!stored(&[(&[0, 1], ALL)]), "edits are missing");
        assert!(
            !stored(&[(&[0, 1, 2, 3], &ALL[1..])]),
            "a prompt is missing"
        );
        assert!(
            !stored(&[(&[0, 1, 2, 3], ALL), (&[0, 1], &ALL[..1])]),
            "twice"
        );
        assert!(!stored(&[(&[0, 1, 2, 4], ALL)]), "no such condition");
        assert!(
            !stored(&[(&[0, 1, 2, 3], &[0, 1, 2, 3, 4, 5, 6])]),
            "no such prompt"
        );
        assert!(
            !stored(&[(&[1, 2, 3], ALL), (&[0], ALL)]),
            "nothing to compare with"
        );
    }

    #[test]
    fn an_edit_in_vain_is_found_when_its_group_is_through() {
        let model = model();
        let mut conditions = conditions();
        conditions[1] = edit(0, Mode::ClampAbove(1e30));
        let mut passes = passes(&[(&[0, 1], ALL), (&[0, 2, 3], ALL)]);
        let store = &mut Memory::default();
        let error = run(&model, &conditions, &mut passes, store, &()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("`layer 0` changed no value"), "{error}");
        assert_eq!(passes.done, 1);
    }
}
