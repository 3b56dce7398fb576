//! The claim about subjects: what their residual says of them, and not of others, without enrichment neurons.

use super::super::ExperimentError;
use super::super::LayerWindow;
use super::super::attributes::{Share, default_layers, is_there};
use super::against::{DRAWS, against_draws, no_class, of, shortfall_in_words};
use super::finding::{Direction, Finding};
use super::results::Results;
use super::sets::{ENRICHMENT, Member};
use crate::io_class::Class;

/// The attribute rate without each class, as published (the top 50 tokens, then the filter; known facts), minus that with
/// other subjects' texts: what any text shares with the residual says nothing of the subject.
pub(super) fn enrichment_attributes(
    results: &Results<'_>,
) -> Result<Vec<Finding>, ExperimentError> {
    let layers = default_layers(results.input.table.layers.len());
    let layers = LayerWindow {
        first: layers.start,
        last: layers.end - 1,
    };
    let quantity = |name: &str| {
        format!(
            "attribute rate without {name}, minus that with other subjects' texts, mean of {layers} (-1 to 1)"
        )
    };
    let direction = Direction::Lower;
    if results.input.subjects.is_none() {
        let why = "no prompt's subject has a text about it".to_string();
        let name = ENRICHMENT.map(|class| class.to_string()).join(", ");
        let missing = Finding::missing(&quantity(&name), direction, DRAWS, why);
        return Ok(vec![missing.primary()]);
    }
    let mut findings = Vec::new();
    for class in ENRICHMENT {
        if results.sets.get(class).is_none() {
            let missing = no_class(class, &quantity(class.as_str()), direction);
            findings.push(Finding {
                is_primary: class == Class::ConditionalEnrichment,
                ..missing
            });
        }
        for member in results.sets.members(&[class]) {
            findings.extend(tested(results, member, layers, &quantity)?);
        }
    }
    Ok(findings)
}

fn tested(
    results: &Results<'_>,
    member: Member,
    layers: LayerWindow,
    quantity: &dyn Fn(&str) -> String,
) -> Result<Option<Finding>, ExperimentError> {
    let Some(treatment) = results.sets.treatment(member) else {
        return Ok(None);
    };
    let is_primary = results.sets.primary(Class::ConditionalEnrichment) == Some(member);
    let missing = |why| Finding {
        is_primary,
        ..Finding::missing(&quantity(&treatment.class), Direction::Lower, DRAWS, why)
    };
    let Some((group, rates)) = &results.attributes else {
        let why = "the model knows none of the facts whose subjects have a text";
        return Ok(Some(missing(why.to_string())));
    };
    let Some(places) = group.places(member) else {
        return Ok(None);
    };
    let (own, beyond) = (
        rates.arms(places, layers, Share::rate).arms,
        rates.arms(places, layers, Share::excess),
    );
    let (arms, error) = (&beyond.arms, beyond.clean_error);
    if arms.class.is_empty() {
        let why = "no prompt has a rate in every arm, or only one subject has a text";
        return Ok(Some(missing(why.to_string())));
    }
    let (rate, clean) = (of(&own.clean), of(&arms.clean));
    let levels = format!(
        "clean {rate:.4} with their own texts and {:.4} with others', difference {clean:.4} (standard error {:.4})",
        rate - clean,
        error.unwrap_or(f64::NAN),
    );
    if !is_there(clean, error) {
        let why = format!(
            "{levels}: not three standard errors above 0, so that there is nothing to lose"
        );
        let n = arms.class.len();
        return Ok(Some(Finding { n, ..missing(why) }));
    }
    let finding = missing(format!(
        "{levels}, class off {:.4}, draws off {:.4}; {} prompts without a rate left out{}",
        of(&arms.class),
        of(&arms.draws.concat()),
        beyond.left_out,
        shortfall_in_words(treatment)
    ));
    let finding = against_draws(arms, finding, &results.settings.statistics)?;
    Ok(Some(if is_primary {
        decided(results, finding, clean)
    } else {
        finding
    }))
}

/// With the rank among many draws; no more than the clean difference can be lost.
fn decided(results: &Results<'_>, finding: Finding, clean: f64) -> Finding {
    let ranking = results.rankings.attributes.as_ref();
    let Some(ranked) = ranking.and_then(|ranking| ranking.number(0)) else {
        return finding;
    };
    let mut finding = finding.ranked(&ranked);
    finding.room.largest = Some(-clean);
    finding
}
