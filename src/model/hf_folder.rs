//! Whether the files of a folder belong together: configuration, index, and the tensors that the weight files hold.

use std::collections::BTreeMap;
use std::path::Path;

use super::config::Config;
use super::error::ModelError;
use super::files::damaged;
use super::store::TensorStore;
use crate::hub;

/// What an index says: tensor name -> shard.
pub(super) type WeightMap = BTreeMap<String, String>;

/// Every tensor of the index is in the shard that it names.
pub(super) fn check_index(index: &Path, store: &TensorStore) -> Result<WeightMap, ModelError> {
    let bad = damaged::<String>(index);
    let map = hub::weight_map(index).map_err(|why| bad(why.to_string()))?;
    for (tensor, shard) in &map {
        let there = store.file_of(tensor).and_then(Path::file_name);
        match there {
            Some(there)
                if there.to_str() == Path::new(shard).file_name().and_then(|n| n.to_str()) => {}
            Some(there) => {
                return Err(bad(format!(
                    "it says that tensor {tensor} is in {shard}, and it is in {}",
                    there.display()
                )));
            }
            None => {
                return Err(bad(format!(
                    "it says that tensor {tensor} is in {shard}, which does not have it"
                )));
            }
        }
    }
    Ok(map)
}

/// Every tensor of the shards is in the index.
pub(super) fn check_listed(
    index: &Path,
    map: &WeightMap,
    store: &TensorStore,
) -> Result<(), ModelError> {
    let mut unlisted: Vec<&str> = store
        .names()
        .filter(|name| !map.contains_key(*name))
        .collect();
    unlisted.sort_unstable();
    match unlisted.first() {
        Some(name) => Err(damaged(index)(format!(
            "it does not list tensor {name}, which is in one of its shards"
        ))),
        None => Ok(()),
    }
}

/// The number of layers is that of the layers whose tensors are there.
pub(super) fn check_layers(config: &Config, store: &TensorStore) -> Result<(), ModelError> {
    let (said, there) = (config.n_layers(), store.layers("model.layers."));
    match said == there || there == 0 {
        true => Ok(()),
        false => {
            let accepted = format!(
                "{there}, the number of layers whose tensors (model.layers.N) the weight files have"
            );
            Err(ModelError::value(
                "config.json",
                "num_hidden_layers",
                said,
                &accepted,
            ))
        }
    }
}

/// What was chosen where a folder has the weights twice, or shards without an index.
pub(super) fn beside(dir: &Path, index: Option<&Path>) -> Option<String> {
    match (index, dir.join(hub::WEIGHTS).is_file()) {
        (Some(_), _) => None,
        (None, true) => dir.join(hub::INDEX).is_file().then(|| {
            format!(
                "the folder has {} and an index of shards besides: {0}, as in transformers",
                hub::WEIGHTS
            )
        }),
        (None, false) => Some(format!(
            "the folder has no {}: all shards that their names count",
            hub::INDEX
        )),
    }
}
