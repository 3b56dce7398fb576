//! The claim about subjects: what their residual says of them without enrichment neurons.

use super::super::ExperimentError;
use super::super::LayerWindow;
use super::super::attributes::default_layers;
use super::against::{DRAWS, against_draws, no_class, of, shortfall_in_words};
use super::finding::Direction;
use super::finding::Finding;
use super::results::Results;
use super::sets::ENRICHMENT;
use super::sets::Member;

/// The attribute rate without each class, as published: the top 50 tokens, then the filter, no final norm.
pub(super) fn enrichment_attributes(
    results: &Results<'_>,
) -> Result<Vec<Finding>, ExperimentError> {
    let layers = default_layers(results.input.table.layers.len());
    let layers = LayerWindow {
        first: layers.start,
        last: layers.end - 1,
    };
    let quantity = |name: &str| format!("attribute rate without {name}, mean of {layers} (0 to 1)");
    let direction = Direction::Lower;
    if results.input.subjects.is_none() {
        let why = "no prompt's subject has a text about it".to_string();
        let name = ENRICHMENT.map(|class| class.to_string()).join(", ");
        return Ok(vec![Finding::missing(
            &quantity(&name),
            direction,
            DRAWS,
            why,
        )]);
    }
    let mut findings = Vec::new();
    for class in ENRICHMENT {
        if results.sets.get(class).is_none() {
            findings.push(no_class(class, &quantity(class.as_str()), direction));
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
    let (Some(treatment), Some((group, rates))) =
        (results.sets.treatment(member), &results.attributes)
    else {
        return Ok(None);
    };
    let why = "no prompt has a rate in every arm".to_string();
    let missing = Finding::missing(&quantity(&treatment.class), Direction::Lower, DRAWS, why);
    let Some((own, with_draws)) = group.places(member) else {
        return Ok(Some(missing));
    };
    let (arms, left_out) = rates.arms(own, with_draws, layers);
    if arms.class.is_empty() {
        return Ok(Some(missing));
    }
    let finding = Finding {
        why: format!(
            "clean {:.4}, class off {:.4}, draws off {:.4}; {left_out} prompts without a rate left out{}",
            of(&arms.clean),
            of(&arms.class),
            of(&arms.draws.concat()),
            shortfall_in_words(treatment)
        ),
        ..missing
    };
    against_draws(&arms, finding, &results.settings.bootstrap).map(Some)
}
