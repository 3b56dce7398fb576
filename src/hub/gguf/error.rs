//! What can be wrong with a GGUF file as a file, whatever model it holds.

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
    /// It does not begin with `GGUF`.
    #[error("{} is no GGUF file: its first four bytes are not `GGUF`", path.display())]
    NotGguf {
        /// The file.
        path: PathBuf,
    },
    /// Its version is not read here.
    #[error(
        "{} has version {version} of the GGUF format; accepted: 2, 3; convert the model again with a newer llama.cpp",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        version: u32,
    },
    /// It was written for big-endian machines.
    #[error(
        "{} is a big-endian GGUF file; accepted: little-endian; convert the model again without --bigendian",
        path.display()
    )]
    BigEndian {
        /// The file.
        path: PathBuf,
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
    /// A key or a tensor that stands in the file, or in its parts, more than once.
    #[error("{}: {what} stands there twice, and it is not known which one counts; fetch or convert the file again", path.display())]
    Twice {
        /// The file that has it for the second time.
        path: PathBuf,
        /// The key or the tensor.
        what: String,
    },
    /// A storage type that is not read.
    #[error(
        "{}: tensor {tensor} is stored as {found}, which is not read; accepted: {READ_TYPES}; use a file of one of \
         these types, or the model's safetensors folder",
        path.display()
    )]
    StorageType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// A value of a key that says how the file is laid out.
    #[error("{}: {key} = {found} is not supported; accepted: {accepted}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What is accepted.
        accepted: String,
    },
    /// One of several parts whose name does not say which.
    #[error(
        "{} is one of {count} parts (split.count), and its name must say which, so that the others are found: \
         `NAME-00001-of-{count:05}.gguf`; give it the name that it had",
        path.display()
    )]
    PartName {
        /// The file.
        path: PathBuf,
        /// Number of parts.
        count: usize,
    },
    /// Parts that are not beside the given one.
    #[error(
        "{} is one of {count} parts, and these are not beside it: {}; fetch them into the same folder",
        path.display(), missing.join(", ")
    )]
    PartsMissing {
        /// The file.
        path: PathBuf,
        /// Number of parts.
        count: usize,
        /// The names of the missing ones, the first few.
        missing: Vec<String>,
    },
    /// A part of another model, or the same part again.
    #[error("{} does not belong to the other parts: {why}; fetch all parts of one model again", path.display())]
    ForeignPart {
        /// The file.
        path: PathBuf,
        /// What does not fit.
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
}
