//! Tensors by what they are, always as f32 on the CPU.
//!
//! Differences between the file formats end here: names, the order of llama-arch query and key rows
//! in GGUF, and Gemma's norm gains, which GGUF holds with the one added already.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::ModelError;
use super::config::Config;
use super::gguf_config::ROPE_TENSORS;
use super::kinds::{GgufQk, NormKind};
use super::store::{Format, TensorStore};
use super::tensors::{LayerTensor, ModelTensor};
use crate::hub::ModelFiles;

/// Tensors that checkpoints may hold and that no arithmetic needs: a stored copy of a tied head, and
/// rotation frequencies that follow from the configuration.
const UNUSED: &[&str] = &["lm_head.weight", "rotary_emb.inv_freq"];

const OWN_HEAD: &str = "config.json says that the head is the embedding, but the file has another head: \
    that one, as in transformers 5 (older versions take the embedding)";

/// A checkpoint's tensors with its configuration. Clones share the open files.
#[derive(Clone)]
pub struct Checkpoint {
    config: Config,
    store: Arc<TensorStore>,
}

impl Checkpoint {
    /// Opens the files, reads the configuration, and checks that every tensor is there, whole and of
    /// the expected shape. Reads no weight.
    pub fn open(files: &ModelFiles) -> Result<Checkpoint, ModelError> {
        let checkpoint = match files {
            ModelFiles::Gguf(parts) => Self::open_gguf(parts)?,
            ModelFiles::Folder {
                config, weights, ..
            } => Self::open_safetensors(config, weights)?,
        };
        let checked = checkpoint.check_tensors();
        checked.map_err(|why| match files {
            ModelFiles::Gguf(parts) => parts
                .iter()
                .take(1)
                .fold(why, |why, first| why.in_file(first)),
            ModelFiles::Folder { .. } => why,
        })?;
        Ok(checkpoint)
    }

    fn open_gguf(parts: &[PathBuf]) -> Result<Checkpoint, ModelError> {
        let (store, header) = TensorStore::open_gguf(parts)?;
        let config = Config::from_gguf(&header, &store);
        let config = config.map_err(|why| why.in_file(&header.path))?;
        let store = Arc::new(store);
        Ok(Checkpoint { config, store })
    }

    fn open_safetensors(config: &Path, weights: &[PathBuf]) -> Result<Checkpoint, ModelError> {
        let config = Config::from_hf_file(config)?;
        let store = Arc::new(TensorStore::open_safetensors(weights)?);
        let mut checkpoint = Checkpoint { config, store };
        checkpoint.untie_different_head()?;
        Ok(checkpoint)
    }

    /// A file may hold a head although its configuration says that the head is the embedding. Where the two
    /// differ in their first, middle or last row, transformers 5 takes the head; so do we, and say so.
    fn untie_different_head(&mut self) -> Result<(), ModelError> {
        let [embedding, head] = [ModelTensor::Embedding, ModelTensor::Head];
        let [embedding, head] = [embedding, head].map(ModelTensor::safetensors_name);
        let there = self.store.has(embedding) && self.store.has(head);
        if !self.config.tied_head
            || !there
            || self.store.shape(embedding)? != self.store.shape(head)?
        {
            return Ok(());
        }
        let rows = self.config.vocab_size;
        for row in [0, rows / 2, rows - 1] {
            let row = |name| -> Result<Vec<f32>, ModelError> {
                Ok(self
                    .store
                    .read_rows(name, row..row + 1)?
                    .flatten_all()?
                    .to_vec1()?)
            };
            if row(embedding)? != row(head)? {
                self.config.tied_head = false;
                self.config.assumed.push(OWN_HEAD.to_string());
                return Ok(());
            }
        }
        Ok(())
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
        let (stored, rows) = tensor.stored(&self.config);
        let raw = self
            .store
            .read_rows(&self.layer_name(layer, stored), rows)?;
        if tensor.is_norm() {
            return self.gain(raw);
        }
        match (self.store.format(), tensor) {
            (Format::Gguf, LayerTensor::QProj) => self.unpermute(raw, self.config.n_heads),
            (Format::Gguf, LayerTensor::KProj) => self.unpermute(raw, self.config.n_kv_heads),
            _ => Ok(raw),
        }
    }

    /// A tensor outside the layers in f32; the head of a tied model is its embedding.
    pub fn model_tensor(&self, tensor: ModelTensor) -> Result<Tensor, ModelError> {
        let raw = self.store.read(self.model_name(tensor))?;
        match tensor {
            ModelTensor::FinalNorm => self.gain(raw),
            _ => Ok(raw),
        }
    }

    /// The rows of the head or of the embedding for some of the vocabulary, `[tokens, d_model]`.
    pub fn vocabulary_rows(
        &self,
        tensor: ModelTensor,
        tokens: Range<usize>,
    ) -> Result<Tensor, ModelError> {
        self.store.read_rows(self.model_name(tensor), tokens)
    }

    /// Rows of the embedding for the given token ids, `[ids, d_model]`, without reading the others.
    pub fn embedding_rows(&self, ids: &[u32]) -> Result<Tensor, ModelError> {
        let name = self.model_name(ModelTensor::Embedding);
        let mut distinct = ids.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let rows: Vec<Tensor> = distinct
            .par_iter()
            .map(|&id| self.store.read_rows(name, id as usize..id as usize + 1))
            .collect::<Result<_, _>>()?;
        let places: Vec<u32> = ids
            .iter()
            .map(|id| distinct.partition_point(|known| known < id) as u32)
            .collect();
        let places = Tensor::from_vec(places, ids.len(), &Device::Cpu)?;
        Ok(Tensor::cat(&rows, 0)?.index_select(&places, 0)?)
    }

    fn layer_name(&self, layer: usize, tensor: LayerTensor) -> String {
        match self.store.format() {
            Format::Gguf => tensor.gguf_name(layer),
            Format::Safetensors => tensor.safetensors_name(layer, self.config.family),
        }
    }

    fn model_name(&self, tensor: ModelTensor) -> &'static str {
        let tensor = match tensor {
            ModelTensor::Head if self.config.tied_head => ModelTensor::Embedding,
            other => other,
        };
        match self.store.format() {
            Format::Gguf => tensor.gguf_name(),
            Format::Safetensors => tensor.safetensors_name(),
        }
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

    /// Every tensor that the configuration asks for is there in its shape, and no other.
    fn check_tensors(&self) -> Result<(), ModelError> {
        let config = &self.config;
        let outside = config.family.model_tensors().into_iter();
        let outside =
            outside.map(|tensor| (self.model_name(tensor).to_string(), tensor.shape(config)));
        let in_layers = (0..config.n_layers()).flat_map(|l| {
            let tensors = config.family.layer_tensors().into_iter();
            tensors.map(move |tensor| (self.layer_name(l, tensor), tensor.shape(config)))
        });
        let expected: Vec<(String, Vec<usize>)> = outside.chain(in_layers).collect();
        for (name, expected) in &expected {
            let found = self.store.shape(name)?;
            if found != *expected {
                let (name, expected) = (name.clone(), expected.clone());
                let found = found.to_vec();
                return Err(ModelError::Shape {
                    name,
                    found,
                    expected,
                });
            }
        }
        let known: HashSet<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
        let unused = |name: &str| {
            let factors = self.store.format() == Format::Gguf && ROPE_TENSORS.contains(&name);
            factors || UNUSED.iter().any(|end| name.ends_with(end))
        };
        let mut names: Vec<String> = self
            .store
            .names()
            .filter(|name| !known.contains(name) && !unused(name))
            .map(str::to_string)
            .collect();
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
}
