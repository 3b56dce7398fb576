//! What switching neurons off changes of a text, to first order: against plain loops and small edits, and draws whose damage is alike.

use std::path::Path as FilePath;

use gatelens::engine::Engine;
use gatelens::experiment::{AblationPlan, FirstOrderEffects, MatchedBy, NEAR, Run, Treatment};
use gatelens::hooks::{Condition, Edit, Mode, Neuron, NeuronSet};
use gatelens::io_class::{Fold, Match, Matching, NeuronTable, matched_draws};
use gatelens::model::{LoadOptions, Model};
use gatelens::tokens::{Positions, TokenBatch};
use tempfile::TempDir;

use super::cli::{FACTS, fail, file, json, succeed, warnings};
use super::common::{self, batch, goldens, relative_difference, run, sequence};
use super::two_layer::{At, D_MLP, LAYERS, TwoLayer};

#[test]
fn effects_are_finite_differences_of_plain_loops() {
    const STEP: f64 = 1e-5;
    let two_layer = TwoLayer::new();
    let dir = tempfile::tempdir().unwrap();
    two_layer.checkpoint(dir.path());
    let model = two_layer.model(dir.path());
    // The last one predicts nothing.
    let texts = [&[1, 5, 2, 7][..], &[2, 4, 8, 6, 9, 5], &[3]];
    let sequences = (0..).zip(texts).map(|(text, ids)| sequence(text, ids));
    let batch = TokenBatch::new(sequences.collect()).unwrap();
    let mean_logprob = |edit: &dyn Fn(At) -> f64| {
        let of_text = |ids: &&[u32]| {
            let logprobs = two_layer.run(ids, edit).logprobs;
            let next = logprobs.iter().zip(&ids[1..]);
            next.map(|(row, id)| row[*id as usize]).sum::<f64>()
        };
        texts.iter().map(of_text).sum::<f64>() / 8.0
    };
    for (positions, first) in [(Positions::All, 0), (Positions::NotFirst, 1)] {
        let text = (&batch, positions);
        let found = FirstOrderEffects::measure(&Engine::new(&model), text, &()).unwrap();
        assert_eq!((found.over.sequences, found.over.tokens), (3, 8));
        let (mut effects, mut slopes) = (Vec::new(), Vec::new());
        for layer in 0..LAYERS {
            let of_neurons = found.of_neurons.layer(layer).unwrap();
            assert_eq!(of_neurons.len(), D_MLP);
            for (neuron, effect) in of_neurons.iter().enumerate() {
                // A small step towards 0, at every token that is edited.
                let is_moved =
                    |at: &At| (at.layer, at.neuron) == (layer, neuron) && at.position >= first;
                let moved = |by: f64| {
                    mean_logprob(&|at: At| match is_moved(&at) {
                        true => at.post * (1.0 - by),
                        false => at.post,
                    })
                };
                slopes.push(((moved(STEP) - moved(-STEP)) / (2.0 * STEP)) as f32);
                effects.push(*effect as f32);
            }
        }
        let difference = relative_difference(&effects, &slopes);
        assert!(difference < 1e-4, "{difference:e}: {effects:?} {slopes:?}");
    }
}

fn texts() -> TokenBatch {
    let text = |p: u32| (0..6 + p % 9).map(|i| (p * p + 3 * i) % 250).collect();
    batch(&(0..30).map(text).collect::<Vec<Vec<u32>>>())
}

/// The model itself with the neuron's values a little smaller and a little larger, on every family of norm and head.
#[test]
fn effects_are_those_of_small_edits_of_the_model() {
    const STEP: f32 = 0.02;
    for name in ["tiny-llama", "tiny-gemma2", "tiny-phi3", "tiny-olmo2"] {
        let (model, batch) = (common::model(name), texts());
        let found = FirstOrderEffects::measure(&Engine::new(&model), (&batch, Positions::All), &())
            .unwrap();
        let d_mlp = model.config().d_mlp;
        let mut slopes: Vec<(f32, f32)> = Vec::new();
        for layer in 0..model.config().n_layers() {
            let effects = found.of_neurons.layer(layer).unwrap();
            let far = |n: &usize| effects[*n].abs();
            let strongest = (0..d_mlp).max_by(|a, b| far(a).total_cmp(&far(b))).unwrap();
            for index in [strongest, 3] {
                let set = NeuronSet::new(model.config(), [Neuron { layer, index }]).unwrap();
                let by = |factor: f32| -> Condition {
                    Edit::new(set.clone(), Mode::Multiply(factor))
                        .called("by")
                        .into()
                };
                let conditions = [Condition::Clean, by(1.0 - STEP), by(1.0 + STEP)];
                let (logprobs, _) = run(&model, &batch, &conditions, &mut []);
                let total = |condition: usize| -> f64 {
                    let sequences = batch.sequences().iter().enumerate();
                    let rows = sequences.flat_map(|(i, sequence)| {
                        let next = sequence.ids[1..].iter().enumerate();
                        next.map(move |(position, id)| (i, position, *id as usize))
                    });
                    rows.map(|(i, position, id)| {
                        f64::from(logprobs.at(condition, batch.first_row(i) + position)[id])
                    })
                    .sum()
                };
                let slope = (total(1) - total(2)) / f64::from(2.0 * STEP);
                let slope = slope / found.over.tokens as f64;
                slopes.push((effects[index] as f32, slope as f32));
            }
        }
        let (effects, slopes): (Vec<f32>, Vec<f32>) = slopes.into_iter().unzip();
        let difference = relative_difference(&effects, &slopes);
        assert!(
            difference < 2e-3,
            "{name}: {difference:e} {effects:?} {slopes:?}"
        );
    }
}

/// Draws follow from these numbers, and must be the same on every machine of a run.
#[test]
fn effects_are_the_same_to_the_last_bit_however_passes_are_cut_and_layers_are_held() {
    for name in ["tiny-llama", "tiny-gemma2", "tiny-olmo2", "tiny-phi3.gguf"] {
        let (model, batch) = (common::model(name), texts());
        let engine = Engine::new(&model);
        let together = FirstOrderEffects::measure(&engine, (&batch, Positions::All), &()).unwrap();
        let little = engine.beside(model.plan().activation_limit - (600 << 10));
        let apart = FirstOrderEffects::measure(&little, (&batch, Positions::All), &()).unwrap();
        let passes = (together.over.passes, apart.over.passes);
        assert!(passes.0 < 3 && passes.1 > 4, "{name}: {passes:?}");
        assert!(together.of_neurons == apart.of_neurons, "{name}, in passes");
        let options = LoadOptions {
            max_memory: Some(300 << 20),
            ..common::options()
        };
        let streamed = Model::load(common::checkpoint(name), options).unwrap();
        let read =
            FirstOrderEffects::measure(&Engine::new(&streamed), (&batch, Positions::All), &())
                .unwrap();
        assert!(together.of_neurons == read.of_neurons, "{name}, streamed");
    }
}

#[test]
fn a_pass_has_room_for_the_gradient_of_every_logit_that_is_read() {
    let (model, batch) = (common::model("tiny-llama"), texts());
    let engine = Engine::new(&model);
    let tokens = |rows: &[usize]| engine.tokens_per_gradient_pass(&batch, rows).unwrap() as f64;
    let all: Vec<usize> = (0..batch.tokens()).collect();
    let per_token = |tokens: f64| engine.activation_bytes() as f64 / tokens;
    let of_logits = per_token(tokens(&all)) - per_token(tokens(&[]));
    let expected = (4 * model.config().vocab_size) as f64;
    assert!((of_logits - expected).abs() < 0.1 * expected, "{of_logits}");
    let nothing = engine.beside(model.plan().activation_limit);
    let error = nothing.tokens_per_gradient_pass(&batch, &all).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("gradient") && error.contains("--max-memory"),
        "{error}"
    );
}

/// Neurons of a layer in the order of their effects.
fn ranked(found: &FirstOrderEffects, layer: usize) -> Vec<Neuron> {
    let effects = found.of_neurons.layer(layer).unwrap();
    let mut order: Vec<usize> = (0..effects.len()).collect();
    order.sort_by(|a, b| effects[*a].total_cmp(&effects[*b]));
    order
        .into_iter()
        .map(|index| Neuron { layer, index })
        .collect()
}

#[test]
fn draws_by_effect_are_nearer_to_the_class_than_draws_by_layer() {
    let (model, batch) = (common::model("tiny-llama"), texts());
    let table = NeuronTable::classify(&common::checkpoint("tiny-llama"), Fold::Pre, 0.5).unwrap();
    let engine = Engine::new(&model);
    let found = FirstOrderEffects::measure(&engine, (&batch, Positions::All), &()).unwrap();
    // Every other neuron of the second tenth, from the most harmful on, of each layer.
    let chosen = |layer| ranked(&found, layer).into_iter().skip(8).step_by(2).take(4);
    let class = NeuronSet::new(model.config(), (0..4).flat_map(chosen)).unwrap();
    let drawn = |by| matched_draws(&table, &class, 20, 0, by).unwrap();
    let sum = |set: &NeuronSet| -> f64 {
        set.iter()
            .map(|n| found.of_neurons.layer(n.layer).unwrap()[n.index])
            .sum()
    };
    let mean = |sets: &[NeuronSet]| sets.iter().map(sum).sum::<f64>() / sets.len() as f64;
    let by_layer = drawn(Matching::Layer);
    let treatment = Treatment::new("class".to_string(), class.clone(), by_layer.clone());
    let mut plan = AblationPlan::new(vec![treatment], Mode::Zero);
    let by = MatchedBy {
        table: &table,
        matching: Match::LayerEffect,
        text: Some(&batch),
    };
    plan.weigh((&Run::new(&()), &engine), &batch, by).unwrap();
    let treatment = &plan.treatments[0];
    let by_effect = drawn(Matching::LayerAnd(&found.of_neurons));
    assert_eq!(treatment.baseline, by_effect.sets, "drawn again");
    let said = treatment.first_order.unwrap().sums;
    assert!((said.class - sum(&class)).abs() < 1e-12);
    assert!((said.baseline.unwrap() - mean(&by_effect.sets)).abs() < 1e-12);
    let far = |sets: &[NeuronSet]| (mean(sets) - sum(&class)).abs() / sum(&class).abs();
    let [layer, effect] = [&by_layer, &by_effect].map(|drawn| far(&drawn.sets));
    assert!(
        sum(&class) < 0.0 && layer > 2.0 * NEAR && effect < NEAR,
        "{layer} {effect}"
    );
    assert!(said.is_near());
    let without = MatchedBy { text: None, ..by };
    let error = plan
        .weigh((&Run::new(&()), &engine), &batch, without)
        .unwrap_err();
    assert!(error.to_string().contains("layer+effect"), "{error}");
}

fn tiny() -> String {
    goldens().join("tiny-llama").to_str().unwrap().to_string()
}

/// A run that matches by effect, of some neurons of two layers.
fn arguments(dir: &TempDir, command: &[&str], neurons: &str) -> Vec<String> {
    let neurons = file(dir, "some.txt", neurons);
    let (facts, model) = (file(dir, "facts.jsonl", FACTS), tiny());
    let mut all = command.to_vec();
    all.extend(["--model", &model, "--neurons", &neurons, "--draws", "5"]);
    all.extend(["--match", "layer+effect"]);
    if !command.contains(&"--text") {
        all.extend(["--prompts", &facts, "--subset", "all"]);
    }
    all.into_iter().map(str::to_string).collect()
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn written(out: &FilePath) -> (serde_json::Value, serde_json::Value) {
    let effects = json(&out.join("effects.json"));
    let counts = json(&out.join("run.json"))["counts"].take();
    (
        effects[0]["first_order"].clone(),
        counts["first_order"].clone(),
    )
}

#[test]
fn a_run_says_over_which_text_and_how_near_its_draws_came() {
    let dir = tempfile::tempdir().unwrap();
    let text = file(
        &dir,
        "text.txt",
        "Some words about nothing at all, in a row.\n---\nOther words.\n",
    );
    for (command, name, of_text) in [
        (vec!["ablate"], "neutral", false),
        (vec!["ablate", "--text", &text], text.as_str(), true),
        (vec!["sweep"], "neutral", false),
    ] {
        let out = dir.path().join(format!("out-{}-{of_text}", command[0]));
        let mut all = arguments(&dir, &command, "1.3\n1.4\n1.60\n2.7\n2.70\n");
        all.extend(["--out".to_string(), out.to_str().unwrap().to_string()]);
        let printed = succeed(&words(&all));
        let (sums, counts) = written(&out);
        assert!(
            sums["class"].is_number() && sums["baseline"].is_number(),
            "{sums}"
        );
        assert_eq!(counts["texts"][0]["name"], *name);
        assert_eq!(counts["sums"][0]["nats"], sums["class"]);
        let tokens = counts["over"]["tokens"].as_u64().unwrap();
        assert_eq!(tokens > 3500 && tokens < 4096, !of_text, "{tokens}");
        let line = format!("of {name}), summed over the class's neurons");
        assert!(printed.contains(&line), "{printed}");
        let class = format!("some {:+.4}, draws", sums["class"].as_f64().unwrap());
        assert_eq!(
            printed.contains(&class),
            command[0] == "ablate",
            "{class}: {printed}"
        );
    }
}

#[test]
fn a_class_without_equals_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let text = "Some words about nothing at all, in a row.";
    let text = file(&dir, "text.txt", text);
    let out = dir.path().join("out");
    let command = ["ablate", "--text", &text];
    let mut all = arguments(&dir, &command, "0.1\n");
    all.extend(["--out".to_string(), out.to_str().unwrap().to_string()]);
    // The neurons of one layer that a text loses most by.
    let lm = gatelens::LanguageModel::open(&tiny()).unwrap();
    let batch = lm
        .encode_texts(["Some words about nothing at all, in a row."])
        .unwrap();
    let found = FirstOrderEffects::measure(&lm.engine(), (&batch, Positions::All), &()).unwrap();
    let worst = ranked(&found, 1).into_iter().take(8).map(|n| n.to_string());
    file(&dir, "some.txt", &worst.collect::<Vec<_>>().join("\n"));
    let warned = warnings(&words(&all));
    assert!(
        warned.contains("do not come near the damage of their class")
            && warned.contains("more than 25 %"),
        "{warned}"
    );
    let (sums, counts) = written(&out);
    assert_eq!(counts["sums"][0]["near"], false, "{sums}");
}

#[test]
fn gradients_in_another_precision_are_refused_before_weights_are_read() {
    for command in ["ablate", "sweep", "attributes"] {
        let args = [
            command,
            "--match",
            "layer+effect",
            "--dtype",
            "bf16",
            "--model",
            &tiny(),
        ];
        let error = fail(&args);
        assert!(
            error.contains("gradients are computed in f32 alone"),
            "{error}"
        );
    }
    let error = fail(&[
        "ablate",
        "--match",
        "layer+effect",
        "--draws",
        "0",
        "--model",
        &tiny(),
    ]);
    assert!(error.contains("--draws 0"), "{error}");
}
