//! The header of a GGUF file: its metadata, and where its tensors lie.
//!
//! A file comes from anywhere, so nothing that it says of itself is believed: every length is held against what is
//! left of the file before memory is asked for it, no key and no tensor may stand there twice, and the tensors must lie
//! one behind the other from the first to the end of the file, as llama.cpp's reader (`gguf.cpp`) has it. What the
//! keys mean is for the stages of tokens and model to say.

mod error;
mod header;
mod split;
mod tensors;
mod value;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

pub use error::GgufFileError;
pub use split::{name_of_whole, parts, read_parts, split_siblings};
pub use tensors::GgufTensor;
pub use value::{Value, ValueType};

/// The first bytes of every GGUF file.
const MAGIC: &[u8; 4] = b"GGUF";

/// The header of one GGUF file.
#[derive(Debug)]
pub struct GgufFile {
    /// The file.
    pub path: PathBuf,
    /// Its keys and values.
    pub metadata: BTreeMap<String, Value>,
    /// Its tensors in the order of the file, which is that of their data.
    pub tensors: Vec<GgufTensor>,
}

impl GgufFile {
    /// Reads the header of a file, which must be whole.
    ///
    /// # Errors
    /// [`GgufFileError`] with the file, and the key or tensor at fault.
    pub fn open(path: &Path) -> Result<GgufFile, GgufFileError> {
        let file = File::open(path).map_err(GgufFileError::read(path))?;
        GgufFile::read(path, &mut BufReader::new(file))
    }

    /// Reads a header from a stream that holds a whole file; `path` is for messages.
    ///
    /// # Errors
    /// As [`GgufFile::open`].
    pub fn read(path: &Path, stream: &mut (impl Read + Seek)) -> Result<GgufFile, GgufFileError> {
        header::read(path, stream)
    }
}

/// Whether a file begins as GGUF files do, whatever its name; one that cannot be read does not.
pub fn has_magic(path: &Path) -> bool {
    let mut magic = [0; MAGIC.len()];
    // Opening a pipe would wait for its writer.
    path.is_file()
        && File::open(path).is_ok_and(|mut file| file.read_exact(&mut magic).is_ok())
        && magic == *MAGIC
}
