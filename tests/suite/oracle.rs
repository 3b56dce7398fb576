//! candle_transformers' own models on the same weights: a second opinion, written by others in the
//! same library, that reads the files by itself.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;

use candle_core::quantized::gguf_file::Content;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{gemma3, llama, quantized_gemma3, quantized_llama};
use gatelens::hooks::Condition;
use gatelens::model::{LayerTensor, ModelTensor};

use super::common::{batch, checkpoint, goldens, max_difference, model, model_path, run};

/// Log-probabilities of the real models in f32; candle sums attention in another order.
const REAL: f32 = 1e-3;
/// Log-probabilities of the tiny models.
const TINY: f32 = 2e-4;

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
    println!("{name} against candle_transformers: {difference:.1e}");
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
    assert_close("smollm2-135m", &SMOL_PROMPT, &logits, REAL);
}

#[test]
fn quantized_gemma3_agrees_on_gemma3() {
    let (content, mut file) = gguf("gemma3-270m");
    let mut theirs =
        quantized_gemma3::ModelWeights::from_gguf(content, &mut file, &Device::Cpu).unwrap();
    let logits = theirs.forward(&input(&GEMMA_PROMPT), 0).unwrap();
    assert_close("gemma3-270m", &GEMMA_PROMPT, &logits, REAL);
}

#[test]
fn llama_agrees_on_smollm2s_weights() {
    let checkpoint = checkpoint("smollm2-135m");
    let c = checkpoint.config();
    let mut tensors: HashMap<String, Tensor> = HashMap::from([
        (
            "model.embed_tokens.weight".into(),
            checkpoint.model_tensor(ModelTensor::Embedding).unwrap(),
        ),
        (
            "model.norm.weight".into(),
            checkpoint.model_tensor(ModelTensor::FinalNorm).unwrap(),
        ),
    ]);
    for l in 0..c.n_layers() {
        for (name, tensor) in [
            ("input_layernorm", LayerTensor::AttentionNorm),
            ("self_attn.q_proj", LayerTensor::QProj),
            ("self_attn.k_proj", LayerTensor::KProj),
            ("self_attn.v_proj", LayerTensor::VProj),
            ("self_attn.o_proj", LayerTensor::OProj),
            ("post_attention_layernorm", LayerTensor::MlpNorm),
            ("mlp.gate_proj", LayerTensor::GateProj),
            ("mlp.up_proj", LayerTensor::UpProj),
            ("mlp.down_proj", LayerTensor::DownProj),
        ] {
            let weights = checkpoint.layer_tensor(l, tensor).unwrap();
            tensors.insert(format!("model.layers.{l}.{name}.weight"), weights);
        }
    }
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
    let builder = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let theirs = llama::Llama::load(builder, &config).unwrap();
    let mut cache = llama::Cache::new(false, DType::F32, &config, &Device::Cpu).unwrap();
    let logits = theirs.forward(&input(&SMOL_PROMPT), 0, &mut cache).unwrap();
    assert_close("smollm2-135m", &SMOL_PROMPT, &logits, REAL);
}

#[test]
fn gemma3_agrees_on_the_tiny_checkpoint() {
    let json = std::fs::read_to_string(goldens().join("tiny-gemma3/config.old.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let number = |key: &str| json[key].as_u64().unwrap_or_else(|| panic!("{key}")) as usize;
    let config = gemma3::Config {
        attention_bias: false,
        head_dim: number("head_dim"),
        hidden_activation: candle_nn::Activation::GeluPytorchTanh,
        hidden_size: number("hidden_size"),
        intermediate_size: number("intermediate_size"),
        num_attention_heads: number("num_attention_heads"),
        num_hidden_layers: number("num_hidden_layers"),
        num_key_value_heads: number("num_key_value_heads"),
        rms_norm_eps: json["rms_norm_eps"].as_f64().unwrap(),
        rope_theta: json["rope_theta"].as_f64().unwrap(),
        rope_local_base_freq: json["rope_local_base_freq"].as_f64().unwrap(),
        vocab_size: number("vocab_size"),
        final_logit_softcapping: None,
        attn_logit_softcapping: None,
        query_pre_attn_scalar: number("query_pre_attn_scalar"),
        sliding_window: number("sliding_window"),
        sliding_window_pattern: number("sliding_window_pattern"),
        max_position_embeddings: number("max_position_embeddings"),
    };
    let file = goldens().join("tiny-gemma3/model.safetensors");
    // SAFETY: nobody rewrites the golden file while the test runs.
    let builder =
        unsafe { VarBuilder::from_mmaped_safetensors(&[file], DType::F32, &Device::Cpu).unwrap() };
    let mut theirs = gemma3::Model::new(false, &config, builder).unwrap();
    // Within the window: candle's masks let a query see one key more than transformers do.
    let ids = [5u32, 99, 31, 200, 17, 64, 3];
    let logits = theirs.forward(&input(&ids), 0).unwrap();
    assert_close("tiny-gemma3", &ids, &logits, TINY);
}
