//! The files of a model on disk.

use std::path::{Path, PathBuf};

pub(super) const CONFIG: &str = "config.json";
pub(super) const TOKENIZER: &str = "tokenizer.json";
pub(super) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// The weights in one file.
pub const WEIGHTS: &str = "model.safetensors";
/// Which shard has which tensor.
pub const INDEX: &str = "model.safetensors.index.json";
pub(super) const ADAPTER: &str = "adapter_config.json";

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
        /// Every safetensors file, sorted by name: `model.safetensors`, or all that the index names, or all shards that
        /// their names count.
        weights: Vec<PathBuf>,
        /// The index that names the weights, where they are in shards.
        index: Option<PathBuf>,
    },
    /// A GGUF file, or all its parts in their order; the metadata of the first hold the config and the tokenizer too.
    Gguf(Vec<PathBuf>),
}

impl ModelFiles {
    /// Configuration, tokenizer and its configuration, where they are files of their own.
    pub(crate) fn beside_weights(&self) -> Vec<&Path> {
        let ModelFiles::Folder {
            config,
            tokenizer,
            tokenizer_config,
            ..
        } = self
        else {
            return Vec::new();
        };
        let beside = [config, tokenizer].into_iter().chain(tokenizer_config);
        beside.map(PathBuf::as_path).collect()
    }
}
