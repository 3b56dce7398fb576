//! What can go wrong while a model runs.

use super::precision::Precision;
use crate::hooks::{EditCount, HookError, ReadError, ReferenceError};
use crate::model::ModelError;
use crate::tokens::TokenError;

/// What can go wrong while a model runs.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// An edit that left every value as it was: its result would be a false null result.
    #[error(
        "the edit `{label}` changed no value ({} values were in its neurons, positions and sign case{}); \
         a result of it would say nothing: check the neurons, --positions and --when",
        count.touched,
        without_value(count)
    )]
    NullEdit {
        /// The edit's label.
        label: String,
        /// What it reached.
        count: EditCount,
    },
    /// A backward pass in another precision than f32.
    #[error("gradients are computed in f32 alone; use --dtype f32")]
    GradientPrecision,
    /// A backward pass under an edit that makes its values of the run's own.
    #[error(
        "the edit `{label}` makes its values of what the run gives, and a gradient goes around given values alone"
    )]
    GradientEdit {
        /// The edit's label.
        label: String,
    },
    /// Reference values that an edit cannot work with.
    #[error("the edit `{label}`: {source}")]
    Reference {
        /// The edit's label.
        label: String,
        /// Why not.
        source: ReferenceError,
    },
    /// A prompt with more tokens than the model was made for.
    #[error(
        "the longest prompt has {tokens} tokens, the model was made for at most {max}; shorten or remove it"
    )]
    TooLong {
        /// Its length.
        tokens: usize,
        /// The model's limit.
        max: usize,
    },
    /// A neuron set made for a model of another shape.
    #[error(
        "the edit `{label}` is for a model of {found}, this one has {expected}; make the set from this model"
    )]
    OtherModel {
        /// The edit's label.
        label: String,
        /// What the neuron set asks for.
        found: String,
        /// What the model has.
        expected: String,
    },
    /// A token id that the model has no embedding for.
    #[error(
        "token id {id} is beyond the model's vocabulary of {vocab_size}: the tokenizer belongs to another model"
    )]
    Vocabulary {
        /// The id.
        id: u32,
        /// Entries of the embedding.
        vocab_size: usize,
    },
    /// The run was asked to end ([`Progress::stop_requested`](super::Progress::stop_requested)).
    #[error("stopped before anything was finished")]
    Stopped,
    /// A number that is infinite or not a number, or too large for a norm.
    #[error(
        "{place} is not a finite number{}: {}",
        edit.as_ref().map_or(String::new(), |label| format!(" under the edit `{label}`")),
        dtype.advice()
    )]
    NotFinite {
        /// What it is, with its layer and neuron where these are known.
        place: String,
        /// The edit under which it came up.
        edit: Option<String>,
        /// What activations are kept in.
        dtype: Precision,
    },
    /// Tokens that do not make a batch.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Not even one prompt fits the memory.
    #[error(
        "a prompt of {tokens} tokens under {conditions} conditions needs {needed_mib} MiB in all: \
         set --max-memory to at least that, shorten the prompt, or run fewer conditions at once (--classes, --draws)"
    )]
    Memory {
        /// The prompt's length.
        tokens: usize,
        /// How many conditions.
        conditions: usize,
        /// What all of the run would take, MiB.
        needed_mib: u64,
    },
    /// Not even the gradient of one prompt fits the memory.
    #[error(
        "the gradient of {tokens} tokens in one piece needs {needed_mib} MiB in all: set --max-memory to at least that, \
         or read shorter prompts or stretches of text (--context)"
    )]
    GradientMemory {
        /// The length of the prompt or stretch.
        tokens: usize,
        /// What all of the run would take, MiB.
        needed_mib: u64,
    },
    /// A readout that was made for another batch.
    #[error(
        "the readout asks for row {row} of a batch of {rows} tokens: it was made for another one"
    )]
    NoRow {
        /// The row.
        row: usize,
        /// Rows of the batch.
        rows: usize,
    },
    /// Values of another number than the model makes of them.
    #[error("{what} should be {expected} values and are {found}")]
    Length {
        /// Which values.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A site that the model does not have.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// Something that read sites or logits could not go on.
    #[error(transparent)]
    Reader(ReadError),
    /// The model's files.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tensor library.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// Why values stayed as they were, where it was not for their neurons, positions and sign case.
fn without_value(count: &EditCount) -> String {
    match count.no_sign + count.no_reference {
        0 => String::new(),
        stayed => format!(", {stayed} of them without a value in the reference"),
    }
}
