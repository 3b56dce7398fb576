//! Tensors by name from safetensors or GGUF files, as f32 on the CPU: one index for both formats.
//!
//! Only headers are read when the files are opened. A tensor, or some rows of it, is read, widened
//! or dequantized when it is asked for, in blocks, by positioned reads into small buffers: no page
//! of the files ever counts as memory of this process.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;
use safetensors::SafeTensorError;
use safetensors::tensor::Metadata;

use super::ModelError;
use crate::hub::gguf::{GgufFile, read_parts};

/// Values that one thread reads at once.
const READ_BLOCK: usize = 1 << 16;

/// Bytes of a safetensors file before its header: the header's length.
const LENGTH_BYTES: u64 = 8;

/// The longest safetensors header, as in the safetensors crate.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// What kind of files a store reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One or several safetensors files.
    Safetensors,
    /// A GGUF file, or several that are its parts.
    Gguf,
}

/// How the values of a tensor are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// f32, f16 or bf16.
    Float(DType),
    /// Blocks of quantized values.
    Quantized(GgmlDType),
}

/// Where a tensor's values are, and what they are.
struct StoredTensor {
    file: usize,
    offset: u64,
    shape: Vec<usize>,
    kind: Kind,
}

/// The tensors of a checkpoint.
pub struct TensorStore {
    format: Format,
    files: Vec<(PathBuf, File)>,
    tensors: HashMap<String, StoredTensor>,
}

impl TensorStore {
    /// Indexes safetensors files, which must be whole.
    pub fn open_safetensors(paths: &[PathBuf]) -> Result<TensorStore, ModelError> {
        let mut store = TensorStore::empty(Format::Safetensors);
        for path in paths {
            let file = open(path)?;
            let (metadata, start) = safetensors_header(path, &file)?;
            for (name, info) in metadata.tensors() {
                let stored = StoredTensor {
                    file: store.files.len(),
                    offset: start + info.data_offsets.0 as u64,
                    shape: info.shape.clone(),
                    kind: float_kind(&name, info.dtype)?,
                };
                store.tensors.insert(name, stored);
            }
            store.files.push((path.clone(), file));
        }
        Ok(store)
    }

    /// Indexes a GGUF file, or all its parts in their order; returns the header of the first as well, which has the
    /// metadata.
    pub fn open_gguf(paths: &[PathBuf]) -> Result<(TensorStore, GgufFile), ModelError> {
        let mut store = TensorStore::empty(Format::Gguf);
        let headers = read_parts(paths)?;
        for header in &headers {
            for tensor in &header.tensors {
                let stored = StoredTensor {
                    file: store.files.len(),
                    offset: tensor.offset,
                    shape: tensor.shape.clone(),
                    kind: Kind::of_ggml(tensor.dtype),
                };
                store.tensors.insert(tensor.name.clone(), stored);
            }
            let path = &header.path;
            store.files.push((path.clone(), open(path)?));
        }
        let first = headers.into_iter().next();
        let none = || candle_core::Error::Msg("a model of no files".to_string());
        Ok((store, first.ok_or_else(none)?))
    }

    fn empty(format: Format) -> TensorStore {
        TensorStore {
            format,
            files: Vec::new(),
            tensors: HashMap::new(),
        }
    }

    /// The files' format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The names of all tensors, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor's shape, rows first.
    pub fn shape(&self, name: &str) -> Result<&[usize], ModelError> {
        Ok(&self.get(name)?.shape)
    }

    /// Bytes of all tensors as they are stored.
    pub fn stored_bytes(&self) -> u64 {
        self.tensors.values().map(StoredTensor::bytes).sum()
    }

    /// The storage types with the number of their tensors, most frequent first.
    pub fn stored_types(&self) -> Vec<(String, usize)> {
        let mut counts = BTreeMap::new();
        for tensor in self.tensors.values() {
            let name = match tensor.kind {
                Kind::Float(dtype) => format!("{dtype:?}"),
                Kind::Quantized(dtype) => format!("{dtype:?}"),
            };
            *counts.entry(name).or_insert(0) += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }

    /// A whole tensor in f32.
    pub fn read(&self, name: &str) -> Result<Tensor, ModelError> {
        let rows = self.get(name)?.rows();
        self.read_rows(name, 0..rows)
    }

    /// Some rows of a tensor (entries of a vector) in f32, read in parallel, a block at a time: what
    /// is in memory besides the result stays small.
    pub fn read_rows(&self, name: &str, rows: Range<usize>) -> Result<Tensor, ModelError> {
        let stored = self.get(name)?;
        if rows.end > stored.rows() {
            let why = format!("rows {rows:?} of {name}, which has {}", stored.rows());
            return Err(candle_core::Error::Msg(why).into());
        }
        let width = stored.width();
        let mut values = vec![0f32; rows.len() * width];
        let step = (READ_BLOCK / width.max(1)).max(1);
        values
            .par_chunks_mut((step * width).max(1))
            .enumerate()
            .try_for_each(|(i, block)| self.fill(stored, (rows.start + i * step) * width, block))?;
        let mut shape = stored.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = rows.len();
        }
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }

    /// The values from number `first` on.
    fn fill(
        &self,
        stored: &StoredTensor,
        first: usize,
        values: &mut [f32],
    ) -> Result<(), ModelError> {
        let (path, file) = &self.files[stored.file];
        let mut bytes = vec![0; stored.kind.bytes(values.len()) as usize];
        let offset = stored.offset + stored.kind.bytes(first);
        read_at(file, &mut bytes, offset).map_err(unreadable(path))?;
        Ok(stored.kind.widen(&bytes, values)?)
    }

    fn get(&self, name: &str) -> Result<&StoredTensor, ModelError> {
        self.tensors
            .get(name)
            .ok_or_else(|| ModelError::MissingTensor {
                name: name.to_string(),
            })
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

    /// Bytes of so many values.
    fn bytes(self, values: usize) -> u64 {
        let bytes = match self {
            Kind::Float(dtype) => values * dtype.size_in_bytes(),
            Kind::Quantized(dtype) => values / dtype.block_size() * dtype.type_size(),
        };
        bytes as u64
    }

    /// Stored bytes (little-endian) to values.
    fn widen(self, bytes: &[u8], values: &mut [f32]) -> candle_core::Result<()> {
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
                let quantized: QTensor = qtensor_from_ggml(dtype, bytes, shape, &Device::Cpu)?;
                values.copy_from_slice(&quantized.dequantize(&Device::Cpu)?.to_vec1::<f32>()?);
            }
        }
        Ok(())
    }
}

fn float_kind(name: &str, dtype: safetensors::Dtype) -> Result<Kind, ModelError> {
    use safetensors::Dtype;
    match dtype {
        Dtype::F32 => Ok(Kind::Float(DType::F32)),
        Dtype::F16 => Ok(Kind::Float(DType::F16)),
        Dtype::BF16 => Ok(Kind::Float(DType::BF16)),
        other => Err(ModelError::unsupported(
            "safetensors",
            &format!("the type of {name}"),
            &format!("{other:?}"),
            "F32, F16, BF16",
        )),
    }
}

/// The header of a safetensors file, and where its data begin. The file must have the length that
/// the header says.
fn safetensors_header(path: &Path, file: &File) -> Result<(Metadata, u64), ModelError> {
    let length = length(path, file)?;
    if length < LENGTH_BYTES {
        return Err(damaged(path)(SafeTensorError::HeaderTooSmall));
    }
    let mut header = [0; LENGTH_BYTES as usize];
    read_at(file, &mut header, 0).map_err(unreadable(path))?;
    let header_bytes = u64::from_le_bytes(header);
    if header_bytes > MAX_HEADER_BYTES {
        return Err(damaged(path)(SafeTensorError::HeaderTooLarge));
    }
    let start = LENGTH_BYTES + header_bytes;
    if start > length {
        return Err(damaged(path)(SafeTensorError::InvalidHeaderLength));
    }
    let mut header = vec![0; header_bytes as usize];
    read_at(file, &mut header, LENGTH_BYTES).map_err(unreadable(path))?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(SafeTensorError::InvalidHeaderDeserialization)
        .map_err(damaged(path))?;
    if start + metadata.data_len() as u64 != length {
        return Err(damaged(path)(SafeTensorError::MetadataIncompleteBuffer));
    }
    Ok((metadata, start))
}

fn open(path: &Path) -> Result<File, ModelError> {
    File::open(path).map_err(unreadable(path))
}

fn length(path: &Path, file: &File) -> Result<u64, ModelError> {
    Ok(file.metadata().map_err(unreadable(path))?.len())
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[read..];
        offset += read as u64;
    }
    Ok(())
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> ModelError {
    let path = path.to_path_buf();
    move |why| ModelError::Read {
        path: path.clone(),
        why,
    }
}

/// The first line alone: candle's errors may carry a backtrace.
fn damaged<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> ModelError {
    let path = path.to_path_buf();
    move |error| ModelError::Damaged {
        path: path.clone(),
        why: error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_string(),
    }
}
