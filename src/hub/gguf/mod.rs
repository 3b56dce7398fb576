//! The header of a GGUF file: its metadata, and where its tensors lie.
//!
//! A file comes from anywhere, so nothing that it says of itself is believed: every length is held against what is
//! left of the file before memory is asked for it, no key and no tensor may stand there twice, and the tensors must lie
//! one behind the other from the first to the end of the file, as llama.cpp's reader (`gguf.cpp`) has it. What the
//! keys mean is for the stages of tokens and model to say.

mod file;
mod header;
mod split;
mod tensors;
mod twice;
mod value;

pub use file::{GgufFile, has_magic};
pub use split::{name_of_whole, parts, read_parts, split_siblings};
pub use tensors::GgufTensor;
pub use value::{Value, ValueType};
