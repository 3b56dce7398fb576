//! What a test of claims will run, before it does.

use super::super::plan::Treatment;
use super::needs::{ClaimRuns, Need, SIGNS};
use super::sets::ENRICHMENT;
use crate::hooks::{Condition, Edit, NeuronSet};
use crate::io_class::Class;

/// About so many tokens have the facts, or the documents, that a rank is on.
const FEW_TOKENS: u64 = 600;

/// Draws that decide where a class is like them.
const USUAL_DRAWS: u64 = 80;

/// A part of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it does, for a person.
    pub what: String,
    /// Tokens times the engine's units of a pass.
    pub work: u64,
}

/// What the needs will run, counted before it begins; of a bisection as many runs as it may take.
pub(super) fn steps(runs: &ClaimRuns<'_>) -> Vec<Step> {
    let windows = runs.input.windows.iter();
    let text: u64 = windows.map(|w| w.sequence.ids.len() as u64).sum();
    let mut steps = Vec::new();
    let mut add = |what: String, work: u64| {
        if work > 0 {
            steps.push(Step { what, work });
        }
    };
    if !runs.classes(Need::Frequency).is_empty() {
        let what = format!("gate frequencies on {text} tokens of text");
        add(what, work(runs, text, &[]));
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
                + lens_work(runs, prompts, count(&treatments)),
        );
    }
    let on_text = runs.text_group().treatments;
    if !on_text.is_empty() {
        let what = format!("{} conditions on {text} tokens of text", count(&on_text));
        add(what, work(runs, text, &on_text));
    }
    let on_facts = runs.recall_group().treatments;
    if !on_facts.is_empty() {
        let facts = runs.input.facts;
        let known = format!("the known ones of {} facts", facts.sequences().len());
        let what = format!("{} conditions on {known}", count(&on_facts));
        add(what, work(runs, facts.tokens() as u64, &on_facts));
    }
    let (what, usual) = ranks(runs);
    add(what, usual);
    if let (true, Some(set)) = (runs.has(Need::SignCases), runs.sets.get(Class::Depletion)) {
        let once = work(runs, text, std::slice::from_ref(&set.treatment));
        let what = "depletion by sign case, and its mean ablation".to_string();
        add(what, (SIGNS.len() as u64 + 1) * once);
    }
    steps
}

/// The ranks, with the draws that usually decide.
fn ranks(runs: &ClaimRuns<'_>) -> (String, u64) {
    let most = runs.settings.most_draws;
    let cases = SIGNS.len() as u64;
    let (enrichment, depletion) = (Class::ConditionalEnrichment, Class::Depletion);
    let ranked = [
        (Need::Recall, enrichment, 2 * FEW_TOKENS),
        (Need::Attributes, enrichment, FEW_TOKENS),
        (Need::Text(depletion), depletion, FEW_TOKENS),
        (Need::SignCases, depletion, cases * FEW_TOKENS),
    ];
    let asked = ranked.into_iter().filter(|(need, ..)| runs.has(*need));
    let work_of = |(_, class, tokens): (Need, Class, u64)| {
        let treatment = runs.sets.for_rank(runs.sets.primary(class)?)?;
        Some(work(runs, tokens, &[treatment]))
    };
    let at_most: u64 = asked.filter_map(work_of).sum();
    let usual = at_most * USUAL_DRAWS.min(most as u64) / most.max(1) as u64;
    let times = at_most.div_ceil(usual.max(1));
    (
        format!("ranks among up to {most} draws (up to {times} times as long)"),
        usual,
    )
}

fn work(runs: &ClaimRuns<'_>, tokens: u64, treatments: &[Treatment]) -> u64 {
    tokens * runs.engine.work_units(&conditions(treatments))
}

/// Every layer goes through the unembedding, at a row a prompt.
fn lens_work(runs: &ClaimRuns<'_>, prompts: usize, conditions: usize) -> u64 {
    let config = runs.engine.config();
    let (d_model, vocab) = (config.d_model as u64, config.vocab_size as u64);
    let rows = prompts as u64 * 2 * config.n_layers() as u64;
    rows * (vocab * d_model / config.layer_parameters().max(1)) * conditions as u64
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
