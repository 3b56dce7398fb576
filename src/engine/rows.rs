//! Tensors as plain rows of f32 on the CPU, without a copy where they are that already.

use candle_core::{DType, Device, Result, Storage, Tensor};

/// A tensor that is contiguous f32 on the CPU.
pub(super) struct Rows(Tensor);

impl Rows {
    /// The tensor's values; copies only from another device, precision or layout.
    pub fn of(tensor: &Tensor) -> Result<Rows> {
        let rows = tensor
            .to_device(&Device::Cpu)?
            .to_dtype(DType::F32)?
            .contiguous()?;
        Ok(Rows(rows))
    }

    /// Reads the values, row-major.
    pub fn read<T>(&self, reader: impl FnOnce(&[f32]) -> T) -> Result<T> {
        let (storage, layout) = self.0.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else {
            candle_core::bail!("rows are not on the CPU");
        };
        let start = layout.start_offset();
        Ok(reader(
            &storage.as_slice::<f32>()?[start..start + self.0.elem_count()],
        ))
    }
}
