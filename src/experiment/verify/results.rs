//! What the needs of the claims gave.

use super::super::ExperimentError;
use super::super::ablate::run_clean;
use super::super::attributes::Attributes;
use super::super::effects::Arms;
use super::super::record::Activity;
use super::super::run::Run;
use super::input::{VerifyInput, VerifySettings};
use super::needs::{ClaimRuns, Need, Recall, SignCaseArms, Text};
use super::rankings::{Few, Rankings, spread_over_relations};
use super::sets::{Group, Sets};
use crate::hooks::Mode;
use crate::io_class::Class;
use crate::tokens::TokenBatch;

/// What was run. Where a class has no neurons, or nothing was asked for, there is nothing.
pub(super) struct Results<'a> {
    pub input: &'a VerifyInput<'a>,
    pub settings: &'a VerifySettings,
    pub sets: &'a Sets,
    pub frequencies: Vec<(Class, Activity)>,
    /// The known facts, where recall is asked for and any is.
    pub known: Option<TokenBatch>,
    pub recall: Option<Recall>,
    /// Conditional enrichment under mean and resample ablation.
    pub other_modes: Vec<(Mode, Recall)>,
    pub text: Option<Text>,
    /// Entropy without depletion by sign case, in the order of [`SIGNS`](super::needs::SIGNS); absent where the case never
    /// occurs in some set.
    pub sign_cases: Vec<Option<SignCaseArms>>,
    /// Entropy under mean ablation of depletion.
    pub mean: Option<Arms>,
    pub rankings: Rankings,
    pub attributes: Option<(Group, Attributes)>,
}

/// Runs all of it; first what depends on nothing else.
pub(super) fn gather<'a>(
    runs: &ClaimRuns<'a>,
    run: &mut Run<'_>,
) -> Result<Results<'a>, ExperimentError> {
    let frequencies = runs.frequencies(run, &runs.classes(Need::Frequency));
    let frequencies = run.unless_elsewhere(frequencies)?.unwrap_or_default();
    let known = known(runs, run)?;
    let (mut recall, mut other_modes) = (None, Vec::new());
    if let Some(known) = &known {
        let zero = runs.recall(run, known, runs.recall_group(), Mode::Zero);
        recall = run.unless_elsewhere(zero)?.flatten();
        let modes = runs.recall_in_other_modes(run, known);
        other_modes = run.unless_elsewhere(modes)?.unwrap_or_default();
    }
    let text = runs.text(run, runs.text_group(), Mode::Zero);
    let text = run.unless_elsewhere(text)?.flatten();
    let sign_cases = match runs.depletion() {
        Some(treatment) => runs.sign_cases(run, treatment, runs.input.windows),
        None => Ok(Vec::new()),
    };
    let sign_cases = run.unless_elsewhere(sign_cases)?.unwrap_or_default();
    let mean = runs.mean(run);
    let mean = run.unless_elsewhere(mean)?.flatten();
    let few = few(runs, run, known.as_ref())?;
    let mut rankings = Rankings::new(runs, &few);
    // Shards share the first batches; every later one depends on these.
    let first = rankings.go_on(runs, run, &few);
    run.unless_elsewhere(first)?;
    let attributes = runs.attributes(run);
    let attributes = run.unless_elsewhere(attributes)?.flatten();
    run.all_here()?;
    while rankings.go_on(runs, run, &few)? {}
    Ok(Results {
        input: runs.input,
        settings: runs.settings,
        sets: runs.sets,
        frequencies,
        known,
        recall,
        other_modes,
        text,
        sign_cases,
        mean,
        rankings,
        attributes,
    })
}

/// The facts that the clean model knows.
fn known(runs: &ClaimRuns<'_>, run: &mut Run<'_>) -> Result<Option<TokenBatch>, ExperimentError> {
    if !runs.has(Need::Recall) {
        return Ok(None);
    }
    let facts = runs.input.facts;
    let known: Vec<usize> = run_clean(run, runs.engine, facts)?
        .known()
        .into_iter()
        .collect();
    if known.is_empty() {
        return Ok(None);
    }
    Ok(Some(facts.subset(&known)?))
}

/// What ranks are on.
fn few(
    runs: &ClaimRuns<'_>,
    run: &mut Run<'_>,
    known: Option<&TokenBatch>,
) -> Result<Few, ExperimentError> {
    let seed = runs.settings.statistics.seed;
    let facts = known.map(|known| spread_over_relations(known, seed));
    let subjects = runs.input.subjects.as_ref();
    let subjects = match subjects.filter(|_| runs.has(Need::Attributes)) {
        None => None,
        Some(subjects) => {
            let known = run_clean(run, runs.engine, subjects.facts)?.known();
            let known: Vec<usize> = known.into_iter().collect();
            let asked = (!known.is_empty()).then(|| subjects.batch.subset(&known));
            let asked = asked.transpose()?;
            asked
                .map(|asked| spread_over_relations(&asked, seed))
                .transpose()?
        }
    };
    Ok(Few {
        facts: facts.transpose()?,
        subjects,
    })
}
