//! Edits of neurons at `hook_post`: which neurons, what becomes of their value, where, and in which sign case.

use std::fmt;
use std::str::FromStr;

use super::neurons::NeuronSet;
use crate::tokens::Positions;

/// What becomes of a neuron's `post` value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// It becomes 0.
    Zero,
    /// It becomes this value.
    Fixed(f32),
    /// It is multiplied by this factor.
    Multiply(f32),
    /// It is kept, but no larger than this.
    ClampAbove(f32),
}

impl Mode {
    /// The edited value.
    #[inline(always)]
    fn apply(self, post: f32) -> f32 {
        match self {
            Mode::Zero => 0.0,
            Mode::Fixed(value) => value,
            Mode::Multiply(factor) => post * factor,
            Mode::ClampAbove(limit) => post.min(limit),
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
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let number = || {
            value
                .and_then(|v| v.parse::<f32>().ok())
                .filter(|v| v.is_finite())
        };
        let mode = match name {
            "zero" if value.is_none() => Some(Mode::Zero),
            "fixed" => number().map(Mode::Fixed),
            "multiply" => number().map(Mode::Multiply),
            "clamp" => number().map(Mode::ClampAbove),
            _ => None,
        };
        mode.ok_or_else(|| {
            format!(
                "`{text}` is no edit; accepted: zero, fixed=VALUE, multiply=FACTOR, clamp=LIMIT"
            )
        })
    }
}

/// The signs of `gate` and `up` for which an edit holds, strict, in raw sign (the weights as they
/// are). They are read from the edited run's own activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SignCase {
    gate: Option<Sign>,
    up: Option<Sign>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Positive,
    Negative,
}

impl Sign {
    fn holds(self, value: f32) -> bool {
        match self {
            Sign::Positive => value > 0.0,
            Sign::Negative => value < 0.0,
        }
    }

    fn symbol(self) -> char {
        match self {
            Sign::Positive => '+',
            Sign::Negative => '-',
        }
    }
}

impl SignCase {
    #[inline(always)]
    fn holds(self, gate: f32, up: f32) -> bool {
        self.gate.is_none_or(|sign| sign.holds(gate)) && self.up.is_none_or(|sign| sign.holds(up))
    }
}

impl fmt::Display for SignCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [("gate", self.gate), ("up", self.up)];
        let parts: Vec<String> = named
            .iter()
            .filter_map(|(name, sign)| Some(format!("{name}{}", (*sign)?.symbol())))
            .collect();
        f.write_str(
            if parts.is_empty() {
                "any".to_string()
            } else {
                parts.join(",")
            }
            .as_str(),
        )
    }
}

impl FromStr for SignCase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut case = SignCase::default();
        for part in text.split(',') {
            let sign = match part.chars().last() {
                Some('+') => Some(Sign::Positive),
                Some('-') => Some(Sign::Negative),
                _ => None,
            };
            let slot = match part.trim_end_matches(['+', '-']) {
                "gate" => &mut case.gate,
                "up" => &mut case.up,
                _ => return Err(sign_case_help(text)),
            };
            if sign.is_none() || slot.is_some() {
                return Err(sign_case_help(text));
            }
            *slot = sign;
        }
        Ok(case)
    }
}

fn sign_case_help(text: &str) -> String {
    format!(
        "`{text}` is no sign case; accepted: gate+, gate-, up+, up-, and pairs such as gate-,up+"
    )
}

/// One edit of a set of neurons.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// What messages call it, such as `depletion, draw 3`.
    pub label: String,
    /// Which neurons.
    pub neurons: NeuronSet,
    /// What becomes of their values.
    pub mode: Mode,
    /// At which tokens.
    pub positions: Positions,
    /// In which sign case.
    pub when: SignCase,
}

/// What a run of the model does differently from the plain one.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Nothing.
    Clean,
    /// One edit.
    Edited(Edit),
}

impl Condition {
    /// What this condition edits in layer `layer`, if anything.
    pub fn at_layer(&self, layer: usize) -> Option<LayerEdit<'_>> {
        match self {
            Condition::Clean => None,
            Condition::Edited(edit) => {
                let neurons = edit.neurons.layer(layer);
                (!neurons.is_empty()).then_some(LayerEdit {
                    neurons,
                    mode: edit.mode,
                    positions: edit.positions,
                    when: edit.when,
                })
            }
        }
    }
}

/// An edit as one layer sees it. Equal layer edits on equal inputs give equal outputs, so
/// conditions that agree here may go on sharing a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerEdit<'a> {
    /// Neurons of the layer, ascending.
    pub neurons: &'a [u32],
    /// What becomes of their values.
    pub mode: Mode,
    /// At which tokens.
    pub positions: Positions,
    /// In which sign case.
    pub when: SignCase,
}

impl LayerEdit<'_> {
    /// Edits one token's `post` `[d_mlp]`, given its `gate` and `up` `[d_mlp]`.
    #[inline]
    pub fn edit_row(&self, gate: &[f32], up: &[f32], post: &mut [f32]) -> EditCount {
        let mut count = EditCount::default();
        for &neuron in self.neurons {
            let n = neuron as usize;
            if self.when.holds(gate[n], up[n]) {
                let edited = self.mode.apply(post[n]);
                count.touched += 1;
                count.changed += u64::from(edited != post[n]);
                post[n] = edited;
            }
        }
        count
    }
}

/// How many values an edit reached, and how many of them it changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct EditCount {
    /// Values in the edit's neurons, positions and sign case.
    pub touched: u64,
    /// Values that are different after the edit.
    pub changed: u64,
}

impl std::ops::AddAssign for EditCount {
    fn add_assign(&mut self, other: Self) {
        self.touched += other.touched;
        self.changed += other.changed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit_with<'a>(mode: Mode, when: &str) -> LayerEdit<'a> {
        let when = if when.is_empty() {
            SignCase::default()
        } else {
            when.parse().unwrap()
        };
        LayerEdit {
            neurons: &[0, 2, 3],
            mode,
            positions: Positions::All,
            when,
        }
    }

    #[test]
    fn modes_and_sign_cases_by_hand() {
        let (gate, up) = ([1.0, 1.0, -1.0, -2.0], [3.0, 1.0, 2.0, -1.0]);
        let post = [2.5, 0.5, -0.5, 0.25];
        for (mode, when, expected, changed) in [
            (Mode::Zero, "", [0.0, 0.5, 0.0, 0.0], 3),
            (Mode::Fixed(2.5), "", [2.5, 0.5, 2.5, 2.5], 2),
            (Mode::Multiply(-2.0), "", [-5.0, 0.5, 1.0, -0.5], 3),
            (Mode::ClampAbove(0.25), "", [0.25, 0.5, -0.5, 0.25], 1),
            (Mode::Zero, "gate-", [2.5, 0.5, 0.0, 0.0], 2),
            (Mode::Zero, "gate-,up+", [2.5, 0.5, 0.0, 0.25], 1),
            (Mode::Zero, "up-", [2.5, 0.5, -0.5, 0.0], 1),
        ] {
            let mut row = post;
            let count = edit_with(mode, when).edit_row(&gate, &up, &mut row);
            assert_eq!((row, count.changed), (expected, changed), "{mode} {when}");
        }
    }

    #[test]
    fn names_round_trip_and_nonsense_is_refused() {
        for name in ["zero", "fixed=0.5", "multiply=-1", "clamp=2"] {
            assert_eq!(name.parse::<Mode>().unwrap().to_string(), name);
        }
        for name in ["", "zero=1", "fixed", "fixed=nan", "clamp=x", "mean"] {
            assert!(name.parse::<Mode>().is_err(), "{name}");
        }
        for name in ["gate+", "up-", "gate-,up+"] {
            assert_eq!(name.parse::<SignCase>().unwrap().to_string(), name);
        }
        for name in ["", "gate", "post+", "gate+,gate-"] {
            assert!(name.parse::<SignCase>().is_err(), "{name}");
        }
    }
}
