//! The claims about depletion and the entropy of running text.

use super::super::ExperimentError;
use super::against::{Against, DRAWS, against_draws, levels, no_class, of};
use super::finding::{Basis, Direction, Finding, LEVEL, Objection, Room};
use super::needs::Need;
use super::ranked::Ranked;
use super::rankings::OfSigns;
use super::results::Results;
use super::signs::{SIGNS, SignCaseArms};
use super::variants::with_variants;
use super::verdict::Verdict;
use crate::experiment::Estimate;
use crate::io_class::Class;

/// Entropy of the text's predictions without depletion neurons, against their draws.
pub(super) fn depletion_entropy(results: &Results<'_>) -> Result<Vec<Finding>, ExperimentError> {
    let quantity = "entropy of the text's predictions without depletion, nats";
    let ranked = results
        .rankings
        .entropy
        .as_ref()
        .and_then(|ranking| ranking.number(0));
    let (Some(arms), Some(ranked)) = (&results.entropy, ranked) else {
        let missing = no_class(Class::Depletion, quantity, Direction::Higher);
        return Ok(vec![missing.primary()]);
    };
    let blank = Finding::missing(quantity, Direction::Higher, DRAWS, levels(arms));
    let finding = against_draws(arms, blank, &results.settings.statistics)?;
    let finding = finding.primary().ranked(&ranked);
    let uniform = (results.input.model.config().vocab_size as f64).ln();
    let finding = Finding {
        room: Room {
            largest: Some(uniform - of(&arms.clean)),
            ..finding.room
        },
        ..finding
    };
    with_variants(
        finding,
        (results.varied.of(Need::Entropy), Against::Draws),
        &results.settings.statistics,
    )
}

/// Entropy without depletion neurons by sign case, and under mean ablation.
pub(super) fn depletion_sign(results: &Results<'_>) -> Result<Vec<Finding>, ExperimentError> {
    let [claimed, ..] = SIGNS;
    let by_case = format!(
        "entropy that {claimed} of depletion adds, minus the most of the other cases, nats"
    );
    let direction = Direction::Higher;
    let ranking = results.rankings.signs.as_ref();
    let ranked = |number: OfSigns| ranking.and_then(|ranking| ranking.number(number as usize));
    let (Some(weakest), Some(strongest)) = (ranked(OfSigns::Weakest), ranked(OfSigns::Strongest))
    else {
        return Ok(vec![
            no_class(Class::Depletion, &by_case, direction).primary(),
        ]);
    };
    let cases = &results.rankings.sign_cases;
    let blank = |quantity: &str| Finding::missing(quantity, direction, DRAWS, String::new());
    let deciding = Finding {
        evidence: Basis::Tested {
            estimate: Estimate {
                difference_to_baseline: Some(weakest.class - of(&weakest.draws)),
                ..Estimate::default()
            },
            draws: weakest.draws.len(),
        },
        n: cases
            .iter()
            .flatten()
            .next()
            .map_or(0, |case| case.arms.clean.len()),
        why: cases_in_words(cases),
        objections: not_all_against(&strongest).into_iter().collect(),
        ..blank(&by_case).primary()
    };
    let settings = &results.settings.statistics;
    let mut findings = with_variants(
        deciding.ranked(&weakest),
        (results.varied.of(Need::SignCases), Against::Draws),
        settings,
    )?;
    if let [Some(own), others @ ..] = cases.as_slice() {
        for (signs, other) in SIGNS[1..].iter().zip(others) {
            let Some(other) = other else {
                continue;
            };
            let quantity = format!("entropy that {claimed} adds, minus {signs}, nats");
            findings.push(against_draws(
                &own.arms.minus(&other.arms),
                blank(&quantity),
                settings,
            )?);
        }
    }
    if let Some([zero, averaged]) = &results.zero_and_mean {
        let why = format!(
            "zero {:+.3}, mean {:+.3}",
            of(&zero.class) - of(&zero.clean),
            of(&averaged.class) - of(&averaged.clean)
        );
        let quantity = "entropy that zero ablation of depletion adds, minus mean ablation, nats";
        let blank = Finding {
            why,
            ..blank(quantity)
        };
        findings.push(against_draws(&zero.minus(averaged), blank, settings)?);
    }
    Ok(findings)
}

/// The claim says that its case exceeds all others, so the weakest comparison decides about support (an intersection-union test:
/// Berger 1982); it is contradicted only where its case falls behind all of them, too.
fn not_all_against(strongest: &Ranked) -> Option<Objection> {
    let behind = strongest.class < of(&strongest.draws) && strongest.rank.p < LEVEL;
    (!behind).then(|| Objection {
        of: Verdict::Contradicted,
        instead: Verdict::NotDistinguishable,
        why: "but not less than every other case".to_string(),
    })
}

fn cases_in_words(cases: &[Option<SignCaseArms>]) -> String {
    let words = SIGNS.iter().zip(cases).map(|(signs, case)| match case {
        Some(SignCaseArms { arms, changed }) => format!(
            "{signs} {:+.3} ({changed} values)",
            of(&arms.class) - of(&arms.clean)
        ),
        None => format!("{signs} never occurs in some set"),
    });
    words.collect::<Vec<_>>().join(", ")
}
