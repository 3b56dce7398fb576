//! What a gated decoder is: its configuration, the family table, its weights and its layers.
//!
//! [`Config`] is read from `config.json` or GGUF metadata and says everything about the arithmetic;
//! [`Checkpoint`] reads tensors by role, whatever the file format; [`Layer`] computes. The order in
//! which layers, prompts and conditions meet is the engine's business, not this stage's.

mod activation;
mod attention;
mod checkpoint;
mod config;
mod config_check;
mod estimate;
mod family;
mod files;
mod gguf_config;
mod hf_attention;
mod hf_config;
mod hf_folder;
mod hf_keys;
mod hf_object;
mod hf_rope;
mod kinds;
mod layer;
mod linear;
mod norm;
mod other_tensors;
mod read_ahead;
mod rope;
mod safetensors_header;
mod softcap;
mod store;
mod tensors;
mod weights;

pub use activation::Activation;
pub use attention::{AttentionTables, KeysValues, SharedRows, TokenRows};
pub use checkpoint::Checkpoint;
pub use config::{AttentionSpec, Config};
pub use estimate::{MemoryEstimate, MemoryLimit, MemoryPlan, Residency};
pub use family::{Check, FAMILIES, Family, REFUSED, Refused, Weights};
pub use kinds::NormKind;
pub use layer::Layer;
pub use rope::{RopeScaling, RopeSpec};
pub use store::{Format, TensorStore};
pub use tensors::{LayerTensor, ModelTensor};
pub use weights::{HeadBlock, LoadOptions, Mlp, Model};

use std::path::{Path, PathBuf};

use crate::hub::gguf::GgufFileError;

/// What can be wrong with a model's files.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file that could not be opened or read.
    #[error("cannot read {}: {why}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// A file that is not what its name says, or that ends too early.
    #[error("{} is damaged or incomplete: {why}; fetch it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// A file that is another one than when the model was opened.
    #[error(
        "{} was changed while it was in use: what was computed may mix two models; run again when it stays as it is",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A tensor that is needed and stored in a type that is not read.
    #[error(
        "{}: tensor {name} is stored as {found}; read are F32, F16 and BF16{}",
        path.display(),
        stored_type_hint(found)
    )]
    StoredType {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        name: String,
        /// Its type.
        found: String,
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
    /// A value outside the range in which it has a meaning.
    #[error("{file}: {key} = {value} is out of range; allowed: {allowed}")]
    OutOfRange {
        /// Where the value stands.
        file: &'static str,
        /// The key.
        key: String,
        /// The value found.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// A value in the configuration that this version does not compute.
    #[error("{file}: {key} = {value} is not supported; accepted: {accepted}")]
    Unsupported {
        /// Where the value stands: `config.json` or `GGUF metadata`.
        file: &'static str,
        /// The key.
        key: String,
        /// The value found.
        value: String,
        /// The values that are accepted.
        accepted: String,
    },
    /// A key that the configuration must have.
    #[error("{file} has no {key}, which a {family} model needs")]
    MissingKey {
        /// Where it should stand.
        file: &'static str,
        /// The key.
        key: String,
        /// The family that needs it.
        family: &'static str,
    },
    /// A kind of model that cannot run here.
    #[error("{file}: {key} = {value} is not supported: {reason}; `gatelens models` lists what is")]
    Refused {
        /// Where the value stands.
        file: &'static str,
        /// The key.
        key: &'static str,
        /// The value found.
        value: String,
        /// Why not.
        reason: &'static str,
    },
    /// A tensor that the checkpoint does not have.
    #[error("the checkpoint has no tensor {name}")]
    MissingTensor {
        /// The tensor's name in the file.
        name: String,
    },
    /// Tensors that this family's arithmetic has no place for: leaving them out would give other numbers.
    #[error(
        "the checkpoint has tensors that a {family} model does not use: {}; this variant is not supported{}",
        names.join(", "),
        other_tensors::hint(names)
    )]
    UnknownTensors {
        /// The family that the configuration names.
        family: &'static str,
        /// The first few of them.
        names: Vec<String>,
    },
    /// A tensor whose shape is not what the configuration says.
    #[error("tensor {name} has shape {found:?}, the configuration says {expected:?}")]
    Shape {
        /// The tensor's name in the file.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// The memory limit is below what even reading layer by layer needs.
    #[error(
        "--max-memory {limit} is too little: even read layer by layer this model needs {needed_mib} MiB; \
         raise it to at least that"
    )]
    Memory {
        /// The limit, in words.
        limit: String,
        /// What streamed mode needs, MiB.
        needed_mib: u64,
    },
    /// The memory that is free is below what even reading layer by layer needs.
    #[error(
        "{usable_mib} MiB of memory can be used now, and even read layer by layer this model needs {needed_mib} MiB; \
         close other programs, or insist with --max-memory {needed_mib}MiB and let the system swap"
    )]
    AvailableMemory {
        /// What can be used, MiB.
        usable_mib: u64,
        /// What streamed mode needs, MiB.
        needed_mib: u64,
    },
    /// What is wrong in the named file.
    #[error("{}: {why}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: Box<ModelError>,
    },
    /// A GGUF file that cannot be read, or parts that do not belong together.
    #[error(transparent)]
    Gguf(#[from] GgufFileError),
    /// An error of the tensor library.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// What to do about a tensor of a type that is not read.
fn stored_type_hint(found: &str) -> &'static str {
    match found {
        "F64" => ": convert it with `tensor.to(torch.float32)`",
        "F4" | "F6_E2M3" | "F6_E3M2" | "I8" | "U8" | "I32" | "I64" => {
            ": this is a quantized model; take the unquantized one, or a GGUF file of it"
        }
        name if name.starts_with("F8") => {
            ": this is a model in FP8; take the one in BF16, or a GGUF file of it"
        }
        _ => "",
    }
}

impl ModelError {
    /// The error with the file's name before it, for those that do not name one.
    fn in_file(self, path: &Path) -> Self {
        match self {
            ModelError::Read { .. }
            | ModelError::Damaged { .. }
            | ModelError::Gguf(_)
            | ModelError::Changed { .. }
            | ModelError::StoredType { .. }
            | ModelError::NotFinite { .. }
            | ModelError::InFile { .. } => self,
            other => ModelError::InFile {
                path: path.to_path_buf(),
                why: Box::new(other),
            },
        }
    }

    fn unsupported(file: &'static str, key: &str, value: &str, accepted: &str) -> Self {
        ModelError::Unsupported {
            file,
            key: key.to_string(),
            value: value.to_string(),
            accepted: accepted.to_string(),
        }
    }
}
