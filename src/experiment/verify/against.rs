//! What the claims about behaviour share: a class against its draws, and how that is said.

use super::super::ExperimentError;
use super::super::effects::{Arms, minus};
use super::super::plan::Treatment;
use super::finding::{Basis, Direction, Finding};
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

/// What the number of a class is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Against {
    Draws,
    Clean,
}

impl Against {
    /// Class minus the mean of that.
    pub fn difference(self, arms: &Arms) -> f64 {
        let other = match self {
            Against::Draws => of(&arms.draws.concat()),
            Against::Clean => of(&arms.clean),
        };
        of(&arms.class) - other
    }

    /// The test of that difference.
    pub fn finding(
        self,
        arms: &Arms,
        finding: Finding,
        settings: &StatsSettings,
    ) -> Result<Finding, ExperimentError> {
        match self {
            Against::Draws => against_draws(arms, finding, settings),
            Against::Clean => Ok(against_clean(arms, finding, settings)),
        }
    }
}

/// The class against the unedited model, over clusters of prompts; nothing where there is one alone.
pub(super) fn against_clean(arms: &Arms, finding: Finding, settings: &StatsSettings) -> Finding {
    let differences = minus(&arms.class, &arms.clean);
    let found = arms.clusters.mean(&differences, settings.level);
    Finding {
        evidence: found.map_or(Basis::Missing, Basis::from),
        n: differences.len(),
        ..finding
    }
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

/// The means of all arms that there are.
pub(super) fn levels(arms: &Arms) -> String {
    let levels = [
        ("clean", of(&arms.clean)),
        ("class", of(&arms.class)),
        ("draws", of(&arms.draws.concat())),
    ];
    let there = || levels.into_iter().filter(|(_, level)| !level.is_nan());
    let digits = if there().all(|(_, level)| level.abs() < 0.1) {
        4
    } else {
        3
    };
    let words = there().map(|(arm, level)| format!("{arm} {level:.digits$}"));
    words.collect::<Vec<_>>().join(", ")
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
