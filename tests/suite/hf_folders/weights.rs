//! The weight files: headers, types, tensors that are not needed, the head of a tied model, weights that are not
//! finite, files that change.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use arrow_array::{Array, Float64Array, StringArray};
use candle_core::{DType, Device, Tensor};
use gatelens::model::{LoadOptions, Model, ModelTensor};

use super::Folder;
use crate::cli::{columns, fail, succeed};

fn edit_tensors(folder: &Folder, edit: impl FnOnce(&mut HashMap<String, Tensor>)) {
    let path = folder.file("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    edit(&mut tensors);
    candle_core::safetensors::save(&tensors, path).unwrap();
}

fn ones(shape: &[usize], dtype: DType) -> Tensor {
    Tensor::ones(shape, dtype, &Device::Cpu).unwrap()
}

/// Clean log-probabilities of transformers 5.24 in f32, which takes the stored head; it differs from the embedding in
/// rows 100 to 139 alone.
#[test]
fn a_stored_head_counts_wherever_it_differs() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/tied-head");
    let case = |name: &str| case.join(name).to_str().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("O");
    let (model, prompts, neurons) = (case("model"), case("prompts.jsonl"), case("n.txt"));
    succeed(&[
        "ablate",
        "--model",
        &model,
        "--prompts",
        &prompts,
        "--neurons",
        &neurons,
        "--subset",
        "all",
        "--draws",
        "2",
        "--out",
        out.to_str().unwrap(),
    ]);
    let (_, table) = columns(&out.join("outcomes.parquet"));
    let column = |name: &str| table.column_by_name(name).unwrap().as_any();
    let arms = column("arm").downcast_ref::<StringArray>().unwrap();
    let logprobs = column("target_logprob")
        .downcast_ref::<Float64Array>()
        .unwrap();
    let clean = (0..table.num_rows()).filter(|row| arms.value(*row) == "clean");
    let clean: Vec<f64> = clean.map(|row| logprobs.value(row)).collect();
    let expected = [-43.992457, -47.686761, -60.534456, -18.756329];
    assert_eq!(clean.len(), expected.len());
    for (found, expected) in clean.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-4, "{clean:?}");
    }
    let inspected = succeed(&["inspect", &model]);
    assert!(inspected.contains("head of its own"), "{inspected}");
}

#[test]
fn a_tied_pair_stored_under_the_name_of_the_head_is_read() {
    let folder = Folder::of("tiny-gemma");
    let before = folder
        .open()
        .unwrap()
        .model_tensor(ModelTensor::Head)
        .unwrap();
    edit_tensors(&folder, |tensors| {
        let embedding = tensors.remove("model.embed_tokens.weight").unwrap();
        tensors.insert("lm_head.weight".to_string(), embedding);
    });
    let after = folder
        .open()
        .unwrap()
        .model_tensor(ModelTensor::Embedding)
        .unwrap();
    assert_eq!(
        before.to_vec2::<f32>().unwrap(),
        after.to_vec2::<f32>().unwrap()
    );
}

#[test]
fn unused_tensors_of_any_type_are_ignored() {
    let folder = Folder::of("tiny-llama");
    edit_tensors(&folder, |tensors| {
        for l in 0..4 {
            let name = format!("model.layers.{l}.self_attn.rotary_emb.inv_freq");
            tensors.insert(name, ones(&[4], DType::F64));
        }
    });
    let config = folder.config();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    // A type that nobody knows yet.
    folder.edit_header(|header| header.replace("F64", "X64"));
    assert!(folder.open().is_ok());
}

#[test]
fn tensors_without_a_place_are_refused_or_warned_of() {
    for (name, hint) in [
        ("model.layers.0.mlp.down_proj.bias", ""),
        ("model.layers.0.self_attn.q_norm.weight", ""),
        ("model.layers.0.self_attn.q_proj.lora_A.weight", "merge it"),
        ("model.layers.0.mlp.gate_proj.weight_scale", "quantized"),
        ("model.layers.0.mlp.gate_proj.qweight", "quantized"),
        ("lm_head.bias", ""),
    ] {
        let folder = Folder::of("tiny-llama");
        edit_tensors(&folder, |tensors| {
            tensors.insert(name.to_string(), ones(&[4], DType::F32));
        });
        folder.fails(&[name, "llama", hint]);
    }
    let folder = Folder::of("tiny-llama");
    edit_tensors(&folder, |tensors| {
        tensors.insert("score.weight".to_string(), ones(&[2, 4], DType::F32));
    });
    assert!(folder.config().warnings[0].contains("score.weight"));
}

#[test]
fn a_needed_tensor_of_another_type_is_named_with_what_is_read() {
    let name = "model.layers.1.mlp.up_proj.weight";
    let folder = Folder::of("tiny-llama");
    edit_tensors(&folder, |tensors| {
        let wide = tensors[name].to_dtype(DType::F64).unwrap();
        tensors.insert(name.to_string(), wide);
    });
    folder.fails(&["model.safetensors", name, "F64", "F32, F16 and BF16"]);
}

#[test]
fn damaged_headers_are_errors() {
    let norm = r#""model.norm.weight":{"#;
    type Edit = fn(String) -> String;
    let edits: [(&str, Edit, &str); 7] = [
        (
            "a tensor twice",
            |h| {
                let at = h.find(r#""model.norm.weight":{"#).unwrap();
                let end = at + h[at..].find('}').unwrap() + 1;
                let entry = h[at..end].to_string();
                h.replacen(&entry, &format!("{entry},{entry}"), 1)
            },
            "stands twice",
        ),
        (
            "a shape whose bytes wrap",
            |h| h.replacen("\"shape\":[96,", "\"shape\":[4611686018427387904,16,", 1),
            "shape",
        ),
        (
            "a negative size",
            |h| h.replacen("\"shape\":[96,", "\"shape\":[-96,", 1),
            "header",
        ),
        (
            "offsets that overlap",
            |h| {
                let at = h.rfind("\"data_offsets\":[").unwrap() + 16;
                let end = at + h[at..].find(',').unwrap();
                format!("{}0{}", &h[..at], &h[end..])
            },
            "begins at byte",
        ),
        ("no JSON", |h| h.replacen('{', "[", 1), "header"),
        (
            "nested without end",
            |_| "{\"a\":".repeat(100_000),
            "header",
        ),
        (
            "another shape",
            |h| h.replacen("\"shape\":[96,", "\"shape\":[97,", 1),
            "shape",
        ),
    ];
    for (what, edit, named) in edits {
        let folder = Folder::of("tiny-llama");
        folder.edit_header(|header| {
            assert!(
                header.contains(norm) && header.contains("\"shape\":[96,"),
                "{header}"
            );
            edit(header)
        });
        let error = folder
            .open()
            .err()
            .unwrap_or_else(|| panic!("{what} opens"));
        assert!(
            error.contains("model.safetensors") && error.contains(named),
            "{what}: {error}"
        );
    }
    for bytes in [
        &b""[..],
        b"1234567",
        b"\xff\xff\xff\xff\xff\xff\xff\xff{}",
        b"\x02\0\0\0\0\0\0\0{}more",
    ] {
        let folder = Folder::of("tiny-llama");
        fs::write(folder.file("model.safetensors"), bytes).unwrap();
        folder.fails(&["model.safetensors"]);
    }
}

/// Puts a value into a tensor's first row, third column.
fn with_value(name: &str, value: f32) -> Folder {
    let folder = Folder::of("tiny-llama");
    edit_tensors(&folder, |tensors| {
        let tensor = &tensors[name];
        let mut values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        values[2] = value;
        let changed = Tensor::from_vec(values, tensor.shape(), &Device::Cpu).unwrap();
        tensors.insert(name.to_string(), changed);
    });
    folder
}

#[test]
fn weights_that_are_not_finite_are_named_in_every_command() {
    for name in [
        "model.layers.1.self_attn.k_proj.weight",
        "model.layers.2.mlp.gate_proj.weight",
        "model.layers.0.input_layernorm.weight",
        "model.norm.weight",
        "lm_head.weight",
    ] {
        for value in [f32::NAN, f32::NEG_INFINITY] {
            let folder = with_value(name, value);
            let model = folder.path().to_str().unwrap();
            let check = fail(&["inspect", model, "--check"]);
            let run = fail(&[
                "generate",
                "--model",
                model,
                "--prompt",
                "The",
                "--max-tokens",
                "2",
            ]);
            let classes = fail(&["classify", "--model", model]);
            for error in [check, run, classes] {
                assert!(error.contains(name) && error.contains("column"), "{error}");
            }
        }
    }
    let folder = with_value("model.layers.2.mlp.gate_proj.weight", f32::NAN);
    let error = fail(&["classify", "--model", folder.path().to_str().unwrap()]);
    assert!(
        error.contains("gate_proj") && error.contains("neuron 2.0"),
        "{error}"
    );
    let folder = Folder::of("tiny-llama");
    let whole = succeed(&["inspect", folder.path().to_str().unwrap(), "--check"]);
    assert!(whole.contains("tensors are finite"), "{whole}");
}

#[test]
fn a_file_that_changes_is_noticed_at_the_next_reading_and_at_the_end() {
    for name in ["model.safetensors", "config.json", "tokenizer.json"] {
        let folder = Folder::of("tiny-llama");
        let model = Model::load(folder.open().unwrap(), LoadOptions::default()).unwrap();
        model.check_unchanged().unwrap();
        let bytes = fs::read(folder.file(name)).unwrap();
        fs::write(folder.file("new"), bytes).unwrap();
        fs::rename(folder.file("new"), folder.file(name)).unwrap();
        let error = model.check_unchanged().unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("changed"), "{error}");
    }
    let folder = Folder::of("tiny-llama");
    let checkpoint = folder.open().unwrap();
    let path = folder.file("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    bytes.push(0);
    fs::write(&path, bytes).unwrap();
    let error = checkpoint
        .model_tensor(ModelTensor::FinalNorm)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("model.safetensors") && error.contains("changed"),
        "{error}"
    );
}
