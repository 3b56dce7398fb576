//! gatelens asks what the enrichment and depletion neurons of a gated language model do to factual
//! recall. The modules stand in the order in which data passes through them; each imports only
//! those above it.
//!
//! ```text
//! prompts/ -> Prompt -> TokenBatch -> residual streams, neurons, logits -> Outcome -> Estimate -> files
//! weights  -> NeuronTable (cosines, classes) -> neuron sets -> Condition ----^
//! ```

#![warn(missing_docs)]
// cli::terminal alone writes to the standard streams: its macros never panic.
#![deny(clippy::print_stdout, clippy::print_stderr)]

// The order of the data, kept from rustfmt by the blank lines.

pub mod printable;

mod guard;

pub mod hub;

pub mod prompts;

pub mod tokens;

pub mod model;

pub mod hooks;

pub mod engine;

pub mod io_class;

pub mod stats;

pub mod experiment;

pub mod report;

pub mod cli;
