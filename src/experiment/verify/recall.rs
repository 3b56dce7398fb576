//! The claims about recall: without enrichment neurons, against draws, and beside what text loses.
//!
//! Conditional enrichment decides both claims: it is the large class that the paper speaks of. Plain enrichment, some twenty
//! neurons, is described.

use super::super::ExperimentError;
use super::super::effects::Arms;
use super::super::metric::Metric;
use super::against::{DRAWS, against_draws, levels, no_class, of, shortfall_in_words};
use super::finding::{Basis, Direction, Finding, LEVEL, Objection, Room};
use super::ranked::Ranked;
use super::rankings::OfRecall;
use super::results::Results;
use super::sets::{ENRICHMENT, Member};
use super::verdict::Verdict;
use crate::experiment::Estimate;
use crate::io_class::Class;
use crate::stats::{Clusters, mean};

/// The class that decides.
const CLASS: Class = Class::ConditionalEnrichment;

/// Recall without enrichment classes.
pub(super) fn enrichment_recall(results: &Results<'_>) -> Result<Vec<Finding>, ExperimentError> {
    let mut findings = vec![deciding(results)?];
    let primary = results.sets.primary(CLASS);
    for class in ENRICHMENT {
        let members = results.sets.members(&[class]);
        if members.is_empty() && class != CLASS {
            findings.push(no_class(class, &without(class.as_str()), Direction::Lower));
        }
        for member in members
            .into_iter()
            .filter(|member| Some(*member) != primary)
        {
            findings.extend(described(results, member)?);
        }
    }
    findings.extend(in_other_modes(results)?);
    Ok(findings)
}

fn without(name: &str) -> String {
    format!("log-probability of known answers without {name}, nats")
}

fn deciding(results: &Results<'_>) -> Result<Finding, ExperimentError> {
    let missing = no_class(CLASS, &without(CLASS.as_str()), Direction::Lower).primary();
    let (Some(member), Some(target)) = (
        results.sets.primary(CLASS),
        number(results, OfRecall::Target),
    ) else {
        return Ok(missing);
    };
    let Some(finding) = described(results, member)? else {
        return Ok(missing);
    };
    let finding = finding.primary().ranked(&target);
    Ok(Finding {
        objection: match specificity(results) {
            Err(why) => Some(untestable(why)),
            Ok(direction) => objection(results, &direction),
        },
        room: Room {
            largest: to_a_uniform_guess(results),
            ..finding.room
        },
        ..finding
    })
}

/// A class against the draws that estimates are over.
fn described(results: &Results<'_>, member: Member) -> Result<Option<Finding>, ExperimentError> {
    let target = results
        .recall
        .as_ref()
        .and_then(|recall| recall.arms(member, &Metric::TARGET_LOGPROB));
    let (Some(target), Some(treatment)) = (target, results.sets.treatment(member)) else {
        return Ok(None);
    };
    let loss = results
        .text
        .as_ref()
        .and_then(|text| text.arms(member, Metric::LOSS));
    let loss = loss.map_or(String::new(), |loss| {
        format!("; loss on text {}", levels(&loss))
    });
    let why = format!(
        "target {}{loss}{}",
        levels(&target),
        shortfall_in_words(treatment)
    );
    let blank = Finding::missing(&without(&treatment.class), Direction::Lower, DRAWS, why);
    against_draws(&target, blank, &results.settings.bootstrap).map(Some)
}

/// The claim needs the same sign under every ablation.
fn in_other_modes(results: &Results<'_>) -> Result<Vec<Finding>, ExperimentError> {
    let Some(member) = results.sets.primary(CLASS) else {
        return Ok(Vec::new());
    };
    let mut findings = Vec::new();
    for (mode, recall) in &results.other_modes {
        let Some(arms) = recall.arms(member, &Metric::TARGET_LOGPROB) else {
            continue;
        };
        let quantity = format!("the same, {mode} instead of zero ablation, nats");
        let blank = Finding::missing(&quantity, Direction::Lower, DRAWS, levels(&arms));
        findings.push(against_draws(&arms, blank, &results.settings.bootstrap)?);
    }
    Ok(findings)
}

/// What takes support from a loss of recall that the draws do not have: no specificity, or another sign in another mode.
fn objection(results: &Results<'_>, direction: &Ranked) -> Option<Objection> {
    let not_distinguishable = |why: String| Objection {
        of: Verdict::Supported,
        instead: Verdict::NotDistinguishable,
        why,
    };
    let centre = mean(&direction.draws).unwrap_or(f64::NAN);
    if direction.rank.p >= LEVEL || direction.class <= centre {
        return Some(not_distinguishable(format!(
            "but text suffers as it does from the draws: direction of the damage {:.0}°, draws {centre:.0}°, p {:.3}",
            direction.class, direction.rank.p
        )));
    }
    let member = results.sets.primary(CLASS)?;
    let other = results.other_modes.iter().find(|(_, recall)| {
        let arms = recall.arms(member, &Metric::TARGET_LOGPROB);
        arms.is_none_or(|arms| of(&arms.class) >= of(&arms.draws.concat()))
    });
    other.map(|(mode, _)| {
        not_distinguishable(format!("but under {mode} ablation the sign is the other"))
    })
}

fn untestable(why: String) -> Objection {
    Objection {
        of: Verdict::Supported,
        instead: Verdict::NotTestable,
        why: format!("specificity: {why}"),
    }
}

/// A number of the ranking, where there is one.
fn number(results: &Results<'_>, number: OfRecall) -> Option<Ranked> {
    results.rankings.recall.as_ref()?.number(number as usize)
}

/// The rank of the direction of the damage, or why there is no such control: it needs damage that is clearly there, of the
/// class to answers and of the draws to text.
fn specificity(results: &Results<'_>) -> Result<Ranked, String> {
    let missing = || "nothing was measured".to_string();
    let level = results.settings.bootstrap.level;
    let member = results.sets.primary(CLASS).ok_or_else(missing)?;
    let recall = results.recall.as_ref().ok_or_else(missing)?;
    let first = recall
        .arms(member, &Metric::FIRST_LOGPROB)
        .ok_or_else(missing)?;
    let pairs = first.class.iter().zip(&first.clean);
    let losses: Vec<f64> = pairs.map(|(class, clean)| clean - class).collect();
    let lost = first.clusters.mean(&losses, level);
    if lost.is_none_or(|lost| lost.interval.low <= 0.0) {
        return Err("the class does known answers no clear damage".to_string());
    }
    let draws = number(results, OfRecall::TextLoss)
        .ok_or_else(missing)?
        .draws;
    let by_draws = Clusters::alone(draws.len()).mean(&draws, level);
    if by_draws.is_none_or(|by_draws| by_draws.interval.low <= 0.0) {
        let by_draws = of(&draws);
        return Err(format!(
            "the draws do text no clear damage, {by_draws:+.4} nats a token"
        ));
    }
    number(results, OfRecall::Direction)
        .ok_or_else(|| "the class does neither answers nor text any damage".to_string())
}

/// The mean log-probability of the known answers where every token is as likely, minus that of the clean model.
fn to_a_uniform_guess(results: &Results<'_>) -> Option<f64> {
    let vocabulary = results.input.model.config().vocab_size as f64;
    let known = results.known.as_ref()?.sequences();
    let tokens: Vec<f64> = known
        .iter()
        .map(|sequence| sequence.target.len() as f64)
        .collect();
    let member = results.sets.primary(CLASS)?;
    let target: Arms = results
        .recall
        .as_ref()?
        .arms(member, &Metric::TARGET_LOGPROB)?;
    Some(-mean(&tokens)? * vocabulary.ln() - mean(&target.clean)?)
}

/// Whether known answers lose more than comparable tokens of text, beyond what draws do: by the direction of the damage, which is
/// the ratio of both losses. (A difference of the losses would call any class specific that does more of the same.)
pub(super) fn specific_recall(results: &Results<'_>) -> Result<Vec<Finding>, ExperimentError> {
    let quantity = format!(
        "direction of the damage without {CLASS}, degrees (0 text alone, 45 as much a token, 90 known answers alone)"
    );
    let missing = no_class(CLASS, &quantity, Direction::Higher).primary();
    if results.sets.primary(CLASS).is_none() || results.known.is_none() {
        return Ok(vec![missing]);
    }
    let losses = [OfRecall::FactLoss, OfRecall::TextLoss].map(|loss| {
        let ranked = number(results, loss);
        ranked.map_or([f64::NAN; 2], |ranked| [ranked.class, of(&ranked.draws)])
    });
    let [[fact, fact_of_draws], [text, text_of_draws]] = losses;
    let why = format!(
        "known answers lose {fact:.3} (draws off: {fact_of_draws:.3}), text that is as sure {text:.3} ({text_of_draws:.3}), \
         nats a token"
    );
    let direction = match specificity(results) {
        Ok(direction) => direction,
        Err(reason) => {
            let why = format!("specificity: {reason}; {why}");
            return Ok(vec![Finding { why, ..missing }]);
        }
    };
    let finding = Finding {
        evidence: Basis::Tested {
            estimate: Estimate {
                difference_to_baseline: Some(direction.class - of(&direction.draws)),
                ..Estimate::default()
            },
            draws: direction.draws.len(),
        },
        n: results
            .known
            .as_ref()
            .map_or(0, |known| known.sequences().len()),
        why,
        ..missing
    };
    Ok(vec![finding.ranked(&direction)])
}
