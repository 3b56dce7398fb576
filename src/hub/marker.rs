//! The file beside a model that says that its hash was checked, in the format of `sha256sum`, with what the file was
//! like then: whoever changes the model afterwards cannot leave its size, its times and its place all as they were.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Whether the file at `path` was found to have this sha256, and has not been touched since.
pub(super) fn holds(path: &Path, sha256: &str) -> bool {
    let written = fs::read_to_string(place(path));
    written.is_ok_and(|written| text(path, sha256).is_some_and(|now| now == written))
}

/// Without a marker (a read-only cache, say) the next start hashes the file again, so a failure to
/// write one is no error.
pub(super) fn write(path: &Path, sha256: &str) {
    if let Some(text) = text(path, sha256) {
        let _ = fs::write(place(path), text);
    }
}

/// A marker that stays all the same is found wrong by its times.
pub(super) fn remove(path: &Path) {
    let _ = fs::remove_file(place(path));
}

fn place(path: &Path) -> PathBuf {
    path.with_extension("gguf.sha256")
}

fn text(path: &Path, sha256: &str) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let modified = metadata.modified().ok()?;
    let modified = modified.duration_since(UNIX_EPOCH).ok()?.as_nanos();
    let name = path.file_name()?.to_str()?;
    let bytes = metadata.len();
    let identity = identity(&metadata);
    Some(format!(
        "# {bytes} bytes, modified {modified}, {identity}\n{sha256}  {name}\n"
    ))
}

/// The time of the last change of any kind, which no program can set, and the place on the disk.
#[cfg(unix)]
fn identity(metadata: &Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    let (s, ns) = (metadata.ctime(), metadata.ctime_nsec());
    format!("changed {s}.{ns:09}, inode {}", metadata.ino())
}

#[cfg(not(unix))]
fn identity(_metadata: &Metadata) -> String {
    String::new()
}
