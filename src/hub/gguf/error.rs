//! What can be wrong with a GGUF file as a file, whatever model it holds.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// The storage types that are read, for messages.
pub(super) const READ_TYPES: &str =
    "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K";

/// A GGUF file that cannot be read; every variant names the file, and the key or the tensor at fault.
#[derive(Debug, thiserror::Error)]
pub enum GgufFileError {
    /// It could not be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A length, a count or a place that the file cannot hold.
    #[error("{} is damaged or incomplete: {what} {why}; fetch it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The key, the tensor or the part of the header.
        what: String,
        /// What does not fit.
        why: String,
    },
    /// It is whole, and not read: another format or version, a storage type, parts that do not belong together.
    #[error("{} {why}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why, and what is accepted, in words that go on from its name.
        why: String,
    },
}

impl GgufFileError {
    pub(super) fn read(path: &Path) -> impl Fn(std::io::Error) -> GgufFileError {
        let path = path.to_path_buf();
        move |source| GgufFileError::Read {
            path: path.clone(),
            source,
        }
    }

    pub(super) fn refused(path: &Path, why: impl Into<String>) -> Self {
        let (path, why) = (path.to_path_buf(), why.into());
        Self::Refused { path, why }
    }

    /// A key or a tensor that stands in the file, or in its parts, more than once.
    pub(super) fn twice(path: &Path, what: impl Display) -> Self {
        let why = format!(
            "is not clear: {what} stands there twice, and it is not known which one counts; fetch or convert the file \
             again"
        );
        Self::refused(path, why)
    }

    /// A value of a key that says how the file is laid out.
    pub(super) fn value(path: &Path, key: &str, found: impl Display, accepted: &str) -> Self {
        let why = format!("has {key} = {found}, which is not supported; accepted: {accepted}");
        Self::refused(path, why)
    }
}
