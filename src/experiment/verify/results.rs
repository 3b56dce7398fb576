//! What the needs of the claims gave.

use super::super::ExperimentError;
use super::super::attributes::Attributes;
use super::super::effects::Arms;
use super::super::plan::Treatment;
use super::super::record::Activity;
use super::super::run::Run;
use super::super::unedited::run_clean;
use super::few::Few;
use super::input::{VerifyInput, VerifySettings};
use super::needs::{ClaimRuns, Need, Recall};
use super::patched::Patched;
use super::rankings::Rankings;
use super::rates::CleanRates;
use super::sets::{Group, Sets};
use super::variants::AllVaried;
use crate::io_class::Class;
use crate::tokens::TokenBatch;

/// What was run. Where a class has no neurons, or nothing was asked for, there is nothing.
pub(super) struct Results<'a> {
    pub input: &'a VerifyInput<'a>,
    pub settings: &'a VerifySettings,
    pub sets: &'a Sets,
    pub frequencies: Vec<(Class, Activity)>,
    pub few: Few,
    pub recall: Option<Recall>,
    /// Known answers with conditional enrichment patched, or why nothing could be; absent where nothing was asked for, or no
    /// known fact has a counterfactual.
    pub patched: Option<Result<Patched, String>>,
    /// Entropy of the text without depletion.
    pub entropy: Option<Arms>,
    /// Entropy of few documents under zero and under mean ablation of depletion.
    pub zero_and_mean: Option<[Arms; 2]>,
    pub varied: AllVaried,
    pub rankings: Rankings,
    /// Rates of the clean model.
    pub clean_rates: Option<CleanRates>,
    pub attributes: Option<(Group, Attributes)>,
}

impl Results<'_> {
    /// The classes, with the draws that anything was measured of. (Gate frequencies are, of all draws that a rank may
    /// need, which no run of their own costs; they tell nothing of single draws.)
    pub fn treatments(&self) -> Vec<Treatment> {
        let made = |class| self.settings.draws.max(self.rankings.made(class));
        let mut treatments = self.sets.treatments(made);
        for varied in self.varied.all() {
            treatments.extend(varied.redrawn.clone());
        }
        treatments
    }
}

/// Runs all of it; first what depends on nothing else.
pub(super) fn gather<'a>(
    runs: &ClaimRuns<'a>,
    run: &mut Run<'_>,
) -> Result<Results<'a>, ExperimentError> {
    let frequencies = runs.frequencies(run, &runs.classes(Need::Frequency));
    let frequencies = run.unless_elsewhere(frequencies)?.unwrap_or_default();
    let known = known(runs, run)?;
    let pairs = known.as_ref().map(|known| runs.pairs(known));
    let pairs = pairs.transpose()?.flatten();
    let mut few = Few::new(runs, run, [known.as_ref(), pairs.as_ref()])?;
    let clean_rates = runs.clean_rates(run)?;
    if clean_rates.as_ref().is_none_or(|rates| !rates.are_there()) {
        few.subjects = None; // there is nothing to lose
    }
    let recall = known.as_ref().map(|known| runs.recall(run, known));
    let recall = run
        .unless_elsewhere(recall.transpose())?
        .flatten()
        .flatten();
    let patched = pairs.as_ref().map(|pairs| runs.patched(run, pairs));
    let patched = run
        .unless_elsewhere(patched.transpose())?
        .flatten()
        .flatten();
    if let Some(Err(_)) = patched {
        few.pairs = None; // nothing changes what it is patched with
    }
    let entropy = runs.entropy(run);
    let entropy = run.unless_elsewhere(entropy)?.flatten();
    let zero_and_mean = runs.zero_and_mean(run, &few.documents);
    let zero_and_mean = run.unless_elsewhere(zero_and_mean)?.flatten();
    let attributes = runs.attribute_rates(run, few.subjects.is_some());
    let attributes = run.unless_elsewhere(attributes)?.flatten();
    let varied = runs.all_varied(run, &few)?;
    let mut rankings = Rankings::new(runs, &few);
    // Shards share the first batches; every later one depends on these.
    let first = rankings.go_on(runs, run, &few);
    run.unless_elsewhere(first)?;
    run.all_here()?;
    while rankings.go_on(runs, run, &few)? {}
    Ok(Results {
        input: runs.input,
        settings: runs.settings,
        sets: runs.sets,
        frequencies,
        few,
        recall,
        patched,
        entropy,
        zero_and_mean,
        varied,
        rankings,
        clean_rates,
        attributes,
    })
}

/// The facts that the clean model knows, where recall is asked for and any is.
fn known(runs: &ClaimRuns<'_>, run: &mut Run<'_>) -> Result<Option<TokenBatch>, ExperimentError> {
    let needs = [Need::Recall, Need::Direct, Need::Patch];
    if !needs.into_iter().any(|need| runs.has(need)) {
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
