//! How much room a disk has.

use std::path::Path;

/// Bytes that are free where a folder is, or will be; absent where the system does not say.
pub fn free_space(folder: &Path) -> Option<u64> {
    let folder = std::path::absolute(folder).ok()?;
    let there = folder.ancestors().find(|folder| folder.is_dir())?;
    bytes_free(there)
}

#[cfg(unix)]
fn bytes_free(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
fn bytes_free(_: &Path) -> Option<u64> {
    None
}
