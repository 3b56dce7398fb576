//! The passes of an ablation: which conditions run together on which prompts, one pass after the other, so that a
//! run can stop between two of them and go on later.
//!
//! What the passes gave is not kept here but in the run's own table of outcomes, in a fixed order
//! ([`Passes::scored`]); the plan and the counts of the edits are all that has to be kept beside it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ExperimentError;
use super::groups::{groups, tokens_per_pass};
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

/// All passes of a run, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passes {
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
        Ok(Self {
            passes,
            done: 0,
            changed: vec![EditCount::default(); conditions.len()],
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.passes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.passes.is_empty()
    }

    /// How many are done.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Whether all are done.
    pub fn finished(&self) -> bool {
        self.done == self.passes.len()
    }

    /// Whether these are passes of `whole`: all of its conditions, on prompts that it has.
    pub(super) fn are_of(&self, whole: &Whole<'_>) -> bool {
        let prompts = whole.batch.sequences().iter();
        let prompts: BTreeSet<usize> = prompts.map(|sequence| sequence.prompt).collect();
        let conditions = whole.conditions.len();
        let pass_is = |pass: &Pass| {
            pass.conditions.iter().all(|c| *c < conditions)
                && pass.prompts.iter().all(|prompt| prompts.contains(prompt))
        };
        self.changed.len() == conditions
            && self.done <= self.passes.len()
            && self.passes.iter().all(pass_is)
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

    /// Condition and prompt of every score of the passes that are done, in order.
    pub(super) fn scored(&self) -> BTreeSet<(usize, usize)> {
        let done = self.passes[..self.done].iter();
        done.flat_map(|pass| {
            let prompts = |condition| pass.prompts.iter().map(move |prompt| (condition, *prompt));
            pass.conditions.iter().copied().flat_map(prompts)
        })
        .collect()
    }

    /// Runs what is left of the passes by `run`, which is given the pass's part of the batch and its
    /// conditions, runs the engine and keeps what it gives. Ends between two passes where a run was
    /// [stopped](EngineError::Stopped).
    ///
    /// # Errors
    /// Those of `run`; [`EngineError::NullEdit`] as soon as a condition has run on all prompts in vain, where that is
    /// refused.
    pub(super) fn run(
        &mut self,
        whole: &Whole<'_>,
        run: &mut dyn FnMut(PassPart<'_>) -> Result<Vec<EditCount>, ExperimentError>,
    ) -> Result<(), ExperimentError> {
        let conditions = whole.conditions;
        let units = self.units(whole.engine, conditions);
        whole.progress.start(&self.in_words(whole), units);
        while let Some(pass) = self.passes.get(self.done) {
            let changed = match pass.with_part(whole, run) {
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

    /// Goes once more through the passes that are done, without running them.
    ///
    /// # Errors
    /// [`ExperimentError::OtherState`] where these are not passes of `whole`, and those of `see`.
    pub(super) fn replay(
        &self,
        whole: &Whole<'_>,
        see: &mut dyn FnMut(PassPart<'_>) -> Result<(), ExperimentError>,
    ) -> Result<(), ExperimentError> {
        if !self.are_of(whole) {
            return Err(ExperimentError::OtherState);
        }
        let mut done = self.passes[..self.done].iter();
        done.try_for_each(|pass| pass.with_part(whole, see))
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

    fn units(&self, engine: &Engine<'_>, conditions: &[Condition]) -> u64 {
        let left = self.passes[self.done..].iter();
        left.map(|pass| engine.work_units(&pass.select(conditions)))
            .sum()
    }

    fn in_words(&self, whole: &Whole<'_>) -> String {
        let sequences = format!("{} {}", whole.batch.sequences().len(), whole.unit);
        let what = match whole.conditions.len() {
            1 => format!("{sequences}, clean"),
            n => format!("{sequences}, {n} conditions"),
        };
        match (self.passes.len(), self.done) {
            (1, _) => what,
            (all, 0) => format!("{what}, {all} passes"),
            (all, done) => format!("{what}, {} of {all} passes", all - done),
        }
    }
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

    use super::super::ablate::score_prompts;
    use super::super::score::Score;
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

    type Scores = Vec<BTreeMap<usize, Score>>;

    fn run(
        model: &Model,
        conditions: &[Condition],
        passes: &mut Passes,
        scores: &mut Scores,
        progress: &dyn Progress,
    ) -> Result<(), ExperimentError> {
        let (engine, batch) = (Engine::new(model), batch());
        let whole = Whole {
            engine: &engine,
            batch: &batch,
            conditions,
            in_vain: InVain::Refused,
            unit: "prompts",
            progress,
        };
        passes.run(&whole, &mut |part| {
            score_prompts(&engine, &part, scores, &mut [], progress)
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
            let (mut passes, mut scores) = (passes(cut), vec![BTreeMap::new(); 4]);
            run(&model, &conditions(), &mut passes, &mut scores, &()).unwrap();
            assert!(passes.finished());
            (scores, passes.changed)
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
        let mut whole = (passes(&cut), vec![BTreeMap::new(); 4]);
        run(&model, &conditions(), &mut whole.0, &mut whole.1, &()).unwrap();
        let units = Engine::new(&model).work_units(&conditions()[..2]);
        for after in [1, units, units + 3, 2 * units + 5] {
            let mut stopped = (passes(&cut), vec![BTreeMap::new(); 4]);
            let progress = StopAfter {
                left: Cell::new(after),
            };
            run(
                &model,
                &conditions(),
                &mut stopped.0,
                &mut stopped.1,
                &progress,
            )
            .unwrap();
            assert_eq!(stopped.0.done() as u64, after / units);
            let scored: usize = stopped.1.iter().map(BTreeMap::len).sum();
            assert_eq!(stopped.0.scored().len(), scored);

            let kept = serde_json::to_vec(&stopped.0).unwrap();
            let mut resumed: Passes = serde_json::from_slice(&kept).unwrap();
            run(&model, &conditions(), &mut resumed, &mut stopped.1, &()).unwrap();
            assert_eq!((resumed, stopped.1), whole, "stopped after {after} units");
        }
    }

    #[test]
    fn an_edit_in_vain_is_found_when_its_group_is_through() {
        let model = model();
        let mut conditions = conditions();
        conditions[1] = edit(0, Mode::ClampAbove(1e30));
        let mut passes = passes(&[(&[0, 1], ALL), (&[0, 2, 3], ALL)]);
        let scores = &mut vec![BTreeMap::new(); 4];
        let error = run(&model, &conditions, &mut passes, scores, &()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("`layer 0` changed no value"), "{error}");
        assert_eq!(passes.done(), 1);
    }
}
