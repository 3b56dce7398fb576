use std::fs;

use super::*;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn message(files: &[(&str, &str)]) -> String {
    read(folder(files).path()).unwrap_err().to_string()
}

const TWO_SHARDS: &str = r#"{"metadata": {"total_size": 3}, "weight_map":
    {"a": "model-2.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"}}"#;

#[test]
fn every_missing_file_is_named_at_once() {
    let text = message(&[]);
    for name in [CONFIG, TOKENIZER, WEIGHTS, INDEX] {
        assert!(text.contains(name), "{name} in {text}");
    }
    let text = message(&[
        (CONFIG, ""),
        (INDEX, TWO_SHARDS),
        ("model-2.safetensors", ""),
    ]);
    assert!(
        text.ends_with(
            "missing: tokenizer.json, model-1.safetensors (named by model.safetensors.index.json)"
        ),
        "{text}"
    );
}

#[test]
fn shards_are_sorted_and_counted_once() {
    let dir = folder(&[
        (CONFIG, ""),
        (TOKENIZER, ""),
        (TOKENIZER_CONFIG, ""),
        (INDEX, TWO_SHARDS),
        ("model-1.safetensors", ""),
        ("model-2.safetensors", ""),
    ]);
    let ModelFiles::Folder {
        weights,
        tokenizer_config,
        ..
    } = read(dir.path()).unwrap()
    else {
        panic!("not a folder")
    };
    let expected = ["model-1.safetensors", "model-2.safetensors"];
    assert_eq!(weights, expected.map(|name| dir.path().join(name)));
    assert_eq!(tokenizer_config, Some(dir.path().join(TOKENIZER_CONFIG)));
}

#[test]
fn an_index_is_checked_before_it_is_followed() {
    for (index, reason) in [
        ("{", "EOF"),
        (r#"{"weight_map": {}}"#, "weight_map is empty"),
        (r#"{"metadata": {}}"#, "no object `weight_map`"),
        (r#"{"weight_map": {"a": 3}}"#, "the shard of a is 3"),
        (
            r#"{"weight_map": {"a": "a.safetensors", "a": "b.safetensors"}}"#,
            r#""a" stands twice"#,
        ),
        (
            r#"{"weight_map": {"a": "..%2fa.safetensors"}}"#,
            "`..%2fa.safetensors`",
        ),
        (
            r#"{"weight_map": {"a": "C:a.safetensors"}}"#,
            "`C:a.safetensors`",
        ),
        (
            r#"{"weight_map": {"a": "../a.safetensors"}}"#,
            "`../a.safetensors`",
        ),
        (
            r#"{"weight_map": {"a": "/etc/a.safetensors"}}"#,
            "`/etc/a.safetensors`",
        ),
        (
            r#"{"weight_map": {"a": "%2e%2e/a.safetensors"}}"#,
            "`%2e%2e/a.safetensors`",
        ),
        (
            r#"{"weight_map": {"a": "pytorch_model.bin"}}"#,
            "`pytorch_model.bin`",
        ),
    ] {
        let text = message(&[(CONFIG, ""), (TOKENIZER, ""), (INDEX, index)]);
        assert!(text.contains(INDEX) && text.contains(reason), "{text}");
    }
}

#[test]
fn a_folder_of_gguf_files_points_to_the_file() {
    let text = message(&[("tiny.gguf", "")]);
    assert!(
        text.contains("to use its GGUF file, give ") && text.ends_with("tiny.gguf"),
        "{text}"
    );
}
