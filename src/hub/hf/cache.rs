//! One repository's folder in the Hugging Face cache, laid out as `huggingface_hub` lays it out, which shares it:
//!
//! ```text
//! models--ORG--NAME/blobs/ETAG                     the bytes, under their hash
//! models--ORG--NAME/blobs/ETAG.incomplete          what has come of them so far
//! models--ORG--NAME/snapshots/COMMIT/FILE          a link to the blob
//! models--ORG--NAME/refs/REVISION                  the commit of a branch or tag
//! .locks/models--ORG--NAME/ETAG.lock               held while the blob is written
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::hub::error::HubError;
use crate::hub::progress::DownloadProgress;
use crate::hub::{lock, plain, scratch};

pub(super) struct RepoCache {
    root: PathBuf,
    /// `models--ORG--NAME`
    name: String,
}

impl RepoCache {
    /// `repo` is `org/name`, checked.
    pub fn new(root: PathBuf, repo: &str) -> Self {
        let name = format!("models--{}", repo.replace('/', "--"));
        Self { root, name }
    }

    /// The whole cache.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn dir(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.dir().join("snapshots").join(commit)
    }

    pub fn blob(&self, etag: &str) -> PathBuf {
        self.dir().join("blobs").join(etag)
    }

    /// The commit of a branch or tag when it was last fetched; what is no commit's name counts as unknown.
    pub fn commit(&self, revision: &str) -> Option<String> {
        let text = fs::read_to_string(self.dir().join("refs").join(revision)).ok()?;
        Some(text.trim().to_string()).filter(|commit| plain::is_commit(commit))
    }

    /// Notes the commit of a branch or tag; a reader sees the old or the new one, never a part.
    pub fn set_commit(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if revision == commit || self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.dir().join("refs").join(revision);
        let dir = self.writable_parent(&path)?;
        let write = || {
            let mut file = scratch::temporary(&dir)?;
            file.write_all(commit.as_bytes())?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(HubError::io("write", &path))
    }

    /// Makes the folder of `path`, unless a link on the way there leads out of the repository's folder.
    pub fn writable_parent(&self, path: &Path) -> Result<PathBuf, HubError> {
        let (repo, dir) = (self.dir(), path.parent().unwrap_or(&self.root));
        let whole = |path: &Path| fs::canonicalize(path).map_err(HubError::io("read", path));
        fs::create_dir_all(&repo).map_err(HubError::io("create the folder", &repo))?;
        let there = dir.ancestors().find(|dir| dir.exists()).unwrap_or(&repo);
        if !whole(there)?.starts_with(whole(&repo)?) {
            return Err(HubError::StrangeLink {
                path: dir.to_path_buf(),
            });
        }
        fs::create_dir_all(dir).map_err(HubError::io("create the folder", dir))?;
        Ok(dir.to_path_buf())
    }

    /// The file for a blob's bytes on their way, with what an earlier download left in it.
    pub fn open_part(&self, part: &Path) -> Result<File, HubError> {
        self.writable_parent(part)?;
        if part.is_symlink() {
            let path = part.to_path_buf();
            return Err(HubError::StrangeLink { path });
        }
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(part)
            .map_err(HubError::io("create", part))
    }

    /// Puts `file` into the snapshot as a link to the blob, or as the blob itself where links cannot be made.
    pub fn link(&self, blob: &Path, commit: &str, file: &str) -> Result<PathBuf, HubError> {
        let pointer = self.snapshot(commit).join(file);
        self.writable_parent(&pointer)?;
        if pointer.is_symlink() && !pointer.exists() {
            fs::remove_file(&pointer).map_err(HubError::io("remove the dead link", &pointer))?;
        }
        let up = "../".repeat(2 + file.matches('/').count());
        let name = blob.file_name().unwrap_or_default();
        let target = Path::new(&up).join("blobs").join(name);
        let linked = symlink(&target, &pointer);
        if linked.is_err_and(|error| error.kind() != ErrorKind::AlreadyExists) {
            fs::rename(blob, &pointer).map_err(HubError::io("write", &pointer))?;
        }
        Ok(pointer)
    }

    /// Waits until no other process, `huggingface_hub` included, writes this blob; `None` on a file system without
    /// locks.
    pub fn lock(
        &self,
        etag: &str,
        what: &str,
        progress: &dyn DownloadProgress,
    ) -> Result<Option<File>, HubError> {
        let dir = self.root.join(".locks").join(&self.name);
        fs::create_dir_all(&dir).map_err(HubError::io("create the folder", &dir))?;
        lock::hold(&dir.join(format!("{etag}.lock")), what, progress)
    }
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

/// The blob behind a file of a snapshot, and the hash that it goes by.
pub(in crate::hub) fn named_blob(path: &Path) -> Option<(PathBuf, String)> {
    let blob = fs::canonicalize(path).ok()?;
    let name = blob.file_name()?.to_str()?.to_string();
    let folder = blob.parent()?;
    let repo = folder.parent()?.file_name()?.to_str()?;
    let in_cache = folder.file_name()? == "blobs" && repo.starts_with("models--");
    let is_hash = plain::etag(&name) == Some(name.as_str());
    (in_cache && is_hash).then_some((blob, name))
}
