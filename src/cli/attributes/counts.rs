//! How much an attribute run asked and found.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::AboutSubjects;
use crate::cli::table::count;
use crate::cli::treatments::RunInputs;
use crate::experiment::AblationPlan;
use crate::experiment::attributes::{AttributeWords, Attributes};
use crate::hooks::EditCount;
use crate::io_class::Shortfall;
use crate::prompts::SubjectPrompts;
use crate::stats::median;
use crate::tokens::TokenBatch;

/// The counts of `run.json`.
#[derive(Serialize)]
pub struct Counts {
    pub prompts: usize,
    pub subjects: usize,
    /// Prompts that were left out, since their subjects have no text.
    pub prompts_without_text: usize,
    repeated_prompts: Vec<String>,
    subjects_without_prompt: Vec<String>,
    /// Prompts whose subject is their first token.
    subjects_first: usize,
    /// Distinct words of a subject's text.
    pub text_words: Spread,
    conditions: usize,
    edits: EditCount,
    reference: Option<Value>,
    passes: usize,
    pub rates: usize,
    /// Of these, those where nothing was kept.
    pub absent_rates: usize,
    neurons: BTreeMap<String, usize>,
    shortfall: BTreeMap<String, Vec<Shortfall>>,
}

/// The least, the median and the most.
#[derive(Serialize)]
pub struct Spread {
    pub least: usize,
    pub median: f64,
    pub most: usize,
}

impl Spread {
    fn of(sizes: &[usize]) -> Self {
        let values: Vec<f64> = sizes.iter().map(|&size| size as f64).collect();
        Self {
            least: sizes.iter().copied().min().unwrap_or(0),
            median: median(&values).unwrap_or(0.0),
            most: sizes.iter().copied().max().unwrap_or(0),
        }
    }
}

impl Counts {
    /// The counts of a run.
    pub fn new(
        rates: &Attributes,
        plan: &AblationPlan,
        inputs: &RunInputs,
        about: &AboutSubjects,
        words: &AttributeWords,
    ) -> Self {
        let prompts = &about.prompts;
        let texts: BTreeSet<usize> = prompts.texts.iter().copied().collect();
        let sizes = words.text_sizes();
        let sizes: Vec<usize> = texts.iter().map(|&text| sizes[text]).collect();
        let (all, absent_rates) = rates.counts();
        let treatments = || plan.treatments.iter().map(|t| (t.class.clone(), t));
        Self {
            prompts: prompts.texts.len(),
            subjects: texts.len(),
            prompts_without_text: prompts.without_text.len(),
            repeated_prompts: prompts.repeated.clone(),
            subjects_without_prompt: prompts.unused.clone(),
            subjects_first: subjects_first(&inputs.batch),
            text_words: Spread::of(&sizes),
            conditions: plan.len(),
            edits: rates.changed,
            reference: inputs.reference(rates.reference),
            passes: rates.passes,
            rates: all,
            absent_rates,
            neurons: treatments().map(|(c, t)| (c, t.neurons.len())).collect(),
            shortfall: treatments()
                .map(|(c, t)| (c, t.shortfall.clone()))
                .collect(),
        }
    }
}

/// Prompts that hold nothing but one token.
fn subjects_first(batch: &TokenBatch) -> usize {
    let sequences = batch.sequences().iter();
    sequences.filter(|s| s.prompt_len == 1).count()
}

/// Says what will not be run, and what is run and perhaps should not.
pub fn warn_of_prompts(about: &AboutSubjects, inputs: &RunInputs) {
    let SubjectPrompts {
        repeated, unused, ..
    } = &about.prompts;
    if !repeated.is_empty() {
        notice!(
            "warning: {} of the prompts are the same as an earlier one up to the subject, and are left out: {}",
            count(repeated.len()),
            some(repeated)
        );
    }
    if !unused.is_empty() {
        notice!(
            "warning: no prompt asks about {} subjects of {} (--bare needs none): {}",
            count(unused.len()),
            about.subjects.name,
            some(unused)
        );
    }
    let (first, all) = (
        subjects_first(&inputs.batch),
        inputs.batch.sequences().len(),
    );
    if first > 0 {
        notice!(
            "warning: in {} of {} prompts the subject is the first and only token, whose residual is unlike all others \
             in many models; --bos always puts a token before it",
            count(first),
            count(all)
        );
    }
}

/// So many names are printed.
const NAMES: usize = 8;

/// The first few of some names.
fn some(names: &[String]) -> String {
    let shown = names[..names.len().min(NAMES)].join("; ");
    match names.len() {
        n if n > NAMES => format!("{shown} and {} more", count(n - NAMES)),
        _ => shown,
    }
}
