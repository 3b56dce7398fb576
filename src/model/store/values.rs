//! The values of tensors, read in blocks and in parallel.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::super::error::ModelError;
use super::super::files::read_at;
use super::{Kind, StoreFile, StoredTensor, TensorStore};
use crate::hub::FileError;

/// Values that one thread reads at once.
const READ_BLOCK: usize = 1 << 16;

impl TensorStore {
    /// A whole tensor in f32.
    pub fn read(&self, name: &str) -> Result<Tensor, ModelError> {
        let rows = self.get(name)?.rows();
        self.read_rows(name, 0..rows)
    }

    /// Some rows of a tensor (entries of a vector) in f32. Every value is finite.
    pub fn read_rows(&self, name: &str, rows: Range<usize>) -> Result<Tensor, ModelError> {
        let values = self.read_values(name, rows.clone())?;
        let mut shape = self.get(name)?.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = rows.len();
        }
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }

    /// The same on a device. Values of 16 bits are sent as they are stored, and widened there.
    pub fn read_rows_to(
        &self,
        device: &Device,
        name: &str,
        rows: Range<usize>,
    ) -> Result<Tensor, ModelError> {
        let tensor = match &self.rows_of(name, &rows)?.kind {
            Kind::Float(dtype @ (DType::F16 | DType::BF16)) if !device.is_cpu() => {
                self.read_halves(name, rows, *dtype)?
            }
            _ => self.read_rows(name, rows)?,
        };
        Ok(tensor.to_device(device)?.to_dtype(DType::F32)?)
    }

    /// Some rows of a tensor of 16 bits a value as they are stored, on the CPU. Every value is finite.
    pub(super) fn read_halves(
        &self,
        name: &str,
        rows: Range<usize>,
        dtype: DType,
    ) -> Result<Tensor, ModelError> {
        let stored = self.rows_of(name, &rows)?;
        let (first, count) = (rows.start * stored.width(), rows.len() * stored.width());
        let mut bytes = vec![0; 2 * count];
        let blocks = bytes.par_chunks_mut(2 * READ_BLOCK).enumerate();
        blocks.try_for_each(|(i, block)| {
            self.fill_bytes(stored, first + i * READ_BLOCK, block)?;
            let mut values = vec![0f32; block.len() / 2];
            stored.kind.widen(block, &mut values)?;
            self.check_values(name, stored, first + i * READ_BLOCK, &values)
        })?;
        let mut shape = stored.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = rows.len();
        }
        let file = &self.files[stored.file];
        file.tracked.check_open(&file.file)?;
        Ok(Tensor::from_raw_buffer(
            &bytes,
            dtype,
            &shape,
            &Device::Cpu,
        )?)
    }

    /// A tensor that has these rows.
    fn rows_of(&self, name: &str, rows: &Range<usize>) -> Result<&StoredTensor, ModelError> {
        let stored = self.get(name)?;
        if rows.end > stored.rows() {
            let why = format!("rows {rows:?} of {name}, which has {}", stored.rows());
            return Err(candle_core::Error::Msg(why).into());
        }
        Ok(stored)
    }

    /// The same values, row by row, read in parallel, a block at a time: what is in memory besides stays small.
    pub fn read_values(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>, ModelError> {
        let stored = self.rows_of(name, &rows)?;
        let width = stored.width();
        let mut values = vec![0f32; rows.len() * width];
        let step = (READ_BLOCK / width.max(1)).max(1);
        values
            .par_chunks_mut((step * width).max(1))
            .enumerate()
            .try_for_each(|(i, block)| {
                self.fill(name, stored, (rows.start + i * step) * width, block)
            })?;
        let file = &self.files[stored.file];
        file.tracked.check_open(&file.file)?;
        Ok(values)
    }

    /// Reads a whole tensor, a block at a time, and keeps nothing of it: every value is finite.
    pub fn check_finite(&self, name: &str) -> Result<(), ModelError> {
        let stored = self.get(name)?;
        let (count, width) = (stored.rows() * stored.width(), stored.width());
        let step = (READ_BLOCK / width.max(1)).max(1) * width.max(1);
        (0..count.div_ceil(step)).into_par_iter().try_for_each(|i| {
            let mut block = vec![0f32; step.min(count - i * step)];
            self.fill(name, stored, i * step, &mut block)
        })
    }

    /// The values from number `first` on.
    fn fill(
        &self,
        name: &str,
        stored: &StoredTensor,
        first: usize,
        values: &mut [f32],
    ) -> Result<(), ModelError> {
        let mut bytes = vec![0; stored.kind.bytes(values.len()) as usize];
        self.fill_bytes(stored, first, &mut bytes)?;
        stored.kind.widen(&bytes, values)?;
        self.check_values(name, stored, first, values)
    }

    /// What is stored from value number `first` on.
    fn fill_bytes(
        &self,
        stored: &StoredTensor,
        first: usize,
        bytes: &mut [u8],
    ) -> Result<(), ModelError> {
        let StoreFile { file, tracked } = &self.files[stored.file];
        let offset = stored.offset + stored.kind.bytes(first);
        Ok(read_at(file, bytes, offset).map_err(FileError::read(&tracked.path))?)
    }

    /// Refuses values, from number `first` on, of which one is not finite.
    fn check_values(
        &self,
        name: &str,
        stored: &StoredTensor,
        first: usize,
        values: &[f32],
    ) -> Result<(), ModelError> {
        match first_not_finite(values) {
            None => Ok(()),
            Some(place) => Err(ModelError::NotFinite {
                path: self.files[stored.file].tracked.path.clone(),
                name: name.to_string(),
                row: (first + place) / stored.width().max(1),
                column: (first + place) % stored.width().max(1),
                value: values[place],
                neuron: None,
            }),
        }
    }
}

/// The place of the first NaN or infinity: those values whose exponent's bits are all set. The first loop has no
/// branch, so that the compiler makes vector instructions of it.
pub(super) fn first_not_finite(values: &[f32]) -> Option<usize> {
    const EXPONENT: u32 = 0x7f80_0000;
    let is_bad = |value: &f32| u32::from(value.to_bits() & EXPONENT == EXPONENT);
    match values.iter().fold(0, |bad, value| bad | is_bad(value)) {
        0 => None,
        _ => values.iter().position(|value| !value.is_finite()),
    }
}
