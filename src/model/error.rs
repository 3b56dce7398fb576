//! What can be wrong with a model's files.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::hub::FileError;

/// What can be wrong with a model's files.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file that is another one than when the model was opened.
    #[error(
        "{} was changed while it was in use: what was computed may mix two models; run again when it stays as it is",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A weight that is NaN or infinite. Rows and columns count from 0.
    #[error(
        "{}: tensor {name} has {value} in row {row}, column {column}{}; weights must be finite: the file is damaged, \
         or it was made by a conversion or a training that overflowed",
        path.display(),
        neuron.as_ref().map(|neuron| format!(" (neuron {neuron})")).unwrap_or_default()
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        name: String,
        /// Its row.
        row: usize,
        /// Its column.
        column: usize,
        /// The value.
        value: f32,
        /// The neuron, where the weight is one's, as `layer.neuron`.
        neuron: Option<String>,
    },
    /// A value that has no meaning, or that this version does not compute.
    #[error("{file}: {key} = {value} is not supported; accepted: {accepted}")]
    Value {
        /// Where the value stands: `config.json` or `GGUF metadata`.
        file: &'static str,
        /// The key.
        key: String,
        /// The value found.
        value: String,
        /// The values that are accepted.
        accepted: String,
    },
    /// What the model lacks or has too much, in words: a key, a tensor, a family.
    #[error("{0}")]
    Unfit(String),
    /// There is less memory than even reading layer by layer needs; in words.
    #[error("{0}")]
    Memory(String),
    /// What is wrong in the named file.
    #[error("{}: {why}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: Box<ModelError>,
    },
    /// A file that cannot be read, is damaged, or does not belong to the others.
    #[error(transparent)]
    File(#[from] FileError),
    /// An error of the tensor library.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl ModelError {
    /// The error with the file's name before it, for those that do not name one.
    pub(super) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Value { .. } | Self::Unfit(_) | Self::Memory(_) | Self::Candle(_) => {
                let (path, why) = (path.to_path_buf(), Box::new(self));
                Self::InFile { path, why }
            }
            names_it => names_it,
        }
    }

    pub(super) fn value(
        file: &'static str,
        key: impl Into<String>,
        value: impl Display,
        accepted: &str,
    ) -> Self {
        Self::Value {
            file,
            key: key.into(),
            value: value.to_string(),
            accepted: accepted.to_string(),
        }
    }
}
