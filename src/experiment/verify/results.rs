//! What the needs of the claims gave.

use super::super::ExperimentError;
use super::super::attributes::Attributes;
use super::super::effects::Arms;
use super::super::record::Activity;
use super::super::run::Run;
use super::damage::{Matched, equal_damage};
use super::input::{VerifyInput, VerifySettings};
use super::needs::{Need, Needs, Recall, Text};
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
    needs: &Needs<'a>,
    run: &mut Run<'_>,
) -> Result<Results<'a>, ExperimentError> {
    let frequencies = needs.frequencies(run, &needs.classes(Need::Frequency));
    let frequencies = run.unless_elsewhere(frequencies)?.unwrap_or_default();
    let attributes = needs.attributes(run);
    let attributes = run.unless_elsewhere(attributes)?.flatten();
    let text = needs.text(run, needs.text_group(), Mode::Zero);
    let text = run.unless_elsewhere(text)?.flatten();
    let recall = needs.recall(run, needs.input.facts, needs.recall_group(), Mode::Zero);
    let recall = run.unless_elsewhere(recall)?.flatten();
    let sign_cases = needs.sign_cases(run);
    let sign_cases = run.unless_elsewhere(sign_cases)?.unwrap_or_default();
    let mean = needs.mean(run);
    let mean = run.unless_elsewhere(mean)?.flatten();
    run.all_here()?;
    let mut damage = Vec::new();
    if let (true, Some(text), Some(recall)) = (needs.has(Need::EqualDamage), &text, &recall) {
        for member in needs.sets.members(&ENRICHMENT) {
            let matched = equal_damage(needs, run, member, (text, recall))?;
            damage.push((member, matched));
        }
    }
    Ok(Results {
        input: needs.input,
        settings: needs.settings,
        sets: needs.sets,
        frequencies,
        attributes,
        recall,
        text,
        damage,
        sign_cases,
        mean,
    })
}
