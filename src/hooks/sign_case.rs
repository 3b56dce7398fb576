//! Signs: the cases that an edit is limited to, and the convention that they are read in.
//!
//! A sign case is read from the numbers of the run that is edited: its own `gate`, its own `up`, and the
//! `post` that they give before the edit. All comparisons are strict, so a value of exactly 0 is in no case.
//! Since `post = act(gate)·up` and SiLU and GELU keep the sign of `gate`, the sign of `post` is the product of
//! the other two, except where `post` rounds to 0.
//!
//! Raw signs are those of the weights as they are. In reference sign (Gerstner and Schütze, arXiv 2505.17936) `up` and `post` are first
//! multiplied by the neuron's s = sign(w_gate·w_in), which makes neurons comparable whose w_in and w_out
//! differ by a common factor of -1, the function being the same.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// The sign that a value must have, strictly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Positive,
    Negative,
}

impl Sign {
    #[inline(always)]
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

/// The signs of `gate`, `up` and `post` for which an edit holds; the default is every value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SignCase {
    gate: Option<Sign>,
    up: Option<Sign>,
    post: Option<Sign>,
}

impl SignCase {
    /// Whether values are in the case; `up` and `post` in the convention that is asked about.
    #[inline(always)]
    pub(super) fn holds(self, gate: f32, up: f32, post: f32) -> bool {
        self.gate.is_none_or(|sign| sign.holds(gate))
            && self.up.is_none_or(|sign| sign.holds(up))
            && self.post.is_none_or(|sign| sign.holds(post))
    }

    /// The signs that `gate`, `up` and `post` must have.
    pub(super) fn signs(self) -> [Option<Sign>; 3] {
        [self.gate, self.up, self.post]
    }

    /// Whether every value is in the case, whatever its signs.
    pub fn is_any(self) -> bool {
        self == SignCase::default()
    }

    /// Whether some value may be in the case: with all three signs given, post's must be the others' product.
    fn is_possible(self) -> bool {
        match (self.gate, self.up, self.post) {
            (Some(gate), Some(up), Some(post)) => (gate == up) == (post == Sign::Positive),
            _ => true,
        }
    }
}

impl fmt::Display for SignCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [("gate", self.gate), ("up", self.up), ("post", self.post)];
        let signs = named
            .iter()
            .filter_map(|(name, sign)| Some(format!("{name}{}", (*sign)?.symbol())));
        match signs.collect::<Vec<_>>().join(",").as_str() {
            "" => f.write_str("any"),
            signs => f.write_str(signs),
        }
    }
}

impl FromStr for SignCase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut case = SignCase::default();
        for part in text.split(',') {
            let (name, sign) = if let Some(name) = part.strip_suffix('+') {
                (name, Sign::Positive)
            } else if let Some(name) = part.strip_suffix('-') {
                (name, Sign::Negative)
            } else {
                return Err(sign_case_help(text));
            };
            let slot = match name {
                "gate" => &mut case.gate,
                "up" => &mut case.up,
                "post" => &mut case.post,
                _ => return Err(sign_case_help(text)),
            };
            if slot.replace(sign).is_some() {
                return Err(sign_case_help(text));
            }
        }
        if !case.is_possible() {
            return Err(format!(
                "no value is in the sign case `{text}`: post has the sign of gate times up"
            ));
        }
        Ok(case)
    }
}

fn sign_case_help(text: &str) -> String {
    format!(
        "`{text}` is no sign case; accepted: gate+, gate-, up+, up-, post+, post-, and several of different \
         names such as gate-,post+"
    )
}

/// One of the four raw sign cases of `gate` and `up`; named as [`SignCase`] writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
pub enum RawCase {
    /// Both positive.
    #[strum(serialize = "gate+,up+")]
    GatePlusUpPlus,
    /// `gate` positive, `up` negative.
    #[strum(serialize = "gate+,up-")]
    GatePlusUpMinus,
    /// `gate` negative, `up` positive.
    #[strum(serialize = "gate-,up+")]
    GateMinusUpPlus,
    /// Both negative.
    #[strum(serialize = "gate-,up-")]
    GateMinusUpMinus,
}

impl RawCase {
    /// All four; `case as usize` is its place here.
    pub const ALL: [RawCase; 4] = [
        RawCase::GatePlusUpPlus,
        RawCase::GatePlusUpMinus,
        RawCase::GateMinusUpPlus,
        RawCase::GateMinusUpMinus,
    ];

    /// The case of two values; none where one of them is exactly 0.
    #[inline(always)]
    pub fn of(gate: f32, up: f32) -> Option<RawCase> {
        let minus = |value: f32| match value {
            plus if plus > 0.0 => Some(0),
            minus if minus < 0.0 => Some(1),
            _ => None,
        };
        Some(Self::ALL[2 * minus(gate)? + minus(up)?])
    }

    /// The name, as [`SignCase`] writes it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The case that a neuron with the sign `sign` is in when `up` is read in reference sign: times `sign`.
    pub fn in_reference_sign(self, sign: i8) -> RawCase {
        Self::ALL[self as usize ^ usize::from(sign <= 0)]
    }

    /// The sign that `post` has in the case, +1 or -1: that of `gate` times `up`.
    pub fn post_sign(self) -> i8 {
        [1, -1, -1, 1][self as usize]
    }

    /// What column names end in.
    pub fn suffix(self) -> &'static str {
        ["gp_up", "gp_um", "gm_up", "gm_um"][self as usize]
    }
}

impl Serialize for RawCase {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// The sign s = sign(w_gate·w_in) of every neuron of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceSigns {
    layers: Vec<Vec<i8>>, // [n_layers][d_mlp], +1 or -1
}

impl ReferenceSigns {
    /// From +1 or -1 by layer and neuron.
    pub fn new(layers: Vec<Vec<i8>>) -> Self {
        Self { layers }
    }

    /// Layers, and neurons in each of them where all have equally many.
    pub(super) fn shape(&self) -> (usize, usize) {
        let neurons = self.layers.iter().map(Vec::len);
        (self.layers.len(), neurons.min().unwrap_or(0))
    }
}

/// The convention in which an edit reads the signs of `up` and `post`, and in which the value of
/// [`Fixed`](super::Mode::Fixed) and the limit of [`ClampAbove`](super::Mode::ClampAbove) are meant.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum SignConvention {
    /// As the weights are.
    #[default]
    Raw,
    /// `up` and `post` times the neuron's sign.
    Reference(Arc<ReferenceSigns>),
}

impl SignConvention {
    /// The signs of one layer; `None`: raw.
    pub(super) fn layer(&self, layer: usize) -> Option<&[i8]> {
        match self {
            SignConvention::Raw => None,
            SignConvention::Reference(signs) => Some(&signs.layers[layer]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_nonsense_is_refused() {
        for name in [
            "gate+",
            "up-",
            "post+",
            "gate-,up+",
            "gate-,post+",
            "up-,post+",
        ] {
            assert_eq!(name.parse::<SignCase>().unwrap().to_string(), name);
        }
        assert!("gate-,up+,post-".parse::<SignCase>().is_ok());
        for name in ["", "gate", "pre+", "gate+,gate-", "gate+-", "gate-, up+"] {
            let message = name.parse::<SignCase>().unwrap_err();
            assert!(message.contains("gate-,post+"), "{message}");
        }
        let message = "gate-,up+,post+".parse::<SignCase>().unwrap_err();
        assert!(message.contains("no value"), "{message}");
        assert_eq!(SignCase::default().to_string(), "any");
    }

    #[test]
    fn a_case_is_strict() {
        let case: SignCase = "gate-,post+".parse().unwrap();
        for (gate, post, holds) in [
            (-1.0, 2.0, true),
            (-1.0, -2.0, false),
            (1.0, 2.0, false),
            (0.0, 2.0, false),
            (-1.0, 0.0, false),
        ] {
            assert_eq!(case.holds(gate, 1.0, post), holds, "{gate} {post}");
        }
    }

    #[test]
    fn raw_cases_by_hand() {
        let of = |gate, up| RawCase::of(gate, up).map(RawCase::suffix);
        assert_eq!(of(1.0, 2.0), Some("gp_up"));
        assert_eq!(of(1.0, -2.0), Some("gp_um"));
        assert_eq!(of(-1.0, 2.0), Some("gm_up"));
        assert_eq!(of(-1.0, -2.0), Some("gm_um"));
        assert_eq!((of(0.0, 1.0), of(-1.0, -0.0)), (None, None));
        for (place, case) in RawCase::ALL.into_iter().enumerate() {
            assert_eq!(case as usize, place);
        }
    }

    #[test]
    fn raw_cases_in_reference_sign_by_hand() {
        let of = |gate, up| RawCase::of(gate, up).unwrap();
        for (gate, up) in [(2.0f32, 3.0f32), (2.0, -3.0), (-2.0, 3.0), (-2.0, -3.0)] {
            let case = of(gate, up);
            assert_eq!(case.in_reference_sign(1), case);
            assert_eq!(case.in_reference_sign(-1), of(gate, -up));
            assert_eq!(f32::from(case.post_sign()), (gate * up).signum());
            let sign = |value: f32| if value > 0.0 { '+' } else { '-' };
            assert_eq!(
                case.to_string(),
                format!("gate{},up{}", sign(gate), sign(up))
            );
            assert!(case.as_str().parse::<SignCase>().is_ok());
        }
    }
}
