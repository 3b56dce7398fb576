//! The claim about subjects: what their residual says of them, and not of others, without enrichment neurons.

use super::super::ExperimentError;
use super::super::attributes::Share;
use super::against::{Against, DRAWS, against_draws, levels, no_class, shortfall_in_words};
use super::finding::{Direction, Finding};
use super::needs::Need;
use super::rates::mean_layers;
use super::results::Results;
use super::sets::{DECIDING, ENRICHMENT, Member};
use super::variants::with_variants;
use crate::io_class::Class;

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
    let class = DECIDING;
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
        Some(deciding) => with_variants(
            deciding,
            (results.varied.of(Need::Attributes), Against::Draws),
            settings,
        )?,
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
    finding.room.largest = clean.map(|clean| -clean.excess());
    finding
}
