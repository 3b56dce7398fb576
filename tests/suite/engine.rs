//! One expectation through every path of the engine.

use gatelens::engine::{Engine, EngineError, Lens, LogitBlock, Readout};
use gatelens::experiment::neuron_activity;
use gatelens::hooks::{
    Condition, Edit, EditCount, HookPoint, Mode, Neuron, NeuronSet, Observer, ReadError, Recorder,
    SignCase, Site, SiteRows,
};
use gatelens::model::{LoadOptions, Model, Residency};
use gatelens::tokens::{Positions, Sequence, TokenBatch};

use super::common::{LogProbs, batch, checkpoint, first_row, max_difference, model, options, run};

/// Sums over other batch shapes may be ordered otherwise; in f32.
const SAME_IN_ANY_BATCH: f32 = 1e-5;

fn prompts() -> Vec<Vec<u32>> {
    // several groups, several prompts in one of them, one longer than the tiny window of 8
    [(5, 3), (5, 40), (1, 7), (12, 11), (5, 90), (21, 2)]
        .map(|(len, start)| (0..len).map(|i| (start + i * 13) % 300).collect())
        .to_vec()
}

fn edit(model: &Model, neurons: &[(usize, usize)], mode: Mode) -> Condition {
    let neurons = neurons
        .iter()
        .map(|&(layer, index)| Neuron { layer, index });
    Condition::Edited(Edit::new(
        NeuronSet::new(model.config(), neurons).unwrap(),
        mode,
    ))
}

fn all_logprobs(logprobs: &LogProbs, condition: usize, rows: usize) -> Vec<f32> {
    (0..rows)
        .flat_map(|row| logprobs.at(condition, row).to_vec())
        .collect()
}

#[test]
fn a_batch_equals_one_prompt_at_a_time() {
    for name in ["tiny-llama", "tiny-gemma3"] {
        let model = model(name);
        let condition = edit(&model, &[(1, 3), (2, 70)], Mode::Zero);
        let together = batch(&prompts());
        let (packed, _) = run(&model, &together, std::slice::from_ref(&condition), &mut []);
        for (p, ids) in prompts().iter().enumerate() {
            let alone = batch(std::slice::from_ref(ids));
            let (single, _) = run(&model, &alone, std::slice::from_ref(&condition), &mut []);
            let first = first_row(&together, p);
            for row in 0..ids.len() {
                let difference = max_difference(packed.at(0, first + row), single.at(0, row));
                assert!(
                    difference <= SAME_IN_ANY_BATCH,
                    "{name} prompt {p} row {row}: {difference:e}"
                );
            }
        }
    }
}

/// A beginning that prompts share is computed once; nothing shows it.
#[test]
fn prompts_that_begin_alike_are_what_they_are_alone() {
    let sequence = |prompt, ids: &[u32], subject| Sequence {
        subject,
        ..super::common::sequence(prompt, ids)
    };
    let sequences = [
        sequence(0, &[7, 20, 33, 46, 5, 6], 1..3),
        sequence(1, &[7, 20, 33, 46, 9, 6], 1..3), // another end
        sequence(2, &[7, 20, 33, 46, 5, 6], 2..4), // the same ids, another subject
        sequence(3, &[7, 20, 33, 46, 5], 1..3),    // shorter
        sequence(4, &[8, 20, 33, 46, 5, 6], 1..3), // another first token
        sequence(5, &[7], 0..1),
        sequence(6, &(0..14).map(|i| 7 + 13 * i).collect::<Vec<_>>(), 1..2), // beyond the tiny window of 8
        sequence(
            7,
            &(0..14).map(|i| 7 + 13 * (i % 12)).collect::<Vec<_>>(),
            1..2,
        ),
    ];
    for name in ["tiny-llama", "tiny-gemma3", "tiny-olmo2", "tiny-qwen3"] {
        let model = model(name);
        let with = |positions, when: &str| {
            let mut condition = edit(&model, &[(0, 3), (1, 6), (2, 9)], Mode::Multiply(3.0));
            let Condition::Edited(edit) = &mut condition else {
                unreachable!()
            };
            (edit.positions, edit.when) = (positions, when.parse().unwrap_or_default());
            condition
        };
        let conditions = [
            Condition::Clean,
            with(Positions::All, ""),
            with(Positions::All, "gate-"),
            with(Positions::Subject, ""),
            with(Positions::Last, ""),
            with(Positions::NotFirst, ""),
        ];
        let points: Vec<HookPoint> = (0..model.config().n_layers())
            .flat_map(|l| {
                Site::IN_LAYERS
                    .iter()
                    .map(move |site| HookPoint::in_layer(l, *site))
            })
            .chain([HookPoint::FINAL_SCALE])
            .collect();
        let record = |sequences: &[Sequence]| {
            let batch = TokenBatch::new(sequences.to_vec()).unwrap();
            let mut recorder = Recorder::new(points.iter().copied());
            let (logprobs, counts) = run(&model, &batch, &conditions, &mut [&mut recorder]);
            // Unobserved, rows before the first edited position are those of the clean stream.
            let (plain, plain_counts) = run(&model, &batch, &conditions, &mut []);
            for condition in 0..conditions.len() {
                let [plain, recorded] =
                    [&plain, &logprobs].map(|l| all_logprobs(l, condition, batch.tokens()));
                assert_eq!(plain, recorded, "{name}, condition {condition}");
            }
            assert_eq!(plain_counts, counts);
            (batch, recorder, logprobs, counts)
        };
        let (batch, together, logprobs, counts) = record(&sequences);
        let mut sums = vec![EditCount::default(); conditions.len()];
        for sequence in &sequences {
            let (_, alone, logprobs_alone, counts) = record(std::slice::from_ref(sequence));
            let first = first_row(&batch, sequence.prompt);
            for condition in 0..conditions.len() {
                sums[condition] += counts[condition];
                for point in &points {
                    let alone = alone.rows(*point, condition).unwrap();
                    let width = alone.len() / sequence.ids.len();
                    let rows = &together.rows(*point, condition).unwrap()[first * width..];
                    let what = format!("{name}, prompt {}, condition {condition}", sequence.prompt);
                    let difference = max_difference(&rows[..alone.len()], alone);
                    assert!(
                        difference <= SAME_IN_ANY_BATCH,
                        "{what}, {point}: {difference:e}"
                    );
                }
                for row in 0..sequence.ids.len() {
                    let at = (
                        logprobs.at(condition, first + row),
                        logprobs_alone.at(condition, row),
                    );
                    assert!(max_difference(at.0, at.1) <= SAME_IN_ANY_BATCH, "{name}");
                }
            }
        }
        assert_eq!(counts, sums, "{name}");
    }
}

#[test]
fn real_prompts_are_the_same_packed_and_alone() {
    let model = model("smollm2-135m");
    let ids: [Vec<u32>; 3] = [
        vec![504, 3575, 282, 4649, 314],
        vec![19556, 28, 905, 17],
        vec![504, 3575, 282, 4649, 314, 504, 3575, 282, 4649, 314, 905],
    ];
    let together = batch(&ids);
    let (packed, _) = run(&model, &together, &[Condition::Clean], &mut []);
    for (p, ids) in ids.iter().enumerate() {
        let (single, _) = run(
            &model,
            &batch(std::slice::from_ref(ids)),
            &[Condition::Clean],
            &mut [],
        );
        let (row, first) = (ids.len() - 1, first_row(&together, p));
        let difference = max_difference(packed.at(0, first + row), single.at(0, row));
        // log-probabilities of a real model are of size 10 to 20, where 1e-5 is near one rounding
        assert!(
            difference <= 5.0 * SAME_IN_ANY_BATCH,
            "prompt {p}: {difference:e}"
        );
    }
}

#[test]
fn recording_changes_nothing() {
    let model = model("tiny-gemma3");
    let batch = batch(&prompts());
    let conditions = [Condition::Clean, edit(&model, &[(3, 5)], Mode::Zero)];
    let points = (0..7).flat_map(|l| {
        Site::IN_LAYERS
            .iter()
            .map(move |site| HookPoint::in_layer(l, *site))
    });
    let mut recorder = Recorder::new(points.chain([HookPoint::FINAL_SCALE]));
    let (recorded, _) = run(&model, &batch, &conditions, &mut [&mut recorder]);
    let (plain, _) = run(&model, &batch, &conditions, &mut []);
    for condition in 0..2 {
        let rows = batch.tokens();
        assert_eq!(
            all_logprobs(&recorded, condition, rows),
            all_logprobs(&plain, condition, rows)
        );
    }
    let post = |condition| {
        recorder
            .rows(HookPoint::in_layer(3, Site::Post), condition)
            .unwrap()
    };
    assert!(
        post(1)
            .iter()
            .skip(5)
            .step_by(80)
            .all(|value| *value == 0.0),
        "the edited neuron is 0 in every row"
    );
    assert!(
        post(0)
            .iter()
            .skip(5)
            .step_by(80)
            .any(|value| *value != 0.0)
    );
}

#[test]
fn the_same_recorder_tells_what_it_never_saw() {
    let model = model("tiny-llama");
    let mut recorder = Recorder::new([HookPoint::in_layer(0, Site::Post)]);
    run(
        &model,
        &batch(&prompts()),
        &[Condition::Clean],
        &mut [&mut recorder],
    );
    assert!(recorder.rows(HookPoint::in_layer(0, Site::Post), 0).is_ok());
    assert!(
        recorder
            .rows(HookPoint::in_layer(1, Site::Post), 0)
            .is_err()
    );
}

#[test]
fn a_site_that_the_model_does_not_have_is_refused_before_the_run() {
    let model = model("tiny-llama");
    let mut recorder = Recorder::new([HookPoint::in_layer(4, Site::Post)]);
    let error = Engine::new(&model)
        .run(
            &batch(&prompts()),
            &[Condition::Clean],
            &mut [&mut recorder],
            None,
            &(),
        )
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "blocks.4.mlp.hook_post: the model has 4 layers, 0 to 3"
    );
}

/// Fails at the first site or row that it is shown, and counts how often it was asked.
#[derive(Default)]
struct FullDisk {
    asked: usize,
}

impl FullDisk {
    fn fail(&mut self) -> Result<(), ReadError> {
        self.asked += 1;
        Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into())
    }
}

impl Observer for FullDisk {
    fn wants(&self, point: HookPoint) -> bool {
        point.site == Site::Post
    }

    fn observe(&mut self, _: &SiteRows<'_>) -> Result<(), ReadError> {
        self.fail()
    }
}

impl Readout for FullDisk {
    fn rows(&self) -> &[usize] {
        &[0]
    }

    fn read(&mut self, _: &LogitBlock<'_>) -> Result<(), ReadError> {
        self.fail()
    }
}

#[test]
fn an_observer_or_a_readout_that_fails_stops_the_run_at_once() {
    let model = model("tiny-llama");
    let (engine, batch) = (Engine::new(&model), batch(&prompts()));
    let conditions = [Condition::Clean, edit(&model, &[(1, 3)], Mode::Zero)];
    let (mut observer, mut readout) = (FullDisk::default(), FullDisk::default());
    let watched = engine.run(&batch, &conditions, &mut [&mut observer], None, &());
    let read = engine.run(&batch, &conditions, &mut [], Some(&mut readout), &());
    for (outcome, asked) in [(watched, observer.asked), (read, readout.asked)] {
        let error = outcome.unwrap_err();
        let EngineError::Reader(why) = &error else {
            panic!("{error}");
        };
        let why = why.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(why.kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(error.to_string(), why.to_string());
        assert_eq!(asked, 1);
    }
}

#[test]
fn a_readout_or_rows_of_another_shape_are_refused() {
    let model = model("tiny-llama");
    let engine = Engine::new(&model);
    let (one, all) = (batch(&[vec![1, 2]]), batch(&prompts()));
    let mut readout = LogProbs::of_all(&all);
    let error = engine
        .run(&one, &[Condition::Clean], &mut [], Some(&mut readout), &())
        .unwrap_err();
    assert!(
        matches!(error, EngineError::NoRow { rows: 2, .. }),
        "{error}"
    );
    let (d_model, vocab_size) = (model.config().d_model, model.config().vocab_size);
    for (values, ranked) in [(d_model + 1, vocab_size), (d_model, vocab_size - 1)] {
        let found = engine.top_tokens(&vec![1.0; values], Lens::Raw, 3, &vec![true; ranked]);
        let error = found.unwrap_err();
        assert!(matches!(error, EngineError::Length { .. }), "{error}");
    }
    let foreign = neuron_activity(&engine, &one, Neuron::new(9, 0), &());
    assert!(foreign.unwrap_err().to_string().contains("no neuron 9.0"));
    let ranked = vec![true; vocab_size];
    let none = engine.top_tokens(&vec![1.0; d_model], Lens::Raw, 0, &ranked);
    assert_eq!(none.unwrap(), [Vec::<u32>::new()]);
}

#[test]
fn an_identity_edit_equals_no_edit_and_counts_no_change() {
    let model = model("tiny-llama");
    let batch = batch(&prompts());
    let identity = edit(&model, &[(0, 1), (3, 2)], Mode::Multiply(1.0));
    let conditions = [Condition::Clean, identity];
    let (logprobs, counts) = run(&model, &batch, &conditions, &mut []);
    let rows = batch.tokens();
    assert_eq!(
        all_logprobs(&logprobs, 0, rows),
        all_logprobs(&logprobs, 1, rows)
    );
    assert_eq!((counts[1].touched, counts[1].changed), (2 * rows as u64, 0));
    let error = gatelens::engine::check_edits(&conditions, &counts).unwrap_err();
    assert!(matches!(error, EngineError::NullEdit { .. }), "{error}");
}

#[test]
fn forked_streams_equal_separate_runs() {
    for name in ["tiny-llama", "tiny-gemma3"] {
        let model = model(name);
        let batch = batch(&prompts());
        let conditions = [
            Condition::Clean,
            edit(&model, &[(0, 3), (2, 9)], Mode::Zero),
            edit(&model, &[(2, 9)], Mode::Zero),
            edit(&model, &[(2, 9), (3, 1)], Mode::Zero), // shares layer 2 with the one before
            edit(&model, &[(1, 4)], Mode::Fixed(0.5)),
            edit(&model, &[(1, 4)], Mode::ClampAbove(-0.1)),
        ];
        let (together, _) = run(&model, &batch, &conditions, &mut []);
        for (c, condition) in conditions.iter().enumerate() {
            let (alone, _) = run(&model, &batch, std::slice::from_ref(condition), &mut []);
            let rows = batch.tokens();
            assert_eq!(
                all_logprobs(&together, c, rows),
                all_logprobs(&alone, 0, rows),
                "{name}, condition {c}"
            );
        }
    }
}

#[test]
fn streamed_layers_equal_resident_ones_bit_for_bit() {
    for name in ["tiny-llama", "tiny-gemma3.gguf", "smollm2-135m"] {
        let resident = model(name);
        let limit = Some(if name.starts_with("tiny") {
            200 << 20
        } else {
            300 << 20
        });
        let streamed = Model::load(
            checkpoint(name),
            LoadOptions {
                max_memory: limit,
                ..options()
            },
        )
        .unwrap();
        assert_eq!(
            (resident.plan().residency, streamed.plan().residency),
            (Residency::Resident, Residency::Streamed)
        );
        let batch = batch(&prompts());
        let conditions = [
            Condition::Clean,
            edit(&resident, &[(1, 3), (2, 7)], Mode::Zero),
        ];
        let ((a, _), (b, _)) = (
            run(&resident, &batch, &conditions, &mut []),
            run(&streamed, &batch, &conditions, &mut []),
        );
        for condition in 0..2 {
            let rows = batch.tokens();
            assert!(
                all_logprobs(&a, condition, rows) == all_logprobs(&b, condition, rows),
                "{name}"
            );
        }
    }
}

#[test]
fn safetensors_equal_gguf_of_the_same_weights() {
    for name in ["tiny-llama", "tiny-gemma3"] {
        let batch = batch(&prompts());
        let from = |name: &str| {
            let (logprobs, _) = run(&model(name), &batch, &[Condition::Clean], &mut []);
            all_logprobs(&logprobs, 0, batch.tokens())
        };
        let difference = max_difference(&from(name), &from(&format!("{name}.gguf")));
        // rope bases and epsilons are f32 in GGUF, f64 in JSON
        assert!(difference <= SAME_IN_ANY_BATCH, "{name}: {difference:e}");
    }
}

#[test]
fn edits_stay_in_their_positions_and_sign_cases() {
    let model = model("tiny-llama");
    let ids: Vec<u32> = (10..18).collect();
    let batch = gatelens::tokens::TokenBatch::new(vec![gatelens::tokens::Sequence {
        subject: 2..4,
        ..super::common::sequence(0, &ids)
    }])
    .unwrap();
    let neuron = NeuronSet::from_neurons(4, 80, [Neuron { layer: 1, index: 6 }]).unwrap();
    let condition = |positions, when: &str| {
        let when = if when.is_empty() {
            SignCase::default()
        } else {
            when.parse().unwrap()
        };
        let edit = Edit::new(neuron.clone(), Mode::Fixed(123.0)).called("case");
        Condition::from(edit.at(positions).when(when))
    };
    let conditions = [
        Condition::Clean,
        condition(Positions::Subject, ""),
        condition(Positions::SubjectLast, ""),
        condition(Positions::Last, ""),
        condition(Positions::All, "gate-"),
        condition(Positions::All, "gate-,up+"),
        condition(Positions::NotFirst, ""),
    ];
    let at = |site| HookPoint::in_layer(1, site);
    let mut recorder = Recorder::new([Site::Pre, Site::PreLinear, Site::Post].map(at));
    run(&model, &batch, &conditions, &mut [&mut recorder]);
    let column = |site, condition| -> Vec<f32> {
        recorder
            .rows(at(site), condition)
            .unwrap()
            .iter()
            .skip(6)
            .step_by(80)
            .copied()
            .collect()
    };
    let (gate, up) = (column(Site::Pre, 0), column(Site::PreLinear, 0));
    let edited = |condition| {
        column(Site::Post, condition)
            .iter()
            .map(|v| *v == 123.0)
            .collect::<Vec<bool>>()
    };
    let rows = |wanted: &[usize]| {
        (0..8)
            .map(|row| wanted.contains(&row))
            .collect::<Vec<bool>>()
    };
    assert_eq!(edited(1), rows(&[2, 3]));
    assert_eq!(edited(2), rows(&[3]));
    assert_eq!(edited(3), rows(&[7]));
    assert_eq!(edited(4), gate.iter().map(|g| *g < 0.0).collect::<Vec<_>>());
    let both = gate.iter().zip(&up).map(|(g, u)| *g < 0.0 && *u > 0.0);
    assert_eq!(edited(5), both.collect::<Vec<_>>());
    assert_eq!(edited(6), rows(&[1, 2, 3, 4, 5, 6, 7]));
}

#[test]
fn a_prompt_beyond_the_models_length_is_refused() {
    let model = model("tiny-llama");
    let long = batch(&[vec![5; model.config().max_positions + 1]]);
    let error = Engine::new(&model)
        .run(&long, &[Condition::Clean], &mut [], None, &())
        .unwrap_err();
    assert!(matches!(error, EngineError::TooLong { .. }), "{error}");
}

#[test]
fn tokens_and_neurons_of_another_model_are_refused() {
    let model = model("tiny-llama");
    let engine = Engine::new(&model);
    let foreign = batch(&[vec![1, 49_000]]);
    let error = engine
        .run(&foreign, &[Condition::Clean], &mut [], None, &())
        .unwrap_err();
    assert!(error.to_string().contains("49000"), "{error}");
    let neuron = Neuron {
        layer: 3,
        index: 1000,
    };
    for (layers, width) in [(30, 1536), (4, 1536)] {
        let condition = Condition::Edited(
            Edit::zero(NeuronSet::from_neurons(layers, width, [neuron]).unwrap()).called("foreign"),
        );
        let error = engine
            .run(&batch(&prompts()), &[condition], &mut [], None, &())
            .unwrap_err();
        assert!(matches!(error, EngineError::OtherModel { .. }), "{error}");
    }
}
