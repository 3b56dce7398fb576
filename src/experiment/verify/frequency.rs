//! The claims about how often a gate is positive.

use super::super::ExperimentError;
use super::super::plan::Treatment;
use super::super::record::{
    Activity, ClassSets, PassBudget, Quantity, RecordInput, Recording, Scope, class_view,
};
use super::against::no_class;
use super::claim::{ClaimId, Direction};
use super::judge::{Evidence, Finding};
use super::measure::Lab;
use super::sets::Sets;
use crate::hooks::Condition;
use crate::io_class::Class;

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
