//! Attribute rates of the subjects that the clean model knows, and without the enrichment classes.

use super::super::ExperimentError;
use super::super::LayerWindow;
use super::super::attributes::{Attributes, RateArms, Share, default_layers, is_there};
use super::super::outcome::PromptSubset;
use super::super::plan::AblationPlan;
use super::super::run::Run;
use super::against::of;
use super::needs::{ClaimRuns, Need};
use super::sets::{ENRICHMENT, Group};
use crate::io_class::NeuronTable;

/// What the clean model's residual says of the subjects that it knows.
pub(super) struct CleanRates {
    /// Mean rate with their own texts.
    rate: f64,
    /// The same minus that with other subjects' texts, prompt by prompt.
    excess: RateArms,
}

impl CleanRates {
    /// Whether there is something to lose.
    pub fn are_there(&self) -> bool {
        is_there(self.excess(), self.excess.clean_error)
    }

    /// Mean rate with their own texts, minus that with other subjects'.
    pub fn excess(&self) -> f64 {
        of(&self.excess.arms.clean)
    }

    /// The figures, for a person.
    pub fn in_words(&self) -> String {
        let excess = self.excess();
        format!(
            "clean {:.4} with their own texts and {:.4} with others', difference {excess:.4} (standard error {:.4})",
            self.rate,
            self.rate - excess,
            self.excess.clean_error.unwrap_or(f64::NAN),
        )
    }
}

impl ClaimRuns<'_> {
    /// Rates of the clean model; nothing where that is not asked for, or no fact is known.
    pub fn clean_rates(&self, run: &mut Run<'_>) -> Result<Option<CleanRates>, ExperimentError> {
        let asked = self.input.subjects.as_ref();
        let Some(subjects) = asked.filter(|_| self.has(Need::Attributes)) else {
            return Ok(None);
        };
        let plan = AblationPlan {
            subset: PromptSubset::Known,
            ..self.plan(Vec::new())
        };
        let rates = match self.attributes(run, (subjects, subjects.batch), &plan) {
            Err(ExperimentError::NothingKnown { .. }) => return Ok(None),
            rates => rates?,
        };
        let layers = mean_layers(self.input.table);
        Ok(Some(CleanRates {
            rate: of(&rates.clean(layers, Share::rate).arms.clean),
            excess: rates.clean(layers, Share::excess),
        }))
    }

    /// Rates without the enrichment classes, of all subjects that are known, if they are there.
    pub fn attribute_rates(
        &self,
        run: &mut Run<'_>,
        are_there: bool,
    ) -> Result<Option<(Group, Attributes)>, ExperimentError> {
        let group = self.sets.group(&ENRICHMENT);
        let asked = self.input.subjects.as_ref().filter(|_| are_there);
        let Some(subjects) = asked.filter(|_| !group.treatments.is_empty()) else {
            return Ok(None);
        };
        let plan = AblationPlan {
            subset: PromptSubset::Known,
            ..self.plan(group.treatments.clone())
        };
        let rates = self.attributes(run, (subjects, subjects.batch), &plan)?;
        Ok(Some((group, rates)))
    }
}

/// The layers that a mean rate is over.
pub(super) fn mean_layers(table: &NeuronTable) -> LayerWindow {
    let layers = default_layers(table.layers.len());
    LayerWindow {
        first: layers.start,
        last: layers.end - 1,
    }
}
