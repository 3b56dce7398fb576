//! What a test of claims will run, before it does.

use super::super::attributes::lens_work;
use super::super::forecast::Step;
use super::super::plan::Treatment;
use super::needs::{ClaimRuns, Need};
use super::sets::{DECIDING, ENRICHMENT};
use super::signs::SIGNS;
use crate::hooks::{Condition, Edit, NeuronSet};
use crate::io_class::Class;

/// About so many tokens have the facts, or the documents, that a rank is on.
const FEW_TOKENS: u64 = 400;

/// Draws that decide where a class is like them.
const USUAL_DRAWS: u64 = 80;

/// What the needs will run, counted before it begins.
pub(super) fn steps(runs: &ClaimRuns<'_>) -> Vec<Step> {
    let windows = runs.input.windows.iter();
    let text: u64 = windows.map(|w| w.sequence.ids.len() as u64).sum();
    let mut steps = Vec::new();
    let mut add = |what: String, work: u64| {
        if work > 0 {
            steps.push(Step {
                what,
                passes: None,
                work,
                bytes: 0,
            });
        }
    };
    if !runs.classes(Need::Frequency).is_empty() {
        let what = format!("gate frequencies on {text} tokens of text");
        add(what, work(runs, text, &[]));
    }
    let on_facts = runs.recall_group().treatments;
    if !on_facts.is_empty() {
        let facts = runs.input.facts;
        let known = format!("the known ones of {} facts", facts.sequences().len());
        let what = format!("{} conditions on {known}", count(&on_facts));
        add(what, work(runs, facts.tokens() as u64, &on_facts));
    }
    let patched = runs.sets.primary_with_draws(DECIDING);
    let pairs = runs.input.counterfactuals;
    if let (true, Some(treatment), Some(pairs)) = (runs.has(Need::Patch), patched, pairs) {
        let treatments = [treatment];
        let what = format!(
            "{} conditions on the known ones of {} facts with a counterfactual",
            count(&treatments),
            pairs.sequences().len()
        );
        add(what, work(runs, pairs.tokens() as u64, &treatments));
    }
    let depletion = runs.sets.get(Class::Depletion);
    if let Some(set) = depletion.filter(|_| runs.has(Need::Entropy)) {
        let depletion = std::slice::from_ref(&set.treatment);
        let what = format!("{} conditions on {text} tokens of text", count(depletion));
        add(what, work(runs, text, depletion));
    }
    if let (true, Some(subjects)) = (runs.has(Need::Attributes), &runs.input.subjects) {
        let treatments = runs.sets.group(&ENRICHMENT).treatments;
        let prompts = subjects.batch.sequences().len();
        let what = format!(
            "attribute rates of the known ones of {prompts} prompts, {} conditions",
            count(&treatments)
        );
        let tokens = subjects.batch.tokens() as u64;
        add(
            what,
            work(runs, subjects.facts.tokens() as u64, &[])
                + work(runs, tokens, &treatments)
                + lens_work(runs.engine, prompts, count(&treatments)),
        );
    }
    let [variants, ranks, most_ranks] = on_few(runs);
    let what = "the same in other ways, on few prompts".to_string();
    add(what, variants);
    let most = runs.settings.most_draws;
    let times = most_ranks.div_ceil(ranks.max(1));
    let what = format!("ranks among up to {most} draws (up to {times} times as long)");
    add(what, ranks);
    steps
}

/// What runs on few prompts: the variants, the ranks with the draws that usually decide, and with all of them.
fn on_few(runs: &ClaimRuns<'_>) -> [u64; 3] {
    let cases = SIGNS.len() as u64;
    let (enrichment, depletion) = (DECIDING, Class::Depletion);
    // Tokens of a condition of each rank, and variants of it.
    let few = [
        (Need::Recall, enrichment, 2 * FEW_TOKENS, 5),
        (Need::Patch, enrichment, FEW_TOKENS, 2),
        (Need::Entropy, depletion, FEW_TOKENS, 2),
        (Need::SignCases, depletion, cases * FEW_TOKENS, 2),
        (Need::Attributes, enrichment, FEW_TOKENS, 4),
    ];
    let (draws, most) = (runs.settings.draws as u64, runs.settings.most_draws as u64);
    let mut found = [0; 3];
    for (_, class, tokens, variants) in few.into_iter().filter(|(need, ..)| runs.has(*need)) {
        let Some(treatment) = runs.sets.primary_with_draws(class) else {
            continue;
        };
        let once = work(runs, tokens, &[treatment]);
        found[0] += variants * once;
        found[1] += once * USUAL_DRAWS.min(most) / draws;
        found[2] += once * most / draws;
    }
    found
}

fn work(runs: &ClaimRuns<'_>, tokens: u64, treatments: &[Treatment]) -> u64 {
    tokens * runs.engine.work_units(&conditions(treatments))
}

/// Clean, and every set of the treatments ablated.
fn conditions(treatments: &[Treatment]) -> Vec<Condition> {
    let sets = treatments
        .iter()
        .flat_map(|t| std::iter::once(&t.neurons).chain(&t.baseline));
    let edited = sets.map(|set: &NeuronSet| Condition::Edited(Edit::zero(set.clone())));
    std::iter::once(Condition::Clean).chain(edited).collect()
}

fn count(treatments: &[Treatment]) -> usize {
    let sets = treatments.iter().map(|t| 1 + t.baseline.len());
    1 + sets.sum::<usize>()
}
