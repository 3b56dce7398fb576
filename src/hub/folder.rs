//! A model as a folder: config.json, tokenizer.json, and safetensors in one file or in the shards that
//! an index names. A snapshot in the Hugging Face cache is such a folder too.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::plain::{plain_file_name, shown};
use super::{HubError, ModelFiles};

pub(super) const CONFIG: &str = "config.json";
pub(super) const TOKENIZER: &str = "tokenizer.json";
pub(super) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
pub(super) const WEIGHTS: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// The part of an index that says where the tensors are.
#[derive(Deserialize)]
struct Index {
    /// Tensor name -> shard.
    weight_map: HashMap<String, String>,
}

/// The model in `dir`, or one error that names everything that is missing.
pub(super) fn read(dir: &Path) -> Result<ModelFiles, HubError> {
    let weights = weight_names(dir)?;
    let missing = missing_files(dir, weights.as_ref());
    match weights {
        Some(weights) if missing.is_empty() => Ok(ModelFiles::Folder {
            dir: dir.to_path_buf(),
            config: dir.join(CONFIG),
            tokenizer: dir.join(TOKENIZER),
            tokenizer_config: Some(dir.join(TOKENIZER_CONFIG)).filter(|path| path.is_file()),
            weights: weights.iter().map(|name| dir.join(name)).collect(),
        }),
        _ => Err(HubError::FolderIncomplete {
            dir: dir.to_path_buf(),
            missing,
            hint: gguf_hint(dir),
        }),
    }
}

/// The shards that the index at `path` names, sorted, each once.
pub(super) fn shards(path: &Path) -> Result<BTreeSet<String>, HubError> {
    let bad = |reason: String| HubError::BadIndex {
        path: path.to_path_buf(),
        reason,
    };
    let text = fs::read(path).map_err(HubError::io("read", path))?;
    let index: Index = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    if shards.is_empty() {
        return Err(bad("its weight_map is empty".to_string()));
    }
    let is_shard = |name: &str| name.ends_with(".safetensors") && plain_file_name(name);
    match shards.iter().find(|shard| !is_shard(shard)) {
        Some(shard) => Err(bad(format!(
            "`{}` is not the name of a safetensors file beside it",
            shown(shard)
        ))),
        None => Ok(shards),
    }
}

/// The names of the weight files, whether they exist or not; `None` without weights and index.
fn weight_names(dir: &Path) -> Result<Option<BTreeSet<String>>, HubError> {
    let index = dir.join(INDEX);
    if dir.join(WEIGHTS).is_file() {
        Ok(Some(BTreeSet::from([WEIGHTS.to_string()])))
    } else if index.is_file() {
        shards(&index).map(Some)
    } else {
        Ok(None)
    }
}

fn missing_files(dir: &Path, weights: Option<&BTreeSet<String>>) -> Vec<String> {
    let wanted = [CONFIG, TOKENIZER].into_iter();
    let mut missing: Vec<String> = wanted
        .chain(weights.into_iter().flatten().map(String::as_str))
        .filter(|name| !dir.join(name).is_file())
        .map(str::to_string)
        .collect();
    if weights.is_none() {
        missing.push(format!("{WEIGHTS} (or {INDEX} and its shards)"));
    }
    missing
}

/// Folders of GGUF files are common; name the file that was probably meant.
fn gguf_hint(dir: &Path) -> String {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut ggufs: Vec<PathBuf> = files
        .map(|file| file.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "gguf")
        })
        .collect();
    ggufs.sort();
    match ggufs.first() {
        Some(path) => format!("; to use its GGUF file, give {}", path.display()),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
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
            text.ends_with("missing: tokenizer.json, model-1.safetensors"),
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
            (r#"{"metadata": {}}"#, "missing field `weight_map`"),
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
}
