//! Causal tracing: noise on subjects and what restored values bring back, against plain loops; that noise depends on nothing but
//! its seed; and what the commands make of it.

use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt32Type};
use gatelens::engine::{Engine, EngineError};
use gatelens::experiment::{
    Ablation, AblationPlan, Arm, CleanReference, Corruption, ExperimentError, Metric,
    NoiseSettings, PatchDirection, PromptSubset, Run, Treatment, ablate,
};
use gatelens::hooks::{Condition, Mode, Neuron, NeuronSet, Reference};
use gatelens::io_class::MatchedDraws;
use gatelens::model::ModelTensor;
use gatelens::stats::StatsSettings;
use gatelens::tokens::{EmbeddingNoise, Positions, Sequence, TokenBatch};
use serde_json::Value;
use tempfile::TempDir;

use super::cli::{columns, fail, file, json, succeed};
use super::common::{LogProbs, checkpoint, goldens, model, sequence};
use super::shards::{arguments, result};
use super::two_layer::{D_MLP, D_MODEL, LAYERS, Matrix, Trace, TwoLayer};

/// Log-probabilities of a few nats after two layers in f32, against f64.
const IN_F32: f64 = 1e-5;

const CLASS: [(usize, usize); 4] = [(0, 1), (0, 4), (1, 0), (1, 2)];
const DRAW: [(usize, usize); 4] = [(0, 2), (0, 3), (1, 1), (1, 5)];

const SEEDS: usize = 3;
const SCALE: f64 = 1.5;
const SEED: u64 = 11;

fn fact(prompt: usize, ids: &[u32], subject: std::ops::Range<usize>, target: &[u32]) -> Sequence {
    let fed = &target[..target.len() - 1];
    Sequence {
        subject,
        prompt_len: ids.len(),
        target: target.to_vec(),
        ..sequence(prompt, &[ids, fed].concat())
    }
}

/// Subjects in the middle, at the beginning and at the end.
fn facts() -> [Sequence; 3] {
    [
        fact(4, &[1, 5, 2, 7], 1..3, &[3, 6]),
        fact(1, &[2, 4, 8, 6, 9, 5], 0..3, &[7]),
        fact(2, &[1, 4, 8, 6], 3..4, &[2]),
    ]
}

fn neurons(of: [(usize, usize); 4]) -> NeuronSet {
    let neurons = of.map(|(layer, index)| Neuron { layer, index });
    NeuronSet::from_neurons(LAYERS, D_MLP, neurons).unwrap()
}

fn plan(scale: f64, seeds: usize, direction: PatchDirection) -> AblationPlan {
    let draws = MatchedDraws {
        sets: vec![neurons(DRAW)],
        shortfall: vec![],
    };
    AblationPlan {
        subset: PromptSubset::All,
        seed: SEED,
        corruption: Corruption::Noise(NoiseSettings { scale, seeds }),
        direction,
        ..AblationPlan::new(
            vec![Treatment::new("some".to_string(), neurons(CLASS), draws)],
            Mode::Patch(Reference::OwnPrompts),
        )
    }
}

fn traced(
    two_layer: &TwoLayer,
    facts: &[Sequence],
    plan: &AblationPlan,
) -> Result<Ablation, ExperimentError> {
    let dir = TempDir::new().unwrap();
    two_layer.checkpoint(dir.path());
    let model = two_layer.model(dir.path());
    let batch = TokenBatch::new(facts.to_vec()).unwrap();
    ablate(&mut Run::new(&()), &Engine::new(&model), &batch, plan)
}

/// Over the numbers of all subjects' tokens, with n - 1.
fn standard_deviation(numbers: &[f64]) -> f64 {
    let n = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / n;
    (numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
}

fn noise_sd(two_layer: &TwoLayer, scale: f64) -> f64 {
    let of_fact = |fact: Sequence| {
        two_layer
            .embeddings(&fact.ids[fact.subject.clone()])
            .concat()
    };
    scale * standard_deviation(&facts().map(of_fact).concat())
}

/// A fact's embeddings with noise.
fn noised(two_layer: &TwoLayer, fact: &Sequence, sd: f64, draw: usize) -> Matrix {
    let noise = EmbeddingNoise {
        standard_deviation: sd,
        seed: SEED,
        draw,
        fact: fact.prompt,
    };
    let noise = noise.rows(fact.subject.len(), D_MODEL);
    let mut embeddings = two_layer.embeddings(&fact.ids);
    for (position, noise) in fact.subject.clone().zip(noise.chunks(D_MODEL)) {
        let numbers = embeddings[position].iter_mut().zip(noise);
        numbers.for_each(|(number, noise)| *number += f64::from(*noise));
    }
    embeddings
}

/// What a fact gives with the values of `donor` in these neurons at these positions.
fn patched(
    two_layer: &TwoLayer,
    embeddings: Matrix,
    donor: &Trace,
    (neurons, positions): ([(usize, usize); 4], std::ops::Range<usize>),
) -> Trace {
    two_layer.run_from(embeddings, &|at| {
        let is_patched =
            neurons.contains(&(at.layer, at.neuron)) && positions.contains(&at.position);
        match is_patched {
            true => donor.at(at.layer, at.position, at.neuron).post,
            false => at.post,
        }
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Every outcome by arm: prompt, noise, log-probability of the target.
fn outcomes(found: &Ablation, arm: Arm) -> Vec<(usize, Option<u32>, f64)> {
    let of_arm = found.outcomes().filter(|o| o.condition.arm == arm);
    of_arm
        .map(|o| (o.prompt, o.noise_seed, o.score.target_logprob))
        .collect()
}

#[test]
fn restored_values_equal_plain_loops() {
    let two_layer = TwoLayer::new();
    let sd = noise_sd(&two_layer, SCALE);
    let mut facts = facts();
    facts.sort_by_key(|fact| fact.prompt);
    for direction in [PatchDirection::Denoise, PatchDirection::Noise] {
        for positions in [
            Positions::Subject,
            Positions::SubjectLast,
            Positions::Last,
            Positions::All,
        ] {
            let plan = AblationPlan {
                positions,
                ..plan(SCALE, SEEDS, direction)
            };
            let found = traced(&two_layer, &facts, &plan).unwrap();
            let mut expected: [Vec<(usize, Option<u32>, f64)>; 4] = Default::default();
            for fact in &facts {
                let clean = two_layer.run(&fact.ids, &|at| at.post);
                expected[0].push((fact.prompt, None, clean.target_logprob(fact)));
                for draw in 0..SEEDS {
                    let noised = noised(&two_layer, fact, sd, draw);
                    let corrupted = two_layer.run_from(noised.clone(), &|at| at.post);
                    let (embeddings, donor) = match direction {
                        PatchDirection::Denoise => (noised, &clean),
                        PatchDirection::Noise => (two_layer.embeddings(&fact.ids), &corrupted),
                    };
                    let set = |of| {
                        let edit = (of, fact.positions(positions));
                        patched(&two_layer, embeddings.clone(), donor, edit).target_logprob(fact)
                    };
                    let values = [corrupted.target_logprob(fact), set(CLASS), set(DRAW)];
                    for (of, value) in expected[1..].iter_mut().zip(values) {
                        of.push((fact.prompt, Some(draw as u32), value));
                    }
                }
            }
            let arms = [Arm::Clean, Arm::Corrupted, Arm::Class, Arm::Baseline];
            for (arm, expected) in arms.into_iter().zip(&expected) {
                let outcomes = outcomes(&found, arm);
                assert_eq!(outcomes.len(), expected.len());
                for (found, expected) in outcomes.iter().zip(expected) {
                    assert_eq!((found.0, found.1), (expected.0, expected.1));
                    let difference = (found.2 - expected.2).abs();
                    assert!(
                        difference < IN_F32,
                        "{arm} {positions}: {found:?} for {expected:?}"
                    );
                }
            }
            let [clean, corrupted, class, draw] = expected.map(|outcomes| {
                let of_fact = |fact: &Sequence| {
                    let own = outcomes
                        .iter()
                        .filter(|(prompt, ..)| *prompt == fact.prompt);
                    mean(&own.map(|(.., value)| *value).collect::<Vec<_>>())
                };
                mean(&facts.iter().map(of_fact).collect::<Vec<_>>())
            });
            let effects = found
                .effects(&plan, &[], &StatsSettings::default())
                .unwrap();
            let recovered = effects
                .iter()
                .find(|e| e.metric == Metric::RECOVERED_LOGPROB)
                .unwrap();
            let share = |value: f64| (value - corrupted) / (clean - corrupted);
            for (found, expected) in [
                (recovered.means.class, share(class)),
                (recovered.means.baseline.unwrap(), share(draw)),
                (
                    recovered.estimate.difference_to_baseline.unwrap(),
                    share(class) - share(draw),
                ),
            ] {
                assert!((found - expected).abs() < 1e-4, "{found} for {expected}");
            }
            let own = f64::from(u8::from(direction == PatchDirection::Noise));
            assert!((recovered.means.clean - own).abs() < 1e-9);
            assert_eq!((recovered.prompts, found.edited_prompts), (3, 3));
            assert_eq!(
                found.changed.no_reference, 0,
                "a fact has all roles of itself"
            );
            let primary = effects.iter().filter(|e| e.metric == *plan.primary());
            assert_eq!(primary.count(), 1, "the log-probability of the target");
        }
    }
}

#[test]
fn the_noise_is_measured_by_the_embeddings_of_the_subjects() {
    let two_layer = TwoLayer::new();
    let plan = plan(SCALE, 1, PatchDirection::Denoise);
    let found = traced(&two_layer, &facts(), &plan).unwrap();
    let Some(CleanReference::Noise {
        prompts,
        seeds,
        scale,
        embedding_sd,
        noise_sd: found,
        ..
    }) = found.reference
    else {
        panic!("{:?}", found.reference);
    };
    assert_eq!((prompts, seeds, scale), (3, 1, SCALE));
    assert!((embedding_sd - noise_sd(&two_layer, 1.0)).abs() < 1e-12);
    assert!((found - noise_sd(&two_layer, SCALE)).abs() < 1e-12);
}

#[test]
fn weak_noise_takes_little_and_noise_that_changes_nothing_is_an_error() {
    let two_layer = TwoLayer::new();
    let restored = |scale| {
        let plan = plan(scale, 2, PatchDirection::Denoise);
        let found = traced(&two_layer, &facts(), &plan)?;
        let effects = found.effects(&plan, &[], &StatsSettings::default())?;
        let recovered = effects
            .iter()
            .find(|e| e.metric == Metric::RECOVERED_LOGPROB);
        let [clean, corrupted] = [Arm::Clean, Arm::Corrupted].map(|arm| outcomes(&found, arm)[0].2);
        Ok::<_, ExperimentError>((recovered.unwrap().means.class, (clean - corrupted).abs()))
    };
    let ((once, taken), (twice, more)) = (restored(0.005).unwrap(), restored(0.01).unwrap());
    assert!(taken < 0.05 && more < 0.1, "{taken} {more}");
    // To first order what is restored grows as what is taken does.
    assert!((once / twice - 1.0).abs() < 0.2, "{once} {twice}");
    let error = restored(1e-12).unwrap_err();
    let is_null = matches!(error, ExperimentError::Engine(EngineError::NullEdit { .. }));
    assert!(is_null, "{error}");
}

#[test]
fn facts_without_a_subject_are_left_out() {
    let two_layer = TwoLayer::new();
    let plan = plan(SCALE, 2, PatchDirection::Denoise);
    let [first, second, third] = facts();
    let without = |fact: Sequence| Sequence {
        subject: 0..0,
        ..fact
    };
    let some = [first.clone(), without(second.clone()), third.clone()];
    let found = traced(&two_layer, &some, &plan).unwrap();
    assert_eq!(
        (found.edited_prompts, &found.without_subject[..]),
        (2, &[1][..])
    );
    assert_eq!(outcomes(&found, Arm::Clean).len(), 3);
    assert_eq!(outcomes(&found, Arm::Corrupted).len(), 2 * 2);
    let none = [first, second, third].map(without);
    let error = traced(&two_layer, &none, &plan).err().unwrap();
    assert!(matches!(error, ExperimentError::NoSubjects), "{error}");
}

/// The bits of the log-probabilities at every token of a sequence in a batch.
fn bits(found: &LogProbs, batch: &TokenBatch, prompt: usize) -> Vec<Vec<u32>> {
    let at = batch.sequences().iter().position(|s| s.prompt == prompt);
    let first = batch.first_row(at.unwrap());
    let rows = first..first + batch.sequences()[at.unwrap()].ids.len();
    let row = |row| found.at(0, row).iter().map(|x| x.to_bits()).collect();
    rows.map(row).collect()
}

#[test]
fn noise_is_the_same_in_any_company() {
    let model = model("tiny-llama");
    let with = |prompt, draw: Option<usize>| Sequence {
        subject: 2..4,
        noise: draw.map(|draw| EmbeddingNoise {
            standard_deviation: 0.3,
            seed: SEED,
            draw,
            fact: 0,
        }),
        ..sequence(prompt, &[1, 20, 33, 46, 5, 6])
    };
    let all = [None, Some(0), Some(1), None, Some(0)];
    let all: Vec<Sequence> = (0..)
        .zip(all)
        .map(|(prompt, draw)| with(prompt, draw))
        .collect();
    let run = |sequences: &[Sequence]| {
        let batch = TokenBatch::new(sequences.to_vec()).unwrap();
        let (found, _) = super::common::run(&model, &batch, &[Condition::Clean], &mut []);
        (found, batch)
    };
    let (together, batch) = run(&all);
    let of: Vec<_> = (0..5)
        .map(|prompt| bits(&together, &batch, prompt))
        .collect();
    for (prompt, sequence) in all.iter().enumerate() {
        let (alone, batch) = run(std::slice::from_ref(sequence));
        assert!(bits(&alone, &batch, prompt) == of[prompt], "{prompt}");
    }
    assert!(of[0] == of[3] && of[1] == of[4], "the same noise or none");
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        assert!(of[a][..2] == of[b][..2], "nothing comes before the subject");
        assert!((2..6).all(|position| of[a][position] != of[b][position]));
    }
}

fn run_in(out: &Path, arguments: &[String], more: &[&str]) -> String {
    let mut all: Vec<&str> = arguments.iter().map(String::as_str).collect();
    all.extend(more);
    if !more.contains(&"--out") {
        all.extend(["--out", out.to_str().unwrap()]);
    }
    succeed(&all)
}

const TRACING: [&str; 8] = [
    "--mode",
    "patch",
    "--corruption",
    "noise",
    "--positions",
    "subject",
    "--noise-seeds",
    "2",
];

/// Some facts, on a small model of which every class is known; `many` for a run of several passes.
fn tracing(dir: &TempDir, command: &str, facts: usize) -> Vec<String> {
    let mut all = arguments(dir, &[command]);
    let path = all.iter().position(|word| word == "--prompts").unwrap() + 1;
    let lines = std::fs::read_to_string(&all[path]).unwrap();
    let some: String = lines
        .lines()
        .take(facts)
        .map(|line| format!("{line}\n"))
        .collect();
    all[path] = file(dir, "some.jsonl", &some);
    all.extend(TRACING.map(str::to_string));
    all
}

#[test]
fn shards_and_other_cuts_give_the_same_noise() {
    let dir = TempDir::new().unwrap();
    let arguments = tracing(&dir, "ablate", 200);
    let [whole, streamed, shards] = ["whole", "streamed", "shards"].map(|n| dir.path().join(n));
    run_in(&whole, &arguments, &[]);
    run_in(&streamed, &arguments, &["--max-memory", "200MiB"]);
    let folder = shards.to_str().unwrap();
    for shard in ["0/2", "1/2"] {
        run_in(&shards, &arguments, &["--shard", shard, "--out", folder]);
    }
    succeed(&["merge", folder]);
    let [whole, streamed, shards] = [whole, streamed, shards].map(|folder| result(&folder));
    for name in ["outcomes.parquet", "effects.json"] {
        assert!(whole[name] == streamed[name], "{name}");
        assert!(whole[name] == shards[name], "{name}");
    }
}

fn effect<'e>(effects: &'e Value, metric: &str) -> &'e Value {
    let is_it = |e: &&Value| e["metric"] == metric && e["subset"] == "all";
    effects.as_array().unwrap().iter().find(is_it).unwrap()
}

#[test]
fn ablate_traces_and_says_what_the_noise_was() {
    let dir = TempDir::new().unwrap();
    let arguments = tracing(&dir, "ablate", 12);
    let out = dir.path().join("out");
    let printed = run_in(&out, &arguments, &[]);
    let run = json(&out.join("run.json"));
    let reference = &run["counts"]["reference"];
    assert_eq!(reference["source"], "noise");
    assert_eq!(
        [
            &reference["prompts"],
            &reference["seeds"],
            &run["counts"]["edited_prompts"]
        ],
        [&Value::from(12), &2.into(), &12.into()]
    );
    assert_eq!(reference["scale"], 3.0);
    assert_eq!(reference["direction"], "denoise");
    assert_eq!(
        [
            &run["settings"]["corruption"],
            &run["settings"]["noise_seeds"]
        ],
        [&Value::from("noise=3"), &2.into()]
    );
    let [embedding_sd, noise_sd] =
        ["embedding_sd", "noise_sd"].map(|key| reference[key].as_f64().unwrap());
    assert!((noise_sd / embedding_sd - 3.0).abs() < 1e-12);
    for words in [
        "restoring clean values under noise on the subjects, at subject positions",
        "noise: of 3 standard deviations",
        "2 seeds",
        "recovered of the target's log-probability between fact (1) and fact with noise (0)",
    ] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    let effects = json(&out.join("effects.json"));
    let recovered = effect(&effects, "recovered_logprob");
    assert_eq!(recovered["means"]["clean"], 0.0);
    assert!(effect(&effects, "target_logprob")["p_adjusted"].is_f64());
    assert!(recovered["p_adjusted"].is_null());

    // 12 facts clean; with each of two noises corrupted, the class, and 3 draws.
    let (_, rows) = columns(&out.join("outcomes.parquet"));
    assert_eq!(rows.num_rows(), 12 * (1 + 2 * (1 + 1 + 3)));
    let column = |name: &str| rows.column_by_name(name).unwrap().clone();
    let (arms, seeds) = (column("arm"), column("noise_seed"));
    let (arms, seeds) = (arms.as_string::<i32>(), seeds.as_primitive::<UInt32Type>());
    let values = column("target_logprob");
    let values = values.as_primitive::<Float64Type>();
    let of = |arm: &str, draw: u32| -> Vec<f64> {
        let draws = column("draw");
        let draws = draws.as_primitive::<UInt32Type>().clone();
        let rows = 0..rows.num_rows();
        rows.filter(|i| arms.value(*i) == arm && draws.value(*i) == draw)
            .map(|i| values.value(i))
            .collect()
    };
    for (arm, seed) in arms.iter().zip(seeds) {
        assert_eq!(arm.unwrap() == "clean", seed.is_none());
    }
    // Each fact has as many noises as any other, so that the ratio is also one of plain means.
    let [clean, corrupted, class] = ["clean", "corrupted", "class"].map(|arm| mean(&of(arm, 0)));
    let by_hand = (class - corrupted) / (clean - corrupted);
    let found = recovered["means"]["class"].as_f64().unwrap();
    assert!((found - by_hand).abs() < 1e-9, "{found} {by_hand}");
}

#[test]
fn gemmas_noise_is_measured_by_embeddings_as_it_scales_them() {
    let dir = TempDir::new().unwrap();
    let facts =
        "{\"id\": \"a\", \"prompt\": \"the list\", \"subject\": \"list\", \"target\": \"is\"}\n";
    let facts = file(&dir, "one.jsonl", facts);
    let neurons = file(&dir, "mine.txt", "0.3\n");
    let (out, tiny) = (dir.path().join("out"), goldens().join("tiny-gemma"));
    let arguments = [
        "ablate",
        "--model",
        tiny.to_str().unwrap(),
        "--prompts",
        &facts,
        "--neurons",
        &neurons,
        "--draws",
        "0",
        "--subset",
        "all",
        "--out",
        out.to_str().unwrap(),
    ];
    succeed(&[&arguments[..], &TRACING].concat());
    let opened = gatelens::LanguageModel::open(tiny.to_str().unwrap()).unwrap();
    let set = gatelens::PromptSet::read(Path::new(&facts)).unwrap();
    let batch = opened.encode(&set).unwrap();
    let fact = &batch.sequences()[0];
    let embedding = checkpoint("tiny-gemma")
        .model_tensor(ModelTensor::Embedding)
        .unwrap()
        .to_vec2::<f32>()
        .unwrap();
    let scale = (embedding[0].len() as f64).sqrt();
    let numbers = fact.ids[fact.subject.clone()]
        .iter()
        .flat_map(|id| &embedding[*id as usize])
        .map(|x| scale * f64::from(*x));
    let by_hand = standard_deviation(&numbers.collect::<Vec<f64>>());
    let run = json(&out.join("run.json"));
    let found = run["counts"]["reference"]["embedding_sd"].as_f64().unwrap();
    assert!((found / by_hand - 1.0).abs() < 1e-5, "{found} {by_hand}");
}

#[test]
fn a_sweep_traces_by_windows_of_layers() {
    let dir = TempDir::new().unwrap();
    let [whole, window] = ["sweep", "ablate"].map(|command| {
        let arguments = tracing(&dir, command, 12);
        let out = dir.path().join(command);
        let more: &[&str] = match command {
            "sweep" => &["--window", "2", "--stride", "2"],
            _ => &["--layers", "2..4"],
        };
        (
            run_in(&out, &arguments, more),
            json(&out.join("effects.json")),
        )
    });
    let words = "class edited minus as many random neurons of the same layers edited";
    assert_eq!(whole.0.matches(words).count(), 2, "{}", whole.0);
    assert!(whole.0.contains("recovered of the target's"), "{}", whole.0);
    let cells = whole.1.as_array().unwrap().iter();
    let cell = cells
        .filter(|e| e["layers"] == serde_json::json!([2, 3]))
        .find(|e| e["metric"] == "recovered_logprob" && e["subset"] == "all")
        .unwrap();
    let alone = effect(&window.1, "recovered_logprob");
    assert_eq!(cell["means"], alone["means"]);
    assert_eq!(cell["draw_means"], alone["draw_means"]);
}

#[test]
fn settings_that_would_do_nothing_are_refused() {
    let tiny = goldens().join("tiny-llama");
    let refused =
        |more: &[&str]| fail(&[&["ablate", "--model", tiny.to_str().unwrap()], more].concat());
    let error = refused(&["--corruption", "noise"]);
    assert!(
        error.contains("--corruption noise=3")
            && error.contains("--mode zero")
            && error.contains("--mode patch"),
        "{error}"
    );
    let error = refused(&["--mode", "patch", "--noise-seeds", "4"]);
    assert!(
        error.contains("--noise-seeds") && error.contains("--corruption noise"),
        "{error}"
    );
    let error = refused(&[
        "--mode",
        "patch",
        "--corruption",
        "noise",
        "--text",
        "neutral",
    ]);
    assert!(error.contains("on facts alone"), "{error}");
    let error = refused(&["--direction", "noise"]);
    assert!(error.contains("--direction noise"), "{error}");
    let error = fail(&["rank", "--mode", "patch", "--corruption", "noise"]);
    assert!(error.contains("on facts alone"), "{error}");
}
