//! Model files: GGUF, and the files of a Hugging Face folder.

use std::fs;
use std::path::{Path, PathBuf};

use gatelens::engine::Engine;
use gatelens::hooks::Condition;
use gatelens::hub::{ModelFiles, locate};
use gatelens::model::{Checkpoint, LoadOptions, Model};
use gatelens::tokens::Tokenizer;

use super::super::common::{LogProbs, batch, goldens};
use super::bytes::{each, names};

/// Log-probabilities of a few tokens, and what `inspect` would show of the arithmetic.
#[derive(Debug, PartialEq)]
pub struct Found {
    pub logprobs: Vec<f32>,
    pub shown: String,
}

pub fn opened(path: &Path) -> Result<(ModelFiles, Checkpoint), String> {
    let located = locate(path.to_str().unwrap(), &()).map_err(|e| e.to_string())?;
    let checkpoint = Checkpoint::open(&located.files).map_err(|e| chain(&e))?;
    Ok((located.files, checkpoint))
}

/// An error with its causes, as `main` prints it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

pub fn found(checkpoint: Checkpoint) -> Result<Found, String> {
    let shown = format!("{:?}", checkpoint.config());
    let vocab_size = checkpoint.config().vocab_size as u32;
    let model = Model::load(checkpoint, LoadOptions::default()).map_err(|e| chain(&e))?;
    let ids = vec![3, 7 % vocab_size, 11 % vocab_size, 2];
    if model.config().max_positions < ids.len() {
        return Err("too short".to_string());
    }
    let batch = batch(&[ids]);
    let mut logprobs = LogProbs::of_all(&batch);
    Engine::new(&model)
        .run(
            &batch,
            &[Condition::Clean],
            &mut [],
            Some(&mut logprobs),
            &(),
        )
        .map_err(|e| chain(&e))?;
    Ok(Found {
        logprobs: logprobs.at(0, 3).to_vec(),
        shown,
    })
}

pub fn tokenizer(files: &ModelFiles) -> Result<Tokenizer, String> {
    match files {
        ModelFiles::Gguf(parts) => {
            let header = gatelens::hub::gguf::GgufFile::open(&parts[0]).map_err(|e| chain(&e))?;
            Tokenizer::from_gguf(&header).map_err(|e| chain(&e))
        }
        ModelFiles::Folder {
            tokenizer,
            tokenizer_config,
            config,
            ..
        } => Tokenizer::from_files(tokenizer, tokenizer_config.as_deref(), Some(config))
            .map_err(|e| chain(&e)),
    }
}

/// A model that opens gives the same numbers, or shows that it is another one.
fn check_model(path: &Path, named: &Path, whole: &Found) {
    match opened(path) {
        Err(error) => names(&error, named),
        Ok((files, checkpoint)) => {
            let _ = tokenizer(&files);
            if let Ok(found) = found(checkpoint) {
                assert!(
                    found.logprobs == whole.logprobs || found.shown != whole.shown,
                    "other numbers without a sign"
                );
            }
        }
    }
}

pub fn folder(tiny: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("model");
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(goldens().join(tiny)).unwrap() {
        let from = entry.unwrap().path();
        if from.extension().is_none_or(|extension| extension != "gguf") {
            fs::copy(&from, to.join(from.file_name().unwrap())).unwrap();
        }
    }
    (dir, to)
}

#[test]
fn gguf_metadata_and_tensor_tables() {
    for (tiny, cases) in [("tiny-llama", 900), ("tiny-gemma3", 300)] {
        let bytes = fs::read(goldens().join(tiny).join("model.gguf")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.gguf");
        fs::write(&path, &bytes).unwrap();
        let whole = found(opened(&path).unwrap().1).unwrap();
        let header = gatelens::hub::gguf::GgufFile::open(&path).unwrap();
        let data = header.tensors.iter().map(|tensor| tensor.offset).min();
        let data = data.unwrap() as usize;
        each(&path, &bytes, 0..data, cases, |_| {
            check_model(&path, &path, &whole);
        });
        // The end of the data: cut, and with more behind it.
        each(&path, &bytes, bytes.len() - 64..bytes.len(), 60, |new| {
            if new.len() != bytes.len() {
                let read = opened(&path);
                assert!(read.is_err() || new.len() > bytes.len(), "cut and read");
            }
        });
    }
}

#[test]
fn config_json() {
    for (tiny, cases) in [
        ("tiny-llama3", 700),
        ("tiny-gemma3", 400),
        ("tiny-phi3", 300),
    ] {
        let (_dir, model) = folder(tiny);
        let whole = found(opened(&model).unwrap().1).unwrap();
        let path = model.join("config.json");
        let bytes = fs::read(&path).unwrap();
        each(&path, &bytes, 0..bytes.len(), cases, |_| {
            check_model(&model, &model, &whole);
        });
    }
}

#[test]
fn safetensors_headers() {
    let (_dir, model) = folder("tiny-llama");
    let whole = found(opened(&model).unwrap().1).unwrap();
    let path = model.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    each(&path, &bytes, 0..header, 900, |_| {
        check_model(&model, &model, &whole);
    });
}

#[test]
fn tokenizer_json() {
    let text = "The capital of France is Paris; 12,345 Zürich \u{1f600}\n  x";
    for (tiny, cases) in [
        ("tiny-llama", 500),
        ("tiny-qwen2", 400),
        ("tiny-gemma3", 300),
    ] {
        let (_dir, model) = folder(tiny);
        let located = locate(model.to_str().unwrap(), &()).unwrap();
        let path = model.join("tokenizer.json");
        let bytes = fs::read(&path).unwrap();
        each(&path, &bytes, 0..bytes.len(), cases, |_| {
            match tokenizer(&located.files) {
                Err(error) => names(&error, &path),
                Ok(read) => {
                    let ids = read.encode(text).map(|encoded| encoded.ids);
                    let again = tokenizer(&located.files).unwrap().encode(text);
                    assert_eq!(ids.ok(), again.map(|encoded| encoded.ids).ok());
                }
            }
        });
    }
}
