//! The reference values that an ablation takes from the clean runs of its own prompts.

use std::collections::BTreeMap;

use serde::Serialize;

use super::ExperimentError;
use super::corruption::PatchDirection;
use super::forecast::Step;
use super::groups::tokens_per_pass;
use super::plan::AblationPlan;
use crate::engine::{Engine, Progress};
use crate::hooks::{
    Condition, DonorRecording, Donors, MeanSums, Mode, Needs, Reference, choose_donors,
};
use crate::tokens::TokenBatch;

/// What the values of a mode were taken from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
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
    /// Each edited prompt takes the values of its counterfactual, or the counterfactual those of its fact.
    Counterfactuals {
        /// How many pairs.
        prompts: usize,
        /// Which of the two takes them.
        direction: PatchDirection,
    },
    /// Each fact with noise on its subject's embeddings takes the values of the fact without, or the other way round.
    Noise {
        /// How many facts.
        prompts: usize,
        /// How many noises each fact has.
        seeds: usize,
        /// The noise's standard deviation over that of the embeddings.
        scale: f64,
        /// Over all numbers in the embeddings of the facts' subjects, as the first layer sees them.
        embedding_sd: f64,
        /// Of the noise, in the same unit: `scale` times `embedding_sd`.
        noise_sd: f64,
        /// Which of the two takes them.
        direction: PatchDirection,
    },
}

/// What the edited units are patched from.
pub(super) struct Paired {
    donors: TokenBatch,
    /// The donor of each edited unit.
    donor_of: BTreeMap<usize, usize>,
    reference: CleanReference,
}

impl Paired {
    /// `donor_of` finds it by a unit's number.
    pub fn of(
        edited: &TokenBatch,
        donors: TokenBatch,
        donor_of: impl Fn(usize) -> usize,
        reference: CleanReference,
    ) -> Self {
        let units = edited.sequences().iter().map(|sequence| sequence.prompt);
        Self {
            donors,
            donor_of: units.map(|unit| (unit, donor_of(unit))).collect(),
            reference,
        }
    }
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

/// The units of a run that a mode may take values from.
#[derive(Clone, Copy)]
pub(super) struct Units<'a> {
    /// All of them.
    pub all: &'a TokenBatch,
    /// Those that are edited.
    pub edited: &'a TokenBatch,
    /// What these are patched from.
    pub paired: Option<&'a Paired>,
}

impl<'a> Units<'a> {
    /// Without pairs.
    pub fn new(all: &'a TokenBatch, edited: &'a TokenBatch) -> Self {
        Self {
            all,
            edited,
            paired: None,
        }
    }
}

/// The mode of a plan with its values: means over the clean pass of all units, donors among the edited ones.
pub(super) fn resolve(
    engine: &Engine<'_>,
    plan: &AblationPlan,
    units: Units<'_>,
    progress: &dyn Progress,
) -> Result<ResolvedMode, ExperimentError> {
    match plan.mode.needs() {
        Needs::Nothing => Ok(ResolvedMode {
            mode: plan.mode.clone(),
            reference: None,
            bytes: 0,
            passes: 0,
        }),
        Needs::CleanMeans => means(engine, plan, units.all, progress),
        Needs::Donors => resample(engine, plan, units.edited, progress),
        Needs::Counterfactuals => patch(engine, plan, units, progress),
    }
}

/// What it takes to find them.
pub(super) fn reference_step(
    engine: &Engine<'_>,
    plan: &AblationPlan,
    units: Units<'_>,
) -> Result<Option<Step>, ExperimentError> {
    let (batch, what) = match plan.mode.needs() {
        Needs::Nothing => return Ok(None),
        Needs::CleanMeans => (units.all, for_means(units.all)),
        Needs::Donors => (units.edited, as_donors(units.edited)),
        Needs::Counterfactuals => {
            let paired = units.paired.ok_or(ExperimentError::NoPairs)?;
            (&paired.donors, as_donors(&paired.donors))
        }
    };
    Step::clean(engine, batch, what).map(Some)
}

fn for_means(batch: &TokenBatch) -> String {
    format!("{} stretches, clean, for means", batch.sequences().len())
}

fn as_donors(batch: &TokenBatch) -> String {
    format!("{} prompts, clean, as donors", batch.sequences().len())
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
    let passes = run_clean(engine, all, &for_means(all), progress, |part| {
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
    let recording = DonorRecording::new(edited, &donor_of, positions, neurons, config.d_mlp)?;
    let given = give(engine, edited, recording, progress)?;
    Ok(ResolvedMode {
        mode: Mode::Resample(given.donors),
        reference: Some(CleanReference::Donors {
            prompts: edited.sequences().len(),
            seed: plan.seed,
        }),
        bytes: given.bytes,
        passes: given.passes,
    })
}

/// Records the values of the other of each pair in a pass of their own, without edits.
fn patch(
    engine: &Engine<'_>,
    plan: &AblationPlan,
    units: Units<'_>,
    progress: &dyn Progress,
) -> Result<ResolvedMode, ExperimentError> {
    let paired = units.paired.ok_or(ExperimentError::NoPairs)?;
    let config = engine.config();
    let neurons = plan.neurons(config.n_layers());
    let (edited, positions) = (units.edited, plan.positions);
    let donors = (&paired.donors, &paired.donor_of);
    let recording = DonorRecording::of_pairs(edited, donors, positions, neurons, config.d_mlp)?;
    let given = give(engine, &paired.donors, recording, progress)?;
    Ok(ResolvedMode {
        mode: Mode::Patch(given.donors),
        reference: Some(paired.reference),
        bytes: given.bytes,
        passes: given.passes,
    })
}

/// Donors with their values.
struct Given {
    donors: Reference<Donors>,
    bytes: u64,
    passes: usize,
}

/// Runs the donors, clean.
fn give(
    engine: &Engine<'_>,
    donors: &TokenBatch,
    mut recording: DonorRecording,
    progress: &dyn Progress,
) -> Result<Given, ExperimentError> {
    let bytes = recording.bytes();
    let engine = engine.beside(bytes);
    let clean = [Condition::Clean];
    let passes = run_clean(&engine, donors, &as_donors(donors), progress, |part| {
        let mut recorder = recording.part(part);
        Ok(engine.run(part, &clean, &mut [&mut recorder], None, progress)?)
    })?;
    Ok(Given {
        donors: recording.finish()?.into(),
        bytes,
        passes,
    })
}
