//! The reference values that an ablation takes from the clean runs of its own prompts.

use serde::Serialize;

use super::ExperimentError;
use super::groups::tokens_per_pass;
use super::plan::AblationPlan;
use crate::engine::{Engine, Progress};
use crate::hooks::{Condition, DonorRecording, MeanSums, Mode, Needs, choose_donors};
use crate::tokens::TokenBatch;

/// What the values of a mode were taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum CleanReference {
    /// Means over every token of the clean pass of all prompts.
    CleanMeans {
        /// How many prompts.
        prompts: usize,
        /// Their tokens: BOS, prompt, and the target tokens that are fed in.
        tokens: u64,
    },
    /// Each edited prompt takes the values of another edited prompt.
    Donors {
        /// How many prompts.
        prompts: usize,
        /// Of the choice of donors.
        seed: u64,
    },
}

/// A plan's mode with its values.
pub(super) struct ResolvedMode {
    pub mode: Mode,
    pub reference: Option<CleanReference>,
    /// Bytes that the values hold.
    pub bytes: u64,
    /// Passes that were run for them.
    pub passes: usize,
}

/// The mode of a plan with its values: means over the clean pass of `all` units, donors among the `edited` ones.
pub(super) fn resolve(
    engine: &Engine<'_>,
    plan: &AblationPlan,
    (all, edited): (&TokenBatch, &TokenBatch),
    progress: &dyn Progress,
) -> Result<ResolvedMode, ExperimentError> {
    match plan.mode.needs() {
        Needs::Nothing => Ok(ResolvedMode {
            mode: plan.mode.clone(),
            reference: None,
            bytes: 0,
            passes: 0,
        }),
        Needs::CleanMeans => means(engine, plan, all, progress),
        Needs::Donors => resample(engine, plan, edited, progress),
    }
}

/// Takes the means in a clean pass of their own.
fn means(
    engine: &Engine<'_>,
    plan: &AblationPlan,
    all: &TokenBatch,
    progress: &dyn Progress,
) -> Result<ResolvedMode, ExperimentError> {
    let config = engine.config();
    let mut sums = MeanSums::new(plan.neurons(config.n_layers()), config.d_mlp);
    let what = format!("{} stretches, clean, for means", all.sequences().len());
    let passes = run_clean(engine, all, &what, progress, |part| {
        Ok(engine.run(part, &[Condition::Clean], &mut [&mut sums], None, progress)?)
    })?;
    Ok(ResolvedMode {
        mode: plan.mode.clone().with_means(sums.means()),
        reference: Some(CleanReference::CleanMeans {
            prompts: all.sequences().len(),
            tokens: sums.tokens(),
        }),
        bytes: 0,
        passes,
    })
}

/// Runs the clean model on all of a batch, part by part; how many parts there were.
pub(super) fn run_clean<T>(
    engine: &Engine<'_>,
    batch: &TokenBatch,
    what: &str,
    progress: &dyn Progress,
    mut run: impl FnMut(&TokenBatch) -> Result<T, ExperimentError>,
) -> Result<usize, ExperimentError> {
    let parts = batch.split(tokens_per_pass(engine, batch, 1)?)?;
    progress.start(
        what,
        parts.len() as u64 * engine.work_units(&[Condition::Clean]),
    );
    for part in &parts {
        run(part)?;
    }
    Ok(parts.len())
}

/// Chooses donors and records their values in a clean pass of their own.
fn resample(
    engine: &Engine<'_>,
    plan: &AblationPlan,
    edited: &TokenBatch,
    progress: &dyn Progress,
) -> Result<ResolvedMode, ExperimentError> {
    let donor_of = choose_donors(edited, plan.seed)?;
    let config = engine.config();
    let neurons = plan.neurons(config.n_layers());
    let positions = plan.positions;
    let mut recording = DonorRecording::new(edited, &donor_of, positions, neurons, config.d_mlp)?;
    let bytes = recording.bytes();
    let engine = engine.beside(bytes);
    let prompts = edited.sequences().len();
    let what = format!("{prompts} prompts, clean, as donors");
    let passes = run_clean(&engine, edited, &what, progress, |part| {
        let mut recorder = recording.part(part);
        Ok(engine.run(
            part,
            &[Condition::Clean],
            &mut [&mut recorder],
            None,
            progress,
        )?)
    })?;
    Ok(ResolvedMode {
        mode: Mode::Resample(recording.finish()?.into()),
        reference: Some(CleanReference::Donors {
            prompts,
            seed: plan.seed,
        }),
        bytes,
        passes,
    })
}
