//! Gradients of a function's inputs from those of its output.
//!
//! Products with weights are turned around by hand, so that weights get none. What lies between them is short, and goes through
//! candle's own differentiation. Its fused operations (softmax, norms, rotations) have no gradient and would give none
//! without a word: where a tensor is [tracked](Tensor::track_op), the model's parts take the plain ones.

use candle_core::{Error, Result, Tensor, Var};

/// Of `f` at `inputs`, the gradient of each of these, given that of the output.
pub(super) fn pull_back<const N: usize>(
    inputs: [&Tensor; N],
    of_output: &Tensor,
    f: impl FnOnce([&Tensor; N]) -> Result<Tensor>,
) -> Result<[Tensor; N]> {
    let variables = inputs.map(Var::from_tensor);
    let variables: Vec<Var> = variables.into_iter().collect::<Result<_>>()?;
    let output = f(std::array::from_fn(|i| variables[i].as_tensor()))?;
    let gradients = (output * of_output)?.sum_all()?.backward()?;
    let of_inputs = variables.iter().map(|variable| {
        let gradient = gradients.get(variable.as_tensor()).cloned();
        gradient.ok_or_else(|| Error::msg("an operation without a gradient is on the way"))
    });
    let of_inputs: Vec<Tensor> = of_inputs.collect::<Result<_>>()?;
    of_inputs
        .try_into()
        .map_err(|_| Error::msg("as many gradients as inputs"))
}
