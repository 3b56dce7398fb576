//! What a run of verify will do, counted before it begins.

use super::super::plan::Treatment;
use super::against::ENRICHMENT;
use super::damage::STEPS;
use super::sets::Sets;
use super::{CLASSES, ClaimId, VerifyInput, VerifySettings, subjects};
use crate::engine::Engine;
use crate::hooks::{Condition, Edit, Mode, NeuronSet, SignCase, SignConvention};
use crate::io_class::{Class, ClassError};
use crate::tokens::Positions;

/// A part of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it does, for a person.
    pub what: String,
    /// Tokens times the engine's units of a pass.
    pub work: u64,
}

/// The classes that are ablated on the text for the claims that are asked for.
pub(super) fn text_classes(settings: &VerifySettings) -> Vec<Class> {
    use ClaimId::{DepletionEntropy, DepletionSign, EnrichmentRecall, SpecificRecall};
    let asked = |claims: &[ClaimId]| claims.iter().any(|claim| settings.claims.contains(claim));
    let mut classes = Vec::new();
    if asked(&[EnrichmentRecall, SpecificRecall]) {
        classes.extend(ENRICHMENT);
    }
    if asked(&[DepletionEntropy, DepletionSign]) {
        classes.push(Class::Depletion);
    }
    classes
}

/// The parts of a run; for a bisection as many runs as it may take.
///
/// # Errors
/// Those of the matched draws.
pub fn plan_steps(
    input: &VerifyInput<'_>,
    settings: &VerifySettings,
) -> Result<Vec<Step>, ClassError> {
    use ClaimId::{
        DepletionSign, EnrichmentAttributes, EnrichmentRecall, FrequencyDepletion,
        FrequencyEnrichment, SpecificRecall,
    };
    let asked = |claims: &[ClaimId]| claims.iter().any(|claim| settings.claims.contains(claim));
    let sets = Sets::new(input.table, &CLASSES, settings)?;
    let engine = Engine::new(input.model);
    let text: u64 = input
        .windows
        .iter()
        .map(|w| w.sequence.ids.len() as u64)
        .sum();
    let facts = input.facts.tokens() as u64;
    let work =
        |tokens: u64, treatments: &[Treatment]| tokens * engine.work_units(&conditions(treatments));
    let mut steps = Vec::new();
    let mut add = |what: String, work: u64| {
        if work > 0 {
            steps.push(Step { what, work });
        }
    };
    if asked(&[FrequencyDepletion, FrequencyEnrichment]) {
        add(
            format!("gate frequencies on {text} tokens of text"),
            work(text, &[]),
        );
    }
    if let (true, Some(subjects)) = (asked(&[EnrichmentAttributes]), &input.subjects) {
        let treatments = subjects::treatments(&sets);
        let (prompts, tokens) = (
            subjects.batch.sequences().len(),
            subjects.batch.tokens() as u64,
        );
        // Every layer goes through the unembedding, at a row a prompt.
        let (d_model, vocab) = (
            engine.config().d_model as u64,
            engine.config().vocab_size as u64,
        );
        let per_layer = engine.config().layer_parameters();
        let rows = prompts as u64 * 2 * engine.config().n_layers() as u64;
        let lens = rows * (vocab * d_model / per_layer.max(1)) * count(&treatments) as u64;
        let what = format!(
            "attribute rates of {prompts} prompts, {} conditions",
            count(&treatments)
        );
        add(what, work(tokens, &treatments) + lens);
    }
    let treatments = sets.treatments(&text_classes(settings));
    if !treatments.is_empty() {
        let what = format!("{} conditions on {text} tokens of text", count(&treatments));
        add(what, work(text, &treatments));
    }
    let enrichment = sets.treatments(&ENRICHMENT);
    if asked(&[EnrichmentRecall, SpecificRecall]) && !enrichment.is_empty() {
        let what = format!(
            "{} conditions on the known ones of {} facts",
            count(&enrichment),
            input.facts.sequences().len()
        );
        add(what, work(facts, &enrichment));
    }
    if asked(&[EnrichmentRecall]) {
        let alone = |t: &Treatment| Treatment {
            baseline: Vec::new(),
            ..t.clone()
        };
        let alone: Vec<Treatment> = enrichment.iter().map(alone).collect();
        let runs = (STEPS * alone.len()) as u64;
        let each: u64 = alone
            .iter()
            .map(|t| work(text, std::slice::from_ref(t)))
            .sum();
        add(
            format!("up to {runs} runs for equal damage"),
            STEPS as u64 * each,
        );
    }
    if let (true, Some(set)) = (asked(&[DepletionSign]), sets.get(Class::Depletion)) {
        let once = work(text, std::slice::from_ref(&set.treatment));
        add(
            "depletion by sign case, and its mean ablation".to_string(),
            5 * once,
        );
    }
    Ok(steps)
}

/// Clean, and every set of the treatments ablated.
fn conditions(treatments: &[Treatment]) -> Vec<Condition> {
    let sets = treatments
        .iter()
        .flat_map(|t| std::iter::once(&t.neurons).chain(&t.baseline));
    let edited = sets.map(|set: &NeuronSet| {
        Condition::Edited(Edit {
            label: String::new(),
            neurons: set.clone(),
            mode: Mode::Zero,
            positions: Positions::All,
            when: SignCase::default(),
            signs: SignConvention::Raw,
        })
    });
    std::iter::once(Condition::Clean).chain(edited).collect()
}

fn count(treatments: &[Treatment]) -> usize {
    1 + treatments
        .iter()
        .map(|t| 1 + t.baseline.len())
        .sum::<usize>()
}
