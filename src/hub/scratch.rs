//! A folder for what one fetch needs on its way, held by a lock file: `.NAME.fetch-RANDOM` and `.NAME.lock` beside the
//! models. Whoever gets the lock knows that the folders of that name belong to no live process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::{NamedTempFile, TempDir};

use super::error::HubError;
use super::lock;
use super::progress::DownloadProgress;

/// Between a name and what is random.
const INFIX: &str = ".fetch-";

/// Files on their way. Version 0.1.0, which held no lock, was done with one within seconds.
const OLD_PREFIX: &str = ".partial-";
const OLD_AFTER: Duration = Duration::from_secs(600);

/// The folder and its lock; both end with it.
pub(super) struct Scratch {
    dir: TempDir,
    _lock: Option<File>,
}

impl Scratch {
    /// A folder in `parent`; waits as long as another process has one of that name.
    pub fn new(
        parent: &Path,
        name: &str,
        progress: &dyn DownloadProgress,
    ) -> Result<Self, HubError> {
        let held = lock::hold(&lock_path(parent, name), name, progress)?;
        let dir = tempfile::Builder::new()
            .prefix(&format!(".{name}{INFIX}"))
            .tempdir_in(parent)
            .map_err(HubError::io("create a folder in", parent))?;
        Ok(Self { dir, _lock: held })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes what ended processes left in `parent`. What cannot be removed now stays for the next time.
pub(super) fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some((of, _)) = name
            .strip_prefix('.')
            .and_then(|name| name.split_once(INFIX))
        {
            // Not created here: without a lock file, nobody holds it.
            let lock = File::options().write(true).open(lock_path(parent, of));
            let free = lock.as_ref().map_or(true, |lock| lock.try_lock().is_ok());
            if free && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        } else if name.starts_with(OLD_PREFIX) && is_old(&entry) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A new file in `dir`, with the permissions of any other file of the user: a cache may be shared.
pub(super) fn temporary(dir: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(OLD_PREFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    builder.tempfile_in(dir)
}

fn is_old(entry: &fs::DirEntry) -> bool {
    let modified = entry.metadata().ok().filter(|file| file.is_file());
    let age = modified.and_then(|file| file.modified().ok()?.elapsed().ok());
    age.is_some_and(|age| age > OLD_AFTER)
}

fn lock_path(parent: &Path, name: &str) -> PathBuf {
    parent.join(format!(".{name}.lock"))
}
