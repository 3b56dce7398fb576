//! The claims about recall: without enrichment neurons, at equal damage to text, and beside what text loses.

use super::super::ExperimentError;
use super::super::effects::Arms;
use super::super::metric::Metric;
use super::against::{DRAWS, against_draws, levels, no_class, of, shortfall_in_words};
use super::damage::{EqualDamage, Matched};
use super::finding::Direction;
use super::finding::{Finding, LEVEL};
use super::needs::{Recall, Text};
use super::results::Results;
use super::sets::ENRICHMENT;
use super::sets::Member;
use crate::stats::contrast_of_two;

/// Recall without enrichment classes: at zero ablation, and at equal damage to text.
pub(super) fn enrichment_recall(results: &Results<'_>) -> Result<Vec<Finding>, ExperimentError> {
    let mut findings = Vec::new();
    for class in ENRICHMENT {
        let members = results.sets.members(&[class]);
        let (false, Some(text), Some(recall)) =
            (members.is_empty(), &results.text, &results.recall)
        else {
            findings.push(no_class(class, &without(class.as_str()), Direction::Lower));
            continue;
        };
        for member in members {
            findings.extend(of_member(results, member, text, recall)?);
        }
    }
    Ok(findings)
}

fn without(name: &str) -> String {
    format!("log-probability of known answers without {name}, nats")
}

fn of_member(
    results: &Results<'_>,
    member: Member,
    text: &Text,
    recall: &Recall,
) -> Result<Vec<Finding>, ExperimentError> {
    let measured = recall
        .arms(member, &Metric::TARGET_LOGPROB)
        .zip(text.arms(member, Metric::LOSS));
    let (Some((target, loss)), Some(treatment)) = (measured, results.sets.treatment(member)) else {
        return Ok(Vec::new());
    };
    let name = &treatment.class;
    let why = format!(
        "target {}; loss on text {}{}",
        levels(&target),
        levels(&loss),
        shortfall_in_words(treatment),
    );
    let matched = results.damage.iter().find(|(of, _)| *of == member);
    let matched = matched.map(|(_, matched)| matched);
    let (equal, objection) = match matched {
        None | Some(Matched::NoDamage) => (None, None),
        Some(Matched::NothingToMatch(losses)) => {
            let first = recall.arms(member, &Metric::FIRST_LOGPROB);
            (
                Some(nothing_to_match(name, *losses)),
                unspecific(results, first, &loss)?,
            )
        }
        Some(Matched::Found(damage)) => {
            let equal = at_equal_damage(results, damage, name)?;
            let objection = (equal.one_sided_p() >= LEVEL / 2.0).then(|| {
                "but at equal damage to text they lose no more than with the draws off".to_string()
            });
            (Some(equal), objection)
        }
    };
    let zero = Finding {
        objection,
        ..Finding::missing(&without(name), Direction::Lower, DRAWS, why)
    };
    let zero = against_draws(&target, zero, &results.settings.bootstrap)?;
    Ok(std::iter::once(zero).chain(equal).collect())
}

/// Why a loss of recall is not one of recall, where there is no equal damage to go by: known answers lose no more than
/// any text does, by the test of specific-recall at its plain level.
fn unspecific(
    results: &Results<'_>,
    first: Option<Arms>,
    loss: &Arms,
) -> Result<Option<String>, ExperimentError> {
    let Some(first) = first else {
        return Ok(None);
    };
    let (facts, text) = (changes(&first, -1.0), changes(loss, 1.0));
    let found = contrast_of_two(facts.table(), text.table(), &results.settings.bootstrap)?;
    let specific = found.estimate > 0.0 && found.p.is_some_and(|p| p < LEVEL);
    Ok((!specific).then(|| {
        format!(
            "but text suffers too: beyond its draws, the class costs known answers {:+.3} nats a token more than text",
            found.estimate
        )
    }))
}

fn nothing_to_match(name: &str, [clean, class, draws]: [f64; 3]) -> Finding {
    let quantity =
        format!("log-probability of known answers with less of {name}, at equal damage to text");
    let why = format!(
        "the draws do no damage that could be matched: loss on text {clean:.3} clean, {class:.3} class off, \
         {draws:.3} draws off"
    );
    Finding::missing(&quantity, Direction::Lower, DRAWS, why)
}

fn at_equal_damage(
    results: &Results<'_>,
    damage: &EqualDamage,
    name: &str,
) -> Result<Finding, ExperimentError> {
    let (factor, [clean, scaled, draws]) = (damage.factor, damage.loss);
    let quantity = format!(
        "log-probability of known answers with {name} times {factor:.3} (equal damage to text), nats"
    );
    let why = format!(
        "class times {factor:.3}: {:.3}, draws off {:.3}; loss on text: clean {clean:.3}, class so {scaled:.3}, \
         draws off {draws:.3}",
        of(&damage.target.class),
        of(&damage.target.draws.concat()),
    );
    let finding = Finding::missing(&quantity, Direction::Lower, DRAWS, why);
    against_draws(&damage.target, finding, &results.settings.bootstrap)
}

/// What a known answer's first token loses minus what the next token of any text loses, against the draws.
pub(super) fn specific_recall(results: &Results<'_>) -> Result<Vec<Finding>, ExperimentError> {
    let mut findings = Vec::new();
    for class in ENRICHMENT {
        let quantity = format!(
            "nats that the first token of a known answer loses without {class}, minus the loss that text gains"
        );
        let (member, runs) = (
            Member::class(class),
            results.recall.as_ref().zip(results.text.as_ref()),
        );
        let measured = runs.and_then(|(recall, text)| {
            let first = recall.arms(member, &Metric::FIRST_LOGPROB)?;
            Some((first, text.arms(member, Metric::LOSS)?))
        });
        let Some((first, loss)) = measured else {
            findings.push(no_class(class, &quantity, Direction::Higher));
            continue;
        };
        let (facts, loss) = (changes(&first, -1.0), changes(&loss, 1.0));
        let found = contrast_of_two(facts.table(), loss.table(), &results.settings.bootstrap)?;
        findings.push(Finding {
            evidence: found.into(),
            n: found.prompts,
            why: format!(
                "known answers lose {:.3} (draws off: {:.3}), text {:.3} ({:.3}); {:.1} ({:.1}) times as much",
                of(&facts.class),
                of(&facts.draws.concat()),
                of(&loss.class),
                of(&loss.draws.concat()),
                of(&facts.class) / of(&loss.class),
                of(&facts.draws.concat()) / of(&loss.draws.concat()),
            ),
            ..Finding::missing(&quantity, Direction::Higher, DRAWS, String::new())
        });
    }
    Ok(findings)
}

/// What every edited arm costs, unit by unit: edited minus clean, times `sign`.
fn changes(arms: &Arms, sign: f64) -> Arms {
    let change = |edited: &Vec<f64>| -> Vec<f64> {
        let pairs = edited.iter().zip(&arms.clean);
        pairs
            .map(|(edited, clean)| sign * (edited - clean))
            .collect()
    };
    Arms {
        clean: vec![0.0; arms.clean.len()],
        class: change(&arms.class),
        draws: arms.draws.iter().map(change).collect(),
        clusters: arms.clusters.clone(),
    }
}
