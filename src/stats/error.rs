//! What can be wrong with the numbers that the statistics are given.

use std::fmt;

/// Whose value it was, in a [`StatsError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// The class itself.
    Class,
    /// The matched random draw of this index, counted from 0.
    Draw(usize),
}

impl fmt::Display for ValueSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class => formatter.write_str("the class"),
            Self::Draw(draw) => write!(formatter, "random draw {draw}"),
        }
    }
}

/// Input from which no statistic can be made.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum StatsError {
    /// There is no prompt to average over.
    #[error(
        "no prompts are left to compare the class with its random draws; at least 1 is needed, and 2 for an \
         interval: use more prompts, or `--subset all` if none is known"
    )]
    NoPrompts,
    /// There is no random draw to compare with.
    #[error(
        "the class has no random draws to be compared with; at least 1 is needed, and 2 for an \
         interval: raise `--draws`"
    )]
    NoDraws,
    /// A draw was measured on another number of prompts than the class.
    #[error(
        "random draw {draw} has values for {found} prompts, the class for {expected}; the comparison is paired, \
         so both must be measured on the same prompts in the same order"
    )]
    PromptCount {
        /// Index of the draw, from 0.
        draw: usize,
        /// Prompts of the class.
        expected: usize,
        /// Prompts of the draw.
        found: usize,
    },
    /// The clusters are of another number of prompts.
    #[error(
        "there are values for {prompts} prompts, and clusters of {clustered}; give each prompt its cluster"
    )]
    ClusterCount {
        /// Prompts of the class.
        prompts: usize,
        /// Prompts that have a cluster.
        clustered: usize,
    },
    /// Two tables of one class have different numbers of draws.
    #[error(
        "the class has {first} random draws in one sample of prompts and {second} in the other; use the same"
    )]
    DrawCount {
        /// Draws of the first.
        first: usize,
        /// Draws of the second.
        second: usize,
    },
    /// A value is NaN or infinite.
    #[error(
        "the value of {source_of_value} at prompt number {prompt} (from 0) is {value}; only finite numbers can be \
         averaged: drop that prompt from every condition, or look for what made the model's output overflow"
    )]
    NotFinite {
        /// Whose value it is.
        source_of_value: ValueSource,
        /// Index of the prompt, from 0.
        prompt: usize,
        /// The value itself.
        value: f64,
    },
    /// The level of an interval is not a share between 0 and 1.
    #[error(
        "an interval's level of {level} is impossible; it must lie strictly between 0 and 1, for example 0.95"
    )]
    Level {
        /// The level that was asked for.
        level: f64,
    },
    /// Too few shuffles to tell anything.
    #[error("{resamples} shuffles cannot tell anything; use at least {minimum}, better 10000")]
    Resamples {
        /// The number that was asked for.
        resamples: usize,
        /// The smallest number that is accepted.
        minimum: usize,
    },
}
