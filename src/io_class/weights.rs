//! The weights that this stage reads, checked and as plain numbers.
//!
//! Shapes and gains are checked here, before any cosine; that single weights are finite shows in the sums.

use candle_core::{DType, Device, Layout, Storage, Tensor};

use super::ClassError;
use crate::model::{Mlp, NormKind};

/// The MLP weights of one layer, with the norms around it; any float type, on any device.
///
/// Weights that are already f32 on the CPU and contiguous are read where they lie, others are copied.
#[derive(Copy, Clone, Debug)]
pub struct MlpWeights<'a> {
    /// `gate_proj`, `[d_mlp, d_model]`; w_gate is a row.
    pub gate: &'a Tensor,
    /// `up_proj`, `[d_mlp, d_model]`; w_in is a row.
    pub up: &'a Tensor,
    /// `down_proj`, `[d_model, d_mlp]`; w_out is a column.
    pub down: &'a Tensor,
    /// Effective gain of the norm before the MLP, `[d_model]`: what the normalised residual is multiplied by
    /// (Gemma: 1 + w).
    pub pre_gain: Option<&'a Tensor>,
    /// Effective gain of the norm after the MLP, `[d_model]`, where the family has one.
    pub post_gain: Option<&'a Tensor>,
    /// A LayerNorm without parameters stands before the MLP (OLMo): the folds `pre` and `pre+post` centre w_in
    /// and w_out over d_model, and not w_gate, as in the reference.
    pub centred: bool,
}

impl<'a> From<&'a Mlp> for MlpWeights<'a> {
    fn from(mlp: &'a Mlp) -> Self {
        Self {
            gate: &mlp.gate_proj,
            up: &mlp.up_proj,
            down: &mlp.down_proj,
            pre_gain: mlp.pre_gain.as_ref(),
            post_gain: mlp.post_gain.as_ref(),
            centred: mlp.norm == NormKind::LayerNorm,
        }
    }
}

/// (d_mlp, d_model), which the other tensors are held to.
pub(super) fn gate_shape(layer: usize, gate: &Tensor) -> Result<(usize, usize), ClassError> {
    match *gate.dims() {
        [d_mlp, d_model] if d_mlp > 0 && d_model > 0 => Ok((d_mlp, d_model)),
        _ => Err(wrong_shape(
            layer,
            "gate_proj",
            "[d_mlp, d_model], neither of them 0",
            gate,
        )),
    }
}

/// The matrix as contiguous f32 on the CPU, of the given shape.
pub(super) fn matrix(
    layer: usize,
    name: &'static str,
    tensor: &Tensor,
    shape: (usize, usize),
) -> Result<Tensor, ClassError> {
    if tensor.dims() != [shape.0, shape.1] {
        return Err(wrong_shape(
            layer,
            name,
            &format!("[{}, {}]", shape.0, shape.1),
            tensor,
        ));
    }
    plain(tensor).map_err(|source| ClassError::Tensor { layer, source })
}

/// The gain of a norm, `[d_model]`, if there is one; all of it finite.
pub(super) fn gain(
    layer: usize,
    norm: &'static str,
    tensor: Option<&Tensor>,
    d_model: usize,
) -> Result<Option<Vec<f32>>, ClassError> {
    let Some(tensor) = tensor else {
        return Ok(None);
    };
    if tensor.dims() != [d_model] {
        return Err(wrong_shape(layer, norm, &format!("[{d_model}]"), tensor));
    }
    let values = plain(tensor).and_then(|plain| plain.to_vec1::<f32>());
    let values = values.map_err(|source| ClassError::Tensor { layer, source })?;
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(ClassError::GainNotFinite { layer, norm, index }),
        None => Ok(Some(values)),
    }
}

fn wrong_shape(layer: usize, tensor: &'static str, expected: &str, found: &Tensor) -> ClassError {
    let (expected, found) = (expected.to_owned(), found.dims().to_vec());
    ClassError::Shape {
        layer,
        tensor,
        expected,
        found,
    }
}

/// The same tensor as contiguous f32 on the CPU; a new handle, and no copy, where it is that already.
fn plain(tensor: &Tensor) -> candle_core::Result<Tensor> {
    tensor
        .to_device(&Device::Cpu)?
        .to_dtype(DType::F32)?
        .contiguous()
}

/// The numbers of a plain tensor, borrowed from its storage.
pub(super) fn numbers<'a>(storage: &'a Storage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    let Storage::Cpu(storage) = storage else {
        candle_core::bail!("weights copied to the CPU are not on the CPU");
    };
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("weights made contiguous are not contiguous");
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}
