//! Tensors as plain rows of f32 on the CPU, without a copy where they are that already.

use candle_core::{DType, Device, Result, Storage, Tensor};
use rayon::prelude::*;

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

/// Values that a thread adds at a time.
const BLOCK: usize = 1 << 14;

/// `a + b` of one shape, on the threads that the products run on; candle's own sum has others.
pub(super) fn sum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if !a.device().is_cpu() || a.dtype() != DType::F32 || a.shape() != b.shape() {
        return a + b;
    }
    let mut sums = vec![0.0; a.elem_count()];
    Rows::of(a)?.read(|a| {
        Rows::of(b)?.read(|b| {
            let blocks = a.par_chunks(BLOCK).zip(b.par_chunks(BLOCK));
            let blocks = sums.par_chunks_mut(BLOCK).zip(blocks);
            blocks.for_each(|(sums, (a, b))| {
                let values = sums.iter_mut().zip(a.iter().zip(b));
                values.for_each(|(sum, (a, b))| *sum = a + b);
            });
        })
    })??;
    Tensor::from_vec(sums, a.shape(), &Device::Cpu)
}
