//! The paper's causal claims as tests (PAPER 4): runs that several claims share are made once, every claim gets its
//! estimate against layer-matched draws, and one rule gives the verdicts, which can come out negative.

mod against;
mod claim;
mod damage;
mod depletion;
mod frequency;
mod judge;
mod needs;
mod recall;
mod sets;
mod subjects;
mod times;
mod weights;

pub use claim::{About, CLAIMS, Claim, ClaimTest, Direction, Verdict};
pub use judge::LEVEL;
pub use needs::Step;
pub use times::expected_times;

use super::ExperimentError;
use super::attributes::AttributeInput;
use super::run::Run;
use crate::engine::Engine;
use crate::io_class::{Class, NeuronTable};
use crate::model::Model;
use crate::prompts::Documents;
use crate::stats::BootstrapSettings;
use crate::tokens::{TokenBatch, Window};
use needs::Needs;
use sets::Sets;

/// What the claims are tested on.
pub struct VerifyInput<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its neurons with their classes.
    pub table: &'a NeuronTable,
    /// Factual prompts.
    pub facts: &'a TokenBatch,
    /// Neutral text.
    pub documents: &'a Documents,
    /// The stretches of it that are read; `prompt` of each is its index here.
    pub windows: &'a [Window],
    /// Prompts up to their subjects, with texts about these; absent where no prompt's subject has a text.
    pub subjects: Option<AttributeInput<'a>>,
}

/// How they are tested.
#[derive(Clone, Debug)]
pub struct VerifySettings {
    /// Which claims, in the order of [`CLAIMS`].
    pub claims: Vec<&'static Claim>,
    /// Random sets per class.
    pub draws: usize,
    /// Seed and level of draws and intervals.
    pub bootstrap: BootstrapSettings,
}

/// Tests the claims.
///
/// # Errors
/// Those of the engine, of [`Run::measure`] and of the statistics; what a model lacks is a verdict, not an error.
pub fn verify(
    run: &mut Run<'_>,
    input: &VerifyInput<'_>,
    settings: &VerifySettings,
) -> Result<Vec<ClaimTest>, ExperimentError> {
    let sets = Sets::new(input.table, &CLASSES, settings)?;
    let engine = Engine::new(input.model);
    let needs = Needs {
        engine: &engine,
        input,
        settings,
        sets: &sets,
    };
    let results = needs.run(run)?;
    let mut findings = Vec::new();
    for claim in &settings.claims {
        let found = (claim.judge)(&results)?;
        findings.extend(found.into_iter().map(|finding| (*claim, finding)));
    }
    Ok(judge::judge(findings))
}

/// The parts of a run, counted before it begins.
///
/// # Errors
/// Those of the matched draws.
pub fn plan_steps(
    input: &VerifyInput<'_>,
    settings: &VerifySettings,
) -> Result<Vec<Step>, ExperimentError> {
    let needs = Needs {
        engine: &Engine::new(input.model),
        input,
        settings,
        sets: &Sets::new(input.table, &CLASSES, settings)?,
    };
    Ok(needs.steps())
}

/// The classes that the claims are about.
const CLASSES: [Class; 3] = [
    Class::Enrichment,
    Class::ConditionalEnrichment,
    Class::Depletion,
];
