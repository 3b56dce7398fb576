//! Soft caps: `cap·tanh(x / cap)`, Gemma 2's bound on attention scores and logits.

use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Result, Tensor};
use rayon::prelude::*;

/// Values that one thread takes at a time.
const BLOCK: usize = 1 << 13;

/// Caps every value of `x`, which nobody else may hold: on the CPU in f32 in place and in parallel.
pub(super) fn softcap(x: Tensor, cap: f64) -> Result<Tensor> {
    let in_place = matches!(x.device(), Device::Cpu) && x.dtype() == DType::F32;
    if in_place && x.is_contiguous() && !x.track_op() {
        x.inplace_op1(&SoftCap(cap as f32))?;
        return Ok(x);
    }
    (x / cap)?.tanh()? * cap
}

struct SoftCap(f32);

impl InplaceOp1 for SoftCap {
    fn name(&self) -> &'static str {
        "softcap"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets())
        else {
            candle_core::bail!("softcap in place needs contiguous f32");
        };
        let cap = self.0;
        values[start..end]
            .par_chunks_mut(BLOCK)
            .for_each(|block| block.iter_mut().for_each(|x| *x = cap * (*x / cap).tanh()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_bounded_and_small_ones_kept() {
        let x = Tensor::new(&[0f32, 0.01, 1.0, -100.0], &Device::Cpu).unwrap();
        let capped: Vec<f32> = softcap(x, 2.0).unwrap().to_vec1().unwrap();
        // 2·tanh(1/2) = 0.924234
        let expected = [0.0, 0.01, 0.924_234, -2.0];
        for (found, expected) in capped.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}
