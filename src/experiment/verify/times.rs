//! How long the parts of a run take.

use std::time::{Duration, Instant};

use super::input::VerifyInput;
use super::steps::Step;
use crate::engine::Engine;
use crate::experiment::ExperimentError;
use crate::hooks::Condition;

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
