//! The gate's activation, and the product that makes a gated MLP of it.
//!
//! Both activations are `x·sigmoid(k)`: SiLU with `k = x`, the tanh form of GELU with `k = 2·inner`, since
//! `(1 + tanh y)/2 = sigmoid(2y)`. So one exponential serves both. It has no branch and no call, and is compiled for
//! each vector width that the processor may have; all of them give the same bits. Against the standard library's
//! exponential, which is one call a value, the whole product takes a fifth of the time (`cargo bench -- gated`).

use candle_core::{Result, Tensor};
use candle_nn::ops::sigmoid;
use serde::Serialize;

const SQRT_8_OVER_PI: f32 = 1.595_769_2;

/// The gate's activation; shown as the kind of gated MLP that it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::Display)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x·sigmoid(x)`: SwiGLU.
    #[strum(to_string = "SwiGLU")]
    Silu,
    /// The tanh form of GELU: GeGLU.
    #[strum(to_string = "GeGLU (tanh)")]
    GeluTanh,
}

impl Activation {
    /// The names that Hugging Face configs use, with what they mean.
    pub(super) const HF_NAMES: &'static [(&'static str, Activation)] = &[
        ("silu", Activation::Silu),
        ("swish", Activation::Silu),
        ("gelu_pytorch_tanh", Activation::GeluTanh),
    ];

    /// `act(gate)·up` of tensors of one shape, by operations that every device has, with gradients.
    pub fn gated_tensor(self, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        let inner = match self {
            Activation::Silu => gate.clone(),
            Activation::GeluTanh => {
                let cubic = ((gate.sqr()? * gate)? * 0.044_715)?;
                ((gate + cubic)? * f64::from(SQRT_8_OVER_PI))?
            }
        };
        (gate * sigmoid(&inner)?)? * up
    }

    /// `post[n] = act(gate[n])·up[n]`, for slices of one length.
    pub fn gated(self, gate: &[f32], up: &[f32], post: &mut [f32]) {
        let product = Gated { gate, up, post };
        let arch = pulp::Arch::new();
        // Matched once, so that each activation has a loop of its own.
        match self {
            Activation::Silu => arch.dispatch(Each(product, silu)),
            Activation::GeluTanh => arch.dispatch(Each(product, gelu_tanh)),
        }
    }
}

struct Gated<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    post: &'a mut [f32],
}

struct Each<'a, F>(Gated<'a>, F);

impl<F: Fn(f32) -> f32> pulp::WithSimd for Each<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Each(Gated { gate, up, post }, activation) = self;
        for (post, (gate, up)) in post.iter_mut().zip(gate.iter().zip(up)) {
            *post = activation(*gate) * up;
        }
    }
}

#[inline(always)]
fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    x / (1.0 + exp(-SQRT_8_OVER_PI * (x + 0.044_715 * x * x * x)))
}

/// e^x to two units in the last place; of x below -87 and above 88 it is e^-87 and e^88, which changes no value of
/// an activation by more than 1e-35.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, of which the first times a small whole number is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Adding it leaves no room for fractions: the sum's low bits are the nearest whole number.
    const ROUNDER: f32 = 12_582_912.0; // 1.5·2^23
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * LOG2_E + ROUNDER;
    let whole = rounded - ROUNDER;
    let rest = (x - whole * LN_2_HIGH) - whole * LN_2_LOW; // |rest| <= ln(2)/2
    // Taylor; what is left out is below 6e-9 of the result.
    const TERMS: [f32; 6] = [
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
    ];
    let series = TERMS.iter().fold(0.0, |sum, term| sum * rest + term);
    let series = (series * rest * rest + rest) + 1.0;
    let power = (rounded.to_bits() << 23).wrapping_add(1.0f32.to_bits()); // 2^whole
    series * f32::from_bits(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(activation: Activation, gate: &[f32]) -> Vec<f32> {
        let (up, mut post) = (vec![1.0; gate.len()], vec![0.0; gate.len()]);
        activation.gated(gate, &up, &mut post);
        post
    }

    #[test]
    fn values_by_hand_and_by_pytorch() {
        // silu(1) = 1/(1+e^-1); gelu_tanh(1) as PyTorch prints it.
        assert!((each(Activation::Silu, &[1.0])[0] - 0.731_058_6).abs() < 1e-7);
        let gelu = each(Activation::GeluTanh, &[1.0, -1.0]);
        assert!((gelu[0] - 0.841_191_9).abs() < 2e-7 && (gelu[1] + 0.158_808).abs() < 1e-7);
        let mut post = [0.0; 3];
        Activation::Silu.gated(&[1.0, 0.0, -2.0], &[3.0, 5.0, 0.0], &mut post);
        assert_eq!(post, [3.0 * silu(1.0), 0.0, -0.0]);
    }

    #[test]
    fn every_value_is_close_to_that_in_double_precision() {
        let gate: Vec<f32> = (-200_000..=200_000).map(|i| i as f32 * 1e-3).collect();
        let inner = |x: f64| (8.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
        for (activation, argument) in [
            (Activation::Silu, &(|x| x) as &dyn Fn(f64) -> f64),
            (Activation::GeluTanh, &inner),
        ] {
            for (x, found) in gate.iter().zip(each(activation, &gate)) {
                let argument = argument(f64::from(*x));
                let expected = f64::from(*x) / (1.0 + (-argument).exp());
                // The rounding of an argument is a relative error of its exponential.
                let units = 4.0 + 2.0 * argument.abs();
                let tolerance = units * f64::from(f32::EPSILON) * expected.abs() + 1e-34;
                let off = (f64::from(found) - expected).abs();
                assert!(
                    off <= tolerance,
                    "{activation} of {x}: {found} for {expected}"
                );
            }
        }
    }

    #[test]
    fn the_exponential_is_good_to_two_units_in_the_last_place() {
        for i in -86_999..=87_999 {
            let x = i as f32 * 1e-3;
            let expected = f64::from(x).exp();
            let off = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(off <= 2.0 * f64::from(f32::EPSILON), "{x}: {off:e}");
        }
    }

    #[test]
    fn nothing_overflows_and_what_is_no_number_stays_none() {
        let gate = [1e30, -1e30, f32::INFINITY, f32::NAN];
        for activation in [Activation::Silu, Activation::GeluTanh] {
            let post = each(activation, &gate);
            assert_eq!((post[0], post[2]), (1e30, f32::INFINITY), "{activation}");
            assert!(
                post[1] <= 0.0 && post[1] > -1e-7,
                "{activation}: {}",
                post[1]
            );
            assert!(post[3].is_nan());
        }
    }
}
