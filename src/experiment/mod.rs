//! Experiments: from a plan to outcomes per prompt and condition, and from those to estimates.
//!
//! [`ablate`] is the whole way of one experiment. It knows nothing of files: prompts come in as a
//! batch, outcomes and effects go out as plain records, which `report` writes. [`record`] changes nothing
//! and sums up what the neurons do.

mod ablate;
mod effects;
mod outcome;
mod plan;
pub mod record;
mod score;

pub use ablate::{Ablation, KnownByRelation, ablate, known_by_relation};
pub use effects::{ArmMeans, Effect, Metric, effects};
pub use outcome::{Arm, Outcome, PromptSubset};
pub use plan::{AblationPlan, Treatment};
pub use score::{Score, Scorer};

use crate::engine::EngineError;
use crate::io_class::ClassError;
use crate::stats::StatsError;
use crate::tokens::TokenError;

/// What can go wrong in an experiment.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// The clean model answers none of the prompts.
    #[error(
        "the model knows none of the {prompts} prompts (top-1 of the first target token), so there is no \
         recall to lose; use --subset all, other prompts, or check --bos"
    )]
    NothingKnown {
        /// How many prompts were run.
        prompts: usize,
    },
    /// A class or a baseline.
    #[error(transparent)]
    Class(#[from] ClassError),
    /// The run itself.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The batch.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The estimates.
    #[error(transparent)]
    Stats(#[from] StatsError),
    /// Something that read the activations could not go on.
    #[error(transparent)]
    Reader(record::ReadError),
    /// A saved state that belongs to another recording.
    #[error(
        "the saved state is not that of this recording; begin anew with --force and without --resume"
    )]
    OtherState,
}
