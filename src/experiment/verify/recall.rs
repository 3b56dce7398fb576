//! The claims about recall: without enrichment neurons, at equal damage to text, and beside what text loses.

use super::super::ExperimentError;
use super::super::effects::{Arms, Metric};
use super::against::{DRAWS, ENRICHMENT, against_draws, levels, no_class, of, shortfall_in_words};
use super::claim::{ClaimId, Direction};
use super::damage::{Matched, equal_damage};
use super::judge::{Finding, LEVEL};
use super::measure::{Lab, Recall, Text};
use super::sets::Sets;
use crate::stats::{Table, contrast_of_two};

/// Recall without enrichment classes: at zero ablation, and at equal damage to text.
pub(super) fn enrichment_recall(
    lab: &Lab<'_>,
    sets: &Sets,
    runs: Option<(&Recall, &Text)>,
) -> Result<Vec<Finding>, ExperimentError> {
    let id = ClaimId::EnrichmentRecall;
    let quantity = |name: &str| format!("log-probability of known answers without {name}, nats");
    let mut findings = Vec::new();
    for class in ENRICHMENT {
        let (Some(set), Some((recall, text))) = (sets.get(class), runs) else {
            findings.push(no_class(
                id,
                class,
                &quantity(class.as_str()),
                Direction::Lower,
            ));
            continue;
        };
        for treatment in std::iter::once(&set.treatment).chain(&set.subset) {
            let name = &treatment.class;
            let measured = recall.target(name).zip(text.of(name, Metric::Loss));
            let Some((target, loss)) = measured else {
                continue;
            };
            let why = format!(
                "target {}; loss on text {}{}",
                levels(&target),
                levels(&loss),
                shortfall_in_words(treatment),
            );
            let matched = equal_damage(lab, treatment, text, recall)?;
            let equal = at_equal_damage(lab, &matched, name)?;
            let objection = match (&matched, &equal) {
                (Matched::NoDamage, _) | (_, None) => None,
                (Matched::NothingToMatch(_), _) => unspecific(lab, recall.first(name), &loss)?,
                (Matched::Found(_), Some(equal)) => {
                    (equal.one_sided_p() >= LEVEL / 2.0).then(|| {
                        "but at equal damage to text they lose no more than with the draws off"
                            .to_string()
                    })
                }
            };
            let zero = Finding {
                objection,
                ..Finding::missing(id, &quantity(name), Direction::Lower, DRAWS, why)
            };
            findings.push(against_draws(&target, zero, &lab.settings.bootstrap)?);
            findings.extend(equal);
        }
    }
    Ok(findings)
}

/// Why a loss of recall is not one of recall, where there is no equal damage to go by: known answers lose no more than
/// any text does, by the test of specific-recall at its plain level.
fn unspecific(
    lab: &Lab<'_>,
    first: Option<Arms>,
    loss: &Arms,
) -> Result<Option<String>, ExperimentError> {
    let Some(first) = first else {
        return Ok(None);
    };
    let (facts, text) = (changes(&first, -1.0), changes(loss, 1.0));
    let found = contrast_of_two(facts.table(), text.table(), &lab.settings.bootstrap)?;
    let specific = found.estimate > 0.0 && found.p.is_some_and(|p| p < LEVEL);
    Ok((!specific).then(|| {
        format!(
            "but text suffers too: beyond its draws, the class costs known answers {:+.3} nats a token more than text",
            found.estimate
        )
    }))
}

/// The test at equal damage to text, where there is damage.
fn at_equal_damage(
    lab: &Lab<'_>,
    matched: &Matched,
    name: &str,
) -> Result<Option<Finding>, ExperimentError> {
    let id = ClaimId::EnrichmentRecall;
    let damage = match matched {
        Matched::NoDamage => return Ok(None),
        Matched::NothingToMatch([clean, class, draws]) => {
            let quantity = format!(
                "log-probability of known answers with less of {name}, at equal damage to text"
            );
            let why = format!(
                "the draws do no damage that could be matched: loss on text {clean:.3} clean, {class:.3} class off, \
                 {draws:.3} draws off"
            );
            return Ok(Some(Finding::missing(
                id,
                &quantity,
                Direction::Lower,
                DRAWS,
                why,
            )));
        }
        Matched::Found(damage) => damage,
    };
    let [clean, scaled, draws] = damage.loss;
    let finding = Finding::missing(
        id,
        &format!(
            "log-probability of known answers with {name} times {:.3} (equal damage to text), nats",
            damage.factor
        ),
        Direction::Lower,
        DRAWS,
        format!(
            "class times {:.3}: {:.3}, draws off {:.3}; loss on text: clean {clean:.3}, class so {scaled:.3}, \
             draws off {draws:.3}",
            damage.factor,
            of(&damage.target.class),
            of(&damage.target.draws.concat()),
        ),
    );
    against_draws(&damage.target, finding, &lab.settings.bootstrap).map(Some)
}

/// What a known answer's first token loses minus what the next token of any text loses, against the draws.
pub(super) fn specific_recall(
    lab: &Lab<'_>,
    sets: &Sets,
    runs: Option<(&Recall, &Text)>,
) -> Result<Vec<Finding>, ExperimentError> {
    let id = ClaimId::SpecificRecall;
    let mut findings = Vec::new();
    for class in ENRICHMENT {
        let quantity = format!(
            "nats that the first token of a known answer loses without {class}, minus the loss that text gains"
        );
        let of_class = runs
            .filter(|_| sets.get(class).is_some())
            .and_then(|(recall, text)| {
                let first = recall.first(class.as_str())?;
                Some((first, text.of(class.as_str(), Metric::Loss)?))
            });
        let Some((first, loss)) = of_class else {
            findings.push(no_class(id, class, &quantity, Direction::Higher));
            continue;
        };
        let (facts, loss) = (changes(&first, -1.0), changes(&loss, 1.0));
        let found = contrast_of_two(facts.table(), loss.table(), &lab.settings.bootstrap)?;
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
            ..Finding::missing(id, &quantity, Direction::Higher, DRAWS, String::new())
        });
    }
    Ok(findings)
}

/// What every edited arm costs, unit by unit.
struct Changes {
    class: Vec<f64>,
    draws: Vec<Vec<f64>>,
}

impl Changes {
    fn table(&self) -> Table<'_> {
        Table {
            class: &self.class,
            draws: &self.draws,
        }
    }
}

/// Edited minus clean, times `sign`.
fn changes(arms: &Arms, sign: f64) -> Changes {
    let change = |edited: &Vec<f64>| -> Vec<f64> {
        let pairs = edited.iter().zip(&arms.clean);
        pairs
            .map(|(edited, clean)| sign * (edited - clean))
            .collect()
    };
    Changes {
        class: change(&arms.class),
        draws: arms.draws.iter().map(change).collect(),
    }
}
