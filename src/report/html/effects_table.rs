//! All numbers of an ablation's effects.

use super::block::{Column, Table};
use super::effects::{by_metric, capital, is_of_text, units, words};
use super::words::{count, number, optional, p_value, plural, with_interval};
use crate::experiment::{Effect, PromptSubset};

/// All numbers, a group per metric and subset.
pub fn table(effects: &[Effect]) -> Table {
    let mut groups: Vec<(String, Vec<Vec<String>>)> = Vec::new();
    for subset in [PromptSubset::Known, PromptSubset::All] {
        let of_subset: Vec<&Effect> = effects.iter().filter(|e| e.subset == subset).collect();
        for (metric, group) in by_metric(&of_subset) {
            let (name, unit) = words(metric);
            let title = match is_of_text(metric) {
                true => format!("{}, {unit}", capital(name)),
                false => format!("{}, {unit}, {subset} prompts", capital(name)),
            };
            groups.push((title, group.into_iter().map(cells).collect()));
        }
    }
    let tests = effects
        .iter()
        .filter(|effect| effect.estimate.p.is_some())
        .count();
    let mut notes = vec![format!(
        "p (Holm): adjusted over all {} of the run.",
        plural(tests, "test", "tests")
    )];
    if let Some(floor) = effects
        .iter()
        .find_map(|effect| effect.estimate.permutation_floor)
    {
        let floor = p_value(Some(floor));
        notes.push(format!(
            "p (perm.): rank among the draws; so many draws cannot give less than {floor}."
        ));
    }
    let small = effects
        .iter()
        .filter(|e| e.estimate.p_adjusted.is_some_and(|p| p < 0.05))
        .count();
    Table {
        title: "All effects".to_string(),
        reading: format!(
            "{small} of {} of a class against its draws have p below 0.05 after Holm's adjustment.",
            plural(tests, "test", "tests")
        ),
        columns: vec![
            Column::Words("class"),
            Column::Number("neurons"),
            Column::Number("clean"),
            Column::Number("class off"),
            Column::Number("draws"),
            Column::Number("minus clean [95 %]"),
            Column::Number("minus draws [95 %]"),
            Column::Number("p"),
            Column::Number("p (Holm)"),
            Column::Number("p (perm.)"),
        ],
        groups,
        notes,
        n: format!(
            "{}, {} each",
            effects
                .iter()
                .max_by_key(|e| e.prompts)
                .map(units)
                .unwrap_or_default(),
            plural(effects[0].draws, "draw", "draws"),
        ),
    }
}

fn cells(effect: &Effect) -> Vec<String> {
    vec![
        effect.class.clone(),
        count(effect.neurons),
        number(effect.means.clean),
        number(effect.means.class),
        optional(effect.means.baseline),
        with_interval(Some(effect.difference_to_clean), effect.clean_ci),
        with_interval(
            effect.estimate.difference_to_baseline,
            effect.estimate.baseline_ci,
        ),
        p_value(effect.estimate.p),
        p_value(effect.estimate.p_adjusted),
        p_value(effect.estimate.permutation_p),
    ]
}
