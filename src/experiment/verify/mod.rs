//! The paper's causal claims (Gerstner and Schütze, arXiv 2505.17936) as tests: runs that several claims share are made once, every claim gets its
//! estimate against layer-matched draws, and one rule gives the verdicts, which can come out negative.

mod against;
mod claim;
mod depletion;
mod few;
mod finding;
mod frequency;
mod indirect;
mod input;
mod judge;
mod needs;
mod numbers;
mod patch;
mod patched;
mod ranked;
mod rankings;
mod rates;
mod recall;
mod results;
mod sets;
mod signs;
mod steps;
mod subjects;
mod tokens;
mod variants;
mod verdict;
mod weights;

pub use claim::{About, CLAIMS, Claim};
pub use finding::{Direction, LEVEL};
pub use input::{VerifyInput, VerifySettings};
pub use judge::ClaimTest;
pub use verdict::Verdict;

use super::ExperimentError;
use super::forecast::Step;
use super::plan::Treatment;
use super::run::Run;
use crate::engine::Engine;
use needs::ClaimRuns;
use sets::Sets;

/// The claims, tested.
#[derive(Debug)]
pub struct Verified {
    /// Their tests, claim by claim.
    pub claims: Vec<ClaimTest>,
    /// The classes that they are about, with the random sets that were made of each.
    pub treatments: Vec<Treatment>,
}

/// Tests the claims.
///
/// # Errors
/// Those of the engine, of [`Run::measure`] and of the statistics; what a model lacks is a verdict, not an error.
pub fn verify(
    run: &mut Run<'_>,
    input: &VerifyInput<'_>,
    settings: &VerifySettings,
) -> Result<Verified, ExperimentError> {
    let sets = Sets::new(input.table, settings)?;
    let engine = Engine::new(input.model);
    let runs = ClaimRuns {
        engine: &engine,
        input,
        settings,
        sets: &sets,
    };
    let results = results::gather(&runs, run)?;
    let mut findings = Vec::new();
    for claim in &settings.claims {
        let found = (claim.judge)(&results)?;
        findings.extend(found.into_iter().map(|finding| (*claim, finding)));
    }
    Ok(Verified {
        claims: judge::judge(findings),
        treatments: results.treatments(),
    })
}

/// The parts of a run, counted before it begins.
///
/// # Errors
/// Those of the matched draws.
pub fn plan_steps(
    input: &VerifyInput<'_>,
    settings: &VerifySettings,
) -> Result<Vec<Step>, ExperimentError> {
    let runs = ClaimRuns {
        engine: &Engine::new(input.model),
        input,
        settings,
        sets: &Sets::new(input.table, settings)?,
    };
    Ok(steps::steps(&runs))
}
