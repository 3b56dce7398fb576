//! What a gated decoder is: its configuration, the family table, its weights and its layers.
//!
//! [`Config`] is read from `config.json` or GGUF metadata and says everything about the arithmetic;
//! [`Checkpoint`] reads tensors by role, whatever the file format; [`Layer`] computes. The order in
//! which layers, prompts and conditions meet is the engine's business, not this stage's.

mod activation;
mod attention;
mod checkpoint;
mod config;
mod config_keys;
mod error;
mod estimate;
mod export;
mod family;
mod files;
mod gguf_config;
mod gradient;
mod hf_attention;
mod hf_config;
mod hf_folder;
mod hf_keys;
mod hf_rope;
mod hf_write;
mod kinds;
mod layer;
mod layer_reader;
mod linear;
mod mlp;
#[allow(clippy::module_inception)] // `Model` is what the stage is about.
mod model;
mod norm;
mod object;
mod operations;
mod other_tensors;
mod read_ahead;
mod reading;
mod rope;
mod safetensors_header;
mod shuffle;
mod softcap;
mod store;
mod tensors;

pub use activation::Activation;
pub use attention::{AttentionTables, KeysValues, SharedRows, TokenRows};
pub use checkpoint::Checkpoint;
pub use config::{AttentionSpec, Config};
pub use error::ModelError;
pub use estimate::{MemoryEstimate, MemoryLimit, MemoryPlan, Residency};
pub use export::Export;
pub use family::{Check, FAMILIES, Family, REFUSED, Refused, Weights};
pub use kinds::NormKind;
pub use layer::Layer;
pub use mlp::Mlp;
pub use model::{HeadBlock, LoadOptions, Model};
pub use operations::Operations;
pub use rope::{RopeScaling, RopeSpec};
pub use shuffle::RunWeights;
pub use store::{Format, TensorStore};
pub use tensors::{LayerTensor, ModelTensor};
