use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use super::super::part::StoreError;
use super::super::score::{Score, ScoreRow};
use super::super::unedited::{Scores, run_scores};
use super::*;
use crate::engine::Engine;
use crate::hooks::{Condition, Edit, Mode, Neuron, NeuronSet};
use crate::hub::ModelFiles;
use crate::model::{Checkpoint, LoadOptions, Model};
use crate::tokens::{Sequence, TokenBatch};

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
    fn save(&mut self, pass: usize, part: Part) -> Result<(), StoreError> {
        self.parts.insert(pass, part);
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
            neurons: None,
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
            logit_diff: None,
            target_top1: true,
        },
    };
    let rows = vec![row(0, f64::NEG_INFINITY), row(1, -0.1)];
    type Rows = Vec<ScoreRow>;
    let tables = rows.to_tables().unwrap();
    assert_eq!(Rows::of_tables(&tables).unwrap(), rows);
    assert!(Vec::<crate::experiment::TokenScore>::of_tables(&tables).is_none());
    let none = Rows::new().to_tables().unwrap();
    assert!(Rows::of_tables(&none).unwrap().is_empty());
    let two = (rows.clone(), Rows::new());
    let tables = two.to_tables().unwrap();
    assert_eq!(<(Rows, Rows)>::of_tables(&tables).unwrap(), two);
    assert!(Rows::of_tables(&tables).is_none(), "a table too many");
    assert!(<(Rows, Rows)>::of_tables(&tables[..1]).is_none());
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
