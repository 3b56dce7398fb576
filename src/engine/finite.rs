//! Numbers stay finite: what is not shows in the residual, after the layer where it came up, or in the logits.
//!
//! A value that is infinite or not a number spoils its whole row of the residual from there on. So one look at the
//! residual after each layer is enough, and only where it fails is the culprit looked for.

use candle_core::{DType, Result, Tensor};
use rayon::prelude::*;

use super::error::EngineError;
use super::logits::Logits;
use super::precision::Precision;
use super::rows::Rows;
use crate::hooks::Condition;

/// The tensors of one layer in the order in which they were computed.
pub(super) struct Computed<'a> {
    pub resid_mid: &'a Tensor,
    pub gate: &'a Tensor,
    pub up: &'a Tensor,
    pub post: &'a Tensor,
    pub residual: &'a Tensor,
}

/// When a run looks whether its numbers are finite.
pub(super) enum Looks {
    /// After each layer.
    EachLayer,
    /// After the last: until then this sum, a scalar on the device, is 0 where all were.
    AtTheEnd(Option<Tensor>),
}

impl Looks {
    /// Looks at the residual after layer `layer`, or sees to it that it is looked at.
    pub fn look(
        &mut self,
        layer: usize,
        condition: &Condition,
        computed: &Computed<'_>,
    ) -> std::result::Result<(), EngineError> {
        let Looks::AtTheEnd(sum) = self else {
            return check_residual(layer, condition, computed);
        };
        let squares = computed.residual.to_dtype(DType::F32)?.sqr()?.sum(1)?; // [rows]
        // A number times 0 is 0, but for those that are none, or infinite.
        let of_layer = (squares * 0.0)?.sum_all()?;
        *sum = Some(match sum.take() {
            Some(sum) => (sum + of_layer)?,
            None => of_layer,
        });
        Ok(())
    }

    /// Whether all that were not refused yet are finite.
    pub fn found_finite(&self) -> Result<bool> {
        match self {
            Looks::AtTheEnd(Some(sum)) => Ok(sum.to_scalar::<f32>()? == 0.0),
            _ => Ok(true),
        }
    }
}

/// Refuses a residual with a row whose norm is not finite, and says what in layer `layer` made it so.
fn check_residual(
    layer: usize,
    condition: &Condition,
    computed: &Computed<'_>,
) -> std::result::Result<(), EngineError> {
    if rows_are_finite(computed.residual)? {
        return Ok(());
    }
    let place = culprit(layer, computed)?;
    let dtype = computed.residual.dtype();
    Err(not_finite(place, condition, dtype))
}

/// That something is not finite: what, in which run.
pub(super) fn not_finite(
    place: impl Into<String>,
    condition: &Condition,
    dtype: DType,
) -> EngineError {
    EngineError::NotFinite {
        place: place.into(),
        edit: condition.edit().map(|edit| edit.label.clone()),
        dtype: Precision::of(dtype),
    }
}

/// Refuses logits of which one is not finite.
pub(super) fn check_logits(
    logits: &Logits<'_>,
    condition: &Condition,
    dtype: DType,
) -> std::result::Result<(), EngineError> {
    let are_finite = match logits {
        Logits::Here(logits) => {
            let is_finite = |block: &[f32]| block.iter().all(|logit| logit.is_finite());
            logits.par_chunks(BLOCK).all(is_finite)
        }
        Logits::OnDevice(logits) => {
            let logits = logits.to_dtype(DType::F32)?;
            (logits * 0.0)?.sum_all()?.to_scalar::<f32>()? == 0.0
        }
    };
    if are_finite {
        return Ok(());
    }
    Err(not_finite("a logit", condition, dtype))
}

/// Values that a thread looks at together.
const BLOCK: usize = 1 << 14;

/// A row whose squares overflow would leave its norm as zeros, which are finite and wrong.
fn rows_are_finite(rows: &Tensor) -> Result<bool> {
    if !rows.device().is_cpu() {
        let squares = rows.to_dtype(DType::F32)?.sqr()?.sum(1)?.to_vec1::<f32>()?;
        return Ok(squares.iter().all(|square| square.is_finite()));
    }
    let width = rows.dim(1)?;
    Rows::of(rows)?.read(|values| {
        let is_finite = |row: &[f32]| row.iter().map(|x| x * x).sum::<f32>().is_finite();
        values.par_chunks(width).all(is_finite)
    })
}

/// What of a layer is the first that is not finite.
fn culprit(layer: usize, computed: &Computed<'_>) -> Result<String> {
    if !rows_are_finite(computed.resid_mid)? {
        return Ok(format!("the residual after the attention of layer {layer}"));
    }
    let Computed { gate, up, post, .. } = computed;
    for (name, tensor) in [("gate", gate), ("up", up), ("post", post)] {
        let found = Rows::of(tensor)?.read(|values| {
            let at = values.iter().position(|value| !value.is_finite())?;
            Some((at, values[at]))
        })?;
        if let Some((at, value)) = found {
            let neuron = at % tensor.dim(1)?;
            return Ok(format!("{name} of neuron {layer}.{neuron} ({value})"));
        }
    }
    Ok(format!("the residual after layer {layer}"))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn rows(values: &[f32]) -> Tensor {
        Tensor::from_slice(values, (2, values.len() / 2), &Device::Cpu).unwrap()
    }

    #[test]
    fn the_first_culprit_is_named() {
        let fine = rows(&[1.0, -2.0, 0.0, 3.0]);
        let bad = rows(&[1.0, 2.0, 3.0, f32::NAN]);
        let whole = Computed {
            resid_mid: &fine,
            gate: &fine,
            up: &fine,
            post: &fine,
            residual: &fine,
        };
        assert!(check_residual(3, &Condition::Clean, &whole).is_ok());
        let of = |computed: Computed<'_>| {
            check_residual(3, &Condition::Clean, &computed)
                .unwrap_err()
                .to_string()
        };
        let message = of(Computed {
            up: &bad,
            post: &bad,
            residual: &bad,
            ..whole
        });
        assert!(message.contains("up of neuron 3.1 (NaN)"), "{message}");
        let whole = Computed {
            resid_mid: &fine,
            gate: &fine,
            up: &fine,
            post: &fine,
            residual: &fine,
        };
        let message = of(Computed {
            resid_mid: &bad,
            residual: &bad,
            ..whole
        });
        assert!(message.contains("the attention of layer 3"), "{message}");
    }

    #[test]
    fn squares_that_overflow_are_not_finite() {
        assert!(rows_are_finite(&rows(&[1e18, 0.0, 0.0, -1e18])).unwrap());
        assert!(!rows_are_finite(&rows(&[0.0, 0.0, 2e19, 0.0])).unwrap());
    }
}
