//! What `record` writes, against plain runs of the same prompts.

mod classes;
mod resume;
mod texts;
mod top_tokens;

use std::path::PathBuf;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, UInt16Type, UInt32Type, UInt64Type};
use candle_core::Device;
use gatelens::hooks::{Condition, HookPoint, Recorder, Site};
use gatelens::prompts::PromptSet;
use gatelens::tokens::{BosPolicy, Sequence, Tokenizer, tokenize};
use tempfile::TempDir;

use super::cli::{columns, file, succeed};
use super::common::{batch, first_row, goldens, model, run};

const NEURONS: usize = 80;
const LAYERS: usize = 4;
const SITES: [Site; 3] = [Site::Pre, Site::PreLinear, Site::Post];

const PROMPTS: &str = r#"{"id": "a", "prompt": "The capital of France is", "subject": "France", "target": "Paris", "relation": "a_b"}
{"id": "b", "prompt": "Water is made of hydrogen and", "subject": "Water", "target": "oxygen", "relation": "a_b"}
{"id": "c", "prompt": "She counted 12 boats, and the smallest of them", "subject": "boats", "target": "carried"}
"#;

/// What a plain run gives: gate, up and post of every neuron, `[site][layer][token][neuron]`, sequence after sequence.
type Values = Vec<Vec<Vec<Vec<f32>>>>;

/// The prompts of a set as tiny-llama reads them, without their targets, in the order of the set.
fn sequences(prompts: &str, bos: BosPolicy) -> Vec<Sequence> {
    let prompts = PromptSet::parse("test", prompts).unwrap();
    let file = goldens().join("tiny-llama/tokenizer.json");
    let tokenizer = Tokenizer::from_files(&file, None, Some(&file.with_file_name("config.json")));
    let tokens = tokenize(&prompts, &tokenizer.unwrap(), bos).unwrap();
    let mut sequences = tokens.sequences().to_vec();
    sequences.sort_by_key(|sequence| sequence.prompt);
    for sequence in &mut sequences {
        sequence.ids.truncate(sequence.prompt_len);
    }
    sequences
}

/// A plain run of tiny-llama.
fn plain_run(ids: &[Vec<u32>]) -> Values {
    let model = model("tiny-llama");
    let batch = batch(ids);
    let points = (0..LAYERS).flat_map(|l| SITES.map(|site| HookPoint::in_layer(l, site)));
    let mut recorder = Recorder::new(points);
    run(&model, &batch, &[Condition::Clean], &mut [&mut recorder]);
    let rows = |site: Site, layer: usize| -> Vec<Vec<f32>> {
        let values = recorder.rows(HookPoint::in_layer(layer, site), 0).unwrap();
        let tokens = ids.iter().enumerate().flat_map(|(p, ids)| {
            let first = first_row(&batch, p);
            first..first + ids.len()
        });
        tokens
            .map(|row| values[row * NEURONS..(row + 1) * NEURONS].to_vec())
            .collect()
    };
    let layers = |site| (0..LAYERS).map(|layer| rows(site, layer)).collect();
    SITES.into_iter().map(layers).collect()
}

/// `record` of tiny-llama into `name` of a folder.
fn record(dir: &TempDir, name: &str, more: &[&str]) -> PathBuf {
    let out = dir.path().join(name);
    let tiny = goldens().join("tiny-llama");
    let mut args = vec!["record", "--model", tiny.to_str().unwrap()];
    args.extend(["--out", out.to_str().unwrap()]);
    args.extend(more);
    succeed(&args);
    out
}

fn texts<'a>(table: &'a RecordBatch, column: &str) -> Vec<&'a str> {
    let values = table[column].as_string::<i32>().iter();
    values.map(Option::unwrap).collect()
}

fn numbers(table: &RecordBatch, column: &str) -> Vec<usize> {
    let values = table[column].as_primitive::<UInt32Type>().values();
    values.iter().map(|value| *value as usize).collect()
}

#[test]
fn every_file_holds_what_a_plain_run_gives() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "prompts.jsonl", PROMPTS);
    let sites = "mlp.hook_pre,mlp.hook_pre_linear,mlp.hook_post";
    let top = NEURONS.to_string();
    #[rustfmt::skip]
    let out = record(&dir, "out", &[
        "--prompts", &prompts, "--top", &top, "--dense", "--sites", sites, "--draws", "0",
    ]);
    let sequences = sequences(PROMPTS, BosPolicy::Auto);
    let ids: Vec<Vec<u32>> = sequences.into_iter().map(|s| s.ids).collect();
    let expected = plain_run(&ids);
    let tokens = expected[0][0].len();

    let (_, table) = columns(&out.join("tokens.parquet"));
    assert_eq!(table.num_rows(), tokens);

    let dense = out.join("activations.safetensors");
    let dense = candle_core::safetensors::load(dense, &Device::Cpu).unwrap();
    assert_eq!(dense.len(), SITES.len() * LAYERS);
    for (site, layers) in SITES.iter().zip(&expected) {
        for (layer, rows) in layers.iter().enumerate() {
            let name = HookPoint::in_layer(layer, *site).to_string();
            assert_eq!(dense[&name].to_vec2::<f32>().unwrap(), *rows, "{name}");
        }
    }

    let (_, table) = columns(&out.join("activations.parquet"));
    assert_eq!(table.num_rows(), tokens * LAYERS * NEURONS);
    let row = table["row"].as_primitive::<UInt64Type>();
    let layer = table["layer"].as_primitive::<UInt16Type>();
    let neuron = table["neuron"].as_primitive::<UInt32Type>();
    for (site, column) in ["gate", "up", "post"].into_iter().enumerate() {
        let values = table[column].as_primitive::<Float32Type>();
        for i in 0..table.num_rows() {
            let place = (
                layer.value(i) as usize,
                row.value(i) as usize,
                neuron.value(i) as usize,
            );
            assert_eq!(
                values.value(i),
                expected[site][place.0][place.1][place.2],
                "{column} {place:?}"
            );
        }
    }

    let (_, table) = columns(&out.join("summary.parquet"));
    assert_eq!(table.num_rows(), LAYERS * NEURONS);
    let frequency = table["frequency"].as_primitive::<Float64Type>();
    let mean = table["mean_post"].as_primitive::<Float64Type>();
    let variance = table["var_post"].as_primitive::<Float64Type>();
    let strongest = table["max_abs_post"].as_primitive::<Float32Type>();
    let both = table["count_gp_up"].as_primitive::<UInt64Type>();
    let opposed = table["mean_post_gm_up"].as_primitive::<Float64Type>();
    for i in 0..table.num_rows() {
        let (layer, neuron) = (i / NEURONS, i % NEURONS);
        let column = |site: usize| -> Vec<f64> {
            expected[site][layer]
                .iter()
                .map(|row| f64::from(row[neuron]))
                .collect()
        };
        let (gate, up, post) = (column(0), column(1), column(2));
        let n = tokens as f64;
        let average = post.iter().sum::<f64>() / n;
        let name = format!("{layer}.{neuron}");
        let positive = gate.iter().filter(|gate| **gate > 0.0).count();
        assert_eq!(frequency.value(i), positive as f64 / n, "{name}");
        assert!((mean.value(i) - average).abs() < 1e-9, "{name} mean");
        let squares: f64 = post.iter().map(|post| (post - average).powi(2)).sum();
        let spread = squares / (n - 1.0);
        assert!((variance.value(i) - spread).abs() < 1e-9, "{name} variance");
        let largest = post.iter().fold(0.0, |max: f64, post| max.max(post.abs()));
        assert_eq!(f64::from(strongest.value(i)), largest, "{name}");
        let case = |g: f64, u: f64| -> Vec<f64> {
            let tokens = gate.iter().zip(&up).zip(&post);
            tokens
                .filter(|((gate, up), _)| **gate * g > 0.0 && **up * u > 0.0)
                .map(|(_, post)| *post)
                .collect()
        };
        assert_eq!(both.value(i) as usize, case(1.0, 1.0).len(), "{name}");
        let posts = case(-1.0, 1.0);
        if !posts.is_empty() {
            let average = posts.iter().sum::<f64>() / posts.len() as f64;
            assert!(
                (opposed.value(i) - average).abs() < 1e-9,
                "{name} mean of gate-,up+"
            );
        }
    }
}
