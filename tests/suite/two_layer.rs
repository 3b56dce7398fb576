//! A llama of two layers, small enough to compute in plain loops: the oracle of the edits.
//!
//! Queries and keys are 0, so attention is the mean over the tokens so far and no rotation matters. The
//! oracle is in f64 and shares no code with the engine.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use gatelens::hub::ModelFiles;
use gatelens::model::{Checkpoint, Model, Operations};
use gatelens::tokens::Sequence;

use super::common;

pub const LAYERS: usize = 2;
pub const D_MODEL: usize = 4;
pub const D_MLP: usize = 6;
pub const VOCAB: usize = 10;
const EPS: f64 = 1e-5;

/// `[rows][columns]`.
pub type Matrix = Vec<Vec<f64>>;

/// The weights by their names in the file.
#[derive(Clone)]
pub struct TwoLayer {
    tensors: HashMap<String, Matrix>,
}

/// A neuron's numbers at one token.
#[derive(Clone, Copy, Debug)]
pub struct At {
    pub layer: usize,
    pub position: usize,
    pub neuron: usize,
    pub gate: f64,
    pub up: f64,
    pub post: f64,
}

/// What a prompt did.
pub struct Trace {
    /// Every neuron at every token, before the edit.
    pub neurons: Vec<At>,
    /// `[tokens][VOCAB]`.
    pub logprobs: Matrix,
    /// Before the final norm: `[tokens][D_MODEL]`.
    residual: Matrix,
}

impl Trace {
    pub fn at(&self, layer: usize, position: usize, neuron: usize) -> At {
        let same = |at: &&At| (at.layer, at.position, at.neuron) == (layer, position, neuron);
        *self.neurons.iter().find(same).unwrap()
    }

    pub fn target_logprob(&self, prompt: &Sequence) -> f64 {
        target_logprob(&self.logprobs, prompt)
    }
}

fn target_logprob(logprobs: &[Vec<f64>], prompt: &Sequence) -> f64 {
    let rows = &logprobs[prompt.prompt_len - 1..];
    let steps = rows.iter().zip(&prompt.target);
    steps.map(|(row, id)| row[*id as usize]).sum()
}

/// Numbers without a pattern that matters, exact in f32.
fn matrix(rows: usize, columns: usize, seed: f64, scale: f64, middle: f64) -> Matrix {
    let value = |i: usize| f64::from((middle + scale * (seed + 1.7 * i as f64).sin()) as f32);
    let row = |r: usize| (0..columns).map(|c| value(r * columns + c)).collect();
    (0..rows).map(row).collect()
}

impl TwoLayer {
    pub fn new() -> Self {
        let mut tensors = HashMap::new();
        let mut add = |name: String, matrix: Matrix| tensors.insert(name, matrix);
        add(
            "model.embed_tokens.weight".into(),
            matrix(VOCAB, D_MODEL, 0.3, 1.0, 0.0),
        );
        add(
            "lm_head.weight".into(),
            matrix(VOCAB, D_MODEL, 2.1, 1.5, 0.0),
        );
        add(
            "model.norm.weight".into(),
            matrix(1, D_MODEL, 4.0, 0.3, 1.0),
        );
        for l in 0..LAYERS {
            let name = |part: &str| format!("model.layers.{l}.{part}.weight");
            let seed = 10.0 * l as f64;
            let square = |seed| matrix(D_MODEL, D_MODEL, seed, 0.8, 0.0);
            add(name("self_attn.q_proj"), vec![vec![0.0; D_MODEL]; D_MODEL]);
            add(name("self_attn.k_proj"), vec![vec![0.0; D_MODEL]; D_MODEL]);
            add(name("self_attn.v_proj"), square(seed + 5.0));
            add(name("self_attn.o_proj"), square(seed + 6.0));
            add(
                name("mlp.gate_proj"),
                matrix(D_MLP, D_MODEL, seed + 7.0, 1.0, 0.0),
            );
            add(
                name("mlp.up_proj"),
                matrix(D_MLP, D_MODEL, seed + 8.57, 1.0, 0.0),
            );
            add(
                name("mlp.down_proj"),
                matrix(D_MODEL, D_MLP, seed + 9.4, 1.0, 0.0),
            );
            add(
                name("input_layernorm"),
                matrix(1, D_MODEL, seed + 1.0, 0.4, 1.0),
            );
            add(
                name("post_attention_layernorm"),
                matrix(1, D_MODEL, seed + 2.0, 0.4, 1.0),
            );
        }
        Self { tensors }
    }

    fn layer(&self, layer: usize, part: &str) -> &Matrix {
        &self.tensors[&format!("model.layers.{layer}.{part}.weight")]
    }

    /// The same function with w_in and w_out of some neurons times -1.
    pub fn flipped(&self, neurons: &[(usize, usize)]) -> Self {
        let mut flipped = self.clone();
        for &(layer, neuron) in neurons {
            let mut part = |part: &str| {
                let name = format!("model.layers.{layer}.mlp.{part}.weight");
                flipped.tensors.remove_entry(&name).unwrap()
            };
            let ((up, mut w_in), (down, mut w_out)) = (part("up_proj"), part("down_proj"));
            w_in[neuron].iter_mut().for_each(|w| *w = -*w);
            w_out.iter_mut().for_each(|row| row[neuron] = -row[neuron]);
            flipped.tensors.extend([(up, w_in), (down, w_out)]);
        }
        flipped
    }

    /// The same with one neuron that decides the answer, and that answer. Every embedding has the same first entry, and
    /// nothing else writes it: the neuron's gate reads it, so that it is always on, and the head's row of the answer is
    /// against it, so that the answer is none without the neuron, which writes that row.
    pub fn planted(&self, (layer, neuron): (usize, usize)) -> (Self, u32) {
        let mut planted = self.clone();
        let tensors = &mut planted.tensors;
        let embed = tensors.get_mut("model.embed_tokens.weight").unwrap();
        embed.iter_mut().for_each(|row| row[0] = 4.0);
        for l in 0..LAYERS {
            for part in ["self_attn.o_proj", "mlp.down_proj"] {
                let name = format!("model.layers.{l}.{part}.weight");
                tensors.get_mut(&name).unwrap()[0].fill(0.0);
            }
        }
        let gain = self.tensors["model.norm.weight"][0].clone();
        let head = tensors.get_mut("lm_head.weight").unwrap();
        let answer = (0..VOCAB)
            .min_by(|a, b| head[*a][0].total_cmp(&head[*b][0]))
            .unwrap();
        head[answer].iter_mut().for_each(|w| *w *= 2.0);
        let written: Vec<f64> = head[answer].iter().zip(&gain).map(|(w, g)| w / g).collect();
        let mut part = |part: &str| {
            let name = format!("model.layers.{layer}.mlp.{part}.weight");
            tensors.remove_entry(&name).unwrap()
        };
        let [mut gate, mut up, mut down] = ["gate_proj", "up_proj", "down_proj"].map(&mut part);
        gate.1[neuron] = vec![4.0, 0.0, 0.0, 0.0];
        up.1[neuron] = vec![4.0, 0.0, 0.0, 0.0];
        for (row, written) in down.1.iter_mut().zip(written) {
            row[neuron] = f64::from(written as f32);
        }
        tensors.extend([gate, up, down]);
        (planted, answer as u32)
    }

    /// The length of column `neuron` of `down_proj`.
    pub fn output_norm(&self, layer: usize, neuron: usize) -> f64 {
        let column = self
            .layer(layer, "mlp.down_proj")
            .iter()
            .map(|row| row[neuron]);
        column.map(|w| w * w).sum::<f64>().sqrt()
    }

    /// sign(w_gate·w_in), both times the gain of the norm before the MLP.
    pub fn sign(&self, layer: usize, neuron: usize) -> f64 {
        let gain = &self.layer(layer, "post_attention_layernorm")[0];
        let row = |part| {
            self.layer(layer, part)[neuron]
                .iter()
                .zip(gain)
                .map(|(w, g)| w * g)
        };
        let pairs = row("mlp.gate_proj").zip(row("mlp.up_proj"));
        pairs.map(|(gate, up)| gate * up).sum::<f64>().signum()
    }

    /// The files of the model in `dir`, opened.
    pub fn checkpoint(&self, dir: &Path) -> Checkpoint {
        let config = serde_json::json!({
            "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu",
            "hidden_size": D_MODEL, "intermediate_size": D_MLP, "num_hidden_layers": LAYERS,
            "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": D_MODEL,
            "vocab_size": VOCAB, "max_position_embeddings": 64, "rms_norm_eps": EPS,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
            "tie_word_embeddings": false, "attention_bias": false, "mlp_bias": false,
        });
        std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
        let tensors: HashMap<String, Tensor> = self.tensors.iter().map(tensor).collect();
        let weights = dir.join("model.safetensors");
        candle_core::safetensors::save(&tensors, &weights).unwrap();
        let files = ModelFiles::Folder {
            dir: dir.to_owned(),
            config: dir.join("config.json"),
            tokenizer: dir.join("tokenizer.json"),
            tokenizer_config: None,
            weights: vec![weights],
            index: None,
        };
        Checkpoint::open(&files).unwrap()
    }

    pub fn model(&self, dir: &Path) -> Model {
        Model::load(self.checkpoint(dir), common::options()).unwrap()
    }

    /// The same by one kind of operations.
    pub fn model_by(&self, dir: &Path, operations: Operations) -> Model {
        Model::load(self.checkpoint(dir), common::options_by(operations)).unwrap()
    }

    /// The embeddings of some tokens.
    pub fn embeddings(&self, ids: &[u32]) -> Matrix {
        let embed = &self.tensors["model.embed_tokens.weight"];
        ids.iter().map(|id| embed[*id as usize].clone()).collect()
    }

    /// Runs a prompt; `edit` says what becomes of every neuron's post.
    pub fn run(&self, ids: &[u32], edit: &dyn Fn(At) -> f64) -> Trace {
        self.run_from(self.embeddings(ids), edit)
    }

    /// The same from embeddings.
    pub fn run_from(&self, embeddings: Matrix, edit: &dyn Fn(At) -> f64) -> Trace {
        let mut residual = embeddings;
        let mut neurons = Vec::new();
        for layer in 0..LAYERS {
            let gain = &self.layer(layer, "input_layernorm")[0];
            let values = residual
                .iter()
                .map(|x| times(self.layer(layer, "self_attn.v_proj"), &norm(x, gain)));
            let values: Matrix = values.collect();
            for (position, x) in residual.iter_mut().enumerate() {
                let seen = &values[..=position];
                let mean = |d: usize| seen.iter().map(|v| v[d]).sum::<f64>() / seen.len() as f64;
                let mean: Vec<f64> = (0..D_MODEL).map(mean).collect();
                add(x, &times(self.layer(layer, "self_attn.o_proj"), &mean));
            }
            let gain = &self.layer(layer, "post_attention_layernorm")[0];
            for (position, x) in residual.iter_mut().enumerate() {
                let normed = norm(x, gain);
                let gates = times(self.layer(layer, "mlp.gate_proj"), &normed);
                let ups = times(self.layer(layer, "mlp.up_proj"), &normed);
                let at = |(neuron, (&gate, &up)): (usize, (&f64, &f64))| At {
                    layer,
                    position,
                    neuron,
                    gate,
                    up,
                    post: gate / (1.0 + (-gate).exp()) * up,
                };
                let here: Vec<At> = gates.iter().zip(&ups).enumerate().map(at).collect();
                let posts: Vec<f64> = here.iter().map(|at| edit(*at)).collect();
                add(x, &times(self.layer(layer, "mlp.down_proj"), &posts));
                neurons.extend(here);
            }
        }
        let logprobs = residual.iter().map(|x| self.logprobs(x, x)).collect();
        Trace {
            neurons,
            logprobs,
            residual,
        }
    }

    /// What the head makes of a residual, divided by what the final norm divides `other` by.
    fn logprobs(&self, residual: &[f64], other: &[f64]) -> Vec<f64> {
        let gain = &self.tensors["model.norm.weight"][0];
        let scaled: Vec<f64> = residual.iter().map(|x| x / scale(other)).collect();
        let normed: Vec<f64> = scaled.iter().zip(gain).map(|(x, g)| g * x).collect();
        log_softmax(times(&self.tensors["lm_head.weight"], &normed))
    }

    /// The log-probability of a prompt's target where the change of neurons goes to the final norm alone; `edit` says what
    /// becomes of every neuron's post in the plain run, and `is_frozen` whether the norm keeps its scale.
    pub fn direct_logprob(
        &self,
        prompt: &Sequence,
        edit: &dyn Fn(At) -> f64,
        is_frozen: bool,
    ) -> f64 {
        let plain = self.run(&prompt.ids, &|at| at.post);
        let mut changed = plain.residual.clone();
        for at in &plain.neurons {
            let down = self.layer(at.layer, "mlp.down_proj");
            let change = edit(*at) - at.post;
            let written: Vec<f64> = down.iter().map(|row| change * row[at.neuron]).collect();
            add(&mut changed[at.position], &written);
        }
        let rows = changed.iter().zip(&plain.residual);
        let logprobs = rows.map(|(x, plain)| self.logprobs(x, if is_frozen { plain } else { x }));
        target_logprob(&logprobs.collect::<Vec<_>>(), prompt)
    }
}

fn tensor((name, matrix): (&String, &Matrix)) -> (String, Tensor) {
    let values: Vec<f32> = matrix.concat().into_iter().map(|v| v as f32).collect();
    let shape = match matrix.as_slice() {
        [gain] => vec![gain.len()],
        rows => vec![rows.len(), rows[0].len()],
    };
    (
        name.clone(),
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap(),
    )
}

fn times(matrix: &Matrix, x: &[f64]) -> Vec<f64> {
    let dot = |row: &Vec<f64>| row.iter().zip(x).map(|(w, x)| w * x).sum();
    matrix.iter().map(dot).collect()
}

fn add(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

/// RMSNorm.
fn norm(x: &[f64], gain: &[f64]) -> Vec<f64> {
    let scale = scale(x);
    x.iter().zip(gain).map(|(x, g)| g * x / scale).collect()
}

/// What it divides by.
fn scale(x: &[f64]) -> f64 {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    (mean + EPS).sqrt()
}

fn log_softmax(logits: Vec<f64>) -> Vec<f64> {
    let log_z = logits.iter().map(|l| l.exp()).sum::<f64>().ln();
    logits.into_iter().map(|l| l - log_z).collect()
}
