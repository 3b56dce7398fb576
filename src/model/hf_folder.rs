//! Whether the files of a folder belong together: configuration, index, and the tensors that the weight files hold.

use std::collections::BTreeMap;
use std::path::Path;

use super::config::Config;
use super::error::ModelError;
use super::store::TensorStore;
use crate::hub::{self, FileError};

/// What an index says: tensor name -> shard.
pub(super) type WeightMap = BTreeMap<String, String>;

/// Every tensor of the index is in the shard that it names.
pub(super) fn check_index(index: &Path, store: &TensorStore) -> Result<WeightMap, FileError> {
    let map = hub::weight_map(index).map_err(|why| FileError::damaged(index, why.to_string()))?;
    for (tensor, shard) in &map {
        let there = store.file_of(tensor).and_then(Path::file_name);
        let why = match there {
            Some(there) if Path::new(shard).file_name() == Some(there) => continue,
            Some(there) => format!("is in {shard}, and it is in {}", there.display()),
            None => format!("is in {shard}, which does not have it"),
        };
        return Err(FileError::damaged(
            index,
            format!("it says that tensor {tensor} {why}"),
        ));
    }
    Ok(map)
}

/// Every tensor of the shards is in the index.
pub(super) fn check_listed(
    index: &Path,
    map: &WeightMap,
    store: &TensorStore,
) -> Result<(), FileError> {
    let unlisted = store.names().filter(|name| !map.contains_key(*name));
    unlisted.min().map_or(Ok(()), |name| {
        let why = format!("it does not list tensor {name}, which is in one of its shards");
        Err(FileError::damaged(index, why))
    })
}

/// The number of layers is that of the layers whose tensors are there.
pub(super) fn check_layers(config: &Config, store: &TensorStore) -> Result<(), ModelError> {
    let (said, there) = (config.n_layers(), store.layers("model.layers."));
    if said == there || there == 0 {
        return Ok(());
    }
    let accepted = format!(
        "{there}, the number of layers whose tensors (model.layers.N) the weight files have"
    );
    let key = "num_hidden_layers";
    Err(ModelError::value("config.json", key, said, &accepted))
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
