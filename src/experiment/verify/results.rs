//! What the needs of the claims gave.

use super::super::ExperimentError;
use super::super::attributes::Attributes;
use super::super::effects::Arms;
use super::super::record::Activity;
use super::super::run::Run;
use super::damage::{Matched, equal_damage};
use super::input::{VerifyInput, VerifySettings};
use super::needs::{ClaimRuns, Need, Recall, Text};
use super::sets::{ENRICHMENT, Group, Member, Sets};
use crate::hooks::Mode;
use crate::io_class::Class;

/// What was run. Where a class has no neurons, or nothing was asked for, there is nothing.
pub(super) struct Results<'a> {
    pub input: &'a VerifyInput<'a>,
    pub settings: &'a VerifySettings,
    pub sets: &'a Sets,
    pub frequencies: Vec<(Class, Activity)>,
    pub attributes: Option<(Group, Attributes)>,
    pub recall: Option<Recall>,
    pub text: Option<Text>,
    pub damage: Vec<(Member, Matched)>,
    /// Entropy without depletion by sign case, in the order of [`SIGNS`]; absent where the case never occurs in some set.
    pub sign_cases: Vec<Option<Arms>>,
    /// Entropy under mean ablation of depletion.
    pub mean: Option<Arms>,
}

/// Runs all of it; first what depends on nothing else.
pub(super) fn gather<'a>(
    runs: &ClaimRuns<'a>,
    run: &mut Run<'_>,
) -> Result<Results<'a>, ExperimentError> {
    let frequencies = runs.frequencies(run, &runs.classes(Need::Frequency));
    let frequencies = run.unless_elsewhere(frequencies)?.unwrap_or_default();
    let attributes = runs.attributes(run);
    let attributes = run.unless_elsewhere(attributes)?.flatten();
    let text = runs.text(run, runs.text_group(), Mode::Zero);
    let text = run.unless_elsewhere(text)?.flatten();
    let recall = runs.recall(run, runs.input.facts, runs.recall_group(), Mode::Zero);
    let recall = run.unless_elsewhere(recall)?.flatten();
    let sign_cases = runs.sign_cases(run);
    let sign_cases = run.unless_elsewhere(sign_cases)?.unwrap_or_default();
    let mean = runs.mean(run);
    let mean = run.unless_elsewhere(mean)?.flatten();
    run.all_here()?;
    let mut damage = Vec::new();
    if let (true, Some(text), Some(recall)) = (runs.has(Need::EqualDamage), &text, &recall) {
        for member in runs.sets.members(&ENRICHMENT) {
            let matched = equal_damage(runs, run, member, (text, recall))?;
            damage.push((member, matched));
        }
    }
    Ok(Results {
        input: runs.input,
        settings: runs.settings,
        sets: runs.sets,
        frequencies,
        attributes,
        recall,
        text,
        damage,
        sign_cases,
        mean,
    })
}
