//! Rotary position embedding: tables of cosines and sines, one per distinct rotation.

use std::f32::consts::TAU;
use std::fmt;
use std::ops::Range;

use candle_core::{DType, Device, Result, Tensor};
use serde::Serialize;

/// One rotation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RopeSpec {
    /// The base of the geometric series of wavelengths.
    pub theta: f64,
    /// How many dimensions of a head are rotated, from the first on.
    pub width: usize,
    /// What is done to the wavelengths.
    pub scaling: RopeScaling,
}

/// How a model was stretched to longer inputs than it was first trained on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RopeScaling {
    /// It was not.
    None,
    /// All wavelengths times `factor` (Gemma 3 4B and larger, in their global layers).
    Linear {
        /// By how much.
        factor: f64,
    },
    /// Long wavelengths times `factor`, short ones as they are, a ramp between (Llama 3.1 and later).
    Llama3 {
        /// By how much.
        factor: f64,
        /// Wavelengths above `original_max_positions / low_freq_factor` are long.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_positions / high_freq_factor` are short.
        high_freq_factor: f64,
        /// The length of the first training.
        original_max_positions: f64,
    },
    /// Each wavelength times a number of its own: `rope_freqs` of a GGUF file, or the short factors of
    /// LongRoPE (Phi-3 128k), which hold up to the length of the first training.
    Factors {
        /// One per rotated pair, `[width / 2]`.
        factors: Vec<f32>,
        /// What cosines and sines are multiplied by.
        amplitude: f64,
    },
}

/// For a person: `rope base 500000, llama3 scaling ×32`.
impl fmt::Display for RopeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rope base {}", self.theta)?;
        match &self.scaling {
            RopeScaling::None => Ok(()),
            RopeScaling::Linear { factor } => write!(f, ", linear scaling ×{factor}"),
            RopeScaling::Llama3 { factor, .. } => write!(f, ", llama3 scaling ×{factor}"),
            RopeScaling::Factors { amplitude, .. } if *amplitude == 1.0 => {
                write!(f, ", a factor for each pair")
            }
            RopeScaling::Factors { amplitude, .. } => {
                write!(f, ", a factor for each pair, amplitude {amplitude:.4}")
            }
        }
    }
}

impl RopeSpec {
    /// Cosines and sines of some positions, each `[positions, width/2]`. Computed in f32 in the order of
    /// Hugging Face transformers, so that late positions round the same way.
    pub fn tables(
        &self,
        positions: Range<usize>,
        dtype: DType,
        device: &Device,
    ) -> Result<(Tensor, Tensor)> {
        let inverse = self.inverse_frequencies();
        let inverse = Tensor::from_vec(inverse, (1, self.width / 2), device)?;
        let len = positions.len();
        let positions = Tensor::arange(positions.start as u32, positions.end as u32, device)?
            .to_dtype(DType::F32)?
            .reshape((len, 1))?;
        let angles = positions.broadcast_mul(&inverse)?; // [positions, width/2]
        let place = |table: Tensor| (table * self.amplitude())?.to_dtype(dtype);
        Ok((place(angles.cos()?)?, place(angles.sin()?)?))
    }

    pub(super) fn amplitude(&self) -> f64 {
        match self.scaling {
            RopeScaling::Factors { amplitude, .. } => amplitude,
            _ => 1.0,
        }
    }

    /// The angle of each pair per position, `[width/2]`.
    fn inverse_frequencies(&self) -> Vec<f32> {
        let powers = (0..self.width / 2)
            .map(|i| (self.theta as f32).powf(2.0 * i as f32 / self.width as f32));
        match &self.scaling {
            RopeScaling::None => powers.map(|power| 1.0 / power).collect(),
            RopeScaling::Linear { factor } => {
                powers.map(|power| 1.0 / power / *factor as f32).collect()
            }
            RopeScaling::Factors { factors, .. } => factors
                .iter()
                .zip(powers)
                .map(|(factor, power)| 1.0 / (factor * power))
                .collect(),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_positions,
            } => {
                let [factor, low, high, original] = [
                    factor,
                    low_freq_factor,
                    high_freq_factor,
                    original_max_positions,
                ]
                .map(|value| *value as f32);
                powers
                    .map(|power| llama3(1.0 / power, factor, low, high, original))
                    .collect()
            }
        }
    }
}

/// One frequency under Llama 3's scaling.
fn llama3(inverse: f32, factor: f32, low: f32, high: f32, original: f32) -> f32 {
    let wavelength = TAU / inverse;
    if wavelength < original / high {
        return inverse;
    }
    if wavelength > original / low {
        return inverse / factor;
    }
    let smooth = (original / wavelength - low) / (high - low);
    (1.0 - smooth) * inverse / factor + smooth * inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inverse(scaling: RopeScaling) -> Vec<f32> {
        let spec = RopeSpec {
            theta: 500_000.0,
            width: 64,
            scaling,
        };
        spec.inverse_frequencies()
    }

    #[test]
    fn llama3_keeps_short_wavelengths_and_stretches_long_ones() {
        let plain = inverse(RopeScaling::None);
        let scaled = inverse(RopeScaling::Llama3 {
            factor: 32.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_positions: 8192.0,
        });
        // Llama 3.2 1B: wavelengths below 2048 are short, above 8192 long.
        assert_eq!(plain[..15], scaled[..15]);
        for i in 18..32 {
            assert_eq!(plain[i] / 32.0, scaled[i]);
        }
        // by hand: pair 16 turns by 500000^-0.5 = 1.4142e-3 per position, a wavelength of 4442.9;
        // smooth = (8192/4442.9 - 1)/3 = 0.28128; (0.71872/32 + 0.28128)·1.4142e-3 = 4.2955e-4
        assert!((scaled[16] - 4.2955e-4).abs() < 1e-7, "{}", scaled[16]);
    }

    #[test]
    fn linear_and_factors_by_hand() {
        let plain = inverse(RopeScaling::None);
        let linear = inverse(RopeScaling::Linear { factor: 8.0 });
        let factors = inverse(RopeScaling::Factors {
            factors: vec![8.0; 32],
            amplitude: 1.5,
        });
        for i in 0..32 {
            assert_eq!(linear[i], plain[i] / 8.0);
            assert!((factors[i] - linear[i]).abs() <= 1e-7 * linear[i]);
        }
    }

    #[test]
    fn amplitude_multiplies_the_tables() {
        let spec = RopeSpec {
            theta: 10_000.0,
            width: 2,
            scaling: RopeScaling::Factors {
                factors: vec![2.0],
                amplitude: 1.5,
            },
        };
        let (cos, sin) = spec.tables(0..2, DType::F32, &Device::Cpu).unwrap();
        let values = |table: &Tensor| table.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&cos), [1.5, 1.5 * 0.5f32.cos()]);
        assert_eq!(values(&sin), [0.0, 1.5 * 0.5f32.sin()]);
    }
}
