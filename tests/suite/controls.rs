//! The control of random weights: the same entries in another order, the same neurons, and nothing that could be taken for a result.

use std::fs;
use std::path::Path;

use candle_core::Tensor;
use gatelens::engine::Engine;
use gatelens::experiment::FirstOrderEffects;
use gatelens::hooks::Condition;
use gatelens::model::{
    Checkpoint, LayerTensor, LoadOptions, Model, ModelTensor, Residency, RunWeights,
};
use gatelens::tokens::Positions;
use serde_json::Value;
use tempfile::TempDir;

use super::cli::{FACTS, fail, file, gatelens, json, succeed};
use super::common::{batch, checkpoint, goldens, options, run};

const SHUFFLED: RunWeights = RunWeights::Shuffled { seed: 3 };

/// Enough to stream any tiny model, too little to hold one.
const STREAMED: u64 = 300 << 20;

fn values(tensor: Tensor) -> Vec<u32> {
    let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

fn sorted(mut values: Vec<u32>) -> Vec<u32> {
    values.sort_unstable();
    values
}

fn shuffled(name: &str, seed: u64) -> Checkpoint {
    checkpoint(name).to_run_with(RunWeights::Shuffled { seed })
}

#[test]
fn every_matrix_has_its_entries_in_another_order_and_vectors_stay() {
    for name in [
        "tiny-llama",
        "tiny-llama.gguf",
        "tiny-qwen2",
        "tiny-gemma3.gguf",
    ] {
        let (plain, other, again) = (checkpoint(name), shuffled(name, 3), shuffled(name, 3));
        let of = |checkpoint: &Checkpoint, layer, tensor| {
            values(checkpoint.layer_tensor(layer, tensor).unwrap())
        };
        use LayerTensor::*;
        for (layer, tensor) in [
            (0, QProj),
            (1, KProj),
            (1, OProj),
            (0, GateProj),
            (1, DownProj),
        ] {
            let (stored, found) = (of(&plain, layer, tensor), of(&other, layer, tensor));
            let same = stored.iter().zip(&found).filter(|(a, b)| a == b).count();
            assert!(same < stored.len() / 10, "{name}, {tensor:?}: {same}");
            assert_eq!(sorted(stored), sorted(found.clone()), "{name}, {tensor:?}");
            assert_eq!(found, of(&again, layer, tensor), "{name}, {tensor:?}");
            assert_ne!(
                found,
                of(&shuffled(name, 4), layer, tensor),
                "{name}, {tensor:?}"
            );
        }
        for vector in [AttentionNorm, MlpNorm] {
            assert_eq!(
                of(&plain, 1, vector),
                of(&other, 1, vector),
                "{name}, {vector:?}"
            );
        }
        if name == "tiny-qwen2" {
            assert_eq!(of(&plain, 1, QBias), of(&other, 1, QBias));
        }
        let norm = |checkpoint: &Checkpoint| {
            values(checkpoint.model_tensor(ModelTensor::FinalNorm).unwrap())
        };
        assert_eq!(norm(&plain), norm(&other), "{name}");
    }
}

/// Two tensors of one shape and, as far as the order tells, of one content would be shuffled alike by the seed alone.
#[test]
fn each_matrix_has_an_order_of_its_own() {
    let (plain, other) = (checkpoint("tiny-llama"), shuffled("tiny-llama", 3));
    let places = |tensor: LayerTensor, layer: usize| -> Vec<usize> {
        let stored = values(plain.layer_tensor(layer, tensor).unwrap());
        let found = values(other.layer_tensor(layer, tensor).unwrap());
        let place = |value: &u32| stored.iter().position(|stored| stored == value).unwrap();
        found.iter().take(200).map(place).collect()
    };
    let gate = places(LayerTensor::GateProj, 0);
    assert_ne!(gate, places(LayerTensor::UpProj, 0));
    assert_ne!(gate, places(LayerTensor::GateProj, 1));
}

/// Query, key and value rows of Phi-3 lie in one matrix, which is shuffled as one.
#[test]
fn fused_projections_share_their_entries() {
    use LayerTensor::*;
    for name in ["tiny-phi3", "tiny-phi3.gguf"] {
        let all = |checkpoint: &Checkpoint, parts: [LayerTensor; 3]| {
            let parts = parts.map(|part| values(checkpoint.layer_tensor(1, part).unwrap()));
            parts.concat()
        };
        let (plain, other) = (checkpoint(name), shuffled(name, 3));
        let (stored, found) = ([QProj, KProj, VProj], [QProj, KProj, VProj]);
        let (stored, found) = (all(&plain, stored), all(&other, found));
        assert_ne!(stored, found, "{name}");
        assert_eq!(sorted(stored), sorted(found), "{name}");
    }
}

#[test]
fn a_tied_head_is_the_shuffled_embedding_whole_and_by_rows() {
    for (name, tied) in [
        ("tiny-gemma3", true),
        ("tiny-gemma3.gguf", true),
        ("tiny-llama", false),
    ] {
        let (plain, other) = (checkpoint(name), shuffled(name, 3));
        assert_eq!(plain.config().tied_head, tied, "{name}");
        let whole = |tensor| other.model_tensor(tensor).unwrap();
        let [embedding, head] = [ModelTensor::Embedding, ModelTensor::Head].map(whole);
        assert_eq!(
            values(embedding.clone()) == values(head.clone()),
            tied,
            "{name}"
        );
        for (tensor, whole) in [
            (ModelTensor::Embedding, &embedding),
            (ModelTensor::Head, &head),
        ] {
            let stored = values(plain.model_tensor(tensor).unwrap());
            assert_ne!(stored, values(whole.clone()), "{name}");
            assert_eq!(sorted(stored), sorted(values(whole.clone())), "{name}");
            let rows = other.vocabulary_rows(tensor, 7..20).unwrap();
            assert_eq!(
                values(rows),
                values(whole.narrow(0, 7, 13).unwrap()),
                "{name}"
            );
        }
        let rows = other.embedding_rows(&[7, 0, 7]).unwrap();
        let expected = [7, 0, 7].map(|id| values(embedding.narrow(0, id, 1).unwrap()));
        assert_eq!(values(rows), expected.concat(), "{name}");
    }
}

#[test]
fn a_shuffled_model_runs_alike_in_memory_and_from_its_files() {
    for name in ["tiny-llama", "tiny-gemma3.gguf", "tiny-phi3", "tiny-olmo2"] {
        let load = |weights, max_memory| {
            let options = LoadOptions {
                weights,
                max_memory,
                ..options()
            };
            Model::load(checkpoint(name), options).unwrap()
        };
        let batch = batch(&[vec![5, 12, 19, 26], vec![7, 8], vec![9, 4, 200]]);
        let rows = |model: &Model| -> Vec<Vec<f32>> {
            let (found, _) = run(model, &batch, &[Condition::Clean], &mut []);
            (0..batch.tokens())
                .map(|row| found.at(0, row).to_vec())
                .collect()
        };
        let (held, read) = (load(SHUFFLED, None), load(SHUFFLED, Some(STREAMED)));
        let residency = [&held, &read].map(|model| model.plan().residency);
        assert_eq!(
            residency,
            [Residency::Resident, Residency::Streamed],
            "{name}"
        );
        let expected = rows(&held);
        assert!(expected == rows(&read) && expected == rows(&read), "{name}");
        assert!(expected == rows(&load(SHUFFLED, None)), "{name}");
        assert!(expected != rows(&load(RunWeights::Stored, None)), "{name}");
        let effects =
            |model| FirstOrderEffects::measure(&Engine::new(model), (&batch, Positions::All), &());
        let [held, read] = [&held, &read].map(|model| effects(model).unwrap().of_neurons);
        assert!(
            held == read,
            "{name}: the backward pass has the same weights"
        );
    }
}

/// What is kept in memory of a shuffled model is counted.
#[test]
fn a_limit_on_memory_counts_the_shuffled_vocabulary() {
    let config = checkpoint("tiny-llama").config().clone();
    let bytes = |weights| {
        let options = LoadOptions {
            weights,
            ..options()
        };
        options.estimate(&config).streamed_bytes
    };
    let vocabulary = 2 * 4 * (config.vocab_size * config.d_model) as u64;
    assert!(bytes(SHUFFLED) >= bytes(RunWeights::Stored) + vocabulary);
}

/// Arguments of a run on a tiny model.
fn arguments(dir: &TempDir, model: &str, more: &[&str]) -> Vec<String> {
    let neurons = file(dir, "some.txt", "0.3\n0.4\n1.60\n2.7\n2.70\n");
    let mut all = vec![
        "ablate",
        "--model",
        model,
        "--neurons",
        &neurons,
        "--draws",
        "5",
    ];
    all.extend(more);
    all.into_iter().map(str::to_string).collect()
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_control_edits_the_same_neurons_and_says_everywhere_that_it_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let facts = file(&dir, "facts.jsonl", FACTS);
    let text = file(
        &dir,
        "text.txt",
        "Some words about nothing.\n---\nOther words, in a row.\n",
    );
    let model = goldens().join("tiny-llama");
    let before = files(&model);
    for (name, asked) in [
        ("facts", ["--prompts", &facts, "--subset", "all"].as_slice()),
        ("text", ["--text", &text].as_slice()),
    ] {
        let ran = |what: &str, more: &[&str]| -> (String, Value, Value) {
            let out = dir.path().join(format!("{name}-{what}"));
            let mut all = arguments(&dir, model.to_str().unwrap(), asked);
            all.extend(more.iter().map(|word| word.to_string()));
            all.extend(["--out".to_string(), out.to_str().unwrap().to_string()]);
            let printed = succeed(&words(&all));
            (
                printed,
                json(&out.join("effects.json")),
                json(&out.join("run.json")),
            )
        };
        let control = ["--control", "random-weights"];
        let (_, plain, plain_run) = ran("plain", &[]);
        let (printed, effects, run) = ran("control", &control);
        let (_, streamed, _) = ran(
            "streamed",
            &[&control[..], &["--max-memory", "300MiB"]].concat(),
        );
        assert_eq!(
            effects, streamed,
            "{name}: layers that are read again are shuffled alike"
        );
        let other = ran("seed", &[&control[..], &["--seed", "1"]].concat()).1;
        assert_ne!(effects[0]["means"]["clean"], other[0]["means"]["clean"]);
        assert_ne!(effects[0]["means"]["clean"], plain[0]["means"]["clean"]);
        let draws =
            |what: &str| fs::read(dir.path().join(format!("{name}-{what}/draws.parquet"))).unwrap();
        assert!(
            draws("plain") == draws("control"),
            "{name}: the same random sets"
        );
        assert!(printed.contains("CONTROL, random weights"), "{printed}");
        for effect in effects.as_array().unwrap() {
            assert_eq!(effect["control"], "random-weights");
        }
        assert!(plain[0].get("control").is_none() && plain_run.get("control").is_none());
        assert_eq!(run["settings"]["control"], "random-weights");
        assert!(
            run["control"]
                .as_str()
                .unwrap()
                .contains("no result about the model")
        );
        let out = dir.path().join(format!("{name}-control"));
        succeed(&["report", out.to_str().unwrap()]);
        let page = fs::read_to_string(out.join("report.html")).unwrap();
        assert!(
            page.contains("This is a control, no result about the model"),
            "{name}"
        );
    }
    assert!(
        before == files(&model),
        "the model's files stay as they are"
    );
}

/// From the classes of the true weights, also of a GGUF file.
#[test]
fn the_classes_of_a_control_are_those_of_the_true_weights() {
    let dir = tempfile::tempdir().unwrap();
    let facts = file(&dir, "facts.jsonl", FACTS);
    let model = goldens().join("tiny-llama/model.gguf");
    let neurons = |control: &[&str]| {
        let mut args = vec![
            "ablate",
            "--model",
            model.to_str().unwrap(),
            "--prompts",
            &facts,
        ];
        args.extend([
            "--subset",
            "all",
            "--threshold",
            "0.15",
            "--draws",
            "2",
            "--json",
        ]);
        args.extend(["--classes", "conditional-enrichment,conditional-depletion"]);
        args.extend(control);
        let printed: Value = serde_json::from_str(&succeed(&args)).unwrap();
        let effects = printed["effects"].as_array().unwrap().clone();
        effects
            .iter()
            .map(|e| (e["class"].clone(), e["neurons"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(neurons(&[]), neurons(&["--control", "random-weights"]));
}

#[test]
fn what_a_control_cannot_do_is_refused_with_what_to_do() {
    let control = ["ablate", "--control", "random-weights"];
    for (more, expected) in [
        (&[][..], "add --subset all"),
        (&["--subset", "known"], "add --subset all"),
        (
            &["--subset", "all", "--match", "layer+contribution"],
            "true weights",
        ),
        (
            &["--text", "neutral", "--match", "layer+effect"],
            "true weights",
        ),
        (
            &["--subset", "all", "--mode", "mean", "--reference", "x"],
            "drop --reference",
        ),
    ] {
        let error = fail(&[&control[..], more].concat());
        assert!(error.contains(expected), "{more:?}: {error}");
    }
    assert!(fail(&["ablate", "--control", "labels"]).contains("random-weights"));
    assert!(fail(&["sweep", "--control", "random-weights"]).contains("--control"));
}

/// A run is not gone on with as another one.
#[test]
fn a_stopped_run_and_its_control_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let facts = file(&dir, "facts.jsonl", FACTS);
    let out = dir.path().join("out");
    let model = goldens().join("tiny-llama");
    let asked = [
        "--prompts",
        &facts,
        "--subset",
        "all",
        "--out",
        out.to_str().unwrap(),
    ];
    let all = arguments(&dir, model.to_str().unwrap(), &asked);
    let shard = |more: &[&str]| {
        let mut all = all.clone();
        all.extend(
            ["--shard", "0/2"]
                .iter()
                .chain(more)
                .map(|word| word.to_string()),
        );
        gatelens().args(&all).output().unwrap()
    };
    assert!(shard(&[]).status.success());
    let mixed = shard(&["--control", "random-weights"]);
    let error = String::from_utf8(mixed.stderr).unwrap();
    assert!(
        !mixed.status.success() && error.contains("--control"),
        "{error}"
    );
}
