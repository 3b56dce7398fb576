//! A tiny model of the tests with one of its files replaced.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use gatelens::hub::gguf::GgufFile;
use gatelens::hub::{ModelFiles, locate};
use gatelens::model::Checkpoint;
use gatelens::tokens::Tokenizer;
use tempfile::TempDir;

/// A folder for all inputs: one process tries one after the other.
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens/tiny-llama");
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(tiny.join(name), folder.path().join(name)).expect("a tiny model");
    }
    folder
});

/// Opens the model and its tokenizer with `bytes` as the file `name`; errors are fine.
pub fn open(name: &str, bytes: &[u8]) {
    let path = FOLDER.path().join(name);
    let is_gguf = name.ends_with(".gguf");
    fs::write(&path, bytes).expect("a place to write");
    let model = if is_gguf { path.as_path() } else { FOLDER.path() };
    let Some(Ok(located)) = model.to_str().map(|model| locate(model, &())) else {
        return;
    };
    let _ = Checkpoint::open(&located.files);
    match &located.files {
        ModelFiles::Gguf(parts) => {
            if let Ok(header) = GgufFile::open(&parts[0]) {
                let _ = Tokenizer::from_gguf(&header);
            }
        }
        ModelFiles::Folder { tokenizer, tokenizer_config, config, .. } => {
            let read = Tokenizer::from_files(tokenizer, tokenizer_config.as_deref(), Some(config));
            let _ = read.map(|tokenizer| tokenizer.encode("The capital of France is").is_ok());
        }
    }
}
