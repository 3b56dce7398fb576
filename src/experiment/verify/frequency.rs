//! The claims about how often a gate is positive.

use super::super::ExperimentError;
use super::against::no_class;
use super::finding::{Basis, Direction, Finding, Room};
use super::results::Results;
use crate::io_class::Class;

/// P(gate > 0) of depletion neurons.
pub(super) fn depletion(results: &Results<'_>) -> Result<Vec<Finding>, ExperimentError> {
    Ok(vec![frequency(
        results,
        Class::Depletion,
        Direction::Higher,
    )])
}

/// P(gate > 0) of conditional enrichment neurons.
pub(super) fn enrichment(results: &Results<'_>) -> Result<Vec<Finding>, ExperimentError> {
    let class = Class::ConditionalEnrichment;
    Ok(vec![frequency(results, class, Direction::Lower)])
}

/// P(gate > 0) of a class and of its draws, over the tokens of the text.
fn frequency(results: &Results<'_>, class: Class, direction: Direction) -> Finding {
    let quantity = format!("P(gate > 0) of {class} neurons on the text");
    let missing = no_class(class, &quantity, direction).primary();
    let mut found = results.frequencies.iter();
    let Some((_, found)) = found.find(|(of, _)| *of == class) else {
        return missing;
    };
    Finding {
        evidence: Basis::Tested {
            estimate: found.estimate,
            draws: found.draws,
        },
        n: found.units,
        room: Room {
            largest: found.means.baseline.map(|draws| match direction {
                Direction::Higher => 1.0 - draws,
                Direction::Lower => -draws,
            }),
            ..Room::default()
        },
        why: format!(
            "class {:.3}, draws {:.3}, over {} tokens",
            found.means.class,
            found.means.baseline.unwrap_or(f64::NAN),
            found.tokens
        ),
        ..missing
    }
}
