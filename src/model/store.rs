//! Tensors by name from safetensors or GGUF files, as f32 on the CPU: one index for both formats.
//!
//! Only headers are read when the files are opened. A tensor, or some rows of it, is read, widened
//! or dequantized when it is asked for, in blocks, by positioned reads into small buffers: no page
//! of the files ever counts as memory of this process.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device};
use half::f16;
use half::slice::HalfFloatSliceExt;
use safetensors::Dtype;

use super::error::ModelError;
use super::files::{TrackedFile, open};
use super::safetensors_header::{Entry, Header};
use crate::hub::FileError;
use crate::hub::gguf::{GgufFile, read_parts};

/// What kind of files a store reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One or several safetensors files.
    Safetensors,
    /// A GGUF file, or several that are its parts.
    Gguf,
}

/// How the values of a tensor are stored.
#[derive(Debug, PartialEq)]
enum Kind {
    /// f32, f16 or bf16.
    Float(DType),
    /// Blocks of quantized values.
    Quantized(GgmlDType),
    /// A type that is not read. No such tensor can be needed.
    Unread(String),
}

/// Where a tensor's values are, and what they are.
struct StoredTensor {
    file: usize,
    offset: u64,
    shape: Vec<usize>,
    kind: Kind,
}

/// An open file, and what it was when its header was read.
struct StoreFile {
    file: File,
    tracked: TrackedFile,
}

impl StoreFile {
    fn open(path: &Path) -> Result<StoreFile, ModelError> {
        let tracked = TrackedFile::new(path)?;
        let file = open(path)?;
        tracked.check_open(&file)?;
        Ok(StoreFile { file, tracked })
    }
}

/// The tensors of a checkpoint.
pub struct TensorStore {
    format: Format,
    files: Vec<StoreFile>,
    tensors: HashMap<String, StoredTensor>,
}

impl TensorStore {
    /// Indexes safetensors files, which must be whole and hold each tensor once.
    pub fn open_safetensors(paths: &[PathBuf]) -> Result<TensorStore, ModelError> {
        let mut store = TensorStore {
            format: Format::Safetensors,
            files: Vec::new(),
            tensors: HashMap::new(),
        };
        for path in paths {
            let file = StoreFile::open(path)?;
            let header = Header::read(path, &file.file)?;
            for (name, entry) in &header.tensors {
                if let Some(other) = store.file_of(name) {
                    let why = format!("tensor {name} stands in {} as well", other.display());
                    return Err(FileError::damaged(path, why).into());
                }
                let stored = StoredTensor {
                    file: store.files.len(),
                    offset: header.offset(entry),
                    shape: entry.shape.iter().map(|n| *n as usize).collect(),
                    kind: Kind::of_safetensors(entry),
                };
                store.tensors.insert(name.clone(), stored);
            }
            store.files.push(file);
        }
        Ok(store)
    }

    /// The file that holds a tensor.
    pub fn file_of(&self, name: &str) -> Option<&Path> {
        Some(&self.files[self.tensors.get(name)?.file].tracked.path)
    }

    /// Whether the files that have these names now are those whose headers were read.
    pub fn check_unchanged(&self) -> Result<(), ModelError> {
        self.files
            .iter()
            .try_for_each(|file| file.tracked.check_named())
    }

    /// Indexes a GGUF file, or all its parts in their order; returns the header of the first as well, which has the
    /// metadata.
    pub fn open_gguf(paths: &[PathBuf]) -> Result<(TensorStore, GgufFile), ModelError> {
        let files = paths.iter().map(|path| StoreFile::open(path));
        let files = files.collect::<Result<_, _>>()?;
        let headers = read_parts(paths)?;
        let mut tensors = HashMap::new();
        for (file, header) in headers.iter().enumerate() {
            for tensor in &header.tensors {
                let stored = StoredTensor {
                    file,
                    offset: tensor.offset,
                    shape: tensor.shape.clone(),
                    kind: Kind::of_ggml(tensor.dtype),
                };
                tensors.insert(tensor.name.clone(), stored);
            }
        }
        let first = headers.into_iter().next();
        let none = || candle_core::Error::Msg("a model of no files".to_string());
        let format = Format::Gguf;
        let store = TensorStore {
            format,
            files,
            tensors,
        };
        Ok((store, first.ok_or_else(none)?))
    }

    /// The files' format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether there is a tensor of this name that is read.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_ok()
    }

    /// The names of all tensors, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    fn read_ones(&self) -> impl Iterator<Item = &StoredTensor> {
        let tensors = self.tensors.values();
        tensors.filter(|tensor| !matches!(tensor.kind, Kind::Unread(_)))
    }

    /// The number of layers that have tensors, whose names go on with `N.` behind the prefix.
    pub(super) fn layers(&self, prefix: &str) -> usize {
        let numbers = self.names().filter_map(|name| {
            let (number, _) = name.strip_prefix(prefix)?.split_once('.')?;
            number.parse::<usize>().ok()
        });
        numbers.max().map_or(0, |last| last.saturating_add(1))
    }

    /// A tensor's shape, rows first.
    pub fn shape(&self, name: &str) -> Result<&[usize], ModelError> {
        Ok(&self.get(name)?.shape)
    }

    /// Bytes of all tensors as they are stored.
    pub fn stored_bytes(&self) -> u64 {
        self.read_ones().map(StoredTensor::bytes).sum()
    }

    /// The storage types with the number of their tensors, most frequent first.
    pub fn stored_types(&self) -> Vec<(String, usize)> {
        let mut counts = BTreeMap::new();
        for tensor in self.read_ones() {
            let name = match &tensor.kind {
                Kind::Float(dtype) => format!("{dtype:?}"),
                Kind::Quantized(dtype) => format!("{dtype:?}"),
                Kind::Unread(name) => name.clone(),
            };
            *counts.entry(name).or_insert(0) += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }

    fn get(&self, name: &str) -> Result<&StoredTensor, ModelError> {
        let absent = || ModelError::Unfit(format!("the checkpoint has no tensor {name}"));
        let stored = self.tensors.get(name).ok_or_else(absent)?;
        let Kind::Unread(dtype) = &stored.kind else {
            return Ok(stored);
        };
        let hint = stored_type_hint(dtype);
        let why = format!("tensor {name} is stored as {dtype}; read are F32, F16 and BF16{hint}");
        Err(ModelError::Unfit(why).in_file(&self.files[stored.file].tracked.path))
    }
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

impl StoredTensor {
    fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    fn width(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    fn bytes(&self) -> u64 {
        self.kind.bytes(self.rows() * self.width())
    }
}

impl Kind {
    fn of_ggml(dtype: GgmlDType) -> Kind {
        match dtype {
            GgmlDType::F32 => Kind::Float(DType::F32),
            GgmlDType::F16 => Kind::Float(DType::F16),
            GgmlDType::BF16 => Kind::Float(DType::BF16),
            quantized => Kind::Quantized(quantized),
        }
    }

    fn of_safetensors(entry: &Entry) -> Kind {
        match entry.known_dtype() {
            Some(Dtype::F32) => Kind::Float(DType::F32),
            Some(Dtype::F16) => Kind::Float(DType::F16),
            Some(Dtype::BF16) => Kind::Float(DType::BF16),
            _ => Kind::Unread(entry.dtype.clone()),
        }
    }

    /// Bytes of so many values.
    fn bytes(&self, values: usize) -> u64 {
        let bytes = match self {
            Kind::Float(dtype) => values * dtype.size_in_bytes(),
            Kind::Quantized(dtype) => values / dtype.block_size() * dtype.type_size(),
            Kind::Unread(_) => 0,
        };
        bytes as u64
    }

    /// Stored bytes (little-endian) to values.
    fn widen(&self, bytes: &[u8], values: &mut [f32]) -> candle_core::Result<()> {
        let (pairs, quads) = (bytes.as_chunks::<2>().0, bytes.as_chunks::<4>().0);
        match self {
            Kind::Float(DType::BF16) => {
                for (value, pair) in values.iter_mut().zip(pairs) {
                    // bf16 is the upper half of an f32.
                    *value = f32::from_bits(u32::from(u16::from_le_bytes(*pair)) << 16);
                }
            }
            Kind::Float(DType::F16) => {
                let halves: Vec<f16> = pairs.iter().map(|pair| f16::from_le_bytes(*pair)).collect();
                halves.convert_to_f32_slice(values);
            }
            Kind::Float(_) => {
                for (value, quad) in values.iter_mut().zip(quads) {
                    *value = f32::from_le_bytes(*quad);
                }
            }
            Kind::Quantized(dtype) => {
                let shape = vec![values.len()];
                let quantized: QTensor = qtensor_from_ggml(*dtype, bytes, shape, &Device::Cpu)?;
                values.copy_from_slice(&quantized.dequantize(&Device::Cpu)?.to_vec1::<f32>()?);
            }
            Kind::Unread(name) => candle_core::bail!("values of the type {name} are not read"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
mod values;
