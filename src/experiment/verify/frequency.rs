//! The claims about how often a gate is positive.

use super::super::ExperimentError;
use super::super::plan::Treatment;
use super::super::record::{
    Activity, ClassSets, Quantity, RecordInput, RecordPlan, Scope, class_view, record,
};
use super::super::run::Run;
use super::against::no_class;
use super::claim::Direction;
use super::judge::{Basis, Finding};
use super::needs::{Needs, Results};
use crate::io_class::Class;

/// P(gate > 0) of depletion neurons.
pub(super) fn depletion(results: &Results<'_>) -> Result<Vec<Finding>, ExperimentError> {
    Ok(vec![frequency(
        results,
        Class::Depletion,
        Direction::Higher,
    )])
}

/// P(gate > 0) of conditional enrichment neurons.
pub(super) fn enrichment(results: &Results<'_>) -> Result<Vec<Finding>, ExperimentError> {
    let class = Class::ConditionalEnrichment;
    Ok(vec![frequency(results, class, Direction::Lower)])
}

/// P(gate > 0) of a class and of its draws, over the tokens of the text.
fn frequency(results: &Results<'_>, class: Class, direction: Direction) -> Finding {
    let quantity = format!("P(gate > 0) of {class} neurons on the text");
    let missing = no_class(class, &quantity, direction);
    let mut found = results.frequencies.iter();
    let Some((_, found)) = found.find(|(of, _)| *of == class) else {
        return missing;
    };
    Finding {
        evidence: Basis::Tested {
            estimate: found.estimate.difference_to_baseline.unwrap_or(f64::NAN),
            interval: found.estimate.baseline_ci,
            p: found.estimate.p,
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
    }
}

/// The frequency of each of these classes that has neurons, in a clean run over the text.
pub(super) fn activity(
    needs: &Needs<'_>,
    run: &mut Run<'_>,
    classes: &[Class],
) -> Result<Vec<(Class, Activity)>, ExperimentError> {
    let (there, treatments): (Vec<Class>, Vec<Treatment>) = classes
        .iter()
        .filter_map(|class| Some((*class, needs.sets.get(*class)?.treatment.clone())))
        .unzip();
    if there.is_empty() {
        return Ok(Vec::new());
    }
    let table = needs.input.table;
    let windows = needs.input.windows.to_vec();
    let input = RecordInput::of_texts(vec![needs.input.documents.clone()], windows)?;
    let sets = ClassSets::new(treatments, table);
    let plan = RecordPlan {
        input: &input,
        layers: 0..table.layers.len(),
        sets: &sets,
    };
    let recording = record(run, needs.engine, &plan, None)?;
    let view = class_view(&recording.activity, &needs.settings.bootstrap)?;
    let wanted = view.into_iter().filter(|activity| {
        activity.scope() == Scope::All && activity.quantity == Quantity::Frequency
    });
    // The view is in the order of the classes.
    Ok(there.into_iter().zip(wanted).collect())
}
