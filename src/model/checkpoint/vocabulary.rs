//! The tensors outside the layers: embedding, head and final norm.

use std::ops::Range;

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::super::error::ModelError;
use super::super::shuffle::Shuffle;
use super::super::tensors::ModelTensor;
use super::Checkpoint;

impl Checkpoint {
    /// A tensor outside the layers in f32; the head of a tied model is its embedding.
    pub fn model_tensor(&self, tensor: ModelTensor) -> Result<Tensor, ModelError> {
        let name = self.model_name(tensor);
        match tensor {
            ModelTensor::FinalNorm => self.gain(self.store.read(name)?),
            ModelTensor::Embedding | ModelTensor::Head => match &self.shuffle {
                Some(shuffle) => self.shuffled_vocabulary(shuffle, name),
                None => self.store.read(name),
            },
        }
    }

    /// The rows of the head or of the embedding for some of the vocabulary, `[tokens, d_model]`, in f32.
    pub fn vocabulary_rows(
        &self,
        tensor: ModelTensor,
        tokens: Range<usize>,
    ) -> Result<Tensor, ModelError> {
        self.vocabulary_rows_to(&Device::Cpu, tensor, tokens)
    }

    /// The same on a device.
    pub(in super::super) fn vocabulary_rows_to(
        &self,
        device: &Device,
        tensor: ModelTensor,
        tokens: Range<usize>,
    ) -> Result<Tensor, ModelError> {
        let name = self.model_name(tensor);
        match &self.shuffle {
            Some(shuffle) => {
                let whole = self.shuffled_vocabulary(shuffle, name)?;
                let rows = whole.narrow(0, tokens.start, tokens.len())?;
                Ok(rows.to_device(device)?)
            }
            None => self.store.read_rows_to(device, name, tokens),
        }
    }

    /// Rows of the embedding for the given token ids, `[ids, d_model]`, without reading the others.
    pub fn embedding_rows(&self, ids: &[u32]) -> Result<Tensor, ModelError> {
        let name = self.model_name(ModelTensor::Embedding);
        if let Some(shuffle) = &self.shuffle {
            let ids = Tensor::new(ids, &Device::Cpu)?;
            return Ok(self
                .shuffled_vocabulary(shuffle, name)?
                .index_select(&ids, 0)?);
        }
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

    /// The embedding or the head, shuffled, whichever of the two a tied pair is stored as.
    fn shuffled_vocabulary(
        &self,
        shuffle: &Shuffle,
        name: &'static str,
    ) -> Result<Tensor, ModelError> {
        shuffle.vocabulary(name, || {
            let shape = self.store.shape(name)?.to_vec();
            let entries = self.shuffled(shuffle, name)?;
            Ok(Tensor::from_vec(entries, shape, &Device::Cpu)?)
        })
    }
}
