//! What becomes of a neuron's `post`.
//!
//! [`Mode`] is what an edit holds: it has all its values. [`ModeSpec`] is what a person asks for: `mean` is
//! a wish until somebody has taken the means, and only then a mode.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::donors::Donors;
use super::means::NeuronMeans;

/// What becomes of a neuron's `post` value.
#[derive(Clone, Debug)]
pub enum Mode {
    /// It becomes 0.
    Zero,
    /// It becomes this value.
    Fixed(f32),
    /// It is multiplied by this factor.
    Multiply(f32),
    /// It is kept, but no larger than this.
    ClampAbove(f32),
    /// It becomes the neuron's mean over a reference.
    Mean(Arc<NeuronMeans>),
    /// It becomes the neuron's mean over those tokens of a reference whose `gate` and `up` have the
    /// (raw) signs that the edited run's have here.
    MeanBySign(Arc<NeuronMeans>),
    /// It becomes the value of another prompt at the same role.
    Resample(Arc<Donors>),
}

/// Equal modes edit alike. Of reference values only the same are equal: to compare them one by one would
/// cost more than the sharing of a stream saves.
impl PartialEq for Mode {
    fn eq(&self, other: &Self) -> bool {
        use Mode::*;
        match (self, other) {
            (Zero, Zero) => true,
            (Fixed(a), Fixed(b)) | (Multiply(a), Multiply(b)) => a == b,
            (ClampAbove(a), ClampAbove(b)) => a == b,
            (Mean(a), Mean(b)) | (MeanBySign(a), MeanBySign(b)) => Arc::ptr_eq(a, b),
            (Resample(a), Resample(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::Zero => f.write_str("zero"),
            Mode::Fixed(value) => write!(f, "fixed={value}"),
            Mode::Multiply(factor) => write!(f, "multiply={factor}"),
            Mode::ClampAbove(limit) => write!(f, "clamp={limit}"),
            Mode::Mean(_) => MeanKind::Overall.fmt(f),
            Mode::MeanBySign(_) => MeanKind::BySign.fmt(f),
            Mode::Resample(_) => f.write_str("resample"),
        }
    }
}

/// Which mean of a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeanKind {
    /// Over all tokens.
    Overall,
    /// Over the tokens of each raw sign case.
    BySign,
}

impl MeanKind {
    /// The mode, once the means are known.
    pub fn of(self, means: Arc<NeuronMeans>) -> Mode {
        match self {
            MeanKind::Overall => Mode::Mean(means),
            MeanKind::BySign => Mode::MeanBySign(means),
        }
    }
}

impl fmt::Display for MeanKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MeanKind::Overall => "mean",
            MeanKind::BySign => "mean-sign",
        })
    }
}

/// A mode as it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum ModeSpec {
    /// One that has all it needs.
    Ready(Mode),
    /// Means, of a reference to be run or read.
    Means(MeanKind),
    /// Values of other prompts, to be recorded.
    Resample,
}

impl From<Mode> for ModeSpec {
    fn from(mode: Mode) -> Self {
        ModeSpec::Ready(mode)
    }
}

impl fmt::Display for ModeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModeSpec::Ready(mode) => mode.fmt(f),
            ModeSpec::Means(kind) => kind.fmt(f),
            ModeSpec::Resample => f.write_str("resample"),
        }
    }
}

impl FromStr for ModeSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let spec = match text.split_once('=') {
            None => match text {
                "zero" => Some(Mode::Zero.into()),
                "mean" => Some(ModeSpec::Means(MeanKind::Overall)),
                "mean-sign" => Some(ModeSpec::Means(MeanKind::BySign)),
                "resample" => Some(ModeSpec::Resample),
                _ => None,
            },
            Some((name, number)) => with_number(name, number).map(ModeSpec::Ready),
        };
        spec.ok_or_else(|| {
            format!(
                "`{text}` is no edit; accepted: zero, mean, mean-sign, resample, fixed=VALUE, \
                 multiply=FACTOR, clamp=LIMIT, with finite numbers that f32 holds (to 3.4e38)"
            )
        })
    }
}

fn with_number(name: &str, number: &str) -> Option<Mode> {
    let number: f32 = number.parse().ok().filter(|n: &f32| n.is_finite())?;
    match name {
        "fixed" => Some(Mode::Fixed(number)),
        "multiply" => Some(Mode::Multiply(number)),
        "clamp" => Some(Mode::ClampAbove(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_nonsense_is_refused() {
        for name in [
            "zero",
            "mean",
            "mean-sign",
            "resample",
            "fixed=0.5",
            "multiply=-1",
            "clamp=2",
        ] {
            assert_eq!(name.parse::<ModeSpec>().unwrap().to_string(), name);
        }
        for name in [
            "",
            "zero=1",
            "fixed",
            "fixed=nan",
            "clamp=x",
            "means",
            "mean=1",
        ] {
            assert!(name.parse::<ModeSpec>().is_err(), "{name}");
        }
    }

    #[test]
    fn means_are_equal_when_they_are_the_same() {
        let means = || Arc::new(NeuronMeans::absent(1, 1));
        let one = means();
        assert_eq!(Mode::Mean(one.clone()), Mode::Mean(one.clone()));
        assert_ne!(Mode::Mean(one.clone()), Mode::MeanBySign(one.clone()));
        assert_ne!(Mode::Mean(one), Mode::Mean(means()));
    }
}
