//! What becomes of a neuron's `post`, and where that comes from.
//!
//! A number stands in the mode itself and beside its name, as in `fixed=0.5`. Values of a reference are there already, as
//! from a recording, or [`Mode::needs`] says what a run has to do for them first.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use strum::{EnumProperty, IntoEnumIterator};

use super::donors::Donors;
use super::means::NeuronMeans;

/// What becomes of a neuron's `post` value; printed and parsed as files and the command line name it.
///
/// A mode with a number of its own is a variant here, a line in `number`, and its formula in `BatchEdit::edit_row`.
#[derive(Clone, Debug, PartialEq, strum::AsRefStr, strum::EnumIter, strum::EnumProperty)]
#[strum(serialize_all = "kebab-case")]
pub enum Mode {
    /// It becomes 0.
    Zero,
    /// It becomes the neuron's mean over a reference.
    Mean(Reference<NeuronMeans>),
    /// It becomes the neuron's mean over those tokens of a reference whose `gate` and `up` have the
    /// (raw) signs that the edited run's have here.
    #[strum(serialize = "mean-sign")]
    MeanBySign(Reference<NeuronMeans>),
    /// It becomes the value of another prompt at the same role.
    Resample(Reference<Donors>),
    /// It becomes the value of what the prompt is paired with, its own counterfactual or itself with or without noise, at the same
    /// role; where that has no such role, it stays.
    Patch(Reference<Donors>),
    /// It becomes this value.
    #[strum(props(number = "VALUE"))]
    Fixed(f32),
    /// It is multiplied by this factor.
    #[strum(props(number = "FACTOR"))]
    Multiply(f32),
    /// It is kept, but no larger than this.
    #[strum(serialize = "clamp", props(number = "LIMIT"))]
    ClampAbove(f32),
}

/// Where a mode's values come from. Of values only the same are equal: to compare them one by one would cost more than
/// the sharing of a stream saves.
#[derive(Clone, Debug, Default)]
pub enum Reference<T> {
    /// The prompts of the run that edits: it takes them before.
    #[default]
    OwnPrompts,
    /// Here they are.
    Given(Arc<T>),
}

impl<T> Reference<T> {
    /// The values, where they are here.
    pub(super) fn given(&self) -> Option<&T> {
        match self {
            Reference::OwnPrompts => None,
            Reference::Given(values) => Some(values),
        }
    }
}

impl<T> PartialEq for Reference<T> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Reference::OwnPrompts, Reference::OwnPrompts) => true,
            (Reference::Given(a), Reference::Given(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl<T> From<T> for Reference<T> {
    fn from(values: T) -> Self {
        Reference::Given(Arc::new(values))
    }
}

/// What a run has to do before it can edit with a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: every value is there.
    Nothing,
    /// To take the means of its prompts in a clean pass ([`MeanSums`](super::MeanSums)).
    CleanMeans,
    /// To choose donors among its prompts and record their values ([`DonorRecording`](super::DonorRecording)).
    Donors,
    /// To record the values of what its prompts are paired with, likewise.
    Counterfactuals,
}

impl Mode {
    /// What a run has to do before it can edit so.
    pub fn needs(&self) -> Needs {
        use Reference::OwnPrompts;
        match self {
            Mode::Mean(OwnPrompts) | Mode::MeanBySign(OwnPrompts) => Needs::CleanMeans,
            Mode::Resample(OwnPrompts) => Needs::Donors,
            Mode::Patch(OwnPrompts) => Needs::Counterfactuals,
            _ => Needs::Nothing,
        }
    }

    /// The mode with these means, if it is one that takes means.
    pub fn with_means(self, means: NeuronMeans) -> Self {
        match self {
            Mode::Mean(_) => Mode::Mean(means.into()),
            Mode::MeanBySign(_) => Mode::MeanBySign(means.into()),
            other => other,
        }
    }

    fn number(&mut self) -> Option<&mut f32> {
        match self {
            Mode::Fixed(number) | Mode::Multiply(number) | Mode::ClampAbove(number) => Some(number),
            _ => None,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_ref())?;
        let mut mode = self.clone();
        mode.number()
            .map_or(Ok(()), |number| write!(f, "={number}"))
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, number) = match text.split_once('=') {
            Some((name, number)) => (name, Some(number)),
            None => (text, None),
        };
        let mode = Mode::iter().find(|mode| mode.as_ref() == name);
        mode.and_then(|mode| with_number(mode, number))
            .ok_or_else(|| {
                let accepted: Vec<_> = Mode::iter().map(usage).collect();
                format!(
                    "`{text}` is no edit; accepted: {}, with finite numbers that f32 holds (to 3.4e38)",
                    accepted.join(", ")
                )
            })
    }
}

/// The mode with the number that was written, exactly where it takes one.
fn with_number(mut mode: Mode, written: Option<&str>) -> Option<Mode> {
    match (mode.number(), written) {
        (None, None) => {}
        (Some(number), Some(written)) => {
            *number = written.parse().ok().filter(|n: &f32| n.is_finite())?;
        }
        _ => return None,
    }
    Some(mode)
}

fn usage(mode: Mode) -> String {
    match mode.get_str("number") {
        Some(number) => format!("{}={number}", mode.as_ref()),
        None => mode.as_ref().to_owned(),
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
            "patch",
            "fixed=0.5",
            "multiply=-1",
            "clamp=2",
        ] {
            assert_eq!(name.parse::<Mode>().unwrap().to_string(), name);
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
            assert_eq!(
                name.parse::<Mode>().unwrap_err(),
                format!(
                    "`{name}` is no edit; accepted: zero, mean, mean-sign, resample, patch, fixed=VALUE, \
                     multiply=FACTOR, clamp=LIMIT, with finite numbers that f32 holds (to 3.4e38)"
                )
            );
        }
    }

    #[test]
    fn means_are_equal_when_they_are_the_same() {
        let given = || Mode::Mean(NeuronMeans::absent(1, 1).into());
        let one = given();
        assert_eq!(one, one.clone());
        assert_ne!(one, given());
        assert_ne!(one, Mode::Mean(Reference::OwnPrompts));
    }

    #[test]
    fn a_run_must_take_only_what_is_not_there() {
        for (name, needs) in [
            ("zero", Needs::Nothing),
            ("fixed=1", Needs::Nothing),
            ("mean", Needs::CleanMeans),
            ("mean-sign", Needs::CleanMeans),
            ("resample", Needs::Donors),
            ("patch", Needs::Counterfactuals),
        ] {
            let mode: Mode = name.parse().unwrap();
            assert_eq!(mode.needs(), needs);
            let has_means = mode.with_means(NeuronMeans::absent(1, 1));
            let takes_none = matches!(needs, Needs::Donors | Needs::Counterfactuals);
            assert_eq!(has_means.needs() == Needs::Nothing, !takes_none);
        }
    }
}
