//! A GGUF file taken apart, to be changed and written again.

use std::fs;
use std::path::Path;

use super::super::common::goldens;

/// A value with its type's number, as bytes.
pub type Bytes = Vec<u8>;

#[derive(Clone)]
pub struct RawTensor {
    pub name: String,
    /// Innermost first, as in the file.
    pub dims: Vec<u64>,
    pub kind: u32,
    /// Another place in the data than the right one.
    pub offset: Option<u64>,
    pub data: Bytes,
}

#[derive(Clone)]
pub struct Raw {
    pub version: u32,
    pub keys: Vec<(String, Bytes)>,
    pub tensors: Vec<RawTensor>,
}

pub const ALIGNMENT: usize = 32;

pub fn text(text: &str) -> Bytes {
    [&8u32.to_le_bytes()[..], &string(text)].concat()
}

pub fn u8(value: u8) -> Bytes {
    [&0u32.to_le_bytes()[..], &[value]].concat()
}

pub fn u16(value: u16) -> Bytes {
    [&2u32.to_le_bytes()[..], &value.to_le_bytes()].concat()
}

pub fn u32(value: u32) -> Bytes {
    [4u32.to_le_bytes(), value.to_le_bytes()].concat()
}

pub fn i32(value: i32) -> Bytes {
    [5u32.to_le_bytes(), value.to_le_bytes()].concat()
}

pub fn f32(value: f32) -> Bytes {
    [&6u32.to_le_bytes()[..], &value.to_le_bytes()].concat()
}

pub fn bool(value: bool) -> Bytes {
    [&7u32.to_le_bytes()[..], &[u8::from(value)]].concat()
}

pub fn u64(value: u64) -> Bytes {
    [&10u32.to_le_bytes()[..], &value.to_le_bytes()].concat()
}

/// An array that says that it has `count` items, which follow.
pub fn array(of: u32, count: u64, items: &[u8]) -> Bytes {
    [
        &9u32.to_le_bytes()[..],
        &of.to_le_bytes(),
        &count.to_le_bytes(),
        items,
    ]
    .concat()
}

pub fn u32s(values: &[u32]) -> Bytes {
    let items: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    array(4, values.len() as u64, &items)
}

pub fn string(text: &str) -> Bytes {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        self.at += count;
        &self.bytes[self.at - count..self.at]
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().unwrap())
    }

    fn string(&mut self) -> String {
        let length = self.u64() as usize;
        String::from_utf8(self.take(length).to_vec()).unwrap()
    }

    fn value(&mut self) -> Bytes {
        let start = self.at;
        let kind = self.u32();
        let (kind, count) = match kind {
            9 => (self.u32(), self.u64()),
            kind => (kind, 1),
        };
        for _ in 0..count {
            match kind {
                0 | 1 | 7 => drop(self.take(1)),
                2 | 3 => drop(self.take(2)),
                4..=6 => drop(self.take(4)),
                8 => drop(self.string()),
                _ => drop(self.take(8)),
            }
        }
        self.bytes[start..self.at].to_vec()
    }
}

impl Raw {
    pub fn tiny(name: &str) -> Raw {
        Raw::read(&goldens().join(name).join("model.gguf"))
    }

    /// Takes a file of f32 apart.
    pub fn read(path: &Path) -> Raw {
        let bytes = fs::read(path).unwrap();
        let mut reader = Reader {
            bytes: &bytes,
            at: 4,
        };
        let version = reader.u32();
        let (n_tensors, n_keys) = (reader.u64(), reader.u64());
        let keys = (0..n_keys)
            .map(|_| (reader.string(), reader.value()))
            .collect();
        let mut tensors: Vec<(RawTensor, usize)> = (0..n_tensors)
            .map(|_| {
                let name = reader.string();
                let n_dims = reader.u32();
                let dims = (0..n_dims).map(|_| reader.u64()).collect();
                let kind = reader.u32();
                let tensor = RawTensor {
                    name,
                    dims,
                    kind,
                    offset: None,
                    data: Vec::new(),
                };
                (tensor, reader.u64() as usize)
            })
            .collect();
        let start = reader.at.next_multiple_of(ALIGNMENT);
        for (tensor, offset) in &mut tensors {
            let length = 4 * tensor.dims.iter().product::<u64>() as usize;
            tensor.data = bytes[start + *offset..start + *offset + length].to_vec();
        }
        Raw {
            version,
            keys,
            tensors: tensors.into_iter().map(|(tensor, _)| tensor).collect(),
        }
    }

    /// Sets a key, where it stands or behind the others.
    pub fn set(mut self, key: &str, value: Bytes) -> Raw {
        match self.keys.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.keys.push((key.to_string(), value)),
        }
        self
    }

    pub fn without(mut self, key: &str) -> Raw {
        let before = self.keys.len();
        self.keys.retain(|(known, _)| known != key);
        assert_eq!(self.keys.len() + 1, before, "{key}");
        self
    }

    pub fn tensor(&mut self, name: &str) -> &mut RawTensor {
        let tensor = self.tensors.iter_mut().find(|tensor| tensor.name == name);
        tensor.unwrap()
    }

    /// Changes one tensor's entry.
    pub fn with(mut self, name: &str, change: impl FnOnce(&mut RawTensor)) -> Raw {
        change(self.tensor(name));
        self
    }

    /// The file, and how many of its bytes are its header.
    pub fn bytes(&self) -> (Bytes, usize) {
        let mut file = b"GGUF".to_vec();
        file.extend(self.version.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            file.extend(string(key));
            file.extend(value);
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            file.extend(string(&tensor.name));
            file.extend((tensor.dims.len() as u32).to_le_bytes());
            tensor
                .dims
                .iter()
                .for_each(|dim| file.extend(dim.to_le_bytes()));
            file.extend(tensor.kind.to_le_bytes());
            file.extend(tensor.offset.unwrap_or(data.len() as u64).to_le_bytes());
            data.extend(&tensor.data);
            data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
        }
        let header = file.len();
        file.resize(header.next_multiple_of(ALIGNMENT), 0);
        file.extend(data);
        (file, header)
    }

    pub fn write(&self, path: &Path) {
        fs::write(path, self.bytes().0).unwrap();
    }

    /// The model in parts of so many tensors, as `gguf-split` writes them.
    pub fn split(&self, first: usize) -> [Raw; 2] {
        let part = |number: u16, keys: &[(String, Bytes)], tensors: &[RawTensor]| {
            let raw = Raw {
                version: self.version,
                keys: keys.to_vec(),
                tensors: tensors.to_vec(),
            };
            raw.set("split.no", u16(number))
                .set("split.count", u16(2))
                .set("split.tensors.count", i32(self.tensors.len() as i32))
        };
        [
            part(0, &self.keys, &self.tensors[..first]),
            part(1, &[], &self.tensors[first..]),
        ]
    }
}
