//! What can be wrong with the values that an edit takes from a reference.

use super::neurons::Neuron;
use crate::tokens::Positions;

/// Reference values that do not fit the edit, the model or the batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// An edit before its values were taken.
    #[error(
        "mode {mode} has no values yet: take them in a clean run of the prompts, or from a recording"
    )]
    NotTaken {
        /// The mode's name.
        mode: String,
    },
    /// Values of a model of another shape.
    #[error(
        "its {what} are of a model of {} layers with {} neurons, this one has {} with {}",
        found.0, found.1, expected.0, expected.1
    )]
    OtherModel {
        /// Means, donors or signs.
        what: &'static str,
        /// Layers and neurons a layer of the reference.
        found: (usize, usize),
        /// Those of the model.
        expected: (usize, usize),
    },
    /// Resampling among fewer than two prompts.
    #[error(
        "resampling needs at least two edited prompts, so that each can take the values of another; \
         use more prompts or --subset all"
    )]
    NoOtherPrompt,
    /// A neuron whose values were not recorded.
    #[error("no values of neuron {neuron} were recorded on the donors")]
    NoDonorNeuron {
        /// The neuron.
        neuron: Neuron,
    },
    /// A prompt that has no donor, or is not the one that its donor was chosen for.
    #[error("prompt {prompt} has no donor: the donors were chosen for other prompts")]
    NoDonor {
        /// Its index in the prompt set.
        prompt: usize,
    },
    /// An edit at positions for which no values were recorded.
    #[error("the donors' values were recorded for other positions than {positions}")]
    DonorPositions {
        /// The edit's.
        positions: Positions,
    },
    /// A recording that ended too early.
    #[error(
        "{missing} rows of the donors' values were never recorded; run every part of the batch"
    )]
    Incomplete {
        /// Rows, counted in every layer.
        missing: usize,
    },
}
