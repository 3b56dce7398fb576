//! The eleven classes and the rule that gives a neuron its class (Gerstner and Schütze, arXiv 2505.17936).
//!
//! Three cosines and a threshold go in, a class comes out. Names that a person may type, unions and
//! aliases are in `query`.

use serde::{Deserialize, Serialize};

use super::query::unknown_class;
use super::{ClassError, Cosines};

/// The IO class of a neuron, in the published order (Gerstner and Schütze, arXiv 2505.17936).
///
/// Parsed is the exact name, as the files hold it; for what a person types see [`super::ClassQuery`]. "Typical" means that cos(w_gate, w_in) is on the side where the other two cosines put it.
#[derive(
    Copy,
    Clone,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", parse_err_ty = ClassError, parse_err_fn = unknown_class)]
pub enum Class {
    /// Writes along w_in and along ±w_gate.
    Enrichment,
    /// Enrichment whose gate reads another direction than its input.
    AtypicalEnrichment,
    /// Writes along w_in, while the gate reads something else.
    ConditionalEnrichment,
    /// Conditional enrichment whose gate reads along ±w_in.
    AtypicalConditionalEnrichment,
    /// Writes along ±w_gate and not along w_in.
    ProportionalChange,
    /// Proportional change whose gate reads along ±w_in.
    AtypicalProportionalChange,
    /// Writes along neither of the directions that it reads.
    OrthogonalOutput,
    /// Writes against w_in and along ±w_gate.
    Depletion,
    /// Depletion whose gate reads another direction than its input.
    AtypicalDepletion,
    /// Writes against w_in, while the gate reads something else.
    ConditionalDepletion,
    /// Conditional depletion whose gate reads along ±w_in.
    AtypicalConditionalDepletion,
}

impl Class {
    /// All classes in the published order, which is also their `Ord`.
    pub const ALL: [Class; 11] = [
        Class::Enrichment,
        Class::AtypicalEnrichment,
        Class::ConditionalEnrichment,
        Class::AtypicalConditionalEnrichment,
        Class::ProportionalChange,
        Class::AtypicalProportionalChange,
        Class::OrthogonalOutput,
        Class::Depletion,
        Class::AtypicalDepletion,
        Class::ConditionalDepletion,
        Class::AtypicalConditionalDepletion,
    ];

    /// The name in files and on the command line, in kebab case.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Whether the threshold can be used: more than 0 and less than 1.
///
/// # Errors
/// [`ClassError::Threshold`] otherwise, not-a-number included.
pub fn check_threshold(threshold: f32) -> Result<(), ClassError> {
    let usable = threshold > 0.0 && threshold < 1.0;
    usable
        .then_some(())
        .ok_or(ClassError::Threshold { threshold })
}

/// The class of a neuron with these cosines (Gerstner and Schütze, arXiv 2505.17936).
///
/// With a(c) = 1 if c > t, -1 if c < -t, else 0 (strict), the key is (a(in_out), |a(gate_out)|, typical), and
/// typical = [a(gate_in) = a(in_out)·a(gate_out)], forced true when a(in_out) = a(gate_out) = 0.
pub fn class_of(cosines: Cosines, threshold: f32) -> Class {
    let in_out = side(cosines.in_out, threshold);
    let gate_out = side(cosines.gate_out, threshold);
    let typical = side(cosines.gate_in, threshold) == in_out * gate_out;
    match (in_out, gate_out.abs(), typical) {
        (1, 1, true) => Class::Enrichment,
        (1, 1, false) => Class::AtypicalEnrichment,
        (1, _, true) => Class::ConditionalEnrichment,
        (1, _, false) => Class::AtypicalConditionalEnrichment,
        (0, 1, true) => Class::ProportionalChange,
        (0, 1, false) => Class::AtypicalProportionalChange,
        (0, _, _) => Class::OrthogonalOutput,
        (_, 1, true) => Class::Depletion,
        (_, 1, false) => Class::AtypicalDepletion,
        (_, _, true) => Class::ConditionalDepletion,
        (_, _, false) => Class::AtypicalConditionalDepletion,
    }
}

/// a(c).
fn side(cosine: f32, threshold: f32) -> i8 {
    i8::from(cosine > threshold) - i8::from(cosine < -threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(in_out: f32, gate_out: f32, gate_in: f32) -> Class {
        class_of(
            Cosines {
                gate_in,
                gate_out,
                in_out,
            },
            0.5,
        )
    }

    #[test]
    fn every_key_of_the_table() {
        use Class::*;
        // (in_out, gate_out, gate_in), both signs of gate_out
        for s in [1.0, -1.0] {
            assert_eq!(class(0.9, 0.9 * s, 0.9 * s), Enrichment);
            assert_eq!(class(0.9, 0.9 * s, 0.1), AtypicalEnrichment);
            assert_eq!(class(0.9, 0.1 * s, 0.1), ConditionalEnrichment);
            assert_eq!(class(0.9, 0.1, 0.9 * s), AtypicalConditionalEnrichment);
            assert_eq!(class(0.1 * s, 0.9 * s, 0.1), ProportionalChange);
            assert_eq!(class(0.1, 0.9, 0.9 * s), AtypicalProportionalChange);
            assert_eq!(class(0.1, 0.1 * s, 0.1), OrthogonalOutput);
            assert_eq!(class(0.1, 0.1, 0.9 * s), OrthogonalOutput);
            assert_eq!(class(-0.9, 0.9 * s, -0.9 * s), Depletion);
            assert_eq!(class(-0.9, 0.9 * s, 0.1), AtypicalDepletion);
            assert_eq!(class(-0.9, 0.1 * s, 0.1), ConditionalDepletion);
            assert_eq!(class(-0.9, 0.1, 0.9 * s), AtypicalConditionalDepletion);
        }
    }

    #[test]
    fn the_threshold_is_strict() {
        assert_eq!(class(0.5, 0.5, 0.5), Class::OrthogonalOutput);
        assert_eq!(class(-0.5, -0.5, 0.0), Class::OrthogonalOutput);
        assert_eq!(
            class(0.5f32.next_up(), 0.5, 0.5),
            Class::ConditionalEnrichment
        );
        assert_eq!(
            class(-(0.5f32.next_up()), 0.5, 0.5),
            Class::ConditionalDepletion
        );
        assert_eq!(
            class_of(
                Cosines {
                    gate_in: 0.0,
                    gate_out: 0.0,
                    in_out: 0.4
                },
                0.3
            ),
            Class::ConditionalEnrichment
        );
    }

    #[test]
    fn names_and_order_are_the_contract() {
        let names: Vec<&str> = Class::ALL.iter().map(|class| class.as_str()).collect();
        let published = "enrichment atypical-enrichment conditional-enrichment atypical-conditional-enrichment \
            proportional-change atypical-proportional-change orthogonal-output depletion atypical-depletion \
            conditional-depletion atypical-conditional-depletion";
        assert_eq!(names, published.split_whitespace().collect::<Vec<_>>());
        assert!(Class::ALL.is_sorted());
        for class in Class::ALL {
            assert_eq!(class.as_str().parse::<Class>().unwrap(), class);
            assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
        }
        assert_eq!(format!("{:>10}|", Class::Depletion), " depletion|");
        assert!("Enrichment".parse::<Class>().is_err());
    }

    #[test]
    fn thresholds_outside_zero_and_one_are_refused() {
        for bad in [0.0, 1.0, -0.5, 1.5, f32::NAN, f32::INFINITY] {
            let message = check_threshold(bad).unwrap_err().to_string();
            assert!(message.contains(&bad.to_string()), "{message}");
        }
        assert!(check_threshold(0.5).is_ok());
    }
}
