//! What can go wrong in an experiment.

use std::ops::Range;

use super::part::StoreError;
use crate::engine::EngineError;
use crate::hooks::{NeuronError, ReferenceError};
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
    /// Something without a target was to be scored.
    #[error(
        "prompt {prompt} (from 0) has no target that could be scored, as a text has none; score prompts \
         (LanguageModel::encode), or read texts with ablate_text or a Readout of your own"
    )]
    NoTarget {
        /// Its number, from 0.
        prompt: usize,
    },
    /// Values are to be patched from counterfactuals, and there are none.
    #[error(
        "no fact that would be edited has a counterfactual to be patched from: give one in the field `counterfactual`, or a \
         `relation`, of which another fact has the same words around its subject and another answer"
    )]
    NoPairs,
    /// Noise is to be on the subjects of facts, and none has one.
    #[error(
        "no fact that would be edited has a subject whose embeddings could get noise: name it in the field `subject`"
    )]
    NoSubjects,
    /// The embeddings of the subjects' tokens are all the same number, and noise is measured by how they vary.
    #[error(
        "the embeddings of the subjects' tokens do not vary, so that they have no standard deviation to measure noise by; use \
         --corruption counterfactual"
    )]
    NoSpread,
    /// Fewer known prompts than a ranking needs.
    #[error(
        "the model knows {known} of the {prompts} prompts (top-1 of the first target token), and {needed} are needed \
         to rank neurons on{}; use more prompts, or check --bos",
        if *needed > 2 { " one half and measure on the other (--same-prompts needs 2)" } else { "" }
    )]
    FewKnown {
        /// Prompts that the model knows.
        known: usize,
        /// How many were run.
        prompts: usize,
        /// How many must be known.
        needed: usize,
    },
    /// A text without two tokens in a row.
    #[error("no text has two tokens, so there is nothing to predict; give a longer one")]
    NoTokens,
    /// A prompt without a text about its subject.
    #[error(
        "prompt {prompt} has no text about its subject; give one text for each prompt of the batch"
    )]
    NoText {
        /// Index of the prompt in its set.
        prompt: usize,
    },
    /// A residual that gives the tokens no order.
    #[error(
        "the residual after layer {layer} at the subject of prompt {prompt} points at {found} of {wanted} tokens, the other \
         scores are not numbers; run it in f32 (--dtype f32), or with a milder --mode"
    )]
    NoOrder {
        /// The layer.
        layer: usize,
        /// Index of the prompt in its set.
        prompt: usize,
        /// Tokens with a score.
        found: usize,
        /// Tokens asked for.
        wanted: usize,
    },
    /// A window of layers that is wider than the layers there are.
    #[error(
        "a window of {width} layers has no room in layers {}..{}; make --window smaller or --layers larger",
        layers.start, layers.end
    )]
    WideWindow {
        /// Layers of the window.
        width: usize,
        /// The layers to choose from.
        layers: Range<usize>,
    },
    /// A neuron that the model does not have.
    #[error(transparent)]
    Neuron(#[from] NeuronError),
    /// A class or a baseline.
    #[error(transparent)]
    Class(#[from] ClassError),
    /// The values of a mode.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The run itself.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The batch.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The estimates.
    #[error(transparent)]
    Stats(#[from] StatsError),
    /// The run was stopped between two passes.
    #[error("stopped after {done} of {of} passes")]
    StoppedAfter {
        /// Passes that are through.
        done: usize,
        /// All passes.
        of: usize,
    },
    /// What a pass gave could not be kept, or what was kept not read.
    #[error(transparent)]
    Store(StoreError),
    /// The passes that other processes run are needed to go on.
    #[error("{missing} passes are those of other shards; join the shards with gatelens merge")]
    OtherShards {
        /// How many.
        missing: usize,
    },
    /// Parts that belong to another run.
    #[error("what was kept is not of this run; begin anew with --force and without --resume")]
    OtherRun,
}
