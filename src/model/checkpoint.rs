//! Tensors by what they are, from mapped safetensors or GGUF files, always as f32 on the CPU.
//!
//! Both formats are mapped, never read whole: a tensor, or some rows of it, is dequantized or
//! widened when it is asked for. Differences between the formats end here: names, the order of
//! llama-arch query and key rows in GGUF, and Gemma's norm gains, which GGUF holds with the one
//! added already.

use std::collections::HashSet;
use std::fs::File;
use std::io::Cursor;
use std::ops::Range;
use std::path::{Path, PathBuf};

use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::quantized::gguf_file::{Content, TensorInfo};
use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Tensor};
use memmap2::Mmap;
use rayon::prelude::*;

use super::ModelError;
use super::config::Config;
use super::family::{GgufQk, NormGain};
use super::tensors::{LayerTensor, ModelTensor};
use crate::hub::ModelFiles;

/// Values that are read at once by one thread.
const READ_BLOCK: usize = 1 << 18;

/// Tensors that checkpoints may hold and that no arithmetic needs: a stored copy of a tied head, and
/// rotation frequencies that follow from the configuration.
const UNUSED: &[&str] = &["lm_head.weight", "rotary_emb.inv_freq"];

/// A mapped checkpoint with its configuration.
pub struct Checkpoint {
    config: Config,
    storage: Storage,
}

enum Storage {
    Safetensors(MmapedSafetensors),
    Gguf { content: Content, map: Mmap },
}

impl Checkpoint {
    /// Maps the files, reads the configuration, and checks that every tensor is there, whole and of
    /// the expected shape. Reads no weight.
    pub fn open(files: &ModelFiles) -> Result<Checkpoint, ModelError> {
        let checkpoint = match files {
            ModelFiles::Gguf(path) => Self::open_gguf(path)?,
            ModelFiles::Folder {
                config, weights, ..
            } => Self::open_safetensors(config, weights)?,
        };
        checkpoint.check_tensors()?;
        Ok(checkpoint)
    }

    fn open_gguf(path: &Path) -> Result<Checkpoint, ModelError> {
        let map = map_file(path)?;
        let content = Content::read(&mut Cursor::new(&map[..])).map_err(damaged(path))?;
        for (name, info) in &content.tensor_infos {
            let end = content.tensor_data_offset + info.offset + gguf_bytes(info);
            if end > map.len() as u64 {
                let why = format!(
                    "tensor {name} ends at byte {end}, the file has {}",
                    map.len()
                );
                return Err(ModelError::Damaged {
                    path: path.to_path_buf(),
                    why,
                });
            }
        }
        let config = Config::from_gguf(&content)?;
        Ok(Checkpoint {
            config,
            storage: Storage::Gguf { content, map },
        })
    }

    fn open_safetensors(config: &Path, weights: &[PathBuf]) -> Result<Checkpoint, ModelError> {
        let config = Config::from_hf_file(config)?;
        for path in weights {
            // candle's error for a short file does not name it; safetensors checks lengths itself.
            let map = map_file(path)?;
            safetensors::SafeTensors::deserialize(&map).map_err(damaged(path))?;
        }
        // SAFETY: the files are mapped read-only; as with every mapped checkpoint, nobody may
        // rewrite them in place while the process runs.
        let tensors = unsafe { MmapedSafetensors::multi(weights)? };
        Ok(Checkpoint {
            config,
            storage: Storage::Safetensors(tensors),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Bytes of all tensors as they are stored.
    pub fn stored_bytes(&self) -> u64 {
        match &self.storage {
            Storage::Safetensors(tensors) => tensors
                .tensors()
                .iter()
                .map(|(_, view)| view.data().len() as u64)
                .sum(),
            Storage::Gguf { content, .. } => content.tensor_infos.values().map(gguf_bytes).sum(),
        }
    }

    /// The storage types of the weights, most frequent first, as `inspect` prints them.
    pub fn stored_types(&self) -> Vec<(String, usize)> {
        let names: Vec<String> = match &self.storage {
            Storage::Safetensors(tensors) => tensors
                .tensors()
                .iter()
                .map(|(_, view)| format!("{:?}", view.dtype()))
                .collect(),
            Storage::Gguf { content, .. } => content
                .tensor_infos
                .values()
                .map(|info| format!("{:?}", info.ggml_dtype))
                .collect(),
        };
        let mut counts = std::collections::BTreeMap::new();
        for name in names {
            *counts.entry(name).or_insert(0) += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }

    /// A layer's tensor in f32, shaped as [`LayerTensor`] says.
    pub fn layer_tensor(&self, layer: usize, tensor: LayerTensor) -> Result<Tensor, ModelError> {
        let raw = self.read(&self.layer_name(layer, tensor))?;
        if tensor.is_norm() {
            return self.gain(raw);
        }
        match (&self.storage, tensor) {
            (Storage::Gguf { .. }, LayerTensor::QProj) => self.unpermute(raw, self.config.n_heads),
            (Storage::Gguf { .. }, LayerTensor::KProj) => {
                self.unpermute(raw, self.config.n_kv_heads)
            }
            _ => Ok(raw),
        }
    }

    /// A tensor outside the layers in f32; the head of a tied model is its embedding.
    pub fn model_tensor(&self, tensor: ModelTensor) -> Result<Tensor, ModelError> {
        let raw = self.read(self.model_name(tensor))?;
        match tensor {
            ModelTensor::FinalNorm => self.gain(raw),
            _ => Ok(raw),
        }
    }

    /// Rows of the embedding for the given token ids, `[ids, d_model]`, without reading the others.
    pub fn embedding_rows(&self, ids: &[u32]) -> Result<Tensor, ModelError> {
        let name = self.model_name(ModelTensor::Embedding);
        let mut distinct = ids.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let rows: Vec<Tensor> = distinct
            .par_iter()
            .map(|&id| self.read_rows(name, id as usize..id as usize + 1))
            .collect::<Result<_, _>>()?;
        let places: Vec<u32> = ids
            .iter()
            .map(|id| distinct.partition_point(|known| known < id) as u32)
            .collect();
        let places = Tensor::from_vec(places, ids.len(), &Device::Cpu)?;
        Ok(Tensor::cat(&rows, 0)?.index_select(&places, 0)?)
    }

    fn layer_name(&self, layer: usize, tensor: LayerTensor) -> String {
        match &self.storage {
            Storage::Gguf { .. } => tensor.gguf_name(layer),
            Storage::Safetensors(_) => tensor.safetensors_name(layer, self.config.family),
        }
    }

    fn model_name(&self, tensor: ModelTensor) -> &'static str {
        let tensor = match tensor {
            ModelTensor::Head if self.config.tied_head => ModelTensor::Embedding,
            other => other,
        };
        match &self.storage {
            Storage::Gguf { .. } => tensor.gguf_name(),
            Storage::Safetensors(_) => tensor.safetensors_name(),
        }
    }

    /// Stored norm weight to gain.
    fn gain(&self, raw: Tensor) -> Result<Tensor, ModelError> {
        match (&self.storage, self.config.family.norm_gain) {
            (Storage::Safetensors(_), NormGain::OnePlus) => Ok((raw + 1.0)?),
            _ => Ok(raw),
        }
    }

    /// llama.cpp interleaves the rotated pairs of llama-arch heads; this undoes it.
    fn unpermute(&self, raw: Tensor, heads: usize) -> Result<Tensor, ModelError> {
        if self.config.family.gguf_qk == GgufQk::Halves {
            return Ok(raw);
        }
        let (rows, columns) = raw.dims2()?;
        let half = self.config.head_dim / 2;
        Ok(raw
            .reshape((heads, half, 2, columns))?
            .transpose(1, 2)?
            .contiguous()?
            .reshape((rows, columns))?)
    }

    fn shape(&self, name: &str) -> Result<Vec<usize>, ModelError> {
        let missing = || ModelError::MissingTensor {
            name: name.to_string(),
        };
        match &self.storage {
            Storage::Safetensors(tensors) => tensors
                .get(name)
                .map(|view| view.shape().to_vec())
                .map_err(|_| missing()),
            Storage::Gguf { content, .. } => content
                .tensor_infos
                .get(name)
                .map(|info| info.shape.dims().to_vec())
                .ok_or_else(missing),
        }
    }

    /// Every tensor that the configuration asks for is there in its shape, and no other.
    fn check_tensors(&self) -> Result<(), ModelError> {
        let config = &self.config;
        let outside = [
            ModelTensor::Embedding,
            ModelTensor::FinalNorm,
            ModelTensor::Head,
        ]
        .map(|tensor| (self.model_name(tensor).to_string(), tensor.shape(config)));
        let in_layers = (0..config.n_layers()).flat_map(|l| {
            let tensors = config.family.layer_tensors().into_iter();
            tensors.map(move |tensor| (self.layer_name(l, tensor), tensor.shape(config)))
        });
        let expected: Vec<(String, Vec<usize>)> = outside.into_iter().chain(in_layers).collect();
        for (name, expected) in &expected {
            let found = self.shape(name)?;
            if found != *expected {
                let (name, expected) = (name.clone(), expected.clone());
                return Err(ModelError::Shape {
                    name,
                    found,
                    expected,
                });
            }
        }
        let known: HashSet<&String> = expected.iter().map(|(name, _)| name).collect();
        let mut names = self.tensor_names();
        names.retain(|name| !known.contains(name) && !UNUSED.iter().any(|end| name.ends_with(end)));
        names.sort_unstable();
        names.truncate(3);
        if names.is_empty() {
            return Ok(());
        }
        Err(ModelError::UnknownTensors {
            family: config.family.name,
            names,
        })
    }

    fn tensor_names(&self) -> Vec<String> {
        match &self.storage {
            Storage::Safetensors(tensors) => tensors
                .tensors()
                .into_iter()
                .map(|(name, _)| name)
                .collect(),
            Storage::Gguf { content, .. } => content.tensor_infos.keys().cloned().collect(),
        }
    }

    /// A whole tensor, its rows dequantized or widened in parallel, a block at a time: what is in
    /// memory besides the result stays small.
    fn read(&self, name: &str) -> Result<Tensor, ModelError> {
        let shape = self.shape(name)?;
        let (rows, width) = match shape[..] {
            [rows, width] => (rows, width),
            _ => return self.read_rows(name, 0..shape.first().copied().unwrap_or(1)),
        };
        let step = (READ_BLOCK / width).max(1);
        let mut values = vec![0f32; rows * width];
        values
            .par_chunks_mut(step * width)
            .enumerate()
            .try_for_each(|(i, block)| -> Result<(), ModelError> {
                let first = i * step;
                let part = self.read_rows(name, first..first + block.len() / width)?;
                block.copy_from_slice(&part.flatten_all()?.to_vec1::<f32>()?);
                Ok(())
            })?;
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }

    /// Some rows of a tensor, dequantized or widened to f32. Rows of quantized tensors are whole blocks.
    fn read_rows(&self, name: &str, rows: Range<usize>) -> Result<Tensor, ModelError> {
        let mut shape = self.shape(name)?;
        let total = shape.first().copied().unwrap_or(1).max(1);
        let slice = |bytes: usize| bytes / total * rows.start..bytes / total * rows.end;
        if let Some(first) = shape.first_mut() {
            *first = rows.len();
        }
        match &self.storage {
            Storage::Safetensors(tensors) => {
                let view = tensors.get(name)?;
                let bytes = &view.data()[slice(view.data().len())];
                let dtype = DType::try_from(view.dtype())?;
                Ok(Tensor::from_raw_buffer(bytes, dtype, &shape, &Device::Cpu)?
                    .to_dtype(DType::F32)?)
            }
            Storage::Gguf { content, map } => {
                let missing = || ModelError::MissingTensor {
                    name: name.to_string(),
                };
                let info = content.tensor_infos.get(name).ok_or_else(missing)?;
                let start = (content.tensor_data_offset + info.offset) as usize;
                let bytes = &map[start..start + gguf_bytes(info) as usize];
                let bytes = &bytes[slice(bytes.len())];
                let quantized = qtensor_from_ggml(info.ggml_dtype, bytes, shape, &Device::Cpu)?;
                Ok(quantized.dequantize(&Device::Cpu)?)
            }
        }
    }
}

fn gguf_bytes(info: &TensorInfo) -> u64 {
    (info.shape.elem_count() / info.ggml_dtype.block_size() * info.ggml_dtype.type_size()) as u64
}

fn map_file(path: &Path) -> Result<Mmap, ModelError> {
    let read = |why| ModelError::Read {
        path: path.to_path_buf(),
        why,
    };
    let file = File::open(path).map_err(read)?;
    // SAFETY: see `open_safetensors`.
    unsafe { Mmap::map(&file) }.map_err(read)
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
