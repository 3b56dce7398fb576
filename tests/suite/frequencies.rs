//! Random sets that fire as often as the class: from a recording to the draws and to `run.json`.

use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use gatelens::hooks::NeuronSet;
use gatelens::io_class::{Class, Fold, Matching, NeuronTable, matched_draws};
use gatelens::report::RecordedFolder;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::cli::{FACTS, columns, fail, file, json, succeed};
use super::common::{checkpoint, goldens};

/// The neurons of SmolLM2-135M.
const LAYERS: usize = 30;
const NEURONS: usize = 1536;

/// A folder of `record`.
fn recorded(dir: &TempDir, more: &[&str]) -> String {
    let out = dir.path().join("recorded").to_str().unwrap().to_string();
    let args = ["record", "--draws", "0", "--top", "0", "--out", &out];
    succeed(&[&args, more].concat());
    out
}

/// The column frequency, by layer and neuron.
fn frequencies(folder: &str) -> Vec<Vec<f64>> {
    let (_, rows) = columns(&Path::new(folder).join("summary.parquet"));
    let values = rows["frequency"].as_primitive::<Float64Type>().values();
    values.chunks(NEURONS).map(<[f64]>::to_vec).collect()
}

fn mean_frequency(set: &NeuronSet, frequencies: &[Vec<f64>]) -> f64 {
    let shares = set.iter().map(|n| frequencies[n.layer][n.index]);
    shares.sum::<f64>() / set.len() as f64
}

/// `ablate` with these settings: `run.json`, what was printed, and the log-probabilities.
fn ablated(dir: &TempDir, name: &str, more: &[&str]) -> (Value, String, Vec<f64>) {
    let prompts = file(dir, "facts.jsonl", FACTS);
    let out = dir.path().join(name);
    let mut args = vec![
        "ablate",
        "--prompts",
        &prompts,
        "--classes",
        "depletion",
        "--draws",
        "3",
    ];
    args.extend(["--subset", "all", "--out", out.to_str().unwrap()]);
    args.extend(more);
    let printed = succeed(&args);
    let (_, rows) = columns(&out.join("outcomes.parquet"));
    let logprobs = rows["target_logprob"].as_primitive::<Float64Type>();
    (
        json(&out.join("run.json")),
        printed,
        logprobs.values().to_vec(),
    )
}

#[test]
fn an_ablation_beside_neurons_that_fire_as_often() {
    let dir = tempfile::tempdir().unwrap();
    let folder = recorded(&dir, &["--text", "neutral", "--max-tokens", "300"]);
    let by_frequency = ["--match", "layer+frequency", "--reference", &folder];
    let (run, printed, found) = ablated(&dir, "frequency", &by_frequency);
    let line = format!("firing frequencies: over 300 tokens, recorded in {folder}");
    assert!(printed.contains(&line), "{printed}");
    assert_eq!(run["settings"]["matching"], "layer+frequency");
    let bytes = std::fs::read(Path::new(&folder).join("summary.parquet")).unwrap();
    let hash: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let read = &run["counts"]["frequencies"];
    assert_eq!(
        *read,
        serde_json::json!({
            "source": "recorded", "folder": folder, "summary_sha256": hash, "tokens": 300,
        })
    );
    assert!(run["counts"]["reference"].is_null());

    // Clean and the class are those of any matching, the draws are others.
    let (run, printed, plain) = ablated(&dir, "layer", &[]);
    assert!(run["counts"]["frequencies"].is_null() && !printed.contains("frequencies"));
    let differ: Vec<bool> = found.iter().zip(&plain).map(|(a, b)| a != b).collect();
    let (same, draws) = differ.split_at(2 * 5);
    assert_eq!((same, draws), (&[false; 10][..], &[true; 15][..]));

    // The means of --reference come from the same folder, and are named beside it.
    let both = [&by_frequency[..], &["--mode", "mean"]].concat();
    let (run, printed, _) = ablated(&dir, "mean", &both);
    assert!(
        printed.contains("\nmeans: over 300 tokens, recorded in"),
        "{printed}"
    );
    assert_eq!(run["counts"]["reference"], run["counts"]["frequencies"]);
    draws_of_a_recording(&folder);
}

/// The draws, on the table and the recording of a real model.
fn draws_of_a_recording(folder: &str) {
    let expected = frequencies(folder);
    let read = RecordedFolder::open(Path::new(folder)).unwrap();
    let (given, tokens) = read.frequencies(LAYERS, NEURONS).unwrap();
    assert_eq!(tokens, 300);
    for (layer, shares) in expected.iter().enumerate() {
        assert_eq!(given.layer(layer), Some(&shares[..]));
    }
    let table = NeuronTable::classify(&checkpoint("smollm2-135m"), Fold::Pre, 0.5).unwrap();
    for class in [
        Class::ConditionalEnrichment,
        Class::Depletion,
        Class::ConditionalDepletion,
    ] {
        let set = table.select(class.into(), None).unwrap();
        let own = mean_frequency(&set, &expected);
        let off = |matching| {
            let draws = matched_draws(&table, &set, 10, 0, matching).unwrap().sets;
            let off = draws
                .iter()
                .map(|draw| (mean_frequency(draw, &expected) - own).abs());
            off.sum::<f64>() / 10.0
        };
        let [near, far] = [Matching::LayerAnd(&given), Matching::Layer].map(off);
        println!(
            "{class}: fires {own:.4}; draws by frequency are {near:.4} off, by layer {far:.4}"
        );
        assert!(near < 0.3 * far, "{class}: {near} {far}");
    }
}

#[test]
fn a_sweep_takes_them_too_and_a_recording_of_some_layers_is_not_enough() {
    let dir = tempfile::tempdir().unwrap();
    let model = goldens().join("tiny-llama").to_str().unwrap().to_string();
    let prompts = file(&dir, "facts.jsonl", FACTS);
    let folder = recorded(
        &dir,
        &["--model", &model, "--prompts", &prompts, "--layers", "1..3"],
    );
    let neurons = |text: &str| file(&dir, "some.txt", text);
    let sweep = |neurons: &str| -> Vec<String> {
        let mut args = vec![
            "sweep",
            "--model",
            &model,
            "--prompts",
            &prompts,
            "--neurons",
            neurons,
        ];
        args.extend([
            "--subset",
            "all",
            "--match",
            "layer+frequency",
            "--reference",
            &folder,
        ]);
        args.iter().map(|arg| arg.to_string()).collect()
    };
    let args = sweep(&neurons("1.3\n1.4\n2.70\n"));
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    let out = dir.path().join("sweep");
    args.extend(["--out", out.to_str().unwrap()]);
    assert!(succeed(&args).contains("firing frequencies: over"));
    assert_eq!(
        json(&out.join("run.json"))["counts"]["frequencies"]["folder"],
        folder.as_str()
    );

    let args = sweep(&neurons("1.3\n3.4\n"));
    let error = fail(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(
        error.contains("layer 3") && error.contains("layers [1, 2]"),
        "{error}"
    );
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    args.extend(["--layers", "1..3"]);
    succeed(&args);
    let other = [
        "ablate",
        "--match",
        "layer+frequency",
        "--reference",
        &folder,
    ];
    assert!(fail(&other).contains("another model"));
}
