//! Models of the Hugging Face hub, through the hf-hub crate and in its cache, which Python's
//! `huggingface_hub` shares.
//!
//! A snapshot in the cache is a folder like any other, so a cached model is checked as [`folder`] checks
//! a user's. To download, the revision is resolved to a commit once and every file is asked from that
//! commit: a branch that moves in the meantime cannot mix two versions. The branch's entry in the cache is
//! written last, when all files are there.

mod blob;
mod download;

use std::fs;

use hf_hub::{Cache, Repo, RepoType};

use super::name::HubName;
use super::{DownloadProgress, HubConfig, HubError, ModelFiles, Network, folder, gguf};

use download::Download;

/// The files of `name` and the commit that they came from.
pub(super) fn locate(
    name: &HubName,
    config: &HubConfig,
    progress: &dyn DownloadProgress,
) -> Result<(ModelFiles, String), HubError> {
    let cache = Cache::new(config.hf_cache_dir()?);
    let commit = cached_commit(&cache, name);
    let missing = match snapshot_files(&cache, name, &commit) {
        Ok(files) => return Ok((files, commit)),
        Err(HubError::FolderIncomplete { missing, .. }) => missing,
        Err(error) => return Err(error),
    };
    if config.network == Network::CacheOnly {
        return Err(HubError::Offline {
            repo: label(name),
            missing,
            cache: cache.path().clone(),
        });
    }
    let commit = Download::new(name, config, cache.clone(), progress)?.run()?;
    Ok((snapshot_files(&cache, name, &commit)?, commit))
}

/// The commit that the cache has for the name's revision. A revision that is unknown there is taken for
/// a commit itself, whose snapshot is then empty unless it is one.
fn cached_commit(cache: &Cache, name: &HubName) -> String {
    let refs = cache
        .path()
        .join(repo(name, name.revision()).folder_name())
        .join("refs");
    match fs::read_to_string(refs.join(name.revision())) {
        Ok(commit) => commit.trim().to_string(),
        Err(_) => name.revision().to_string(),
    }
}

/// The model in the snapshot of `commit`, or [`HubError::FolderIncomplete`].
fn snapshot_files(cache: &Cache, name: &HubName, commit: &str) -> Result<ModelFiles, HubError> {
    let dir = cache.repo(repo(name, commit)).pointer_path(commit);
    let Some(file) = &name.gguf else {
        return folder::read(&dir);
    };
    let names = gguf::split_siblings(file);
    let missing: Vec<String> = names
        .iter()
        .filter(|name| !dir.join(name).is_file())
        .cloned()
        .collect();
    if missing.is_empty() {
        let parts = names.iter().map(|name| dir.join(name)).collect();
        return Ok(ModelFiles::Gguf(parts));
    }
    Err(HubError::FolderIncomplete {
        dir,
        missing,
        hint: String::new(),
    })
}

fn repo(name: &HubName, revision: &str) -> Repo {
    Repo::with_revision(name.repo.clone(), RepoType::Model, revision.to_string())
}

fn label(name: &HubName) -> String {
    format!("{}@{}", name.repo, name.revision())
}
