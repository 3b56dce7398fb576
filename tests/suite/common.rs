//! Models, goldens and runs that several tests share.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::Device;
use gatelens::engine::{Engine, LogitBlock, Readout};
use gatelens::hooks::{Condition, EditCount, Observer, ReadError};
use gatelens::hub::{ModelFiles, locate};
use gatelens::model::{Checkpoint, LoadOptions, Model, Operations};
use gatelens::tokens::{Sequence, TokenBatch};

/// The file of a real model, fetched on first use.
pub fn model_path(alias: &str) -> PathBuf {
    match locate(alias, &()).unwrap().files {
        ModelFiles::Gguf(mut parts) if parts.len() == 1 => parts.remove(0),
        other => panic!("{alias} is not one GGUF file: {other:?}"),
    }
}

pub fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

/// A checkpoint: an alias, `tiny-NAME` (safetensors) or `tiny-NAME.gguf`.
pub fn checkpoint(name: &str) -> Checkpoint {
    let files = match name.strip_suffix(".gguf") {
        Some(tiny) => ModelFiles::Gguf(vec![goldens().join(tiny).join("model.gguf")]),
        None if name.starts_with("tiny-") => {
            locate(goldens().join(name).to_str().unwrap(), &())
                .unwrap()
                .files
        }
        None => ModelFiles::Gguf(vec![model_path(name)]),
    };
    Checkpoint::open(&files).unwrap()
}

/// Both kinds of operations: what the CPU does, and what a device does.
pub const OPERATIONS: [Operations; 2] = [Operations::Fused, Operations::Tensors];

/// Where models of tests that do not say it run: GATELENS_TEST_DEVICE is `cpu`, `cpu:tensors` (the CPU, by the operations of a
/// device) or `cuda`.
pub fn options() -> LoadOptions {
    match test_device().as_str() {
        "cpu" => LoadOptions::default(),
        _ => on_device(),
    }
}

fn test_device() -> String {
    let device = std::env::var("GATELENS_TEST_DEVICE").unwrap_or("cpu".to_string());
    let is_known = ["cpu", "cpu:tensors", "cuda"].contains(&device.as_str());
    assert!(is_known, "GATELENS_TEST_DEVICE={device}: no such device");
    device
}

/// What a device does: on the CUDA device where GATELENS_TEST_DEVICE names it, else on the CPU.
fn on_device() -> LoadOptions {
    LoadOptions {
        operations: Some(Operations::Tensors),
        device: match test_device().as_str() {
            "cuda" => Device::new_cuda(0).unwrap(),
            _ => Device::Cpu,
        },
        ..LoadOptions::default()
    }
}

/// Options for one kind of operations.
pub fn options_by(operations: Operations) -> LoadOptions {
    match operations {
        Operations::Fused => LoadOptions::default(),
        Operations::Tensors => on_device(),
    }
}

pub fn model(name: &str) -> Model {
    Model::load(checkpoint(name), options()).unwrap()
}

/// The same by one kind of operations.
pub fn model_by(name: &str, operations: Operations) -> Model {
    Model::load(checkpoint(name), options_by(operations)).unwrap()
}

/// A prompt of plain token ids, without subject or target.
pub fn sequence(prompt: usize, ids: &[u32]) -> Sequence {
    Sequence::of_ids(prompt, ids.to_vec())
}

pub fn batch(prompts: &[Vec<u32>]) -> TokenBatch {
    TokenBatch::new(
        prompts
            .iter()
            .enumerate()
            .map(|(i, ids)| sequence(i, ids))
            .collect(),
    )
    .unwrap()
}

/// The first row of a prompt.
pub fn first_row(batch: &TokenBatch, prompt: usize) -> usize {
    let place = batch
        .sequences()
        .iter()
        .position(|s| s.prompt == prompt)
        .unwrap();
    batch.first_row(place)
}

/// Keeps the log-softmax of some rows under every condition.
pub struct LogProbs {
    rows: Vec<usize>,
    kept: HashMap<(usize, usize), Vec<f32>>,
}

impl LogProbs {
    pub fn new(rows: Vec<usize>) -> Self {
        Self {
            rows,
            kept: HashMap::new(),
        }
    }

    pub fn of_all(batch: &TokenBatch) -> Self {
        Self::new((0..batch.tokens()).collect())
    }

    pub fn at(&self, condition: usize, row: usize) -> &[f32] {
        &self.kept[&(condition, row)]
    }
}

impl Readout for LogProbs {
    fn rows(&self) -> &[usize] {
        &self.rows
    }

    fn read(&mut self, block: &LogitBlock<'_>) -> Result<(), ReadError> {
        for (i, logits) in block.logits()?.chunks_exact(block.vocab_size).enumerate() {
            let max = logits.iter().copied().fold(f32::MIN, f32::max);
            let sum: f64 = logits.iter().map(|l| f64::from(l - max).exp()).sum();
            let log_z = f64::from(max) + sum.ln();
            let logprobs: Vec<f32> = logits
                .iter()
                .map(|l| (f64::from(*l) - log_z) as f32)
                .collect();
            for &condition in block.conditions {
                self.kept
                    .insert((condition, self.rows[block.first + i]), logprobs.clone());
            }
        }
        Ok(())
    }
}

/// Runs and returns the log-probabilities of every row, with the edits' counts.
pub fn run(
    model: &Model,
    batch: &TokenBatch,
    conditions: &[Condition],
    observers: &mut [&mut dyn Observer],
) -> (LogProbs, Vec<EditCount>) {
    let mut logprobs = LogProbs::of_all(batch);
    let counts = Engine::new(model)
        .run(batch, conditions, observers, Some(&mut logprobs), &())
        .unwrap();
    (logprobs, counts)
}

/// The largest absolute difference.
pub fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |max, d| if d.is_nan() { f32::NAN } else { max.max(d) })
}

/// The length of the difference over the length of `expected`.
pub fn relative_difference(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut found.iter().zip(expected).map(|(f, e)| f64::from(f - e)));
    difference / norm(&mut expected.iter().map(|e| f64::from(*e))).max(1e-30)
}
