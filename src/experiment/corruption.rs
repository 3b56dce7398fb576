//! What a corrupted run is: that of another question, or of the same one with noise. Which run takes values of which.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// What a fact is paired with where values are patched ([`Mode::Patch`](crate::hooks::Mode::Patch)).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Corruption {
    /// Its counterfactual.
    #[default]
    Counterfactual,
    /// Itself, with noise on the embeddings of its subject: causal tracing (Meng et al. 2022, arXiv 2202.05262, section 2.1).
    Noise(NoiseSettings),
}

/// How strong the noise is, and how often it is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseSettings {
    /// In standard deviations of the embeddings of the subjects' tokens, above 0.
    pub scale: f64,
    /// How many noises each fact is run with, at least 1. All arms have the same.
    pub seeds: usize,
}

impl Default for NoiseSettings {
    /// Those of Meng et al.
    fn default() -> Self {
        Self {
            scale: 3.0,
            seeds: 10,
        }
    }
}

impl Corruption {
    /// Which of a pair is run where nobody says.
    pub fn default_direction(self) -> PatchDirection {
        match self {
            Self::Counterfactual => PatchDirection::Noise,
            Self::Noise(_) => PatchDirection::Denoise,
        }
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counterfactual => f.write_str("counterfactual"),
            Self::Noise(NoiseSettings { scale, .. }) => write!(f, "noise={scale}"),
        }
    }
}

impl FromStr for Corruption {
    type Err = String;

    /// `counterfactual`, `noise`, or `noise=SCALE`; as many noises as by default.
    fn from_str(text: &str) -> Result<Self, String> {
        let settings = NoiseSettings::default();
        match text.split_once('=') {
            None if text == "counterfactual" => Ok(Self::Counterfactual),
            None if text == "noise" => Ok(Self::Noise(settings)),
            Some(("noise", number)) => {
                let scale = number.parse().ok();
                let scale = scale.filter(|scale: &f64| scale.is_finite() && *scale > 0.0);
                let scale = scale.ok_or_else(|| {
                    format!("`{number}` is no strength of noise: it is a number above 0, in standard deviations, such as noise=3")
                })?;
                Ok(Self::Noise(NoiseSettings { scale, ..settings }))
            }
            _ => Err(format!(
                "`{text}` is no corruption; accepted: counterfactual, noise, noise=SCALE"
            )),
        }
    }
}

impl Serialize for Corruption {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Which of a pair is run, and which gives the values ([`Mode::Patch`](crate::hooks::Mode::Patch)).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, strum::Display, strum::EnumString,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = String, parse_err_fn = no_direction)]
pub enum PatchDirection {
    /// The fact is run, with values of its corrupted run: what is lost?
    #[default]
    Noise,
    /// The corrupted run is repeated, with values of the fact: what comes back?
    Denoise,
}

fn no_direction(text: &str) -> String {
    format!("`{text}` is no direction of patching; accepted: noise, denoise")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corruptions_are_read_as_they_are_written() {
        let of = |text: &str| text.parse::<Corruption>();
        let noise = |scale| Corruption::Noise(NoiseSettings { scale, seeds: 10 });
        assert_eq!(of("counterfactual"), Ok(Corruption::Counterfactual));
        assert_eq!(of("noise"), Ok(noise(3.0)));
        assert_eq!(of("noise=0.5"), Ok(noise(0.5)));
        for written in [Corruption::Counterfactual, noise(3.0), noise(0.5)] {
            assert_eq!(of(&written.to_string()), Ok(written));
        }
        for bad in [
            "noise=0",
            "noise=-1",
            "noise=inf",
            "noise=nan",
            "noise=",
            "noise=x",
        ] {
            assert!(of(bad).unwrap_err().contains("above 0"), "{bad}");
        }
        for bad in ["", "Noise", "zero", "counterfactual=1"] {
            assert!(of(bad).unwrap_err().contains("accepted:"), "{bad}");
        }
    }
}
