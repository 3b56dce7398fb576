//! Models of the Hugging Face hub, in the cache that Python's `huggingface_hub` shares.
//!
//! A snapshot in the cache is a folder like any other, so a cached model is checked as [`folder`] checks
//! a user's. To download, the revision is resolved to a commit once and every file is asked from that
//! commit: a branch that moves in the meantime cannot mix two versions. The branch's entry in the cache is
//! written last, when all files are there.

mod cache;
mod download;
mod transfer;

use std::path::Path;

use super::config::{HubConfig, Network};
use super::digest::{self, HashCheck};
use super::error::HubError;
use super::files::ModelFiles;
use super::name::HubName;
use super::progress::DownloadProgress;
use super::{folder, gguf};

use cache::{RepoCache, named_blob};
use download::Download;

/// The files of `name` and the commit that they came from.
pub(super) fn locate(
    name: &HubName,
    config: &HubConfig,
    progress: &dyn DownloadProgress,
) -> Result<(ModelFiles, String), HubError> {
    let cache = RepoCache::new(config.hf_cache_dir()?, &name.repo);
    // A revision that the cache does not know is taken for a commit, whose snapshot is then empty unless it is one.
    let revision = name.revision();
    let commit = cache.commit(revision).unwrap_or(revision.to_string());
    let missing = match snapshot_files(&cache, name, &commit) {
        Ok(files) => {
            check_small(&files)?;
            return Ok((files, commit));
        }
        Err(HubError::FolderIncomplete { missing, .. }) => missing,
        Err(error) => return Err(error),
    };
    if config.network == Network::CacheOnly {
        return Err(HubError::Offline {
            repo: name.label(),
            missing,
            cache: cache.root().to_path_buf(),
        });
    }
    let commit = Download::new(name, config, &cache, progress)?.run()?;
    Ok((snapshot_files(&cache, name, &commit)?, commit))
}

/// The model in the snapshot of `commit`, or [`HubError::FolderIncomplete`].
fn snapshot_files(cache: &RepoCache, name: &HubName, commit: &str) -> Result<ModelFiles, HubError> {
    let dir = cache.snapshot(commit);
    let Some(file) = &name.gguf else {
        return folder::read(&dir);
    };
    let mut missing = gguf::split_siblings(file);
    let parts = missing.iter().map(|part| dir.join(part)).collect();
    missing.retain(|part| !dir.join(part).is_file());
    if missing.is_empty() {
        return Ok(ModelFiles::Gguf(parts));
    }
    Err(HubError::FolderIncomplete {
        dir,
        missing,
        hint: String::new(),
    })
}

/// Config and tokenizer are compared with the hashes that they go by at each start: they are small, and a flipped bit
/// there need not show. The weights are when their sha256 is asked for.
fn check_small(files: &ModelFiles) -> Result<(), HubError> {
    for path in files.beside_weights() {
        if let Some((blob, hash)) = named_blob(path)
            && let HashCheck::Mismatch(kind, got) = digest::compare(&blob, &hash)?
        {
            return Err(damaged(path, &blob, [format!("{kind} {hash}"), got]));
        }
    }
    Ok(())
}

/// Compares the sha256 of a file with the one that it goes by, if it lies in a Hugging Face cache under one.
pub(super) fn check_known(path: &Path, sha256: &str) -> Result<(), HubError> {
    match named_blob(path) {
        Some((blob, hash)) if digest::is_sha256(&hash) && !hash.eq_ignore_ascii_case(sha256) => {
            let hashes = [format!("sha256 {hash}"), sha256.to_string()];
            Err(damaged(path, &blob, hashes))
        }
        _ => Ok(()),
    }
}

fn damaged(path: &Path, blob: &Path, expected_got: [String; 2]) -> HubError {
    let blob = blob.display();
    let advice = format!("delete {blob} and run the command again to fetch it anew");
    HubError::mismatch(path.display(), expected_got, advice)
}
