//! What the claims about behaviour share: a class against its draws, and how that is said.

use super::super::ExperimentError;
use super::super::effects::Arms;
use super::super::plan::Treatment;
use super::finding::Direction;
use super::finding::Finding;
use crate::io_class::Class;
use crate::stats::{StatsSettings, contrast, mean};

/// What most claims compare with.
pub(super) const DRAWS: &str = "layer-matched random draws";

/// The mean, and not a number of none.
pub(super) fn of(values: &[f64]) -> f64 {
    mean(values).unwrap_or(f64::NAN)
}

/// Says of a class that it is not there to be tested.
pub(super) fn no_class(class: Class, quantity: &str, direction: Direction) -> Finding {
    let why = format!(
        "the model has no {class} neurons, or none outside that class in their layers, or knows none of the facts"
    );
    Finding::missing(quantity, direction, DRAWS, why)
}

/// The class against its draws, or why not.
pub(super) fn against_draws(
    arms: &Arms,
    finding: Finding,
    settings: &StatsSettings,
) -> Result<Finding, ExperimentError> {
    let found = contrast(arms.table(), settings)?;
    Ok(Finding {
        evidence: found.into(),
        n: arms.class.len(),
        ..finding
    })
}

/// The means of all arms.
pub(super) fn levels(arms: &Arms) -> String {
    let levels = [of(&arms.clean), of(&arms.class), of(&arms.draws.concat())];
    let is_small = levels.iter().all(|level| level.abs() < 0.1);
    let [clean, class, draws] = levels.map(|level| {
        let digits = if is_small { 4 } else { 3 };
        format!("{level:.digits$}")
    });
    format!("clean {clean}, class off {class}, draws off {draws}")
}

/// Where a class is larger than its draws; nothing where it is not.
pub(super) fn shortfall_in_words(treatment: &Treatment) -> String {
    match treatment.shortfall.len() {
        0 => String::new(),
        layers => format!(
            "; the class is more than half of {layers} layers, where its draws are smaller than it ({} of {} neurons)",
            treatment.baseline.first().map_or(0, |draw| draw.len()),
            treatment.neurons.len()
        ),
    }
}
