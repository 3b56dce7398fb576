//! The claims about what neurons do: from the runs to findings.

use super::super::ExperimentError;
use super::super::effects::{Arms, Metric};
use super::super::plan::Treatment;
use super::super::record::{
    Activity, ClassSets, PassBudget, Quantity, RecordInput, Recording, Scope, class_view,
};
use super::claim::{ClaimId, Direction};
use super::damage::{Matched, equal_damage};
use super::judge::{Evidence, Finding, LEVEL};
use super::measure::{Lab, Recall, Text};
use super::sets::Sets;
use crate::hooks::{Condition, MeanKind, ModeSpec, SignCase};
use crate::io_class::Class;
use crate::stats::{BootstrapSettings, Table, contrast, contrast_of_two, mean};

/// The classes of the claims about recall.
pub(super) const ENRICHMENT: [Class; 2] = [Class::Enrichment, Class::ConditionalEnrichment];

pub(super) const DRAWS: &str = "layer-matched random draws";

fn of(values: &[f64]) -> f64 {
    mean(values).unwrap_or(f64::NAN)
}

/// Says of a class that it is not there to be tested.
pub(super) fn no_class(id: ClaimId, class: Class, quantity: &str, direction: Direction) -> Finding {
    let why = format!(
        "the model has no {class} neurons, or none outside that class in their layers, or knows none of the facts"
    );
    Finding::missing(id, quantity, direction, DRAWS, why)
}

/// The class against its draws, or why not.
fn against_draws(
    arms: &Arms,
    finding: Finding,
    settings: &BootstrapSettings,
) -> Result<Finding, ExperimentError> {
    let found = contrast(&arms.class, &arms.draws, settings)?;
    Ok(Finding {
        evidence: found.into(),
        n: arms.class.len(),
        ..finding
    })
}

/// P(gate > 0) of a class and of its draws, over the tokens of the text.
pub(super) fn frequencies(lab: &Lab<'_>, sets: &Sets) -> Result<Vec<Finding>, ExperimentError> {
    use ClaimId::{FrequencyDepletion, FrequencyEnrichment};
    let asked = [
        (FrequencyDepletion, Class::Depletion, Direction::Higher),
        (
            FrequencyEnrichment,
            Class::ConditionalEnrichment,
            Direction::Lower,
        ),
    ];
    let asked = asked
        .into_iter()
        .filter(|(id, ..)| lab.settings.claims.contains(id));
    let asked: Vec<_> = asked.collect();
    let classes: Vec<Class> = asked.iter().map(|(_, class, _)| *class).collect();
    let treatments = classes.iter().filter_map(|class| sets.get(*class));
    let treatments: Vec<Treatment> = treatments.map(|set| set.treatment.clone()).collect();
    let view = match treatments.is_empty() {
        true => Vec::new(),
        false => activity(lab, treatments)?,
    };
    let finding = |(id, class, direction): (ClaimId, Class, Direction)| {
        let quantity = format!("P(gate > 0) of {class} neurons on the text");
        let missing = no_class(id, class, &quantity, direction);
        let found = view.iter().find(|activity| {
            let of_class = activity.class == class.as_str() && activity.scope() == Scope::All;
            of_class && activity.quantity == Quantity::Frequency
        });
        found.map_or(missing.clone(), |found| Finding {
            evidence: Evidence::Tested {
                estimate: found.difference_to_baseline.unwrap_or(f64::NAN),
                interval: found.baseline_ci,
                p: found.p,
                draws: found.draws,
            },
            n: found.units,
            why: format!(
                "class {:.3}, draws {:.3}, over {} tokens",
                found.means.class,
                found.means.baseline.unwrap_or(f64::NAN),
                found.tokens
            ),
            ..missing
        })
    };
    Ok(asked.into_iter().map(finding).collect())
}

fn activity(lab: &Lab<'_>, treatments: Vec<Treatment>) -> Result<Vec<Activity>, ExperimentError> {
    let table = lab.input.table;
    let input = RecordInput::of_texts(
        vec![lab.input.documents.clone()],
        lab.input.windows.to_vec(),
    )?;
    let sets = ClassSets::new(treatments, table);
    let (layers, d_mlp) = (table.layers.len(), lab.engine.config().d_mlp);
    let mut recording = Recording::new(0..layers, d_mlp, &sets, &input);
    let budget = PassBudget::of(lab.engine, &input)?;
    let passes = input.passes(0, budget);
    let units = lab.engine.work_units(&[Condition::Clean]);
    lab.progress
        .start("text, clean", passes.len() as u64 * units);
    for sequences in passes {
        let pass = input.pass(sequences)?;
        recording.pass(lab.engine, &pass, Vec::new(), Vec::new(), lab.progress)?;
    }
    class_view(&recording.activity, &lab.settings.bootstrap)
}

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

/// The means of all arms.
fn levels(arms: &Arms) -> String {
    format!(
        "clean {:.3}, class off {:.3}, draws off {:.3}",
        of(&arms.clean),
        of(&arms.class),
        of(&arms.draws.concat())
    )
}

pub(super) fn shortfall_in_words(treatment: &Treatment) -> String {
    match treatment.shortfall.len() {
        0 => String::new(),
        layers => format!(
            "; the class is more than half of {layers} layers, where its draws are smaller than it ({} of {} neurons)",
            treatment.baseline.first().map_or(0, |draw| draw.len()),
            treatment.neurons.len()
        ),
    }
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
    let mean_mode = ModeSpec::Means(MeanKind::Overall);
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
