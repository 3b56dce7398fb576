//! What can be wrong with a file, whatever it should hold.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// A file or folder that cannot be used; every variant names it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It could not be opened or read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is not what its name says, or ends too early: a length, a count or a place that it cannot hold.
    #[error("{} is damaged or incomplete: {why}; fetch it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// It is whole, or not there, and not used.
    #[error("{} {why}", path.display())]
    Unusable {
        /// The file or folder.
        path: PathBuf,
        /// Why, and what to do, in words that go on from its name.
        why: String,
    },
}

impl FileError {
    /// For `map_err`.
    pub(crate) fn read(path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Read {
            path: path.clone(),
            source,
        }
    }

    pub(crate) fn damaged(path: &Path, why: impl Into<String>) -> Self {
        let (path, why) = (path.to_path_buf(), why.into());
        Self::Damaged { path, why }
    }

    pub(crate) fn unusable(path: &Path, why: impl Into<String>) -> Self {
        let (path, why) = (path.to_path_buf(), why.into());
        Self::Unusable { path, why }
    }

    /// A key with a value that is not accepted.
    pub(crate) fn value(path: &Path, key: &str, found: impl Display, accepted: &str) -> Self {
        let why = format!("has {key} = {found}, which is not supported; accepted: {accepted}");
        Self::unusable(path, why)
    }
}
