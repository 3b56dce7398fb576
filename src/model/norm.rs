//! The norms of a family, as one operation.

use candle_core::{D, DType, Result, Tensor};

use super::gradient::pull_back;
use super::kinds::NormKind;

/// A norm over the last dimension: `x / sqrt(mean(x²) + eps) · gain`, of the centred `x` where it is a LayerNorm.
pub(super) struct Norm {
    /// `[width]`; ones for a LayerNorm without parameters.
    gain: Tensor,
    eps: f32,
    kind: NormKind,
}

impl Norm {
    pub fn new(gain: Tensor, eps: f64, kind: NormKind) -> Self {
        let eps = eps as f32;
        Self { gain, eps, kind }
    }

    /// How many values are normed together.
    pub fn width(&self) -> Result<usize> {
        self.gain.dim(0)
    }

    /// `[.., width]` to the same shape.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        if x.track_op() {
            // The fused operation has no gradient.
            let divided = self.centred(x)?.broadcast_div(&self.scale(x)?)?;
            return divided.broadcast_mul(&self.gain);
        }
        candle_nn::ops::rms_norm(&self.centred(x)?, &self.gain, self.eps)
    }

    /// The gradient of the norm's input from that of its output, both of the shape of `x`; where the norm `is_frozen`, what it
    /// divides by does not depend on its input.
    pub fn gradient(&self, x: &Tensor, of_output: &Tensor, is_frozen: bool) -> Result<Tensor> {
        if is_frozen {
            let divided = of_output
                .broadcast_mul(&self.gain)?
                .broadcast_div(&self.scale(x)?)?;
            return self.centred(&divided); // to centre is its own transpose
        }
        let [of_input] = pull_back([x], of_output, |[x]| self.apply(x))?;
        Ok(of_input)
    }

    /// Rows divided by what those of `other` would be: both `[rows, width]`, to the same shape.
    pub fn apply_scaled_as(&self, x: &Tensor, other: &Tensor) -> Result<Tensor> {
        let divided = self
            .centred(&x.to_dtype(DType::F32)?)?
            .broadcast_div(&self.scale(other)?)?;
        let gain = self.gain.to_dtype(DType::F32)?;
        divided.broadcast_mul(&gain)?.to_dtype(x.dtype())
    }

    /// What the rows are divided by: `[.., width]` to `[.., 1]`, in f32.
    pub fn scale(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.centred(&x.to_dtype(DType::F32)?)?;
        (x.sqr()?.mean_keepdim(D::Minus1)? + f64::from(self.eps))?.sqrt()
    }

    fn centred(&self, x: &Tensor) -> Result<Tensor> {
        match self.kind {
            NormKind::Rms | NormKind::RmsOnePlus => Ok(x.clone()),
            NormKind::LayerNorm => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?),
        }
    }
}

/// Rows through a norm that may not be there.
pub(super) fn normed(x: &Tensor, norm: Option<&Norm>) -> Result<Tensor> {
    norm.map_or_else(|| Ok(x.clone()), |norm| norm.apply(x))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn layer_norm_centres_before_it_divides() {
        let ones = Tensor::ones(2, DType::F32, &Device::Cpu).unwrap();
        let norm = Norm::new(ones, 0.0, NormKind::LayerNorm);
        let x = Tensor::new(&[[1001.0f32, 1005.0]], &Device::Cpu).unwrap();
        let out: Vec<Vec<f32>> = norm.apply(&x).unwrap().to_vec2().unwrap();
        assert_eq!(out, [[-1.0, 1.0]]);
        let scale: Vec<Vec<f32>> = norm.scale(&x).unwrap().to_vec2().unwrap();
        assert_eq!(scale, [[2.0]]);
    }
}
