//! The header of a safetensors file: which tensors it holds, and where. Nothing in it is believed before it is
//! checked: names once, sizes without overflow, places one behind the other from the first byte to the last.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::path::Path;

use safetensors::Dtype;
use serde::Deserialize;
use serde::de::value::{Error as DtypeError, StrDeserializer};
use serde::de::{Deserializer, Error, IgnoredAny, IntoDeserializer, MapAccess, Visitor};

use super::files::read_at;
use crate::hub::FileError;
use crate::hub::json::twice;

/// Bytes of a file before its header: the header's length.
const LENGTH_BYTES: u64 = 8;

/// The longest header that is read, bytes: what it becomes in memory is a few times as large. Real headers have
/// some 100 bytes a tensor.
const MAX_HEADER_BYTES: u64 = 8 << 20;

/// What the header says of one tensor.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// The storage type's name.
    pub dtype: String,
    /// Rows first.
    pub shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The tensors of one file.
pub(super) struct Header {
    /// By name.
    pub tensors: HashMap<String, Entry>,
    /// Where the data begin, bytes.
    start: u64,
}

impl Header {
    /// Reads and checks the header. The file must have the length that the header says.
    pub fn read(path: &Path, file: &File) -> Result<Header, FileError> {
        let length = file.metadata().map_err(FileError::read(path))?.len();
        let (text, start) = header_text(path, file, length)?;
        let tensors = serde_json::from_slice::<Tensors>(&text);
        let Tensors(tensors) =
            tensors.map_err(|why| FileError::damaged(path, format!("its header: {why}")))?;
        let header = Header { tensors, start };
        let checked = header.check(length - start);
        checked.map_err(|why| FileError::damaged(path, why))?;
        Ok(header)
    }

    /// Where a tensor begins in the file, bytes.
    pub fn offset(&self, entry: &Entry) -> u64 {
        self.start + entry.data_offsets.0
    }

    /// Every tensor has the bytes that its shape and type ask for, and they lie one behind the other in all the data.
    fn check(&self, data_bytes: u64) -> Result<(), String> {
        let mut entries: Vec<(&String, &Entry)> = self.tensors.iter().collect();
        entries.sort_unstable_by_key(|(name, entry)| (entry.data_offsets, *name));
        let mut end = 0;
        let mut before = "the header";
        for (name, entry) in entries {
            let (first, last) = entry.data_offsets;
            if first != end {
                let relation = if first < end {
                    "inside"
                } else {
                    "not directly after"
                };
                return Err(format!(
                    "tensor {name} begins at byte {first} of the data, {relation} {before}, which ends at byte {end}"
                ));
            }
            entry.check(name)?;
            (before, end) = (name, last);
        }
        if end == data_bytes {
            return Ok(());
        }
        Err(format!(
            "the tensors take {end} bytes by the header, the file has {data_bytes}"
        ))
    }
}

impl Entry {
    /// The storage type, where it is one of the format's.
    pub fn known_dtype(&self) -> Option<Dtype> {
        let name: StrDeserializer<DtypeError> = self.dtype.as_str().into_deserializer();
        Dtype::deserialize(name).ok()
    }

    /// The bytes of shape and type are those between the offsets. Of a type that is not known the size is not.
    fn check(&self, name: &str) -> Result<(), String> {
        let (first, last) = self.data_offsets;
        let Some(there) = last.checked_sub(first) else {
            return Err(format!(
                "tensor {name} ends at byte {last}, before its begin, {first}"
            ));
        };
        let Some(dtype) = self.known_dtype() else {
            return Ok(());
        };
        let bits = self
            .shape
            .iter()
            .try_fold(dtype.bitsize() as u64, |product, n| product.checked_mul(*n));
        match bits {
            Some(bits) if bits.div_ceil(8) == there => Ok(()),
            _ => Err(format!(
                "tensor {name} of shape {:?} and type {dtype} does not have the {there} bytes between its offsets",
                self.shape
            )),
        }
    }
}

/// The header's bytes, and where the data begin.
fn header_text(path: &Path, file: &File, length: u64) -> Result<(Vec<u8>, u64), FileError> {
    if length < LENGTH_BYTES {
        return Err(FileError::damaged(
            path,
            format!("{length} bytes are no safetensors file"),
        ));
    }
    let mut bytes = [0; LENGTH_BYTES as usize];
    read_at(file, &mut bytes, 0).map_err(FileError::read(path))?;
    let header_bytes = u64::from_le_bytes(bytes);
    let most = MAX_HEADER_BYTES.min(length - LENGTH_BYTES);
    if header_bytes > most {
        return Err(FileError::damaged(
            path,
            format!(
                "its header has {header_bytes} bytes by its first 8 bytes, and at most {most} can be"
            ),
        ));
    }
    let mut text = vec![0; header_bytes as usize];
    read_at(file, &mut text, LENGTH_BYTES).map_err(FileError::read(path))?;
    Ok((text, LENGTH_BYTES + header_bytes))
}

/// The header's object: tensors by name, each once, beside `__metadata__`, which says nothing of them.
struct Tensors(HashMap<String, Entry>);

impl<'de> Deserialize<'de> for Tensors {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(TensorsVisitor)
    }
}

struct TensorsVisitor;

impl<'de> Visitor<'de> for TensorsVisitor {
    type Value = Tensors;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tensors, A::Error> {
        let mut tensors = HashMap::new();
        let mut has_metadata = false;
        while let Some(name) = entries.next_key::<String>()? {
            let is_twice = match name.as_str() {
                "__metadata__" => {
                    entries.next_value::<IgnoredAny>()?;
                    std::mem::replace(&mut has_metadata, true)
                }
                _ => {
                    let entry = entries.next_value();
                    let entry =
                        entry.map_err(|why| A::Error::custom(format!("tensor {name}: {why}")))?;
                    tensors.insert(name.clone(), entry).is_some()
                }
            };
            if is_twice {
                return Err(A::Error::custom(twice(&name)));
            }
        }
        Ok(Tensors(tensors))
    }
}
