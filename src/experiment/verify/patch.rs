//! The claim about pairs: what becomes of known answers where conditional enrichment neurons have, at the subject, the values
//! of another subject (activation patching: Heimersheim and Nanda 2024, arXiv 2404.15255).

use super::super::ExperimentError;
use super::against::{Against, DRAWS, against_draws, levels, no_class, of, shortfall_in_words};
use super::finding::{Direction, Finding, Room};
use super::needs::Need;
use super::results::Results;
use super::sets::DECIDING;
use super::variants::with_variants;

/// Known answers with conditional enrichment patched at the subject, against draws.
pub(super) fn enrichment_patch(results: &Results<'_>) -> Result<Vec<Finding>, ExperimentError> {
    let quantity = format!(
        "logit of known answers minus that of the counterfactual's, {DECIDING} patched at the subject, logits"
    );
    let missing = no_class(DECIDING, &quantity, Direction::Lower).primary();
    let treatment = results.sets.primary(DECIDING);
    let Some(treatment) = treatment.and_then(|member| results.sets.treatment(member)) else {
        return Ok(vec![missing]);
    };
    let patched = match &results.patched {
        None => Err("no known fact has a counterfactual and a subject to be patched at"),
        Some(patched) => patched.as_ref().map_err(String::as_str),
    };
    let ranking = results.rankings.patch.as_ref();
    let ranked = ranking.and_then(|ranking| ranking.number(0));
    let (patched, ranked) = match (patched, ranked) {
        (Err(why), _) => {
            let why = why.to_string();
            return Ok(vec![Finding { why, ..missing }]);
        }
        (Ok(patched), Some(ranked)) => (patched, ranked),
        (Ok(_), None) => return Ok(vec![missing]),
    };
    let why = format!(
        "{}; of the difference to the counterfactuals {:.3} is left, with draws {:.3}{}",
        levels(&patched.logit_diff),
        of(&patched.recovered.class),
        of(&patched.recovered.draws.concat()),
        shortfall_in_words(treatment)
    );
    let settings = &results.settings.statistics;
    let blank = Finding::missing(&quantity, Direction::Lower, DRAWS, why);
    let finding = against_draws(&patched.logit_diff, blank, settings)?;
    let finding = finding.primary().ranked(&ranked);
    let largest = patched.range;
    let room = Room {
        largest,
        ..finding.room
    };
    let finding = Finding { room, ..finding };
    with_variants(
        finding,
        (results.varied.of(Need::Patch), Against::Draws),
        settings,
    )
}
