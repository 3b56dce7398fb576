//! Facts with counterfactuals: patching in both directions against plain loops on a model of two layers, and what the command
//! makes of pairs.

use gatelens::engine::Engine;
use gatelens::experiment::{
    Ablation, AblationPlan, Arm, Facts, KnownWhen, Metric, PatchDirection, PromptSubset, Run,
    Treatment, ablate,
};
use gatelens::hooks::{Mode, Neuron, NeuronSet, Reference};
use gatelens::io_class::MatchedDraws;
use gatelens::stats::StatsSettings;
use gatelens::tokens::{Sequence, TokenBatch};
use serde_json::Value;
use tempfile::TempDir;

use super::cli::{columns, fail, file, json, succeed, warnings};
use super::common::{goldens, sequence};
use super::two_layer::{D_MLP, LAYERS, Trace, TwoLayer};

/// Differences of logits of a few nats after two layers in f32, against f64.
const IN_F32: f64 = 1e-5;

const NEURONS: [(usize, usize); 4] = [(0, 1), (0, 4), (1, 0), (1, 2)];

fn question(
    prompt: usize,
    ids: &[u32],
    subject: std::ops::Range<usize>,
    target: &[u32],
    against: u32,
) -> Sequence {
    let fed = &target[..target.len() - 1];
    Sequence {
        subject,
        prompt_len: ids.len(),
        target: target.to_vec(),
        against: Some(against),
        ..sequence(prompt, &[ids, fed].concat())
    }
}

/// Three facts, each with its counterfactual: a subject that is longer there, as long, and shorter.
fn pairs() -> [[Sequence; 2]; 3] {
    let pair = |prompt, fact: (&[u32], _), other: (&[u32], _), target: &[u32], against| {
        [fact, other].map(|(ids, subject)| question(prompt, ids, subject, target, against))
    };
    [
        pair(
            0,
            (&[1, 5, 2, 7], 1..3),
            (&[1, 4, 8, 6, 7], 1..4),
            &[3, 6],
            7,
        ),
        pair(
            1,
            (&[2, 4, 8, 6, 9, 5], 3..4),
            (&[2, 4, 8, 1, 9, 5], 3..4),
            &[7],
            3,
        ),
        pair(2, (&[1, 4, 8, 6, 7], 1..4), (&[1, 5, 2, 7], 1..3), &[2], 9),
    ]
}

/// Where each token of a fact finds its values in the counterfactual, and the other way round. By hand.
const PLACES: [[&[Option<usize>]; 2]; 3] = [
    [
        &[Some(0), Some(2), Some(3), Some(4), Some(5)],
        // the other's first subject token has no counterpart
        &[Some(0), None, Some(1), Some(2), Some(3), Some(4)],
    ],
    [
        &[Some(0), Some(1), Some(2), Some(3), Some(4), Some(5)],
        &[Some(0), Some(1), Some(2), Some(3), Some(4), Some(5)],
    ],
    [
        &[Some(0), None, Some(1), Some(2), Some(3)],
        &[Some(0), Some(2), Some(3), Some(4)],
    ],
];

fn logit_diff(trace: &Trace, sequence: &Sequence) -> f64 {
    let row = &trace.logprobs[sequence.prompt_len - 1];
    row[sequence.target[0] as usize] - row[sequence.against.unwrap() as usize]
}

fn patched(two_layer: &TwoLayer, direction: PatchDirection) -> (Ablation, AblationPlan) {
    let dir = TempDir::new().unwrap();
    let neurons = NEURONS.map(|(layer, index)| Neuron { layer, index });
    let neurons = NeuronSet::from_neurons(LAYERS, D_MLP, neurons).unwrap();
    let none = MatchedDraws {
        sets: vec![],
        shortfall: vec![],
    };
    let plan = AblationPlan {
        subset: PromptSubset::All,
        direction,
        ..AblationPlan::new(
            vec![Treatment::new("some".to_string(), neurons, none)],
            Mode::Patch(Reference::OwnPrompts),
        )
    };
    two_layer.checkpoint(dir.path());
    let model = two_layer.model(dir.path());
    let batch = |of: usize| TokenBatch::new(pairs().map(|pair| pair[of].clone()).to_vec()).unwrap();
    let (asked, other) = (batch(0), batch(1));
    let facts = Facts {
        counterfactual: Some(&other),
        ..Facts::from(&asked)
    };
    let found = ablate(&mut Run::new(&()), &Engine::new(&model), facts, &plan).unwrap();
    (found, plan)
}

#[test]
fn patching_equals_plain_loops() {
    let two_layer = TwoLayer::new();
    let clean = |of: usize| pairs().map(|pair| two_layer.run(&pair[of].ids, &|at| at.post));
    let traces = [clean(0), clean(1)];
    for (direction, run) in [(PatchDirection::Noise, 0), (PatchDirection::Denoise, 1)] {
        let (found, plan) = patched(&two_layer, direction);
        let of = |arm| {
            let outcomes = found.outcomes().filter(|o| o.condition.arm == arm);
            outcomes
                .map(|o| o.score.logit_diff.unwrap())
                .collect::<Vec<f64>>()
        };
        let expected: Vec<f64> = (0..3)
            .map(|pair| {
                let edited = &pairs()[pair][run];
                let trace = two_layer.run(&edited.ids, &|at| {
                    let place = PLACES[pair][run][at.position];
                    match place.filter(|_| NEURONS.contains(&(at.layer, at.neuron))) {
                        Some(place) => traces[1 - run][pair].at(at.layer, place, at.neuron).post,
                        None => at.post,
                    }
                });
                logit_diff(&trace, edited)
            })
            .collect();
        let unedited = |of: usize| -> Vec<f64> {
            let traces = traces[of].iter().zip(pairs());
            traces
                .map(|(trace, pair)| logit_diff(trace, &pair[of]))
                .collect()
        };
        let (fact, other) = (unedited(0), unedited(1));
        let pairs = [
            (of(Arm::Class), &expected),
            (of(Arm::Clean), &fact),
            (of(Arm::Corrupted), &other),
        ];
        for (found, expected) in pairs {
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (found - expected).abs() < IN_F32,
                    "{direction}: {found} for {expected}"
                );
            }
            assert_eq!(found.len(), 3);
        }
        let moved = expected.iter().zip([&fact, &other][run]);
        assert!(
            moved.clone().all(|(a, b)| (a - b).abs() > 1e-3),
            "{expected:?}"
        );
        // One position of one counterpart is lacking, for four neurons.
        assert_eq!(found.changed.no_reference, 4);
        let effects = found
            .effects(&plan, &[], &StatsSettings::default())
            .unwrap();
        let recovered = effects
            .iter()
            .find(|e| e.metric == Metric::RECOVERED)
            .unwrap();
        let sum = |of: &[f64]| of.iter().sum::<f64>();
        let by_hand = (sum(&expected) - sum(&other)) / (sum(&fact) - sum(&other));
        assert!(
            (recovered.means.class - by_hand).abs() < 1e-4,
            "{recovered:?}"
        );
        assert!((recovered.means.clean - [1.0, 0.0][run]).abs() < 1e-9);
        let primary = effects.iter().filter(|e| e.metric == *plan.primary());
        assert_eq!(primary.count(), 1);
    }
}

/// Facts of two templates of a relation, one of them alone in its own; and one that brings its counterfactual.
fn facts(dir: &TempDir) -> String {
    let fact = |id: &str, prompt: &str, subject: &str, target: &str, more: &str| {
        format!(
            "{{\"id\": \"{id}\", \"prompt\": \"{prompt}\", \"subject\": \"{subject}\", \"target\": \"{target}\"{more}}}\n"
        )
    };
    let relation = ", \"relation\": \"capital\"";
    let own = ", \"counterfactual\": {\"prompt\": \"The river of Ulm is\", \"subject\": \"Ulm\", \"target\": \"Danube\"}";
    let capital = |id, country: &str, city| {
        let prompt = format!("The capital of {country} is the city of");
        fact(id, &prompt, country, city, relation)
    };
    let facts = [
        capital("paris", "France", "Paris"),
        capital("rome", "Italy", "Rome"),
        capital("berlin", "Germany", "Berlin"),
        fact(
            "bonn",
            "The city of Bonn is in",
            "Bonn",
            "Germany",
            relation,
        ),
        fact("rhine", "The river of Bonn is", "Bonn", "Rhine", own),
    ];
    file(dir, "facts.jsonl", &facts.concat())
}

#[test]
fn the_command_makes_pairs_and_names_what_has_none() {
    let dir = TempDir::new().unwrap();
    let facts = facts(&dir);
    let neurons = file(&dir, "mine.txt", "0.3\n1.17\n3.61\n");
    let out = dir.path().join("out");
    let shared = [
        "--model",
        "smollm2-135m", // the answers' first tokens are whole words
        "--prompts",
        &facts,
        "--neurons",
        &neurons,
        "--draws",
        "3",
        "--subset",
        "all",
    ];
    let patch = ["ablate", "--mode", "patch"];
    let stderr = warnings(&[&patch[..], &shared, &["--out", out.to_str().unwrap()]].concat());
    assert!(
        stderr.contains("facts without a counterfactual are left out: 1 (bonn)"),
        "{stderr}"
    );
    let run = json(&out.join("run.json"));
    assert_eq!(run["counts"]["edited_prompts"], 4);
    assert_eq!(run["counts"]["reference"]["source"], "counterfactuals");
    let effects = json(&out.join("effects.json"));
    let effects = effects.as_array().unwrap();
    let of = |metric: &str| -> &Value {
        let is_it = |e: &&Value| e["metric"] == metric && e["subset"] == "all";
        effects.iter().find(is_it).unwrap()
    };
    assert!(of("recovered")["means"]["class"].is_f64());
    assert!(
        of("logit_diff")["p_adjusted"].is_f64() && of("target_logprob")["p_adjusted"].is_null()
    );
    let (_, rows) = columns(&out.join("outcomes.parquet"));
    let arms = rows.column_by_name("arm").unwrap();
    let corrupted = arrow_array::cast::AsArray::as_string::<i32>(arms).iter();
    assert_eq!(corrupted.filter(|arm| *arm == Some("corrupted")).count(), 4);

    // A counterfactual that begins like the answer is none.
    let same = std::fs::read_to_string(&facts).unwrap();
    let same = file(&dir, "same.jsonl", &same.replace("Danube", "Rhine Falls"));
    let small = [
        "ablate",
        "--model",
        "smollm2-135m",
        "--prompts",
        &same,
        "--neurons",
        &neurons,
    ];
    let stderr = warnings(&[&small[..], &["--draws", "0", "--subset", "all"]].concat());
    assert!(stderr.contains("not taken: 1 (rhine)"), "{stderr}");

    // The same facts under another edit have the difference of logits, and nothing to be recovered.
    let plain = dir.path().join("plain");
    succeed(
        &[
            &["ablate"][..],
            &shared,
            &["--out", plain.to_str().unwrap()],
        ]
        .concat(),
    );
    let effects = json(&plain.join("effects.json"));
    let metrics: Vec<&str> = effects
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["metric"].as_str().unwrap())
        .collect();
    assert!(metrics.contains(&"logit_diff") && !metrics.contains(&"recovered"));
    let prompts = effects
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["metric"] == "logit_diff" && e["subset"] == "all")
        .unwrap();
    assert_eq!(prompts["prompts"], 4, "one fact has no other answer");
}

#[test]
fn what_cannot_be_patched_is_said_before_any_weight_is_read() {
    let dir = TempDir::new().unwrap();
    let alone = file(
        &dir,
        "alone.jsonl",
        "{\"id\": \"a\", \"prompt\": \"Rome is in\", \"subject\": \"Rome\", \"target\": \"Italy\"}\n",
    );
    let tiny = goldens().join("tiny-llama");
    let neurons = file(&dir, "mine.txt", "0.3\n");
    let model = ["--model", tiny.to_str().unwrap(), "--neurons", &neurons];
    let error = fail(
        &[
            &["ablate", "--mode", "patch", "--prompts", &alone][..],
            &model,
        ]
        .concat(),
    );
    assert!(
        error.contains("has a counterfactual to be patched from"),
        "{error}"
    );
    let error = fail(
        &[
            &["ablate", "--mode", "patch", "--text", "neutral"][..],
            &model,
        ]
        .concat(),
    );
    assert!(error.contains("on facts alone"), "{error}");
    let error = fail(&[&["ablate", "--direction", "denoise"][..], &model].concat());
    assert!(error.contains("--direction denoise"), "{error}");
}

fn argmax(row: &[f64]) -> u32 {
    let best = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
    best.unwrap() as u32
}

#[test]
fn facts_are_known_by_one_token_by_all_or_by_what_is_written() {
    let two_layer = TwoLayer::new();
    let ids = [1, 5, 2, 7];
    let next = |ids: &[u32]| argmax(two_layer.run(ids, &|at| at.post).logprobs.last().unwrap());
    let first = next(&ids);
    let second = next(&[&ids[..], &[first]].concat());
    let targets = [
        vec![first, second],
        vec![first, second ^ 1],
        vec![first ^ 1, second],
    ];
    let facts = targets
        .iter()
        .enumerate()
        .map(|(prompt, target)| question(prompt, &ids, 1..3, target, 0));
    let batch = TokenBatch::new(facts.collect()).unwrap();
    let dir = TempDir::new().unwrap();
    two_layer.checkpoint(dir.path());
    let model = two_layer.model(dir.path());
    let neurons = NeuronSet::from_neurons(LAYERS, D_MLP, [Neuron { layer: 0, index: 1 }]).unwrap();
    let none = MatchedDraws {
        sets: vec![],
        shortfall: vec![],
    };
    let plan = AblationPlan::new(
        vec![Treatment::new("some".to_string(), neurons, none)],
        Mode::Zero,
    );
    let known = |known: KnownWhen<'_>, aliases: &[u32]| {
        let sequences = batch.sequences().iter().map(|sequence| Sequence {
            aliases: aliases.to_vec(),
            ..sequence.clone()
        });
        let batch = TokenBatch::new(sequences.collect()).unwrap();
        let facts = Facts {
            known,
            ..Facts::from(&batch)
        };
        let found = ablate(&mut Run::new(&()), &Engine::new(&model), facts, &plan).unwrap();
        found.known()
    };
    assert_eq!(known(KnownWhen::First, &[]), [0, 1]);
    assert_eq!(known(KnownWhen::First, &[first]), [0, 1, 2]);
    assert_eq!(known(KnownWhen::Whole, &[]), [0]);
    let written = |prompt: usize, tokens: &[u32], _: bool| {
        (tokens.len() == 2).then(|| tokens == targets[prompt].as_slice())
    };
    assert_eq!(known(KnownWhen::Generated(&written), &[]), [0]);
}
