//! Folders of safetensors that are not as they should be: configurations with values that have no meaning or are not
//! computed, damaged headers, indexes that disagree with their shards, folders of other kinds, files that change.
//! Each is an error that names the culprit and what is allowed, or has the right value stated.

mod config;
mod folder;
pub use folder::sharded;
mod weights;

use std::fs;
use std::path::{Path, PathBuf};

use gatelens::hub::locate;
use gatelens::model::{Checkpoint, Config};
use serde_json::Value;

use super::common::goldens;

/// A copy of a tiny model that a test may damage.
pub struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    pub fn of(tiny: &str) -> Folder {
        let dir = tempfile::tempdir().unwrap();
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            fs::copy(goldens().join(tiny).join(name), dir.path().join(name)).unwrap();
        }
        Folder { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn edit_config(&self, edit: impl FnOnce(&mut Value)) {
        let path = self.file("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        edit(&mut config);
        fs::write(path, config.to_string()).unwrap();
    }

    /// Sets some keys of config.json, which JSON gives.
    pub fn with_keys(tiny: &str, keys: &str) -> Folder {
        let folder = Folder::of(tiny);
        let keys: Value = serde_json::from_str(keys).unwrap();
        folder.edit_config(|config| {
            let config = config.as_object_mut().unwrap();
            config.extend(keys.as_object().unwrap().clone());
        });
        folder
    }

    /// Changes the text of the header of model.safetensors, padded with spaces.
    pub fn edit_header(&self, edit: impl FnOnce(String) -> String) {
        let path = self.file("model.safetensors");
        let bytes = fs::read(&path).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
        let mut header = edit(header);
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        let mut out = (header.len() as u64).to_le_bytes().to_vec();
        out.extend(header.as_bytes());
        out.extend(&bytes[8 + length..]);
        fs::write(path, out).unwrap();
    }

    pub fn open(&self) -> Result<Checkpoint, String> {
        let located = locate(self.path().to_str().unwrap(), &()).map_err(|why| why.to_string())?;
        Checkpoint::open(&located.files).map_err(|why| why.to_string())
    }

    pub fn config(&self) -> Config {
        self.open().unwrap().config().clone()
    }

    /// The error of opening, which must name all of these.
    pub fn fails(&self, named: &[&str]) {
        let error = self.open().err().expect("it opens");
        for name in named {
            assert!(error.contains(name), "{name} in {error}");
        }
    }
}
