//! The reference values that an ablation takes from the clean runs of its own prompts.

use serde::Serialize;

use super::ExperimentError;
use super::plan::{AblationPlan, PlannedCondition};
use crate::engine::{Engine, Progress};
use crate::hooks::{Condition, DonorRecording, MeanSums, Mode, Needs, Observer, choose_donors};
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

/// A plan's mode on its way to its values: what the clean pass takes for it.
pub(super) struct PendingMode(Option<MeanSums>);

/// A plan's mode with its values.
pub(super) struct ResolvedMode {
    pub mode: Mode,
    pub reference: Option<CleanReference>,
    /// Bytes that the values hold.
    pub bytes: u64,
    /// Passes that were run for them alone.
    pub passes: usize,
}

impl PendingMode {
    pub fn new(engine: &Engine<'_>, plan: &AblationPlan) -> Self {
        let config = engine.config();
        let sums = || MeanSums::new(plan.neurons(config.n_layers()), config.d_mlp);
        Self((plan.mode.needs() == Needs::CleanMeans).then(sums))
    }

    /// What has to watch the clean pass of all prompts.
    pub fn observers(&mut self) -> Vec<&mut dyn Observer> {
        let sums = self.0.iter_mut();
        sums.map(|sums| sums as &mut dyn Observer).collect()
    }

    /// The mode, after the clean pass over `all` prompts and before the edits of `edited` ones.
    pub fn resolve(
        self,
        engine: &Engine<'_>,
        plan: &AblationPlan,
        all: &TokenBatch,
        edited: &TokenBatch,
        progress: &dyn Progress,
    ) -> Result<ResolvedMode, ExperimentError> {
        if plan.mode.needs() == Needs::Donors {
            return resample(engine, plan, edited, progress);
        }
        let (mode, sums) = (plan.mode.clone(), self.0.as_ref());
        Ok(ResolvedMode {
            mode: match sums {
                Some(sums) => mode.with_means(sums.means()),
                None => mode,
            },
            reference: sums.map(|sums| CleanReference::CleanMeans {
                prompts: all.sequences().len(),
                tokens: sums.tokens(),
            }),
            bytes: 0,
            passes: 0,
        })
    }
}

/// A plan's conditions, ready to run on a batch.
pub(super) struct Prepared<'m> {
    pub planned: Vec<PlannedCondition>,
    /// The engine beside the values of the mode.
    pub engine: Engine<'m>,
    pub reference: Option<CleanReference>,
    /// Passes that were run for the values.
    pub passes: usize,
}

/// The plan's conditions with the values of their mode, where they are all run on all of `batch`; `what` names the
/// clean pass, if one is needed.
pub(super) fn prepare<'m>(
    engine: &Engine<'m>,
    plan: &AblationPlan,
    batch: &TokenBatch,
    what: &str,
    progress: &dyn Progress,
) -> Result<Prepared<'m>, ExperimentError> {
    let mut pending = PendingMode::new(engine, plan);
    let mut passes = 0;
    let mut observers = pending.observers();
    if !observers.is_empty() {
        let clean = [Condition::Clean];
        let parts = batch.split(engine.tokens_per_pass(batch, 1)?)?;
        progress.start(what, parts.len() as u64 * engine.work_units(&clean));
        for part in &parts {
            engine.run(part, &clean, &mut observers, None, progress)?;
        }
        passes = parts.len();
    }
    let resolved = pending.resolve(engine, plan, batch, batch, progress)?;
    Ok(Prepared {
        planned: plan.conditions(&resolved.mode),
        engine: engine.beside(resolved.bytes),
        reference: resolved.reference,
        passes: passes + resolved.passes,
    })
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
    let conditions = [Condition::Clean];
    let parts = edited.split(engine.tokens_per_pass(edited, conditions.len())?)?;
    let units = parts.len() as u64 * engine.work_units(&conditions);
    let prompts = edited.sequences().len();
    progress.start(&format!("{prompts} prompts, clean, as donors"), units);
    for part in &parts {
        let mut recorder = recording.part(part);
        engine.run(part, &conditions, &mut [&mut recorder], None, progress)?;
    }
    Ok(ResolvedMode {
        mode: Mode::Resample(recording.finish()?.into()),
        reference: Some(CleanReference::Donors {
            prompts,
            seed: plan.seed,
        }),
        bytes,
        passes: parts.len(),
    })
}
