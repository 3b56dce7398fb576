//! JSON files of a model, well-formed and with another structure (see `structure`), and their index of shards.
//!
//! What is a violation, beyond panics, memory, time and an error without the file's name:
//!
//! - a key that stands twice is read, in whichever file;
//! - a key of another type, or a deep nest, gives other numbers: it may be refused, or change nothing;
//! - a key that is gone, renamed or null gives other numbers without a word in `assumed` or `warnings`, but for those
//!   whose absence means that there is no such thing ([`NONE_WITHOUT`]);
//! - an extreme number gives an error only when the model runs, or other numbers of the same configuration.

use std::fs;
use std::path::Path;

use gatelens::hub::{ModelFiles, locate};
use serde_json::Value;

use super::super::hf_folders::sharded;
use super::bytes::{checked, each, names};
use super::models::{Found, folder, found, opened, tokenizer};
use super::structure::{Case, Change, cases};

/// Absent or null, there is no cap and no clip.
const NONE_WITHOUT: [&str; 3] = [
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "clip_qkv",
];

/// No message is longer: a value of a file is shown by its beginning.
const LONGEST_MESSAGE: usize = 2000;

/// Calls `check` with each case in the place of the file at `path`; `file` makes the file of the JSON.
fn each_shape(
    path: &Path,
    whole: &Value,
    items: usize,
    file: impl Fn(&str) -> Vec<u8>,
    mut check: impl FnMut(&Case),
) {
    let undamaged = fs::read(path).unwrap();
    for case in cases(whole, items) {
        let bytes = file(&case.text);
        fs::write(path, &bytes).unwrap();
        let label = format!("{} of {}", case.label(), path.display());
        checked(&label, bytes.len(), || check(&case));
    }
    fs::write(path, undamaged).unwrap();
}

fn value(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// An error is short and names the file or the folder that it is in.
fn refused(error: &str, path: &Path) {
    assert!(error.len() < LONGEST_MESSAGE, "{} bytes", error.len());
    names(error, path);
}

fn check_config(model: &Path, whole: &Found, case: &Case) {
    let checkpoint = match opened(model) {
        Err(error) => return refused(&error, model),
        Ok((_, checkpoint)) => checkpoint,
    };
    assert!(case.change != Change::Doubled, "a key twice was read");
    let config = checkpoint.config();
    let is_said = !config.assumed.is_empty() || !config.warnings.is_empty();
    let found = match found(checkpoint) {
        Ok(found) => found,
        Err(why) if why == "too short" => return,
        Err(why) => panic!("refused only when it ran: {why}"),
    };
    if found.logprobs == whole.logprobs {
        return;
    }
    let is_gone = matches!(case.change, Change::Removed | Change::Renamed) || case.value == "null";
    let may_differ = match case.change {
        _ if is_gone => is_said || NONE_WITHOUT.contains(&case.key()),
        // A value where there was none, such as a cap.
        Change::Retyped => case.old.is_null(),
        Change::Extreme => found.shown != whole.shown,
        _ => false,
    };
    assert!(may_differ, "other numbers without a sign");
}

#[test]
fn config_json() {
    for tiny in [
        "tiny-llama3",
        "tiny-gemma2",
        "tiny-gemma3-linear",
        "tiny-mistral",
        "tiny-olmo",
        "tiny-phi3-longrope",
        "tiny-qwen3",
    ] {
        let (_dir, model) = folder(tiny);
        let whole = found(opened(&model).unwrap().1).unwrap();
        let path = model.join("config.json");
        let text = |text: &str| text.as_bytes().to_vec();
        each_shape(&path, &value(&path), 4, text, |case| {
            check_config(&model, &whole, case);
        });
    }
}

#[test]
fn safetensors_header() {
    let (_dir, model) = folder("tiny-llama");
    let whole = found(opened(&model).unwrap().1).unwrap();
    let path = model.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..data]).unwrap();
    let file = |text: &str| {
        let length = (text.len() as u64).to_le_bytes();
        [&length[..], text.as_bytes(), &bytes[data..]].concat()
    };
    each_shape(&path, &header, 2, file, |case| match opened(&model) {
        Err(error) => {
            refused(&error, &model);
            // Of a deep nest the place is told, not the tensor: it is no JSON that is read.
            if matches!(case.change, Change::Retyped | Change::Doubled) {
                let tensor = &case.path[0];
                assert!(error.contains(tensor), "{error} does not name {tensor}");
            }
        }
        Ok((_, checkpoint)) => {
            assert!(case.path[0] == "__metadata__", "a tensor was believed");
            assert!(found(checkpoint).unwrap() == whole);
        }
    });
}

#[test]
fn an_index_of_shards() {
    let folder = sharded();
    let model = folder.path();
    let whole = found(opened(model).unwrap().1).unwrap();
    let path = folder.file("model.safetensors.index.json");
    let bytes = fs::read(&path).unwrap();
    let check = || match opened(model) {
        Err(error) => {
            assert!(error.len() < LONGEST_MESSAGE, "{} bytes", error.len());
            names(&error, &path);
        }
        Ok((_, checkpoint)) => assert!(found(checkpoint).unwrap() == whole),
    };
    each(&path, &bytes, 0..bytes.len(), 1000, |_| check());
    let text = |text: &str| text.as_bytes().to_vec();
    each_shape(&path, &value(&path), 2, text, |case| {
        if case.change == Change::Doubled {
            names(&opened(model).err().expect("a key twice"), &path);
        }
        check();
    });
}

/// The ids of a text, and the BOS token.
fn ids(files: &ModelFiles) -> Result<(Vec<u32>, Option<u32>), String> {
    let text = "The capital of France is Paris; 12,345 Zürich \u{1f600}\n  x";
    let tokenizer = tokenizer(files)?;
    let ids = tokenizer.encode(text).map_err(|why| why.to_string())?.ids;
    Ok((ids, tokenizer.bos()))
}

#[test]
fn tokenizer_json() {
    for tiny in ["tiny-llama", "tiny-qwen2", "tiny-gemma3"] {
        let (_dir, model) = folder(tiny);
        let files = locate(model.to_str().unwrap(), &()).unwrap().files;
        let whole = ids(&files).unwrap();
        let path = model.join("tokenizer.json");
        let text = |text: &str| text.as_bytes().to_vec();
        each_shape(&path, &value(&path), 2, text, |case| match ids(&files) {
            Err(error) => assert!(error.len() < LONGEST_MESSAGE, "{} bytes", error.len()),
            Ok(read) => {
                assert!(case.change != Change::Doubled, "a key twice was read");
                assert_eq!(ids(&files).unwrap(), read);
                let is_other = matches!(case.change, Change::Retyped | Change::Nested(_));
                let may_differ = !is_other || case.old.is_null() || case.value == "null";
                assert!(may_differ || read == whole, "other ids without a sign");
            }
        });
    }
}

#[test]
fn tokenizer_config_json() {
    for text in [
        r#"{"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true, "model_max_length": 1e30}"#,
        r#"{"bos_token": {"content": "<s>", "lstrip": false}, "added_tokens_decoder": {"0": {"content": "<s>"}}}"#,
    ] {
        let (_dir, model) = folder("tiny-llama");
        let path = model.join("tokenizer_config.json");
        fs::write(&path, text).unwrap();
        let files = locate(model.to_str().unwrap(), &()).unwrap().files;
        let whole = ids(&files).unwrap();
        each(&path, text.as_bytes(), 0..text.len(), 800, |_| {
            match ids(&files) {
                Err(error) => names(&error, &path),
                Ok(read) => assert_eq!(read.0, whole.0),
            }
        });
        let bytes = |text: &str| text.as_bytes().to_vec();
        each_shape(&path, &value(&path), 2, bytes, |case| match ids(&files) {
            Err(error) => refused(&error, &path),
            Ok(read) => {
                assert!(case.change != Change::Doubled, "a key twice was read");
                let is_word = case.value.starts_with('"') || case.value == "null";
                let is_bos = case.path[0] == "bos_token" && case.path.len() == 1;
                let is_dropped = is_bos && case.change == Change::Retyped && !is_word;
                assert!(!is_dropped, "another type was dropped");
                assert_eq!(read.0, whole.0);
            }
        });
    }
}
