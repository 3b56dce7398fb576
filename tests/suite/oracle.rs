//! candle_transformers' own models on the same weights: a second opinion, written by others in the
//! same library, that reads the files by itself.

mod tiny;

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;

use candle_core::quantized::gguf_file::Content;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{gemma3, llama, quantized_llama};
use gatelens::hooks::Condition;
use gatelens::model::{Checkpoint, LayerTensor, ModelTensor};

use super::common::{batch, checkpoint, max_difference, model, model_path, run};

/// Of log-probabilities in f32; candle sums attention in another order.
const TOLERANCE: f32 = 1e-3;

const SMOL_PROMPT: [u32; 5] = [504, 3575, 282, 4649, 314];
const GEMMA_PROMPT: [u32; 6] = [2, 818, 5279, 529, 7001, 563];

fn log_softmax(logits: &Tensor) -> Vec<f32> {
    let logits = logits.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
    let logprobs = candle_nn::ops::log_softmax(&logits, 0).unwrap();
    logprobs.to_dtype(DType::F32).unwrap().to_vec1().unwrap()
}

fn ours(name: &str, ids: &[u32]) -> Vec<f32> {
    let (logprobs, _) = run(
        &model(name),
        &batch(&[ids.to_vec()]),
        &[Condition::Clean],
        &mut [],
    );
    logprobs.at(0, ids.len() - 1).to_vec()
}

fn assert_close(name: &str, ids: &[u32], theirs: &Tensor, tolerance: f32) {
    let difference = max_difference(&ours(name, ids), &log_softmax(theirs));
    let tokens = ids.len();
    println!("{name} against candle_transformers, {tokens} tokens: {difference:.1e}");
    assert!(difference <= tolerance, "{name}: {difference:e}");
}

fn input(ids: &[u32]) -> Tensor {
    Tensor::new(ids, &Device::Cpu)
        .unwrap()
        .unsqueeze(0)
        .unwrap()
}

/// The file of an alias, with products in f32 instead of candle's quantized activations.
fn gguf(alias: &str) -> (Content, BufReader<File>) {
    // SAFETY: every reader and writer of the environment in this process is Rust's std, which locks it.
    unsafe { std::env::set_var("CANDLE_DEQUANTIZE_ALL", "1") };
    let mut file = BufReader::new(File::open(model_path(alias)).unwrap());
    (Content::read(&mut file).unwrap(), file)
}

#[test]
fn quantized_llama_agrees_on_smollm2() {
    let (content, mut file) = gguf("smollm2-135m");
    let mut theirs =
        quantized_llama::ModelWeights::from_gguf(content, &mut file, &Device::Cpu).unwrap();
    let logits = theirs.forward(&input(&SMOL_PROMPT), 0).unwrap();
    assert_close("smollm2-135m", &SMOL_PROMPT, &logits, TOLERANCE);
}

/// The checkpoint's tensors under Hugging Face's names; candle adds one to Gemma's norms by itself.
fn hugging_face_tensors(
    checkpoint: &Checkpoint,
    layer: &[(&str, LayerTensor)],
    norm_offset: f64,
) -> HashMap<String, Tensor> {
    let norm = |tensor: Tensor| {
        if tensor.rank() == 1 {
            (tensor - norm_offset).unwrap()
        } else {
            tensor
        }
    };
    let outside = [
        ("model.embed_tokens.weight", ModelTensor::Embedding),
        ("model.norm.weight", ModelTensor::FinalNorm),
    ];
    let outside = outside.map(|(name, tensor)| {
        (
            name.to_string(),
            norm(checkpoint.model_tensor(tensor).unwrap()),
        )
    });
    let layers = (0..checkpoint.config().n_layers()).flat_map(|l| {
        layer.iter().map(move |(name, tensor)| {
            let weights = checkpoint.layer_tensor(l, *tensor).unwrap();
            (format!("model.layers.{l}.{name}.weight"), norm(weights))
        })
    });
    outside.into_iter().chain(layers).collect()
}

const PROJECTIONS: [(&str, LayerTensor); 8] = [
    ("input_layernorm", LayerTensor::AttentionNorm),
    ("self_attn.q_proj", LayerTensor::QProj),
    ("self_attn.k_proj", LayerTensor::KProj),
    ("self_attn.v_proj", LayerTensor::VProj),
    ("self_attn.o_proj", LayerTensor::OProj),
    ("mlp.gate_proj", LayerTensor::GateProj),
    ("mlp.up_proj", LayerTensor::UpProj),
    ("mlp.down_proj", LayerTensor::DownProj),
];

#[test]
fn llama_agrees_on_smollm2s_weights() {
    let checkpoint = checkpoint("smollm2-135m");
    let c = checkpoint.config();
    let norm = ("post_attention_layernorm", LayerTensor::MlpNorm);
    let names: Vec<_> = PROJECTIONS.into_iter().chain([norm]).collect();
    let config = llama::Config {
        hidden_size: c.d_model,
        intermediate_size: c.d_mlp,
        vocab_size: c.vocab_size,
        num_hidden_layers: c.n_layers(),
        num_attention_heads: c.n_heads,
        num_key_value_heads: c.n_kv_heads,
        use_flash_attn: false,
        rms_norm_eps: 1e-5,
        rope_theta: 100_000.0,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling: None,
        max_position_embeddings: 8192,
        tie_word_embeddings: true,
    };
    let tensors = hugging_face_tensors(&checkpoint, &names, 0.0);
    let builder = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let theirs = llama::Llama::load(builder, &config).unwrap();
    let mut cache = llama::Cache::new(false, DType::F32, &config, &Device::Cpu).unwrap();
    let logits = theirs.forward(&input(&SMOL_PROMPT), 0, &mut cache).unwrap();
    assert_close("smollm2-135m", &SMOL_PROMPT, &logits, TOLERANCE);
}

// Not candle's quantized_gemma3: in candle 0.11 its MLP has SiLU for Gemma's GELU (13.8 nats off here).
#[test]
fn gemma3_agrees_on_gemma3s_weights() {
    let checkpoint = checkpoint("gemma3-270m");
    let c = checkpoint.config();
    let norms = [
        ("self_attn.q_norm", LayerTensor::QNorm),
        ("self_attn.k_norm", LayerTensor::KNorm),
        ("post_attention_layernorm", LayerTensor::PostAttentionNorm),
        ("pre_feedforward_layernorm", LayerTensor::MlpNorm),
        ("post_feedforward_layernorm", LayerTensor::PostMlpNorm),
    ];
    let names: Vec<_> = PROJECTIONS.into_iter().chain(norms).collect();
    let config = gemma3::Config {
        attention_bias: false,
        head_dim: c.head_dim,
        hidden_activation: candle_nn::Activation::GeluPytorchTanh,
        hidden_size: c.d_model,
        intermediate_size: c.d_mlp,
        num_attention_heads: c.n_heads,
        num_hidden_layers: c.n_layers(),
        num_key_value_heads: c.n_kv_heads,
        rms_norm_eps: 1e-6,
        rope_theta: 1e6,
        rope_local_base_freq: 1e4,
        vocab_size: c.vocab_size,
        final_logit_softcapping: None,
        attn_logit_softcapping: None,
        query_pre_attn_scalar: 256,
        sliding_window: 512,
        sliding_window_pattern: 6,
        max_position_embeddings: 32_768,
    };
    let tensors = hugging_face_tensors(&checkpoint, &names, 1.0);
    let builder = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let mut theirs = gemma3::Model::new(false, &config, builder).unwrap();
    let logits = theirs.forward(&input(&GEMMA_PROMPT), 0).unwrap();
    assert_close("gemma3-270m", &GEMMA_PROMPT, &logits, TOLERANCE);
}
