//! A checkpoint's files: positioned reads, and whether a file is still the one whose header was read.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::error::ModelError;
use crate::hub::{FileError, identity};

/// What tells a file from its later self: its bytes, when it was changed, and its device and number, which another file
/// of the same name does not share. A change of its bytes shows in one of these.
type Stamp = (u64, Option<SystemTime>, Option<(u64, u64)>);

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.len(), metadata.modified().ok(), identity(metadata))
}

/// A file as it was when the model was opened.
#[derive(Debug)]
pub(super) struct TrackedFile {
    pub path: PathBuf,
    stamp: Stamp,
}

impl TrackedFile {
    /// Notes the file's size and time.
    pub fn new(path: &Path) -> Result<TrackedFile, FileError> {
        let metadata = std::fs::metadata(path).map_err(FileError::read(path))?;
        Ok(TrackedFile {
            path: path.to_path_buf(),
            stamp: stamp(&metadata),
        })
    }

    /// Whether the open `file` is the noted one.
    pub fn check_open(&self, file: &File) -> Result<(), ModelError> {
        let metadata = file.metadata().map_err(FileError::read(&self.path))?;
        self.check(&metadata)
    }

    /// Whether what now has the file's name is the noted file.
    pub fn check_named(&self) -> Result<(), ModelError> {
        let metadata = std::fs::metadata(&self.path).map_err(FileError::read(&self.path))?;
        self.check(&metadata)
    }

    fn check(&self, metadata: &Metadata) -> Result<(), ModelError> {
        if stamp(metadata) == self.stamp {
            return Ok(());
        }
        let path = self.path.clone();
        Err(ModelError::Changed { path })
    }
}

pub(super) fn open(path: &Path) -> Result<File, FileError> {
    File::open(path).map_err(FileError::read(path))
}

#[cfg(unix)]
pub(super) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
pub(super) fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[read..];
        offset += read as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_noticed_by_handle_and_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        std::fs::write(&path, "abcd").unwrap();
        let (tracked, file) = (TrackedFile::new(&path).unwrap(), open(&path).unwrap());
        tracked.check_open(&file).unwrap();
        tracked.check_named().unwrap();
        // Another file of the same size under the same name: the open one is still whole.
        std::fs::write(dir.path().join("new"), "abce").unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        tracked.check_open(&file).unwrap();
        let error = tracked.check_named().unwrap_err().to_string();
        assert!(
            error.contains("model.safetensors") && error.contains("changed"),
            "{error}"
        );
        // Bytes added in place.
        let tracked = TrackedFile::new(&path).unwrap();
        let file = open(&path).unwrap();
        std::fs::write(&path, "abcdef").unwrap();
        assert!(tracked.check_open(&file).is_err() && tracked.check_named().is_err());
    }
}
