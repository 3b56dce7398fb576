//! Rotary position embedding: tables of cosines and sines, one per distinct rotation.

use candle_core::{DType, Device, Result, Tensor};
use serde::Serialize;

/// One rotation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RopeSpec {
    /// The base of the geometric series of wavelengths.
    pub theta: f64,
}

impl RopeSpec {
    /// Cosines and sines, each `[len, head_dim/2]`. Computed in f32 in the order of Hugging Face
    /// transformers, so that late positions round the same way.
    pub fn tables(
        &self,
        head_dim: usize,
        len: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<(Tensor, Tensor)> {
        let inverse: Vec<f32> = (0..head_dim / 2)
            .map(|i| 1.0 / (self.theta as f32).powf(2.0 * i as f32 / head_dim as f32))
            .collect();
        let inverse = Tensor::from_vec(inverse, (1, head_dim / 2), device)?;
        let positions = Tensor::arange(0u32, len as u32, device)?
            .to_dtype(DType::F32)?
            .reshape((len, 1))?;
        let angles = positions.matmul(&inverse)?; // [len, head_dim/2]
        Ok((
            angles.cos()?.to_dtype(dtype)?,
            angles.sin()?.to_dtype(dtype)?,
        ))
    }
}
