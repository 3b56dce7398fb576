//! The header of one file, from the first byte to the first tensor's data.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use super::header::{self, ALIGNMENT, Cursor, MAGIC};
use super::tensors::{self, GgufTensor};
use super::value::Value;
use crate::hub::file_error::FileError;

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
    /// [`FileError`] with the file, and the key or tensor at fault.
    pub fn open(path: &Path) -> Result<GgufFile, FileError> {
        let file = File::open(path).map_err(FileError::read(path))?;
        GgufFile::read(path, &mut BufReader::new(file))
    }

    /// Reads a header from a stream that holds a whole file; `path` is for messages.
    ///
    /// # Errors
    /// As [`GgufFile::open`].
    pub fn read(path: &Path, stream: &mut (impl Read + Seek)) -> Result<GgufFile, FileError> {
        let mut cursor = Cursor::new(path, stream)?;
        cursor.check_version()?;
        let n_tensors = cursor.count("the number of tensors")?;
        let n_keys = cursor.count("the number of keys")?;
        let metadata = cursor.metadata(n_keys)?;
        let alignment = header::alignment(path, &metadata)?;
        let mut tensors = tensors::read_entries(&mut cursor, n_tensors)?;
        let aligned = cursor.at.checked_next_multiple_of(alignment);
        // Without tensors nothing is filled up.
        let start = if tensors.is_empty() {
            Some(cursor.at)
        } else {
            aligned
        };
        let start = start.ok_or_else(|| cursor.damaged(ALIGNMENT, "leads beyond the file"))?;
        let end = tensors::place(&cursor, &mut tensors, start, alignment)?;
        cursor.check_end(end, alignment)?;
        Ok(GgufFile {
            path: path.to_path_buf(),
            metadata,
            tensors,
        })
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
