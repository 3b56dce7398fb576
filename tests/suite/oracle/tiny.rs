//! The tiny checkpoints of every family that candle has, token ids to log-probabilities. Where candle
//! computes another function than transformers, a comment names the line (candle_transformers 0.11.1)
//! and the inputs are changed so that both are the same, or the prompts are cut to where they are.

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{
    gemma, gemma2, gemma3, llama, mistral, olmo, olmo2, phi3, qwen2, qwen3,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{assert_close, input};
use crate::common::goldens;
use crate::golden::{Golden, TINY};

/// The window of every tiny checkpoint that has one.
const WINDOW: usize = 8;
const NO_LIMIT: usize = usize::MAX;

/// A tiny checkpoint in candle's hands.
struct Tiny {
    name: &'static str,
    /// Tokens up to which candle's model is the same function.
    longest: usize,
    /// Logits `[1, 1, vocab]` at the last of the ids `[1, tokens]`.
    logits: fn(Files, &Tensor) -> Result<Tensor>,
}

const fn tiny(
    name: &'static str,
    longest: usize,
    logits: fn(Files, &Tensor) -> Result<Tensor>,
) -> Tiny {
    Tiny {
        name,
        longest,
        logits,
    }
}

const CHECKPOINTS: &[Tiny] = &[
    tiny("tiny-llama", NO_LIMIT, llama),
    tiny("tiny-llama3", NO_LIMIT, llama),
    tiny("tiny-mistral", NO_LIMIT, mistral),
    tiny("tiny-qwen2", NO_LIMIT, qwen2),
    tiny("tiny-qwen3", NO_LIMIT, |files, ids| {
        qwen3::ModelForCausalLM::new(&files.config(), files.builder())?.forward(ids, 0)
    }),
    tiny("tiny-gemma", NO_LIMIT, gemma),
    // gemma2.rs:436 lays one mask on all layers: none is global.
    tiny("tiny-gemma2", WINDOW, gemma2),
    tiny("tiny-gemma2-scalar", WINDOW, gemma2),
    // gemma3.rs:13 has no rope scaling: nothing to compare on tiny-gemma3-linear.
    tiny("tiny-gemma3", NO_LIMIT, gemma3),
    tiny("tiny-olmo", NO_LIMIT, |files, ids| {
        olmo::Model::new(&files.config(), files.builder())?.forward(ids, 0)
    }),
    tiny("tiny-olmo2", NO_LIMIT, |files, ids| {
        olmo2::Model::new(&files.config(), files.builder())?.forward(ids, 0)
    }),
    // phi3.rs:392 has no window.
    tiny("tiny-phi3", WINDOW, |files, ids| {
        phi3::Model::new(&files.config(), files.builder())?.forward(ids, 0)
    }),
    tiny("tiny-phi3-longrope", NO_LIMIT, phi3_longrope),
];

/// What candle reads of a tiny checkpoint, with what its models need changed to be the same function.
struct Files {
    config: Value,
    tensors: HashMap<String, Tensor>,
}

impl Files {
    /// The config is the older dialect, the one that candle's structs know.
    fn read(name: &str) -> Self {
        let folder = goldens().join(name);
        let config = std::fs::read(folder.join("config.old.json")).unwrap();
        let weights = folder.join("model.safetensors");
        Self {
            config: serde_json::from_slice(&config).unwrap(),
            tensors: candle_core::safetensors::load(weights, &Device::Cpu).unwrap(),
        }
    }

    fn config<C: DeserializeOwned>(&self) -> C {
        serde_json::from_value(self.config.clone()).unwrap()
    }

    fn builder(&self) -> VarBuilder<'static> {
        VarBuilder::from_tensors(self.tensors.clone(), DType::F32, &Device::Cpu)
    }

    fn number(&self, key: &str) -> f64 {
        self.config[key].as_f64().unwrap()
    }

    fn set(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    /// With every tensor changed whose name contains `part`.
    fn change(mut self, part: &str, change: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        for (_, tensor) in self.tensors.iter_mut().filter(|t| t.0.contains(part)) {
            *tensor = change(tensor)?;
        }
        Ok(self)
    }

    /// The same model with a wider residual stream: the new dimensions stay 0, and the norms' gains
    /// and epsilon make up for the longer mean.
    fn widened(self, width: usize) -> Result<Self> {
        let d_model = self.number("hidden_size") as usize;
        let ratio = d_model as f64 / width as f64;
        let epsilon = self.number("rms_norm_eps") * ratio;
        let files = self.change("", |tensor| {
            let mut wide = tensor.clone();
            for (dim, _) in tensor.dims().iter().enumerate().filter(|d| *d.1 == d_model) {
                wide = wide.pad_with_zeros(dim, 0, width - d_model)?;
            }
            if tensor.rank() == 1 {
                wide = (wide * ratio.sqrt())?;
            }
            Ok(wide)
        })?;
        Ok(files
            .set("hidden_size", json!(width))
            .set("rms_norm_eps", json!(epsilon)))
    }
}

// llama.rs:379 takes hidden_size / heads for the head's width, whatever head_dim says.
fn llama(files: Files, ids: &Tensor) -> Result<Tensor> {
    let width = files.number("num_attention_heads") * files.number("head_dim");
    let files = files.widened(width as usize)?;
    let config = files.config::<llama::LlamaConfig>().into_config(false);
    let mut cache = llama::Cache::new(false, DType::F32, &config, &Device::Cpu)?;
    llama::Llama::load(files.builder(), &config)?.forward(ids, 0, &mut cache)
}

// mistral.rs:406 lets a window of w see w + 1 keys.
fn mistral(files: Files, ids: &Tensor) -> Result<Tensor> {
    let files = files.set("sliding_window", json!(WINDOW - 1));
    mistral::Model::new(&files.config(), files.builder())?.forward(ids, 0)
}

// qwen2.rs:307 lays the window on every layer, whatever use_sliding_window and max_window_layers say.
fn qwen2(files: Files, ids: &Tensor) -> Result<Tensor> {
    let everything = files.config["max_position_embeddings"].clone();
    let files = files.set("sliding_window", everything);
    qwen2::ModelForCausalLM::new(&files.config(), files.builder())?.forward(ids, 0)
}

// gemma.rs:37 takes "gelu", as the releases' configs have it, for the exact one.
fn gemma(files: Files, ids: &Tensor) -> Result<Tensor> {
    let files = files.set("hidden_act", json!("gelu_pytorch_tanh"));
    gemma::Model::new(false, &files.config(), files.builder())?.forward(ids, 0)
}

// gemma2.rs:240 scales by head_dim, whatever query_pre_attn_scalar says.
fn gemma2(files: Files, ids: &Tensor) -> Result<Tensor> {
    let scale = (files.number("head_dim") / files.number("query_pre_attn_scalar")).sqrt();
    let files = files.change("q_proj", |weights| weights * scale)?;
    gemma2::Model::new(false, &files.config(), files.builder())?.forward(ids, 0)
}

// Token by token: gemma3.rs:247 fails on several where there is more than one key-value head, and
// the mask of line 403 would let w + 1 keys through; the cache keeps w.
fn gemma3(files: Files, ids: &Tensor) -> Result<Tensor> {
    let mut model = gemma3::Model::new(false, &files.config(), files.builder())?;
    let last = ids.dim(1)? - 1;
    for position in 0..last {
        model.forward(&ids.narrow(1, position, 1)?, position)?;
    }
    model.forward(&ids.narrow(1, last, 1)?, last)
}

// phi3.rs:100 and 119 multiply by the factors that should divide, and the rotation lacks its amplitude.
fn phi3_longrope(mut files: Files, ids: &Tensor) -> Result<Tensor> {
    for key in ["short_factor", "long_factor"] {
        for factor in files.config["rope_scaling"][key].as_array_mut().unwrap() {
            *factor = json!(1.0 / factor.as_f64().unwrap());
        }
    }
    let trained = files.number("original_max_position_embeddings");
    let stretch = files.number("max_position_embeddings") / trained;
    let amplitude = (1.0 + stretch.ln() / trained.ln()).sqrt();
    let config: phi3::Config = files.config();
    let gains = rotated_gains(&config, amplitude as f32)?;
    let files = files.change("qkv_proj", |weights| weights.broadcast_mul(&gains))?;
    phi3::Model::new(&config, files.builder())?.forward(ids, 0)
}

/// `amplitude` for the rows of qkv_proj that are rotated, 1 for the others, `[rows, 1]`.
fn rotated_gains(config: &phi3::Config, amplitude: f32) -> Result<Tensor> {
    let width = config.head_dim();
    let rotated = (width as f64 * config.partial_rotary_factor.unwrap()) as usize;
    let values = config.num_key_value_heads * width;
    let queries_and_keys = config.num_attention_heads * width + values;
    let gains = (0..queries_and_keys + values).map(|row| {
        let turns = row < queries_and_keys && row % width < rotated;
        if turns { amplitude } else { 1.0 }
    });
    Tensor::from_iter(gains, &Device::Cpu)?.unsqueeze(1)
}

#[test]
fn every_family_agrees_on_its_tiny_checkpoint() {
    for tiny in CHECKPOINTS {
        for mut ids in Golden::read(tiny.name).prompts() {
            ids.truncate(tiny.longest);
            let theirs = (tiny.logits)(Files::read(tiny.name), &input(&ids)).unwrap();
            assert_close(tiny.name, &ids, &theirs, TINY.logprob);
        }
    }
}
