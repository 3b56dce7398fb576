//! A model as a folder: config.json, tokenizer.json, and safetensors in one file or in the shards that
//! an index names. A snapshot in the Hugging Face cache is such a folder too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::plain::{plain_file_name, shown};
use super::{HubError, ModelFiles, folder_hint, json};

pub(super) const CONFIG: &str = "config.json";
pub(super) const TOKENIZER: &str = "tokenizer.json";
pub(super) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// The weights in one file.
pub const WEIGHTS: &str = "model.safetensors";
/// Which shard has which tensor.
pub const INDEX: &str = "model.safetensors.index.json";
pub(super) const ADAPTER: &str = "adapter_config.json";

/// The names of a folder's weight files, whether they exist or not.
struct WeightNames {
    names: BTreeSet<String>,
    /// The file that lists them, where one does.
    index: Option<PathBuf>,
}

/// The model in `dir`, or one error that names everything that is missing.
pub(super) fn read(dir: &Path) -> Result<ModelFiles, HubError> {
    let weights = weight_names(dir)?;
    let missing = missing_files(dir, weights.as_ref());
    match weights {
        Some(_) if dir.join(ADAPTER).is_file() => Err(HubError::FolderWithAdapter {
            dir: dir.to_path_buf(),
            way_out: folder_hint::merge_line(dir),
        }),
        Some(weights) if missing.is_empty() => Ok(ModelFiles::Folder {
            dir: dir.to_path_buf(),
            config: dir.join(CONFIG),
            tokenizer: dir.join(TOKENIZER),
            tokenizer_config: Some(dir.join(TOKENIZER_CONFIG)).filter(|path| path.is_file()),
            weights: weights.names.iter().map(|name| dir.join(name)).collect(),
            index: weights.index,
        }),
        _ => Err(HubError::FolderIncomplete {
            dir: dir.to_path_buf(),
            hint: folder_hint::hint(dir, &missing),
            missing,
        }),
    }
}

/// The shards that the index at `path` names, sorted, each once.
pub(super) fn shards(path: &Path) -> Result<BTreeSet<String>, HubError> {
    Ok(weight_map(path)?.into_values().collect())
}

/// What the index at `path` says: tensor name -> shard. Every shard's name is that of a safetensors file beside it.
///
/// # Errors
/// [`HubError::BadIndex`]: no JSON, a tensor twice, no tensors, or a name that leads elsewhere.
pub fn weight_map(path: &Path) -> Result<BTreeMap<String, String>, HubError> {
    let bad = |reason: String| HubError::BadIndex {
        path: path.to_path_buf(),
        reason,
    };
    let index = json::read_file(path).map_err(bad)?;
    let Some(map) = index.get("weight_map").and_then(|map| map.as_object()) else {
        return Err(bad("it has no object `weight_map`".to_string()));
    };
    if map.is_empty() {
        return Err(bad("its weight_map is empty".to_string()));
    }
    let is_shard = |name: &str| name.ends_with(".safetensors") && plain_file_name(name);
    let shard = |(tensor, shard): (&String, &serde_json::Value)| match shard.as_str() {
        Some(shard) if is_shard(shard) => Ok((tensor.clone(), shard.to_string())),
        Some(name) => Err(bad(format!(
            "`{}` is not the name of a safetensors file beside it",
            shown(name)
        ))),
        None => Err(bad(format!("the shard of {tensor} is {shard}, not a name"))),
    };
    map.iter().map(shard).collect()
}

/// One file, or what the index lists, or shards whose names count them; `None` without any of these.
fn weight_names(dir: &Path) -> Result<Option<WeightNames>, HubError> {
    let index = dir.join(INDEX);
    if dir.join(WEIGHTS).is_file() {
        let names = BTreeSet::from([WEIGHTS.to_string()]);
        Ok(Some(WeightNames { names, index: None }))
    } else if index.is_file() {
        let names = shards(&index)?;
        let index = Some(index);
        Ok(Some(WeightNames { names, index }))
    } else {
        let names = counted_shards(&folder_hint::file_names(dir));
        Ok(names.map(|names| WeightNames { names, index: None }))
    }
}

/// All shards of a set of which some are there, `model-00001-of-00003.safetensors` and so on; `None` where there is no
/// set or more than one.
fn counted_shards(files: &[String]) -> Option<BTreeSet<String>> {
    let mut sets: BTreeSet<(&str, &str)> = BTreeSet::new();
    for file in files {
        let parts = file.strip_suffix(".safetensors").and_then(|stem| {
            let (rest, count) = stem.rsplit_once("-of-")?;
            Some((rest.rsplit_once('-')?.0, count))
        });
        sets.extend(parts.filter(|(_, count)| count.len() == 5));
    }
    let [(prefix, count)] = sets.into_iter().collect::<Vec<_>>()[..] else {
        return None;
    };
    let shards = count.parse::<usize>().ok().filter(|shards| *shards > 0)?;
    let name = |shard| format!("{prefix}-{shard:05}-of-{count}.safetensors");
    Some((1..=shards).map(name).collect())
}

fn missing_files(dir: &Path, weights: Option<&WeightNames>) -> Vec<String> {
    let wanted = [CONFIG, TOKENIZER].into_iter();
    let is_missing = |name: &str| !dir.join(name).is_file();
    let mut missing: Vec<String> = wanted
        .filter(|name| is_missing(name))
        .map(str::to_string)
        .collect();
    if let Some(WeightNames { names, index }) = weights {
        let by = match index {
            Some(_) => format!(" (named by {INDEX})"),
            None => String::new(),
        };
        let names = names.iter().filter(|name| is_missing(name));
        missing.extend(names.map(|name| format!("{name}{by}")));
    }
    if weights.is_none() {
        missing.push(format!("{WEIGHTS} (or {INDEX} and its shards)"));
    }
    missing
}

#[cfg(test)]
mod tests {
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
            text.ends_with("missing: tokenizer.json, model-1.safetensors (named by model.safetensors.index.json)"),
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
}
