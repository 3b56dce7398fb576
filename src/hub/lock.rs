//! A lock file that keeps other processes out.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use super::error::HubError;
use super::identity::identity;
use super::progress::DownloadProgress;

/// Holds the lock file at `path` until the returned file is dropped; says so where another process has it.
pub(super) fn hold(
    path: &Path,
    what: &str,
    progress: &dyn DownloadProgress,
) -> Result<Option<File>, HubError> {
    loop {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(HubError::io("create", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress.note(&format!(
                    "another process is fetching {what} (it holds {}); waiting for it to end",
                    path.display()
                ));
                file.lock().map_err(HubError::io("lock", path))?;
            }
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                return Ok(None);
            }
            Err(TryLockError::Error(error)) => return Err(HubError::io("lock", path)(error)),
        }
        // Whoever had it may have removed it, and then it keeps nobody out.
        if is_still_at(&file, path) {
            return Ok(Some(file));
        }
    }
}

fn is_still_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(found)) => identity(&held) == identity(&found),
        _ => false,
    }
}
