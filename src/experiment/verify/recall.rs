//! The claims about recall: without enrichment neurons, against draws, and beside what text loses.

use super::super::ExperimentError;
use super::super::metric::Metric;
use super::against::{Against, DRAWS, against_draws, levels, no_class, of, shortfall_in_words};
use super::finding::{Basis, Direction, Finding, Objection};
use super::needs::Need;
use super::ranked::{Ranked, Ranking};
use super::rankings::{OfRecall, Specificity};
use super::results::Results;
use super::sets::{DECIDING, ENRICHMENT, Member};
use super::variants::with_variants;
use super::verdict::Verdict;
use crate::experiment::Estimate;
use crate::stats::rank_floor;

/// Recall without enrichment classes.
pub(super) fn enrichment_recall(results: &Results<'_>) -> Result<Vec<Finding>, ExperimentError> {
    let settings = &results.settings.statistics;
    let mut findings = with_variants(
        deciding(results)?,
        (results.varied.of(Need::Recall), Against::Draws),
        settings,
    )?;
    let primary = results.sets.primary(DECIDING);
    for class in ENRICHMENT {
        let members = results.sets.members(&[class]);
        if members.is_empty() && class != DECIDING {
            findings.push(no_class(class, &without(class.as_str()), Direction::Lower));
        }
        for member in members
            .into_iter()
            .filter(|member| Some(*member) != primary)
        {
            findings.extend(described(results, member)?);
        }
    }
    Ok(findings)
}

fn without(name: &str) -> String {
    format!("log-probability of known answers without {name}, nats")
}

fn deciding(results: &Results<'_>) -> Result<Finding, ExperimentError> {
    let missing = no_class(DECIDING, &without(DECIDING.as_str()), Direction::Lower).primary();
    let (Some(member), Some(target)) = (
        results.sets.primary(DECIDING),
        number(results, OfRecall::Target),
    ) else {
        return Ok(missing);
    };
    let Some(finding) = described(results, member)? else {
        return Ok(missing);
    };
    let mut finding = finding.primary().ranked(&target);
    let found = match specificity(results) {
        Ok(found) => found,
        Err(why) => {
            let objections = vec![untestable(why)];
            return Ok(Finding {
                objections,
                ..finding
            });
        }
    };
    if let Basis::Tested { estimate, .. } = &mut finding.evidence {
        let is_claimed = estimate
            .difference_to_baseline
            .is_some_and(|d| finding.direction.holds(d));
        // The claim is that both hold, so the larger p decides (an intersection-union test: Berger 1982).
        if is_claimed {
            let more_specific = found.class > found.draws;
            let specific = if more_specific { found.rank.p } else { 1.0 };
            estimate.permutation_p = Some(target.rank.p.max(specific));
        }
    }
    let why = format!(
        "{}; p of the loss {:.3}; direction of the damage {:.0}°, that of the draws' {:.0}°, p {:.3}",
        finding.why, target.rank.p, found.class, found.draws, found.rank.p
    );
    Ok(Finding { why, ..finding })
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
    let why = format!(
        "target {}{}",
        levels(&target),
        shortfall_in_words(treatment)
    );
    let blank = Finding::missing(&without(&treatment.class), Direction::Lower, DRAWS, why);
    against_draws(&target, blank, &results.settings.statistics).map(Some)
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
/// class to answers, and some of the draws.
fn specificity(results: &Results<'_>) -> Result<Specificity, String> {
    let missing = || "nothing was measured".to_string();
    let level = results.settings.statistics.level;
    let member = results.sets.primary(DECIDING).ok_or_else(missing)?;
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
    let found = results.rankings.specificity();
    found.ok_or_else(|| "its random sets do no damage that it could be compared with".to_string())
}

/// Whether known answers lose more than comparable tokens of text, beyond what draws do: by the direction of the damage, which is
/// the ratio of both losses. (A difference of the losses would call any class specific that does more of the same.)
pub(super) fn specific_recall(results: &Results<'_>) -> Result<Vec<Finding>, ExperimentError> {
    let quantity = format!(
        "direction of the damage without {DECIDING}, degrees (0 text alone, 45 as much a token, 90 known answers alone)"
    );
    let missing = no_class(DECIDING, &quantity, Direction::Higher).primary();
    if results.sets.primary(DECIDING).is_none() || results.few.facts.is_none() {
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
    let found = match specificity(results) {
        Ok(found) => found,
        Err(reason) => {
            let why = format!("specificity: {reason}; {why}");
            return Ok(vec![Finding { why, ..missing }]);
        }
    };
    let ranking = results.rankings.recall.as_ref();
    Ok(vec![Finding {
        evidence: Basis::Tested {
            estimate: Estimate {
                difference_to_baseline: Some(found.class - found.draws),
                permutation_p: Some(found.rank.p),
                permutation_floor: Some(rank_floor(found.rank.effective_draws)),
                ..Estimate::default()
            },
            draws: ranking.map_or(0, Ranking::made),
        },
        n: results
            .few
            .facts
            .as_ref()
            .map_or(0, |facts| facts.sequences().len()),
        why: format!(
            "{why}; draws count by the damage that they do, as {:.0} equal ones",
            found.rank.effective_draws
        ),
        ..missing
    }])
}
