//! What activations are kept in.

use candle_core::DType;

/// What activations are kept in, and what to do where it is too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// To 65,504.
    F16,
    /// As far as f32, with fewer digits.
    Bf16,
    /// To 3.4e38.
    F32,
}

impl Precision {
    /// That of a type; of one that activations are never kept in, f32.
    pub fn of(dtype: DType) -> Self {
        match dtype {
            DType::F16 => Precision::F16,
            DType::BF16 => Precision::Bf16,
            _ => Precision::F32,
        }
    }

    /// How far a log-probability of a likely token was from that in f32, rounded up, in short prompts of small models, nats; clean
    /// and edited alike (the test `precisions`; f16 on one model, since the other's numbers are too large for it).
    pub fn logprob_error(self) -> f64 {
        match self {
            Precision::F16 => 0.1,
            Precision::Bf16 => 0.5,
            Precision::F32 => 0.0,
        }
    }

    /// What to do next.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Precision::F16 => "f16 holds numbers to 65,504 only: use --dtype f32, or bf16",
            Precision::Bf16 => "use --dtype f32, or a milder --mode where an edit made it",
            Precision::F32 => {
                "the file is damaged (a weight that is not a number, or far too large), or the edit's value is too large: \
                 get the model again, or use a milder --mode"
            }
        }
    }
}
