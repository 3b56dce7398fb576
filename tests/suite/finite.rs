//! Numbers that are not finite are an error that names where they came up, in every command that runs a
//! model (`verify` and `attributes`, whose texts a tiny tokenizer cannot hold, run the same passes).

use std::fs;
use std::path::Path;

use super::cli::{fail, file, succeed};
use super::common::goldens;

const PROMPTS: &str = r#"{"id": "0", "prompt": "The capital of France is", "subject": "France", "target": "Paris"}
{"id": "1", "prompt": "Marie Curie was born in", "subject": "Marie Curie", "target": "Warsaw"}
"#;

const TEXT: &str = "One two three four five six.\n---\nThe quick brown fox jumps over it.\n";

/// tiny-llama in `to`, with all weights of a row of layer 1's gate at `value`.
fn damaged(to: &Path, row: usize, value: f32) -> String {
    let from = goldens().join("tiny-llama");
    for name in ["config.json", "tokenizer.json"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let mut bytes = fs::read(from.join("model.safetensors")).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let json: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let gate = &json["model.layers.1.mlp.gate_proj.weight"];
    let width = gate["shape"][1].as_u64().unwrap() as usize;
    let first = 8 + header + gate["data_offsets"][0].as_u64().unwrap() as usize + 4 * row * width;
    for weight in bytes[first..first + 4 * width].chunks_exact_mut(4) {
        weight.copy_from_slice(&value.to_le_bytes());
    }
    fs::write(to.join("model.safetensors"), bytes).unwrap();
    to.to_str().unwrap().to_string()
}

/// Commands that run the model, without the model.
fn commands<'a>(prompts: &'a str, text: &'a str, neurons: &'a str) -> Vec<Vec<&'a str>> {
    vec![
        vec!["generate", "--prompt", "The capital", "--max-tokens", "5"],
        vec![
            "generate",
            "--prompt",
            "The capital",
            "--neurons",
            neurons,
            "--compare",
        ],
        vec!["neuron", "0.1", "--prompts", prompts],
        vec!["record", "--prompts", prompts, "--draws", "0"],
        vec!["record", "--text", text, "--context", "32", "--draws", "0"],
        vec![
            "ablate",
            "--prompts",
            prompts,
            "--neurons",
            neurons,
            "--subset",
            "all",
            "--draws",
            "2",
        ],
        vec![
            "ablate",
            "--text",
            text,
            "--context",
            "32",
            "--neurons",
            neurons,
            "--draws",
            "2",
        ],
        vec![
            "sweep",
            "--prompts",
            prompts,
            "--neurons",
            neurons,
            "--subset",
            "all",
            "--draws",
            "2",
        ],
        vec![
            "rank",
            "--prompts",
            prompts,
            "--neurons",
            neurons,
            "--same-prompts",
        ],
    ]
}

#[test]
fn an_overflow_names_layer_and_neuron_in_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let model = damaged(dir.path(), 5, 3e38);
    let (prompts, text) = (file(&dir, "p.jsonl", PROMPTS), file(&dir, "t.txt", TEXT));
    let neurons = file(&dir, "n.txt", "0.1\n0.2\n");
    for mut args in commands(&prompts, &text, &neurons) {
        args.extend(["--model", &model]);
        // By the operations of a device, too, where nobody looks before the last layer.
        for device in [&[][..], &["--device", "cpu:tensors"]] {
            let args = [&args[..], device].concat();
            let message = fail(&args);
            assert!(
                message.contains("finite") && message.contains("neuron 1.5"),
                "{args:?}: {message}"
            );
        }
    }
}

#[test]
fn half_precision_that_overflows_names_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let model = damaged(dir.path(), 5, 3e4);
    let args = [
        "generate",
        "--model",
        &model,
        "--prompt",
        "The capital",
        "--max-tokens",
        "3",
    ];
    succeed(&args);
    let message = fail(&[&args[..], &["--dtype", "f16"]].concat());
    assert!(
        message.contains("neuron 1.5") && message.contains("--dtype f32, or bf16"),
        "{message}"
    );
}

#[test]
fn an_edit_that_makes_the_residual_overflow_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let model = goldens().join("tiny-llama");
    let neurons = file(&dir, "two.txt", "0.1\n0.2\n");
    let args = [
        "generate",
        "--model",
        model.to_str().unwrap(),
        "--prompt",
        "The",
        "--neurons",
        &neurons,
    ];
    let message = fail(&[&args[..], &["--mode", "fixed=3e38"]].concat());
    assert!(
        message.contains("layer 0") && message.contains("edit `two`") && message.contains("--mode"),
        "{message}"
    );
}
