//! A model as a folder: config.json, tokenizer.json, and safetensors in one file or in the shards that
//! an index names. A snapshot in the Hugging Face cache is such a folder too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::HubError;
use super::file_error::FileError;
use super::files::*;
use super::plain::{plain_file_name, shown};
use super::{folder_hint, json};

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
        Some(_) if dir.join(ADAPTER).is_file() => {
            let why = format!(
                "has weights and an adapter (adapter_config.json): transformers would run the model with the adapter, and \
                 it is not computed here; merge it into the weights, or take the file out of the folder:\n  {}",
                folder_hint::merge_line(dir)
            );
            Err(FileError::unusable(dir, why).into())
        }
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
/// [`FileError::Unusable`]: no JSON, a tensor twice, no tensors, or a name that leads elsewhere.
pub fn weight_map(path: &Path) -> Result<BTreeMap<String, String>, FileError> {
    let bad = |reason: String| {
        FileError::unusable(path, format!("is not a usable index of weights: {reason}"))
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
    let (names, index) = if dir.join(WEIGHTS).is_file() {
        (Some(BTreeSet::from([WEIGHTS.to_string()])), None)
    } else if index.is_file() {
        (Some(shards(&index)?), Some(index))
    } else {
        (counted_shards(&folder_hint::file_names(dir)), None)
    };
    Ok(names.map(|names| WeightNames { names, index }))
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
    let is_missing = |name: &str| !dir.join(name).is_file();
    let mut missing = vec![CONFIG.to_string(), TOKENIZER.to_string()];
    missing.retain(|name| is_missing(name));
    match weights {
        Some(WeightNames { names, index }) => {
            let by = index.as_ref().map(|_| format!(" (named by {INDEX})"));
            let by = by.unwrap_or_default();
            let names = names.iter().filter(|name| is_missing(name));
            missing.extend(names.map(|name| format!("{name}{by}")));
        }
        None => missing.push(format!("{WEIGHTS} (or {INDEX} and its shards)")),
    }
    missing
}

#[cfg(test)]
mod tests;
