//! What neurons write, against plain loops; and random sets that write as much as the class.

use std::path::Path;

use gatelens::engine::Engine;
use gatelens::experiment::Contributions;
use gatelens::hooks::{Neuron, NeuronSet};
use gatelens::io_class::{Class, Fold, Match, NeuronTable, matched_draws};
use gatelens::report::rows::DrawsRow;
use gatelens::report::table::read_table;
use gatelens::tokens::TokenBatch;
use gatelens::{LanguageModel, PromptSet};
use serde_json::Value;
use tempfile::TempDir;

use super::cli::{FACTS, file, json, succeed};
use super::common::{self, goldens, sequence};
use super::two_layer::{At, D_MLP, LAYERS, TwoLayer};

/// |post|·‖w_out‖ of about 1 after two layers in f32, against f64.
const IN_F32: f64 = 1e-6;

#[test]
fn contributions_are_those_of_plain_loops() {
    let two_layer = TwoLayer::new();
    let dir = tempfile::tempdir().unwrap();
    let table = NeuronTable::classify(&two_layer.checkpoint(dir.path()), Fold::Pre, 0.5).unwrap();
    let model = two_layer.model(dir.path());
    let prompts = [&[1, 5, 2, 7][..], &[2, 4, 8, 6, 9, 5], &[3]];
    let sequences = (0..)
        .zip(prompts)
        .map(|(prompt, ids)| sequence(prompt, ids));
    let batch = TokenBatch::new(sequences.collect()).unwrap();
    let found = Contributions::measure(&Engine::new(&model), &batch, &table, &()).unwrap();
    assert_eq!((found.over.sequences, found.over.tokens), (3, 8));
    let traces = prompts.map(|ids| two_layer.run(ids, &|at| at.post));
    let mean = |layer, neuron, is_first: bool| {
        let tokens = traces.iter().flat_map(|trace| &trace.neurons);
        let own = tokens.filter(|at| (at.layer, at.neuron) == (layer, neuron));
        let wanted = own.filter(|at: &&At| (at.position == 0) == is_first);
        let posts: Vec<f64> = wanted.map(|at| at.post.abs()).collect();
        posts.iter().sum::<f64>() / posts.len() as f64 * two_layer.output_norm(layer, neuron)
    };
    for (numbers, is_first) in [(&found.at_first, true), (&found.beyond_first, false)] {
        for layer in 0..LAYERS {
            let numbers = numbers.layer(layer).unwrap();
            assert_eq!(numbers.len(), D_MLP);
            for (neuron, found) in numbers.iter().enumerate() {
                let expected = mean(layer, neuron, is_first);
                assert!((found - expected).abs() < IN_F32, "{found} {expected}");
            }
        }
    }
}

/// Draws follow from these numbers, and must be the same on every machine of a run.
#[test]
fn contributions_are_the_same_to_the_last_bit_however_passes_are_cut() {
    let model = common::model("tiny-llama");
    let table = NeuronTable::classify(&common::checkpoint("tiny-llama"), Fold::Pre, 0.5).unwrap();
    let prompts: Vec<Vec<u32>> = (0..40u32)
        .map(|p| (0..3 + p % 7).map(|i| (p * p + 3 * i) % 300).collect())
        .collect();
    let batch = common::batch(&prompts);
    let engine = Engine::new(&model);
    let together = Contributions::measure(&engine, &batch, &table, &()).unwrap();
    let little = engine.beside(model.plan().activation_limit - (100 << 10));
    let apart = Contributions::measure(&little, &batch, &table, &()).unwrap();
    assert!(
        together.over.passes < 4 && apart.over.passes > 6,
        "{:?}",
        apart.over
    );
    assert_eq!(together.beyond_first, apart.beyond_first);
    assert_eq!(together.at_first, apart.at_first);
}

fn ratio(effects: &Path) -> f64 {
    json(effects)[0]["contribution_ratio"].as_f64().unwrap()
}

#[test]
fn draws_that_write_as_much_as_the_class() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "facts.jsonl", FACTS);
    let ablated = |matching: &str| {
        let out = dir.path().join(matching);
        let mut args = vec!["ablate", "--prompts", &prompts, "--match", matching];
        args.extend(["--classes", "conditional-depletion", "--draws", "4"]);
        args.extend(["--out", out.to_str().unwrap()]);
        let printed = succeed(&args);
        assert!(printed.contains(&format!("4 draws matched by {matching}, fold")));
        let ratio = ratio(&out.join("effects.json"));
        let line = format!("conditional-depletion ×{ratio:.2}");
        assert!(printed.contains(&line), "{line}: {printed}");
        let counts = &json(&out.join("run.json"))["counts"];
        let over = &counts["contributions"];
        assert_eq!(
            (&over["sequences"], over["tokens"].as_u64() > Some(20)),
            (&5.into(), true)
        );
        drawn_as_said(&out, ratio, matching);
        ratio
    };
    let [plain, near] = ["layer", "layer+contribution"].map(ablated);
    assert!(plain > 1.8 && (near - 1.0).abs() < 0.3, "{plain} {near}");
}

/// The neurons that the model parks at the first token, told by name where a set holds one.
#[test]
fn first_position_neurons_are_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "facts.jsonl", FACTS);
    let neurons = file(&dir, "parked.txt", "11.1229\n11.1487\n11.3\n");
    let ablated = |positions: &str| {
        let out = dir.path().join(positions);
        let mut args = vec!["ablate", "--prompts", &prompts, "--neurons", &neurons];
        args.extend([
            "--draws",
            "2",
            "--positions",
            positions,
            "--out",
            out.to_str().unwrap(),
        ]);
        let printed = succeed(&args);
        let held = json(&out.join("run.json"))["counts"]["contributions"]["first_position"].take();
        let held = held.as_array().unwrap().iter();
        let held: Vec<String> = held
            .map(|one| one["neuron"].as_str().unwrap().to_string())
            .collect();
        assert_eq!(held, ["11.1229", "11.1487"]);
        (
            printed,
            json(&out.join("effects.json"))[0]["difference_to_clean"]
                .as_f64()
                .unwrap(),
        )
    };
    let (printed, everywhere) = ablated("all");
    assert!(
        printed.contains("  parked: 11.1229 in the class, 11.1487 in the class\n"),
        "{printed}"
    );
    assert!(printed.contains("--positions not-first"), "{printed}");
    let (printed, elsewhere) = ablated("not-first");
    assert!(!printed.contains("first-position neurons"), "{printed}");
    // What they do is done at the first token.
    assert!(
        everywhere < -1.0 && elsewhere > -0.1,
        "{everywhere} {elsewhere}"
    );
}

/// Every random set by its draw, from `draws.parquet`.
fn draws(out: &Path, (n_layers, d_mlp): (usize, usize)) -> Vec<NeuronSet> {
    let rows: Vec<DrawsRow> = read_table(&out.join("draws.parquet")).unwrap();
    let draws = rows.iter().map(|row| row.draw).max().unwrap() + 1;
    let set = |draw| {
        let own = rows.iter().filter(|row| row.draw == draw);
        let own: Vec<Neuron> = own
            .map(|row| Neuron::new(row.layer.into(), row.neuron as usize))
            .collect();
        let set = NeuronSet::from_neurons(n_layers, d_mlp, own.iter().copied()).unwrap();
        assert_eq!(set.len(), own.len(), "no neuron twice");
        set
    };
    (0..draws).map(set).collect()
}

/// The sets of the file are those of the library, and their ratio is what the run says.
fn drawn_as_said(out: &Path, ratio: f64, matching: &str) {
    let checkpoint = common::checkpoint("smollm2-135m");
    let (n_layers, d_mlp) = (checkpoint.config().n_layers(), checkpoint.config().d_mlp);
    let table = NeuronTable::classify(&checkpoint, Fold::Pre, 0.5).unwrap();
    let lm = LanguageModel::open("smollm2-135m").unwrap();
    let batch = lm
        .encode(&PromptSet::parse("facts", FACTS).unwrap())
        .unwrap();
    let written = Contributions::measure(&lm.engine(), &batch, &table, &()).unwrap();
    let class = table
        .select(Class::ConditionalDepletion.into(), None)
        .unwrap();
    let by: Match = matching.parse().unwrap();
    let by = by.with(Some(&written.beyond_first)).unwrap();
    let found = draws(out, (n_layers, d_mlp));
    assert_eq!(found, matched_draws(&table, &class, 4, 0, by).unwrap().sets);
    let sum = |set: &NeuronSet| -> f64 {
        set.iter()
            .map(|n| written.beyond_first.layer(n.layer).unwrap()[n.index])
            .sum()
    };
    let expected = sum(&class) / (found.iter().map(sum).sum::<f64>() / 4.0);
    assert!((ratio - expected).abs() < 1e-9, "{ratio} {expected}");
}

/// Neurons of two layers of a tiny model, ablated in each layer, or in all.
fn on_tiny(dir: &TempDir, command: &[&str]) -> Vec<Value> {
    let neurons = file(dir, "some.txt", "1.3\n1.4\n1.60\n2.7\n2.70\n");
    let prompts = file(dir, "facts.jsonl", FACTS);
    let model = goldens().join("tiny-llama");
    let out = dir.path().join(command.concat());
    let mut args = command.to_vec();
    args.extend(["--model", model.to_str().unwrap(), "--prompts", &prompts]);
    args.extend(["--neurons", &neurons, "--subset", "all", "--draws", "5"]);
    args.extend([
        "--match",
        "layer+contribution",
        "--out",
        out.to_str().unwrap(),
    ]);
    succeed(&args);
    let effects = json(&out.join("effects.json"));
    let of = |effect: &Value| {
        let known = ["layers", "metric", "contribution_ratio", "draw_means"];
        Value::from_iter(known.map(|key| (key.to_string(), effect[key].clone())))
    };
    effects.as_array().unwrap().iter().map(of).collect()
}

#[test]
fn a_cell_of_a_sweep_has_the_draws_of_its_layers_alone() {
    let dir = tempfile::tempdir().unwrap();
    let sweep = on_tiny(&dir, &["sweep"]);
    for layer in [1, 2] {
        let layers = format!("{layer}..{}", layer + 1);
        let alone = on_tiny(&dir, &["ablate", "--layers", &layers]);
        let mut cells = sweep.clone();
        cells.retain(|cell| cell["layers"] == serde_json::json!([layer, layer]));
        cells
            .iter_mut()
            .for_each(|cell| cell["layers"] = Value::Null);
        assert_eq!(cells, alone, "layer {layer}");
        assert!(alone[0]["contribution_ratio"].is_number());
    }
    // Windows that overlap have the same draws, and the file has them once: 5 draws of 5 neurons.
    on_tiny(&dir, &["sweep", "--window", "2"]);
    let sets = |name: &str| draws(&dir.path().join(name), (4, 80));
    let overlapping = sets("sweep--window2");
    assert_eq!(
        overlapping.iter().map(NeuronSet::len).collect::<Vec<_>>(),
        [5; 5]
    );
    assert_eq!(overlapping, sets("sweep"));
}
