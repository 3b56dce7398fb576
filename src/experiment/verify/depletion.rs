//! The claims about depletion and the entropy of running text.

use super::super::ExperimentError;
use super::super::effects::Arms;
use super::super::metric::Metric;
use super::against::{DRAWS, against_draws, levels, no_class, of};
use super::finding::Direction;
use super::finding::Finding;
use super::needs::SIGNS;
use super::results::Results;
use super::sets::Member;
use crate::io_class::Class;
use crate::stats::BootstrapSettings;

/// Entropy of the text's predictions without depletion neurons.
fn zero_ablation(results: &Results<'_>) -> Option<Arms> {
    let text = results.text.as_ref()?;
    text.arms(Member::class(Class::Depletion), Metric::TOKEN_ENTROPY)
}

/// Entropy of the text's predictions without depletion neurons, against their draws.
pub(super) fn depletion_entropy(results: &Results<'_>) -> Result<Vec<Finding>, ExperimentError> {
    let quantity = "entropy of the text's predictions without depletion, nats";
    let Some(arms) = zero_ablation(results) else {
        return Ok(vec![no_class(
            Class::Depletion,
            quantity,
            Direction::Higher,
        )]);
    };
    let finding = Finding::missing(quantity, Direction::Higher, DRAWS, levels(&arms));
    let settings = &results.settings.bootstrap;
    Ok(vec![against_draws(&arms, finding, settings)?])
}

/// Entropy without depletion neurons by sign case, and under mean ablation.
pub(super) fn depletion_sign(results: &Results<'_>) -> Result<Vec<Finding>, ExperimentError> {
    let by_case =
        "entropy that gate-,post+ of depletion adds, minus the most of the other cases, nats";
    let by_mean = "entropy that zero ablation of depletion adds, minus mean ablation, nats";
    let direction = Direction::Higher;
    let (Some(zero), Some(_)) = (zero_ablation(results), results.sets.get(Class::Depletion)) else {
        let missing = [by_case, by_mean].map(|q| no_class(Class::Depletion, q, direction));
        return Ok(missing.to_vec());
    };
    let blank = |quantity| Finding::missing(quantity, direction, DRAWS, "not measured".to_string());
    let settings = &results.settings.bootstrap;
    let by_mean = match &results.mean {
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
            against_draws(&apart(&zero, averaged), finding, settings)?
        }
    };
    let by_case = carried(&results.sign_cases, blank(by_case), settings)?;
    Ok(vec![by_case, by_mean])
}

/// The first case against each of the others; the claim asks that it exceeds all of them, so the weakest comparison
/// and the largest p stand for all (an intersection-union test: Berger 1982).
fn carried(
    cases: &[Option<Arms>],
    finding: Finding,
    settings: &BootstrapSettings,
) -> Result<Finding, ExperimentError> {
    let why: Vec<String> = SIGNS
        .iter()
        .zip(cases)
        .map(|(signs, arms)| match arms {
            Some(arms) => format!("{signs} {:+.3}", of(&arms.class) - of(&arms.clean)),
            None => format!("{signs} never occurs in some set"),
        })
        .collect();
    let why = why.join(", ");
    let Some((Some(own), others)) = cases.split_first() else {
        return Ok(Finding { why, ..finding });
    };
    let mut weakest: Option<Finding> = None;
    for other in others {
        // A case that never occurs adds nothing: the clean run stands for it.
        let other = other.clone().unwrap_or_else(|| Arms {
            class: own.clean.clone(),
            draws: vec![own.clean.clone(); own.draws.len()],
            clean: own.clean.clone(),
            clusters: own.clusters.clone(),
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
        clusters: first.clusters.clone(),
    }
}
