//! The claim about subjects: what their residual says of them without enrichment neurons.

use super::super::ExperimentError;
use super::super::LayerWindow;
use super::super::attributes::{RateSettings, attribute_effects, attributes, default_layers};
use super::super::plan::Treatment;
use super::against::{DRAWS, ENRICHMENT, no_class, shortfall_in_words};
use super::claim::{ClaimId, Direction};
use super::judge::{Evidence, Finding};
use super::measure::Lab;
use super::sets::Sets;
use crate::hooks::Mode;

/// The attribute rate without each class, as published: the top 50 tokens, then the filter, no final norm.
pub(super) fn enrichment_attributes(
    lab: &Lab<'_>,
    sets: &Sets,
) -> Result<Vec<Finding>, ExperimentError> {
    let id = ClaimId::EnrichmentAttributes;
    let layers = default_layers(lab.engine.config().n_layers());
    let layers = LayerWindow {
        first: layers.start,
        last: layers.end - 1,
    };
    let quantity = |name: &str| format!("attribute rate without {name}, mean of {layers} (0 to 1)");
    let Some(input) = &lab.input.subjects else {
        let why = "no prompt's subject has a text about it".to_string();
        let name = ENRICHMENT.map(|class| class.to_string()).join(", ");
        let missing = Finding::missing(id, &quantity(&name), Direction::Lower, DRAWS, why);
        return Ok(vec![missing]);
    };
    let treatments = treatments(sets);
    let settings = RateSettings::published();
    let bootstrap = &lab.settings.bootstrap;
    let effects = match treatments.is_empty() {
        true => Vec::new(),
        false => {
            let plan = lab.plan(treatments.clone(), Mode::Zero);
            let rates = attributes(lab.engine, input, &plan, settings, lab.progress)?;
            attribute_effects(&rates, &plan, settings, layers, bootstrap)?.effects
        }
    };
    let mut findings = Vec::new();
    for class in ENRICHMENT {
        let Some(set) = sets.get(class) else {
            findings.push(no_class(
                id,
                class,
                &quantity(class.as_str()),
                Direction::Lower,
            ));
            continue;
        };
        for treatment in std::iter::once(&set.treatment).chain(&set.subset) {
            let found = effects
                .iter()
                .find(|found| found.layer.is_none() && found.effect.class == treatment.class);
            let missing = Finding::missing(
                id,
                &quantity(&treatment.class),
                Direction::Lower,
                DRAWS,
                "no prompt has a rate in every arm".to_string(),
            );
            findings.push(found.map_or(missing.clone(), |found| {
                let effect = &found.effect;
                Finding {
                    evidence: Evidence::Tested {
                        estimate: effect.difference_to_baseline.unwrap_or(f64::NAN),
                        interval: effect.baseline_ci,
                        p: effect.p,
                        draws: effect.draws,
                    },
                    n: effect.prompts,
                    why: format!(
                        "clean {:.4}, class off {:.4}, draws off {:.4}; {} prompts without a rate left out{}",
                        effect.means.clean,
                        effect.means.class,
                        effect.means.baseline.unwrap_or(f64::NAN),
                        found.left_out,
                        shortfall_in_words(treatment)
                    ),
                    ..missing
                }
            }));
        }
    }
    Ok(findings)
}

/// The classes, and their matched subsets with the class's draws.
pub(super) fn treatments(sets: &Sets) -> Vec<Treatment> {
    let sets = ENRICHMENT.into_iter().filter_map(|class| sets.get(class));
    sets.flat_map(|set| {
        let subset = set.subset.as_ref().map(|subset| Treatment {
            baseline: set.treatment.baseline.clone(),
            ..subset.clone()
        });
        std::iter::once(set.treatment.clone()).chain(subset)
    })
    .collect()
}
