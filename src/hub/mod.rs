//! A model's name becomes files on disk.
//!
//! `--model` takes four kinds of names, tried in this order: an [alias](ALIASES), a `.gguf` file, a
//! folder as Hugging Face lays it out, and `org/name[@revision]` on the Hugging Face hub (or
//! `org/name/file.gguf[@revision]` for one GGUF file of a repository). [`locate`] finds the files,
//! downloads what is missing, and says where they are. What is already on disk is used as it is, with
//! no network and no subprocess.
//!
//! The stage stops at paths: whether a config is understood, or a tensor is where it should be, is
//! for the model stage to say. It draws nothing either: a caller who wants a progress bar implements
//! [`DownloadProgress`].

mod config;
mod digest;
mod error;
mod folder;
mod hf;
pub(crate) mod json;
mod name;
mod pypi;
mod wheel;

use std::path::{Path, PathBuf};

use rayon::prelude::*;

pub use config::{HubConfig, Network};
pub use error::HubError;
pub use pypi::{ALIASES, Alias, DEFAULT_MODEL};

use name::ModelName;

/// The files that one model is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelFiles {
    /// A folder as Hugging Face lays it out.
    Folder {
        /// The folder that holds the other paths.
        dir: PathBuf,
        /// `config.json`.
        config: PathBuf,
        /// `tokenizer.json`.
        tokenizer: PathBuf,
        /// `tokenizer_config.json`, where there is one.
        tokenizer_config: Option<PathBuf>,
        /// Every safetensors file, sorted by name: `model.safetensors`, or all that the index names.
        weights: Vec<PathBuf>,
    },
    /// One GGUF file, whose metadata hold the config and the tokenizer too.
    Gguf(PathBuf),
}

/// A model whose files are all on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocatedModel {
    /// The name as the user wrote it.
    pub name: String,
    /// Where its files are.
    pub files: ModelFiles,
    /// The commit that the files came from; `None` unless they came from the Hugging Face hub.
    pub revision: Option<String>,
}

impl LocatedModel {
    /// Every file of the model: config, tokenizer and its config first, then the weights in order.
    pub fn paths(&self) -> Vec<&Path> {
        match &self.files {
            ModelFiles::Gguf(path) => vec![path],
            ModelFiles::Folder {
                config,
                tokenizer,
                tokenizer_config,
                weights,
                ..
            } => [config, tokenizer]
                .into_iter()
                .chain(tokenizer_config)
                .chain(weights)
                .map(PathBuf::as_path)
                .collect(),
        }
    }

    /// The sha256 of every file in lower-case hex, in the order of [`LocatedModel::paths`].
    ///
    /// Reads all bytes of all files, several files at a time.
    ///
    /// # Errors
    /// [`HubError::Io`] with the path that could not be read.
    pub fn sha256(&self) -> Result<Vec<(PathBuf, String)>, HubError> {
        self.paths()
            .into_par_iter()
            .map(|path| Ok((path.to_path_buf(), digest::of_file(path)?)))
            .collect()
    }
}

/// Hears how a download goes; the command line implements it with a progress bar.
///
/// Steps do not overlap: each `start` is followed by its `finish`, unless an error ends the download.
pub trait DownloadProgress {
    /// A step begins; `total_bytes` is `None` where the size is not known beforehand.
    fn start(&self, what: &str, total_bytes: Option<u64>);
    /// That many more bytes of the current step are done.
    fn advance(&self, bytes: u64);
    /// The step is complete.
    fn finish(&self, what: &str);
}

/// Reports to nobody.
impl DownloadProgress for () {
    fn start(&self, _what: &str, _total_bytes: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn finish(&self, _what: &str) {}
}

/// Finds the files of `model`, downloading what is not on disk yet, with the settings of the
/// environment ([`HubConfig::from_env`]).
///
/// # Errors
/// See [`locate_with`].
pub fn locate(model: &str, progress: &dyn DownloadProgress) -> Result<LocatedModel, HubError> {
    locate_with(model, &HubConfig::from_env(), progress)
}

/// Finds the files of `model`, downloading what is not on disk yet.
///
/// # Errors
/// A name of no accepted form, a path that does not exist, a folder or a cache that lacks a file, a
/// refused or broken download, and a file whose sha256 is wrong; each message names the culprit and
/// the way out. No failed download leaves a file that a later call would take for a whole one.
pub fn locate_with(
    model: &str,
    config: &HubConfig,
    progress: &dyn DownloadProgress,
) -> Result<LocatedModel, HubError> {
    let (files, revision) = match name::parse(model)? {
        ModelName::Alias(alias) => {
            let path = pypi::locate(alias, config, progress)?;
            (ModelFiles::Gguf(path), None)
        }
        ModelName::Gguf(path) => (ModelFiles::Gguf(path), None),
        ModelName::Folder(dir) => (folder::read(&dir)?, None),
        ModelName::Hub(repo) => {
            let (files, commit) = hf::locate(&repo, config, progress)?;
            (files, Some(commit))
        }
    };
    Ok(LocatedModel {
        name: model.to_string(),
        files,
        revision,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_lists_config_and_tokenizer_before_the_weights() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            std::fs::write(dir.path().join(name), "abc").unwrap();
        }
        let model = locate(dir.path().to_str().unwrap(), &()).unwrap();
        let names: Vec<_> = model
            .paths()
            .iter()
            .map(|p| p.file_name().unwrap().to_owned())
            .collect();
        assert_eq!(
            names,
            ["config.json", "tokenizer.json", "model.safetensors"]
        );
        assert_eq!(model.revision, None);
        let hashes = model.sha256().unwrap();
        assert_eq!(hashes.len(), 3);
        for (_, hex) in hashes {
            // `printf abc | sha256sum`
            assert_eq!(
                hex,
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
            );
        }
    }

    #[test]
    fn an_existing_gguf_file_is_taken_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tiny.GGUF");
        std::fs::write(&path, "GGUF").unwrap();
        let model = locate(path.to_str().unwrap(), &()).unwrap();
        assert_eq!(model.files, ModelFiles::Gguf(path.clone()));
        assert_eq!(model.name, path.to_str().unwrap());
    }
}
