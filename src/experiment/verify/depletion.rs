//! The claims about depletion and the entropy of running text.

use super::super::ExperimentError;
use super::super::effects::{Arms, Metric};
use super::against::{DRAWS, against_draws, levels, no_class, of};
use super::claim::{ClaimId, Direction};
use super::judge::Finding;
use super::measure::{Lab, Text};
use super::sets::Sets;
use crate::hooks::{Mode, Reference, SignCase};
use crate::io_class::Class;
use crate::stats::BootstrapSettings;

/// Entropy of the text's predictions without depletion neurons.
pub(super) fn depletion_entropy(
    lab: &Lab<'_>,
    text: Option<&Text>,
) -> Result<Vec<Finding>, ExperimentError> {
    let (id, class) = (ClaimId::DepletionEntropy, Class::Depletion);
    let quantity = "entropy of the text's predictions without depletion, nats";
    let arms = text.and_then(|text| text.of(class.as_str(), Metric::TokenEntropy));
    let Some(arms) = arms else {
        return Ok(vec![no_class(id, class, quantity, Direction::Higher)]);
    };
    let why = levels(&arms);
    let finding = Finding::missing(id, quantity, Direction::Higher, DRAWS, why);
    Ok(vec![against_draws(
        &arms,
        finding,
        &lab.settings.bootstrap,
    )?])
}

/// The sign cases of gate and post, in reference sign; the claim's own first.
const SIGNS: [&str; 4] = ["gate-,post+", "gate-,post-", "gate+,post+", "gate+,post-"];

/// Entropy without depletion neurons by sign case, and under mean ablation.
pub(super) fn depletion_sign(
    lab: &Lab<'_>,
    sets: &Sets,
    text: Option<&Text>,
) -> Result<Vec<Finding>, ExperimentError> {
    let (id, class) = (ClaimId::DepletionSign, Class::Depletion);
    let by_case =
        "entropy that gate-,post+ of depletion adds, minus the most of the other cases, nats";
    let by_mean = "entropy that zero ablation of depletion adds, minus mean ablation, nats";
    let zero = text.and_then(|text| text.of(class.as_str(), Metric::TokenEntropy));
    let (Some(set), Some(zero)) = (sets.get(class), zero) else {
        let missing = [by_case, by_mean].map(|q| no_class(id, class, q, Direction::Higher));
        return Ok(missing.to_vec());
    };
    let mut cases = Vec::new();
    for signs in SIGNS {
        let when: SignCase = signs.parse().map_err(|why| ExperimentError::Sink { why })?;
        let found = lab.text_where(&set.treatment, when)?;
        let arms = found.and_then(|text| text.of(class.as_str(), Metric::TokenEntropy));
        cases.push((signs, arms));
    }
    let mean_mode = Mode::Mean(Reference::OwnPrompts);
    let averaged = lab.text(vec![set.treatment.clone()], mean_mode)?;
    let averaged = averaged.and_then(|text| text.of(class.as_str(), Metric::TokenEntropy));
    let blank = |quantity: &str| {
        Finding::missing(
            id,
            quantity,
            Direction::Higher,
            DRAWS,
            "not measured".to_string(),
        )
    };
    let settings = &lab.settings.bootstrap;
    let by_mean = match averaged {
        None => blank(by_mean),
        Some(averaged) => {
            let why = format!(
                "zero {:+.3}, mean {:+.3}",
                of(&zero.class) - of(&zero.clean),
                of(&averaged.class) - of(&averaged.clean)
            );
            let finding = Finding {
                why,
                ..blank(by_mean)
            };
            against_draws(&apart(&zero, &averaged), finding, settings)?
        }
    };
    Ok(vec![carried(&cases, blank(by_case), settings)?, by_mean])
}

/// The first case against each of the others; the claim asks that it exceeds all of them, so the weakest comparison
/// and the largest p stand for all (an intersection-union test: Berger 1982).
fn carried(
    cases: &[(&str, Option<Arms>)],
    finding: Finding,
    settings: &BootstrapSettings,
) -> Result<Finding, ExperimentError> {
    let why: Vec<String> = cases
        .iter()
        .map(|(signs, arms)| match arms {
            Some(arms) => format!("{signs} {:+.3}", of(&arms.class) - of(&arms.clean)),
            None => format!("{signs} never occurs in some set"),
        })
        .collect();
    let why = why.join(", ");
    let Some((_, Some(own))) = cases.first() else {
        return Ok(Finding { why, ..finding });
    };
    let mut weakest: Option<Finding> = None;
    for (_, other) in &cases[1..] {
        // A case that never occurs adds nothing: the clean run stands for it.
        let other = other.clone().unwrap_or_else(|| Arms {
            class: own.clean.clone(),
            draws: vec![own.clean.clone(); own.draws.len()],
            clean: own.clean.clone(),
        });
        let found = against_draws(&apart(own, &other), finding.clone(), settings)?;
        let weaker = |weakest: &Finding| found.one_sided_p() > weakest.one_sided_p();
        if weakest.as_ref().is_none_or(weaker) {
            weakest = Some(found);
        }
    }
    Ok(Finding {
        why,
        ..weakest.unwrap_or(finding)
    })
}

/// One measurement minus another of the same sets and documents.
fn apart(first: &Arms, second: &Arms) -> Arms {
    let minus = |first: &Vec<f64>, second: &Vec<f64>| -> Vec<f64> {
        first.iter().zip(second).map(|(a, b)| a - b).collect()
    };
    let draws = first.draws.iter().zip(&second.draws);
    Arms {
        clean: minus(&first.clean, &second.clean),
        class: minus(&first.class, &second.class),
        draws: draws.map(|(a, b)| minus(a, b)).collect(),
    }
}
