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
mod weights;

pub use claim::{About, CLAIMS, Claim, ClaimTest, Direction, Verdict};
pub use judge::LEVEL;
pub use needs::Step;

use std::time::{Duration, Instant};

use super::ExperimentError;
use super::attributes::AttributeInput;
use super::run::Run;
use crate::engine::Engine;
use crate::hooks::Condition;
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

/// Tokens of the pass that times are estimated from.
const CALIBRATION: usize = 256;

/// About how long each step takes on this machine: a clean pass over a few tokens tells.
///
/// # Errors
/// Those of the engine, of too little memory for one token among them.
pub fn expected_times(
    steps: &[Step],
    input: &VerifyInput<'_>,
) -> Result<Vec<Duration>, ExperimentError> {
    let parts = input.facts.split(CALIBRATION)?;
    let engine = Engine::new(input.model);
    let clean = [Condition::Clean];
    engine.tokens_per_pass(&parts[0], 1)?; // too little memory shows before anything runs
    let started = Instant::now();
    engine.run(&parts[0], &clean, &mut [], None, &())?;
    let took = started.elapsed().as_secs_f64();
    let per_unit = took / (parts[0].tokens() as u64 * engine.work_units(&clean)) as f64;
    let times = steps
        .iter()
        .map(|step| Duration::from_secs_f64(step.work as f64 * per_unit));
    Ok(times.collect())
}

/// The classes that the claims are about.
const CLASSES: [Class; 3] = [
    Class::Enrichment,
    Class::ConditionalEnrichment,
    Class::Depletion,
];
