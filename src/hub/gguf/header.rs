//! Reading a header from the first byte to the first tensor's data.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::twice::twice;
use super::value::{ARRAY, Value, ValueType};
use crate::hub::file_error::FileError;

/// The first bytes of every GGUF file.
pub(super) const MAGIC: &[u8; 4] = b"GGUF";

/// The most keys and the most tensors that a file may have: real ones have some dozens and some thousands, and what
/// each takes in memory, beyond its place in the file, stays within some MiB.
const MOST_ENTRIES: u64 = 1 << 16;

/// The longest key that is read (the specification allows more), and the longest name of a tensor, as in llama.cpp.
const LONGEST_KEY: u64 = 1 << 10;
const LONGEST_TENSOR_NAME: u64 = 63;

pub(super) const ALIGNMENT: &str = "general.alignment";
const DEFAULT_ALIGNMENT: u64 = 32;

/// A stream with what is left of it.
pub(super) struct Cursor<'a, R> {
    pub path: &'a Path,
    stream: R,
    pub at: u64,
    pub length: u64,
}

impl<'a, R: Read + Seek> Cursor<'a, R> {
    pub fn new(path: &'a Path, mut stream: R) -> Result<Self, FileError> {
        let unreadable = FileError::read(path);
        let length = stream.seek(SeekFrom::End(0)).map_err(&unreadable)?;
        stream.rewind().map_err(&unreadable)?;
        Ok(Self {
            path,
            stream,
            at: 0,
            length,
        })
    }

    /// The file ends with the last tensor, or with the zeros that fill up to the alignment. Bytes that were put in anywhere
    /// show here: they push others beyond that end.
    pub fn check_end(&mut self, end: u64, alignment: u64) -> Result<(), FileError> {
        let length = self.length;
        let why =
            format!("ends at byte {end} with its last tensor, but the file has {length} bytes");
        if length > end.checked_next_multiple_of(alignment).unwrap_or(end) {
            return Err(self.damaged("the data", why));
        }
        let sought = self.stream.seek(SeekFrom::Start(end));
        sought.map_err(FileError::read(self.path))?;
        self.at = end;
        let mut rest = Vec::new();
        self.append(length - end, &mut rest, "the end")?;
        if rest.iter().any(|byte| *byte != 0) {
            let why = format!("{why}, and the last of them are not zero");
            return Err(self.damaged("the data", why));
        }
        Ok(())
    }
}

impl<R: Read> Cursor<'_, R> {
    pub fn damaged(&self, what: &str, why: impl Display) -> FileError {
        FileError::damaged(self.path, format!("{what} {why}"))
    }

    /// Reads `count` bytes behind those of `into`, if the file has so many; `what` is for the message.
    fn append(&mut self, count: u64, into: &mut Vec<u8>, what: &str) -> Result<(), FileError> {
        let left = self.length - self.at;
        if count > left {
            let why = format!("takes {count} bytes, and {left} are left of the file");
            return Err(self.damaged(what, why));
        }
        let start = into.len();
        into.resize(start + count as usize, 0);
        let read = self.stream.read_exact(&mut into[start..]);
        read.map_err(FileError::read(self.path))?;
        self.at += count;
        Ok(())
    }

    fn number<const N: usize>(&mut self, what: &str) -> Result<[u8; N], FileError> {
        if self.length - self.at < N as u64 {
            return Err(self.damaged(what, "goes beyond the end of the file"));
        }
        let mut number = [0; N];
        let read = self.stream.read_exact(&mut number);
        read.map_err(FileError::read(self.path))?;
        self.at += N as u64;
        Ok(number)
    }

    pub fn u32(&mut self, what: &str) -> Result<u32, FileError> {
        self.number(what).map(u32::from_le_bytes)
    }

    pub fn u64(&mut self, what: &str) -> Result<u64, FileError> {
        self.number(what).map(u64::from_le_bytes)
    }

    /// A count of entries.
    pub fn count(&mut self, what: &str) -> Result<u64, FileError> {
        let count = self.u64(what)?;
        if count > MOST_ENTRIES {
            let why = format!("is {count}; at most {MOST_ENTRIES} are read");
            return Err(self.damaged(what, why));
        }
        Ok(count)
    }

    /// The name of a key or of a tensor.
    fn name(&mut self, longest: u64, what: &str) -> Result<String, FileError> {
        let length = self.u64(what)?;
        if length == 0 || length > longest {
            let why = format!("has a name of {length} bytes; accepted: 1 to {longest}");
            return Err(self.damaged(what, why));
        }
        let mut bytes = Vec::new();
        self.append(length, &mut bytes, what)?;
        String::from_utf8(bytes).map_err(|_| self.damaged(what, "has a name that is not UTF-8"))
    }

    fn value(&mut self, key: &str) -> Result<Value, FileError> {
        let number = self.u32(key)?;
        let is_array = number == ARRAY;
        let number = if is_array { self.u32(key)? } else { number };
        let of = ValueType::from_repr(number).ok_or_else(|| {
            let why = match number {
                ARRAY => "is an array of arrays, which is not read".to_string(),
                number => format!("has a value of type {number}, which GGUF does not have"),
            };
            self.damaged(key, why)
        })?;
        let count = if is_array { self.u64(key)? } else { 1 };
        let Some(least) = count.checked_mul(of.bytes() as u64) else {
            return Err(self.damaged(key, format!("has {count} items")));
        };
        let mut bytes = Vec::new();
        match of {
            // Each length is checked by itself; the loop ends where the file does.
            ValueType::Text => (0..count).try_for_each(|_| self.text(key, &mut bytes))?,
            _ => self.append(least, &mut bytes, key)?,
        }
        if of == ValueType::Bool && bytes.iter().any(|byte| *byte > 1) {
            return Err(self.damaged(key, "has a boolean that is neither 0 nor 1"));
        }
        bytes.shrink_to_fit();
        let items = is_array.then_some(count as usize);
        Ok(Value { of, items, bytes })
    }

    /// A text with its length.
    fn text(&mut self, key: &str, into: &mut Vec<u8>) -> Result<(), FileError> {
        let length = self.u64(key)?;
        into.extend(length.to_le_bytes());
        self.append(length, into, key)
    }

    /// Passes over the magic and the version, which must be those that are read.
    pub fn check_version(&mut self) -> Result<(), FileError> {
        let path = self.path;
        let refused = |why: &str| Err(FileError::unusable(path, why));
        if self.length < MAGIC.len() as u64 || self.number::<4>("its first bytes")? != *MAGIC {
            return refused("is no GGUF file: its first four bytes are not `GGUF`");
        }
        match self.u32("its version")? {
            2 | 3 => Ok(()),
            // llama.cpp's test: small numbers, seen from the wrong end, have nothing in their lower half.
            version if version != 0 && version.trailing_zeros() >= 16 => refused(
                "is a big-endian GGUF file; accepted: little-endian; convert the model again without --bigendian",
            ),
            version => refused(&format!(
                "has version {version} of the GGUF format; accepted: 2, 3; convert the model again with a newer llama.cpp"
            )),
        }
    }

    /// So many keys with their values.
    pub fn metadata(&mut self, count: u64) -> Result<BTreeMap<String, Value>, FileError> {
        let mut metadata = BTreeMap::new();
        for number in 1..=count {
            let key = self.name(LONGEST_KEY, &format!("key {number} of {count}"))?;
            let value = self.value(&key)?;
            if metadata.contains_key(&key) {
                return Err(twice(self.path, format!("the key {key}")));
            }
            metadata.insert(key, value);
        }
        Ok(metadata)
    }

    /// The entry of one tensor: its name, shape and type, and its place in the data.
    pub fn entry(&mut self, what: &str) -> Result<(String, Vec<u64>, u32, u64), FileError> {
        let name = self.name(LONGEST_TENSOR_NAME, what)?;
        let what = format!("tensor {name}");
        let dims = self.u32(&what)?;
        if !(1..=4).contains(&dims) {
            return Err(self.damaged(&what, format!("has {dims} dimensions; accepted: 1 to 4")));
        }
        let shape = (0..dims).map(|_| self.u64(&what));
        let mut shape = shape.collect::<Result<Vec<_>, _>>()?;
        // The file has the innermost first.
        shape.reverse();
        Ok((name, shape, self.u32(&what)?, self.u64(&what)?))
    }
}

/// What the places of tensors are multiples of.
pub(super) fn alignment(path: &Path, metadata: &BTreeMap<String, Value>) -> Result<u64, FileError> {
    let Some(value) = metadata.get(ALIGNMENT) else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    let number = value
        .integer()
        .filter(|_| value.value_type() == ValueType::U32);
    let number = number
        .map(|number| number as u64)
        .filter(|n| n.is_power_of_two());
    let accepted = "a power of two, as u32";
    number.ok_or_else(|| FileError::value(path, ALIGNMENT, value, accepted))
}
