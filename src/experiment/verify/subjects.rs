//! The claim about subjects: what their residual says of them, and not of others, without enrichment neurons.

use super::super::ExperimentError;
use super::super::LayerWindow;
use super::super::attributes::{Attributes, RateArms, Share, default_layers, is_there};
use super::super::outcome::PromptSubset;
use super::super::plan::AblationPlan;
use super::super::run::Run;
use super::against::{DRAWS, against_draws, levels, no_class, of, shortfall_in_words};
use super::finding::{Direction, Finding};
use super::needs::{ClaimRuns, Need};
use super::results::Results;
use super::sets::{ENRICHMENT, Group, Member};
use super::variants::with_variants;
use crate::io_class::{Class, NeuronTable};

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
        is_there(of(&self.excess.arms.clean), self.excess.clean_error)
    }

    fn in_words(&self) -> String {
        let excess = of(&self.excess.arms.clean);
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

fn quantity(results: &Results<'_>, name: &str) -> String {
    let layers = mean_layers(results.input.table);
    format!(
        "attribute rate without {name}, minus that with other subjects' texts, mean of {layers} (-1 to 1)"
    )
}

/// The attribute rate without each class, as published (the top 50 tokens, then the filter; known facts), minus that with
/// other subjects' texts: what any text shares with the residual says nothing of the subject.
pub(super) fn enrichment_attributes(
    results: &Results<'_>,
) -> Result<Vec<Finding>, ExperimentError> {
    let class = Class::ConditionalEnrichment;
    let quantity = |class: Class| quantity(results, class.as_str());
    let primary = results.sets.primary(class);
    let (Some(primary), Ok(())) = (primary, nothing_missing(results)) else {
        let why = nothing_missing(results).err();
        let missing = no_class(class, &quantity(class), Direction::Lower).primary();
        let why = why.unwrap_or(missing.why);
        return Ok(vec![Finding { why, ..missing }]);
    };
    let settings = &results.settings.statistics;
    let deciding = tested(results, primary)?.map(|finding| decided(results, finding.primary()));
    let mut findings = match deciding {
        Some(deciding) => with_variants(deciding, &results.varied.attributes, settings)?,
        None => Vec::new(),
    };
    for class in ENRICHMENT {
        if results.sets.get(class).is_none() {
            findings.push(no_class(class, &quantity(class), Direction::Lower));
        }
        let members = results.sets.members(&[class]);
        for member in members.into_iter().filter(|member| *member != primary) {
            findings.extend(tested(results, member)?);
        }
    }
    Ok(findings)
}

/// # Errors
/// Why no rate could fall.
fn nothing_missing(results: &Results<'_>) -> Result<(), String> {
    if results.input.subjects.is_none() {
        return Err("no prompt's subject has a text about it".to_string());
    }
    match &results.clean_rates {
        None => Err("the model knows none of the facts whose subjects have a text".to_string()),
        Some(rates) if !rates.are_there() => Err(format!(
            "{}: not three standard errors above 0, so that there is nothing to lose",
            rates.in_words()
        )),
        Some(_) => Ok(()),
    }
}

/// A class against its draws.
fn tested(results: &Results<'_>, member: Member) -> Result<Option<Finding>, ExperimentError> {
    let (Some(treatment), Some((group, rates)), Some(clean)) = (
        results.sets.treatment(member),
        &results.attributes,
        &results.clean_rates,
    ) else {
        return Ok(None);
    };
    let Some(places) = group.places(member) else {
        return Ok(None);
    };
    let beyond = rates.arms(places, mean_layers(results.input.table), Share::excess);
    let missing = |why| {
        let quantity = quantity(results, &treatment.class);
        Finding::missing(&quantity, Direction::Lower, DRAWS, why)
    };
    if beyond.arms.class.is_empty() {
        return Ok(Some(missing(
            "no prompt has a rate in every arm".to_string(),
        )));
    }
    let why = format!(
        "{}; {}, {} prompts without a rate left out{}",
        clean.in_words(),
        levels(&beyond.arms),
        beyond.left_out,
        shortfall_in_words(treatment)
    );
    against_draws(&beyond.arms, missing(why), &results.settings.statistics).map(Some)
}

/// With the rank among many draws; no more than the clean difference can be lost.
fn decided(results: &Results<'_>, finding: Finding) -> Finding {
    let ranking = results.rankings.attributes.as_ref();
    let Some(ranked) = ranking.and_then(|ranking| ranking.number(0)) else {
        return finding;
    };
    let mut finding = finding.ranked(&ranked);
    let clean = results.clean_rates.as_ref();
    finding.room.largest = clean.map(|clean| -of(&clean.excess.arms.clean));
    finding
}
