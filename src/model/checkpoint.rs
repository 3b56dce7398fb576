//! Tensors by what they are, always as f32 on the CPU.
//!
//! Differences between the file formats end here: names, the order of llama-arch query and key rows
//! in GGUF, and Gemma's norm gains, which GGUF holds with the one added already.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::config::Config;
use super::error::ModelError;
use super::files::TrackedFile;
use super::hf_folder;
use super::kinds::{GgufQk, NormKind};
use super::other_tensors;
use super::shuffle::{RunWeights, Shuffle};
use super::store::{Format, TensorStore};
use super::tensors::{LayerTensor, ModelTensor};
use crate::hub::ModelFiles;
use crate::hub::gguf::GgufFile;

mod vocabulary;

/// Values of the head and of the embedding that are compared at once.
const COMPARED_AT_ONCE: usize = 1 << 22;

const OWN_HEAD: &str = "config.json says that the head is the embedding, but the file has another head: \
    that one, as in transformers 5 (older versions take the embedding)";

/// A checkpoint's tensors with its configuration. Clones share the open files.
#[derive(Clone)]
pub struct Checkpoint {
    config: Config,
    store: Arc<TensorStore>,
    /// The model's other files: configuration and tokenizer.
    others: Arc<Vec<TrackedFile>>,
    /// Of the entries of every stored matrix, where they are shuffled.
    shuffle: Option<Arc<Shuffle>>,
}

impl Checkpoint {
    /// Opens the files, reads the configuration, and checks that every tensor is there, whole and of
    /// the expected shape, and that the configuration's numbers have a meaning. Reads no weight, but for a head that a
    /// file has beside the embedding that it should be: the two are compared.
    pub fn open(files: &ModelFiles) -> Result<Checkpoint, ModelError> {
        // The tokenizer is not read here; a caller that has none names a file that is not there.
        let others = files
            .beside_weights()
            .into_iter()
            .filter(|path| path.is_file());
        let others = others.map(TrackedFile::new).collect::<Result<_, _>>()?;
        let mut checkpoint = match files {
            ModelFiles::Gguf(parts) => Self::open_gguf(parts)?.0,
            ModelFiles::Folder {
                dir,
                config,
                weights,
                index,
                ..
            } => Self::open_safetensors(dir, config, weights, index.as_deref())
                .map_err(|why| why.in_file(dir))?,
        };
        checkpoint.others = Arc::new(others);
        Ok(checkpoint)
    }

    /// The same of a GGUF model; with the header of the part that has its metadata, which hold the tokenizer too.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open`].
    pub fn open_gguf(parts: &[PathBuf]) -> Result<(Checkpoint, GgufFile), ModelError> {
        let (store, header) = TensorStore::open_gguf(parts)?;
        let in_file = |why: ModelError| why.in_file(&header.path);
        let config = Config::from_gguf(&header, &store).map_err(in_file)?;
        let mut checkpoint = Self::new(config, store);
        checkpoint.check().map_err(in_file)?;
        Ok((checkpoint, header))
    }

    fn open_safetensors(
        dir: &Path,
        config: &Path,
        weights: &[PathBuf],
        index: Option<&Path>,
    ) -> Result<Checkpoint, ModelError> {
        let config = Config::from_hf_file(config)?;
        let store = TensorStore::open_safetensors(weights)?;
        let map = index.map(|index| hf_folder::check_index(index, &store));
        let map = map.transpose()?;
        hf_folder::check_layers(&config, &store)?;
        let mut checkpoint = Self::new(config, store);
        checkpoint.untie_different_head()?;
        let beside = hf_folder::beside(dir, index);
        checkpoint.config.assumed.extend(beside);
        checkpoint.check()?;
        if let (Some(index), Some(map)) = (index, &map) {
            hf_folder::check_listed(index, map, &checkpoint.store)?;
        }
        Ok(checkpoint)
    }

    fn new(config: Config, store: TensorStore) -> Checkpoint {
        let store = Arc::new(store);
        let others = Arc::new(Vec::new());
        Checkpoint {
            config,
            store,
            others,
            shuffle: None,
        }
    }

    /// The same files, read with these weights.
    pub fn to_run_with(self, weights: RunWeights) -> Checkpoint {
        let shuffle = match weights {
            RunWeights::Stored => None,
            RunWeights::Shuffled { seed } => Some(Arc::new(Shuffle::new(seed))),
        };
        Checkpoint { shuffle, ..self }
    }

    /// A file may hold a head although its configuration says that the head is the embedding. Where the two
    /// differ anywhere, transformers 5 takes the head; so do we, and say so.
    fn untie_different_head(&mut self) -> Result<(), ModelError> {
        let [embedding, head] = [ModelTensor::Embedding, ModelTensor::Head];
        let [embedding, head] = [embedding, head].map(|tensor| tensor.name(Format::Safetensors));
        let there = [embedding, head].map(|name| self.store.file_of(name).is_some());
        if self.config.tied_head && there == [true; 2] && !self.are_equal(embedding, head)? {
            self.config.tied_head = false;
            self.config.assumed.push(OWN_HEAD.to_string());
        }
        Ok(())
    }

    /// Whether two tensors have the same values, some rows at a time, up to the first difference.
    fn are_equal(&self, one: &str, other: &str) -> Result<bool, ModelError> {
        let shape = self.store.shape(one)?;
        if shape != self.store.shape(other)? {
            return Ok(false);
        }
        let rows = shape.first().copied().unwrap_or(1);
        let width: usize = shape.iter().skip(1).product();
        let step = (COMPARED_AT_ONCE / width.max(1)).max(1);
        for first in (0..rows).step_by(step) {
            let rows = first..rows.min(first + step);
            let read = |name| -> Result<Vec<f32>, ModelError> {
                let part = self.store.read_rows(name, rows.clone())?;
                Ok(part.flatten_all()?.to_vec1()?)
            };
            if read(one)? != read(other)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the model's files are still those that were opened: their hashes are then those of what was run.
    ///
    /// # Errors
    /// [`ModelError::Changed`] with the file that is not.
    pub fn check_unchanged(&self) -> Result<(), ModelError> {
        self.store.check_unchanged()?;
        self.others.iter().try_for_each(TrackedFile::check_named)
    }

    /// Reads every weight once and keeps none; returns how many tensors were read.
    ///
    /// # Errors
    /// A file that cannot be read, and [`ModelError::NotFinite`] with the first weight that is NaN or infinite.
    pub fn check_weights(&self) -> Result<usize, ModelError> {
        let expected = self.expected_tensors();
        for (name, _) in &expected {
            self.store.check_finite(name)?;
        }
        Ok(expected.len())
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Bytes of all tensors as they are stored.
    pub fn stored_bytes(&self) -> u64 {
        self.store.stored_bytes()
    }

    /// The storage types of the weights, most frequent first, as `inspect` prints them.
    pub fn stored_types(&self) -> Vec<(String, usize)> {
        self.store.stored_types()
    }

    /// A layer's tensor in f32, shaped as [`LayerTensor`] says.
    pub fn layer_tensor(&self, layer: usize, tensor: LayerTensor) -> Result<Tensor, ModelError> {
        self.layer_tensor_to(&Device::Cpu, layer, tensor)
    }

    /// The same on a device.
    pub(super) fn layer_tensor_to(
        &self,
        device: &Device,
        layer: usize,
        tensor: LayerTensor,
    ) -> Result<Tensor, ModelError> {
        let (stored, rows) = tensor.stored(&self.config);
        let first = rows.start;
        let raw = self.rows(device, &self.layer_name(layer, stored), rows);
        let raw = raw.map_err(|why| name_neuron(why, layer, tensor, first))?;
        if tensor.is_norm() {
            return self.gain(raw);
        }
        match (self.store.format(), tensor) {
            (Format::Gguf, LayerTensor::QProj) => self.unpermute(raw, self.config.n_heads),
            (Format::Gguf, LayerTensor::KProj) => self.unpermute(raw, self.config.n_kv_heads),
            _ => Ok(raw),
        }
    }

    /// Rows of a stored tensor. The entries of a matrix may be shuffled; a vector's stay.
    fn rows(&self, device: &Device, name: &str, rows: Range<usize>) -> Result<Tensor, ModelError> {
        let (Some(shuffle), &[_, width]) = (&self.shuffle, self.store.shape(name)?) else {
            return self.store.read_rows_to(device, name, rows);
        };
        let mut entries = self.shuffled(shuffle, name)?;
        entries.truncate(rows.end * width);
        entries.drain(..rows.start * width);
        Ok(Tensor::from_vec(entries, (rows.len(), width), device)?)
    }

    /// All entries of a stored matrix, row by row, shuffled.
    fn shuffled(&self, shuffle: &Shuffle, name: &str) -> Result<Vec<f32>, ModelError> {
        let rows = self.store.shape(name)?.first().copied().unwrap_or_default();
        let mut entries = self.store.read_values(name, 0..rows)?;
        shuffle.shuffle(name, &mut entries);
        Ok(entries)
    }

    fn layer_name(&self, layer: usize, tensor: LayerTensor) -> String {
        tensor.name(self.store.format(), layer, self.config.family)
    }

    fn model_name(&self, tensor: ModelTensor) -> &'static str {
        let name = |tensor: ModelTensor| tensor.name(self.store.format());
        let [own, embedding, head] = [tensor, ModelTensor::Embedding, ModelTensor::Head].map(name);
        if tensor == ModelTensor::FinalNorm || !self.config.tied_head {
            return own;
        }
        // A tied pair may be stored under either name.
        let by_head = self.store.has(head) && !self.store.has(embedding);
        if by_head { head } else { embedding }
    }

    /// Stored norm weight to gain.
    fn gain(&self, raw: Tensor) -> Result<Tensor, ModelError> {
        match (self.store.format(), self.config.family.norm) {
            (Format::Safetensors, NormKind::RmsOnePlus) => Ok((raw + 1.0)?),
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

    /// The configuration's numbers have a meaning, every tensor that it asks for is there in its shape, and no other
    /// that would have to be computed with.
    fn check(&mut self) -> Result<(), ModelError> {
        let tensors = self.expected_tensors();
        for (name, expected) in &tensors {
            let found = self.store.shape(name)?;
            if found != *expected {
                let why = format!(
                    "tensor {name} has shape {found:?}, the configuration says {expected:?}"
                );
                return Err(ModelError::Unfit(why));
            }
        }
        let warnings = other_tensors::check(&self.store, &tensors, self.config.family)?;
        self.config.warnings.extend(warnings);
        Ok(())
    }

    /// The names and shapes of the tensors that the configuration asks for.
    fn expected_tensors(&self) -> Vec<(String, Vec<usize>)> {
        let config = &self.config;
        let outside = config.family.model_tensors().into_iter();
        let outside =
            outside.map(|tensor| (self.model_name(tensor).to_string(), tensor.shape(config)));
        let in_layers = (0..config.n_layers()).flat_map(|l| {
            let tensors = config.family.layer_tensors().into_iter();
            tensors.map(move |tensor| (self.layer_name(l, tensor), tensor.shape(config)))
        });
        outside.chain(in_layers).collect()
    }
}

/// Says which neuron a weight that is not finite belongs to, where it is one's; rows are counted from the `first` of
/// the tensor in what is stored.
fn name_neuron(mut why: ModelError, layer: usize, tensor: LayerTensor, first: usize) -> ModelError {
    if let ModelError::NotFinite {
        row,
        column,
        neuron,
        ..
    } = &mut why
    {
        let of = match tensor {
            LayerTensor::GateProj | LayerTensor::UpProj => Some(*row - first),
            LayerTensor::DownProj => Some(*column),
            _ => None,
        };
        *neuron = of.map(|n| format!("{layer}.{n}"));
    }
    why
}
