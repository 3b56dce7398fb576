//! Texts -> ids: normalizers against transformers (`tests/goldens/normalizers.json`, written by `normalizers.py`), tokenizers
//! that break, and long texts in pieces against the whole.

use std::fs;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use gatelens::prompts::{Prompt, PromptSet};
use gatelens::tokens::{BosPolicy, Tokenizer, tokenize};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use super::cli::{columns, fail, file, succeed};
use super::common::goldens;

/// tiny-llama's tokenizer.json with other values for some of its keys.
fn changed(changes: &Value) -> Value {
    let text = fs::read(goldens().join("tiny-llama/tokenizer.json")).unwrap();
    let mut json: Value = serde_json::from_slice(&text).unwrap();
    for (key, value) in changes.as_object().unwrap() {
        json[key] = value.clone();
    }
    json
}

fn tokenizer_of(json: &Value) -> Result<Tokenizer, String> {
    let folder = tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    fs::write(&path, json.to_string()).unwrap();
    Tokenizer::from_files(&path, None, None).map_err(|e| e.to_string())
}

fn numbers(value: &Value) -> Vec<u32> {
    let values = value.as_array().unwrap().iter();
    values.map(|value| value.as_u64().unwrap() as u32).collect()
}

#[test]
fn normalized_strings_have_the_ids_and_subjects_of_transformers() {
    let path = goldens().join("normalizers.json");
    let golden: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let rows = golden["rows"].as_array().unwrap();
    assert!(rows.len() >= 200, "{} strings", rows.len());
    let mut differing = Vec::new();
    for (name, changes) in golden["tokenizers"].as_object().unwrap() {
        let tokenizer = tokenizer_of(&changed(changes)).unwrap();
        for row in rows.iter().filter(|row| row["tokenizer"] == *name) {
            let [text, subject] = ["text", "subject"].map(|key| row[key].as_str().unwrap());
            let set = PromptSet {
                name: name.clone(),
                prompts: vec![Prompt::new("a", text, subject, "x").unwrap()],
                sha256: String::new(),
            };
            match tokenize(&set, &tokenizer, BosPolicy::Never) {
                Ok(batch) => {
                    let sequence = &batch.sequences()[0];
                    let span = [sequence.subject.start as u32, sequence.subject.end as u32];
                    let ids = &sequence.ids[..sequence.prompt_len];
                    if ids != numbers(&row["ids"]) || span[..] != numbers(&row["span"]) {
                        differing.push(format!("{name} {text:?}: {span:?} {ids:?}, not {row}"));
                    }
                }
                Err(e) => differing.push(e.to_string()),
            }
        }
    }
    assert!(
        differing.is_empty(),
        "{} differ:\n{}",
        differing.len(),
        differing.join("\n")
    );
}

fn case(name: &str) -> String {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    cases.join(name).to_str().unwrap().to_owned()
}

/// The right value is that of transformers 5.24, float32.
#[test]
fn a_decomposed_prompt_is_read_as_the_normalizer_composes_it() {
    let dir = tempdir().unwrap();
    let neurons = file(&dir, "n.txt", "1.3\n1.4\n");
    let out = dir.path().join("out");
    succeed(&[
        "ablate",
        "--model",
        &case("nfc/model"),
        "--prompts",
        &case("nfc/nfd_prompt.jsonl"),
        "--neurons",
        &neurons,
        "--subset",
        "all",
        "--draws",
        "2",
        "--out",
        out.to_str().unwrap(),
    ]);
    let (_, outcomes) = columns(&out.join("outcomes.parquet"));
    let clean = outcomes["target_logprob"]
        .as_primitive::<Float64Type>()
        .value(0);
    assert!((clean - -31.111123).abs() < 2e-4, "{clean}");
}

#[test]
fn what_a_normalizer_takes_away_is_not_lost_and_what_the_vocabulary_lacks_is() {
    let nothing =
        json!({"normalizer": {"type": "Replace", "pattern": {"String": "x"}, "content": ""}});
    assert_eq!(
        tokenizer_of(&changed(&nothing))
            .unwrap()
            .encode("axb")
            .unwrap()
            .ids
            .len(),
        2
    );
    let mut lacking = changed(&json!({"normalizer": {"type": "NFC"}}));
    lacking["model"]["vocab"]
        .as_object_mut()
        .unwrap()
        .remove("z");
    lacking["model"]["vocab"]["<none>"] = json!(999);
    let error = tokenizer_of(&lacking)
        .unwrap()
        .encode("cafe\u{301} z")
        .unwrap_err();
    assert!(error.to_string().contains("no tokens for \"z\""), "{error}");
}

#[test]
fn tokenizers_that_break_are_errors_with_the_files_name() {
    let changes = [
        ("##", json!({"continuing_subword_prefix": "##"})),
        ("dropout", json!({"dropout": 0.5})),
        ("dropout", json!({"dropout": 1.0})),
    ];
    let models = changes.into_iter().map(|(what, keys)| {
        let mut json = changed(&json!({}));
        for (key, value) in keys.as_object().unwrap() {
            json["model"][key] = value.clone();
        }
        (what, json)
    });
    let sequence = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    let special = json!({"SpecialToken": {"id": "<q>", "type_id": 0}});
    let template = |single: Value| json!({"post_processor": {"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": {}}});
    let split = |pattern: Value| json!({"pre_tokenizer": {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false}});
    let others = [
        (
            "charsmap",
            json!({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}),
        ),
        ("missing token", template(json!([special, sequence("A")]))),
        (
            "sequence B",
            template(json!([sequence("A"), sequence("B")])),
        ),
        (
            "fixed length 0",
            json!({"pre_tokenizer": {"type": "FixedLength", "length": 0}}),
        ),
        ("open bracket", split(json!({"Regex": "["}))),
        (
            "truncation",
            json!({"truncation": {"max_length": 0, "strategy": "LongestFirst", "stride": 9, "direction": "Right"}}),
        ),
        (
            "added token",
            json!({"added_tokens": [{"id": 5_000_000, "content": "", "single_word": true, "lstrip": true, "rstrip": true, "normalized": true, "special": false}]}),
        ),
        ("empty regex", split(json!({"Regex": ""}))),
        ("empty string", split(json!({"String": ""}))),
        ("no model", json!({"model": {}})),
    ];
    let others = others.map(|(what, changes)| (what, changed(&changes)));
    let dir = tempdir().unwrap();
    let model = dir.path().join("model");
    fs::create_dir(&model).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(goldens().join("tiny-llama").join(name), model.join(name)).unwrap();
    }
    for (what, json) in models.chain(others) {
        fs::write(model.join("tokenizer.json"), json.to_string()).unwrap();
        let args = [
            "generate",
            "--model",
            model.to_str().unwrap(),
            "--prompt",
            "The café",
            "--max-tokens",
            "1",
        ];
        match what {
            // Ignored by transformers and here, or of no consequence: the same ids.
            "truncation" | "empty regex" | "empty string" | "added token" => either(&args, what),
            _ => {
                let message = fail(&args);
                assert!(message.contains("tokenizer.json"), "{what}: {message}");
                assert!(
                    what != "dropout" || message.contains("set \"dropout\": null"),
                    "{message}"
                );
            }
        }
    }
}

/// Success, or an error: no panic.
fn either(args: &[&str], what: &str) {
    let output = super::cli::gatelens().args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "{what}: {stderr}"
    );
    assert!(!stderr.contains("panicked"), "{what}: {stderr}");
}

#[test]
fn a_token_beyond_the_models_vocabulary_is_named() {
    let dir: TempDir = tempdir().unwrap();
    let model = dir.path().join("model");
    fs::create_dir(&model).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(goldens().join("tiny-llama").join(name), model.join(name)).unwrap();
    }
    let added = |id: usize, content: &str| json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let json = changed(
        &json!({"added_tokens": [added(0, "<s>"), added(1, "</s>"), added(300, "<image>")]}),
    );
    fs::write(model.join("tokenizer.json"), json.to_string()).unwrap();
    let generate = |prompt: &str| {
        [
            "generate",
            "--model",
            model.to_str().unwrap(),
            "--max-tokens",
            "1",
            "--prompt",
            prompt,
        ]
        .map(str::to_owned)
    };
    succeed(&generate("The cafe").each_ref().map(String::as_str));
    let message = fail(&generate("The <image>").each_ref().map(String::as_str));
    assert!(
        message.contains("the token \"<image>\" has the id 300, and the model has ids below 300"),
        "{message}"
    );
}

/// What the tokenizers crate gives for the whole text in one go.
fn whole(json: &Value, text: &str) -> (Vec<u32>, Vec<(usize, usize)>) {
    let tokenizer = tokenizers::Tokenizer::from_bytes(json.to_string()).unwrap();
    let encoding = tokenizer.encode(text, false).unwrap();
    (encoding.get_ids().to_vec(), encoding.get_offsets().to_vec())
}

/// Tokenizers of every way of cutting: byte-level with three regexes, SentencePiece with and without a pre-tokenizer.
fn ways() -> Vec<(String, Value)> {
    let golden: Value =
        serde_json::from_slice(&fs::read(goldens().join("normalizers.json")).unwrap()).unwrap();
    let golden = golden["tokenizers"].as_object().unwrap();
    let named = ["nfc", "nfkc", "strip", "prepend", "metaspace"];
    let mut ways: Vec<(String, Value)> = named
        .iter()
        .map(|name| ((*name).to_owned(), changed(&golden[*name])))
        .collect();
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    for (name, regex) in [
        (
            "digits by three",
            r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        (
            "digits alone",
            r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
    ] {
        let split = json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
        let pre = json!({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, bytes]}});
        ways.push((name.to_owned(), changed(&pre)));
    }
    ways
}

fn check_pieces(name: &str, json: &Value, text: &str) {
    let tokenizer = tokenizer_of(json).unwrap();
    let found = tokenizer.encode(text);
    let (ids, offsets) = whole(json, text);
    let found = found.unwrap();
    let places: Vec<_> = found
        .offsets
        .iter()
        .map(|r| (r.start as usize, r.end as usize))
        .collect();
    let first = ids.iter().zip(&found.ids).position(|(a, b)| a != b);
    assert!(
        found.ids == ids,
        "{name}: {} ids, not {}; first at {first:?}",
        found.ids.len(),
        ids.len()
    );
    assert!(places == offsets, "{name}: other places");
}

/// Stretches that are hard to cut.
const STRETCHES: [&str; 14] = [
    "The gate lets the value through. ",
    "   ",
    "\n\n\n",
    " \t\r\n ",
    "0123456789",
    "👩‍👩‍👧‍👦🇫🇷🇩🇪",
    "日本語のテキストです。",
    "서울\u{1112}\u{1161}\u{11ab}",
    "e\u{301}\u{323}\u{308}",
    "aaaaaaaa",
    "▁▁▁ ▁",
    "is is in in",
    "</s>",
    "--==--..!?'s't",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn pieces_give_the_tokens_of_the_whole(
        parts in proptest::collection::vec((0..STRETCHES.len(), 1_usize..200), 20..60),
        way in 0_usize..7,
    ) {
        let mut text: String = parts.iter().map(|(which, times)| STRETCHES[*which].repeat(*times)).collect();
        while text.len() < 150 << 10 {
            text = text.repeat(2);
        }
        let (name, json) = &ways()[way];
        check_pieces(name, json, &text);
    }
}

#[test]
fn one_stretch_of_each_kind_alone_gives_the_tokens_of_the_whole() {
    for (name, json) in ways() {
        for stretch in STRETCHES {
            check_pieces(
                &format!("{name}, {stretch:?}"),
                &json,
                &stretch.repeat((160 << 10) / stretch.len()),
            );
        }
    }
}
