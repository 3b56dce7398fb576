//! Weights from every kind of file: precisions, shards, quantizations, parts of tensors.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use gatelens::hub::{ModelFiles, locate};
use gatelens::model::{Checkpoint, LayerTensor, ModelTensor};

use super::common::{checkpoint, goldens};

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn open(dir: &Path) -> Checkpoint {
    Checkpoint::open(&locate(dir.to_str().unwrap(), &()).unwrap().files).unwrap()
}

/// The tiny Llama in another precision, in two shards with an index.
fn sharded(dir: &Path, dtype: DType) {
    let tiny = goldens().join("tiny-llama");
    for name in ["config.json", "tokenizer.json"] {
        fs::copy(tiny.join(name), dir.join(name)).unwrap();
    }
    let tensors =
        candle_core::safetensors::load(tiny.join("model.safetensors"), &Device::Cpu).unwrap();
    let mut names: Vec<&String> = tensors.keys().collect();
    names.sort();
    let mut index = HashMap::new();
    for (shard, names) in names.chunks(names.len().div_ceil(2)).enumerate() {
        let file = format!("model-0000{}-of-00002.safetensors", shard + 1);
        let part: HashMap<&str, Tensor> = names
            .iter()
            .map(|name| (name.as_str(), tensors[*name].to_dtype(dtype).unwrap()))
            .collect();
        candle_core::safetensors::save(&part, dir.join(&file)).unwrap();
        index.extend(names.iter().map(|name| (name.to_string(), file.clone())));
    }
    let index = serde_json::json!({"metadata": {}, "weight_map": index});
    fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

#[test]
fn half_precisions_and_shards_are_widened_exactly() {
    let whole = checkpoint("tiny-llama");
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let dir = tempfile::tempdir().unwrap();
        sharded(dir.path(), dtype);
        let halved = open(dir.path());
        for l in 0..4 {
            for tensor in [
                LayerTensor::QProj,
                LayerTensor::GateProj,
                LayerTensor::DownProj,
                LayerTensor::MlpNorm,
            ] {
                let expected = whole
                    .layer_tensor(l, tensor)
                    .unwrap()
                    .to_dtype(dtype)
                    .unwrap();
                let expected = expected.to_dtype(DType::F32).unwrap();
                assert_eq!(
                    values(&halved.layer_tensor(l, tensor).unwrap()),
                    values(&expected),
                    "{dtype:?}"
                );
            }
        }
    }
}

#[test]
fn embedding_rows_are_rows_of_the_embedding() {
    for name in ["tiny-llama", "tiny-gemma3.gguf", "smollm2-135m"] {
        let checkpoint = checkpoint(name);
        let all = checkpoint.model_tensor(ModelTensor::Embedding).unwrap();
        let ids = [7u32, 0, 299, 7, 12];
        let rows = all
            .index_select(&Tensor::new(&ids, &Device::Cpu).unwrap(), 0)
            .unwrap();
        assert_eq!(
            values(&checkpoint.embedding_rows(&ids).unwrap()),
            values(&rows),
            "{name}"
        );
    }
}

/// A GGUF of one Llama layer of width 256 whose matrices are all of one quantization.
fn quantized_gguf(path: &Path, dtype: GgmlDType) -> HashMap<String, Tensor> {
    let (width, vocab) = (256usize, 256usize);
    let u32 = |v: usize| Value::U32(v as u32);
    let metadata = [
        ("general.architecture", Value::String("llama".into())),
        ("llama.block_count", u32(1)),
        ("llama.context_length", u32(64)),
        ("llama.embedding_length", u32(width)),
        ("llama.feed_forward_length", u32(width)),
        ("llama.attention.head_count", u32(4)),
        ("llama.attention.head_count_kv", u32(4)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("llama.rope.freq_base", Value::F32(10_000.0)),
    ];
    let matrices = [
        "attn_q",
        "attn_k",
        "attn_v",
        "attn_output",
        "ffn_gate",
        "ffn_up",
        "ffn_down",
    ];
    let matrices = matrices.map(|name| format!("blk.0.{name}.weight"));
    let norms = [
        "blk.0.attn_norm.weight",
        "blk.0.ffn_norm.weight",
        "output_norm.weight",
    ]
    .map(String::from);
    let random = |rows| Tensor::randn(0f32, 1.0, (rows, width), &Device::Cpu).unwrap();
    let mut tensors: Vec<(String, QTensor)> = Vec::new();
    for name in matrices
        .into_iter()
        .chain(["token_embd.weight".to_string()])
    {
        tensors.push((name, QTensor::quantize(&random(vocab), dtype).unwrap()));
    }
    for name in norms {
        let ones = Tensor::ones(width, DType::F32, &Device::Cpu).unwrap();
        tensors.push((name, QTensor::quantize(&ones, GgmlDType::F32).unwrap()));
    }
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(k, v)| (*k, v)).collect();
    let named: Vec<(&str, &QTensor)> = tensors.iter().map(|(n, t)| (n.as_str(), t)).collect();
    gguf_file::write(&mut fs::File::create(path).unwrap(), &metadata, &named).unwrap();
    tensors
        .into_iter()
        .map(|(n, t)| (n, t.dequantize(&Device::Cpu).unwrap()))
        .collect()
}

#[test]
fn every_quantization_that_candle_reads_is_read() {
    use GgmlDType::*;
    let dir = tempfile::tempdir().unwrap();
    for dtype in [
        F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2K, Q3K, Q4K, Q5K, Q6K,
    ] {
        let path = dir.path().join("model.gguf");
        let expected = quantized_gguf(&path, dtype);
        let checkpoint = Checkpoint::open(&ModelFiles::Gguf(vec![path])).unwrap();
        for (tensor, name) in [
            (LayerTensor::GateProj, "blk.0.ffn_gate.weight"),
            (LayerTensor::DownProj, "blk.0.ffn_down.weight"),
            (LayerTensor::VProj, "blk.0.attn_v.weight"),
        ] {
            let found = checkpoint.layer_tensor(0, tensor).unwrap();
            assert_eq!(values(&found), values(&expected[name]), "{dtype:?} {name}");
        }
        assert_eq!(checkpoint.stored_types()[0].0, format!("{dtype:?}"));
    }
}

#[test]
fn a_tensor_that_the_family_has_no_place_for_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    sharded(dir.path(), DType::F32);
    let path = dir.path().join("model-00002-of-00002.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let bias = Tensor::zeros(96, DType::F32, &Device::Cpu).unwrap();
    tensors.insert("model.layers.0.self_attn.q_proj.bias".to_string(), bias);
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let files = locate(dir.path().to_str().unwrap(), &()).unwrap().files;
    let error = Checkpoint::open(&files).err().unwrap().to_string();
    assert!(
        error.contains("q_proj.bias") && error.contains("llama"),
        "{error}"
    );
}

/// tiny-mistral with a configuration that says that its head is the embedding, and perhaps an equal one.
fn tied(dir: &Path, head: Option<&str>) -> Checkpoint {
    let tiny = goldens().join("tiny-mistral");
    let config = fs::read_to_string(tiny.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["tie_word_embeddings"] = true.into();
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    fs::copy(tiny.join("tokenizer.json"), dir.join("tokenizer.json")).unwrap();
    let weights = tiny.join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(weights, &Device::Cpu).unwrap();
    if let Some(name) = head {
        let head = tensors[name].clone();
        tensors.insert("lm_head.weight".to_string(), head);
    }
    candle_core::safetensors::save(&tensors, dir.join("model.safetensors")).unwrap();
    open(dir)
}

#[test]
fn a_tied_checkpoint_with_a_head_of_its_own_is_untied_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let other = tied(dir.path(), None);
    assert!(!other.config().tied_head);
    assert!(other.config().assumed[0].contains("another head"));
    let equal = tied(dir.path(), Some("model.embed_tokens.weight"));
    assert!(equal.config().tied_head && equal.config().assumed.is_empty());
}
