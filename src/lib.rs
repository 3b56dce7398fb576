//! gatelens asks what the enrichment and depletion neurons of a gated language model (SwiGLU, GeGLU) do to factual
//! recall: it runs the model with hooks inside its MLPs, sorts every MLP neuron into an input-output class by the
//! cosines between its weights, changes what a class does, and measures what that costs against random neurons of
//! the same layers. It follows Gerstner and Schütze, [arXiv 2505.17936](https://arxiv.org/abs/2505.17936).
//!
//! # A first look
//!
//! One fact, one neuron: what it does, and what its zero ablation costs.
//!
//! ```
//! use gatelens::{Condition, Edit, LanguageModel, Neuron, NeuronSet, Prompt, PromptSet, Recorder, Scorer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let lm = LanguageModel::open("tests/goldens/tiny-llama")?; // or an alias, org/name, a GGUF file
//! let fact = Prompt::new("fr", "Paris lies in", "Paris", "France").ok_or("no such subject")?;
//! let batch = lm.encode(&PromptSet::new("facts", [fact])?)?;
//!
//! let neuron = NeuronSet::new(lm.config(), [Neuron::new(1, 7)])?;
//! let conditions = [Condition::Clean, Edit::zero(neuron).into()];
//! let post = "blocks.1.mlp.hook_post".parse()?;
//! let (mut seen, mut scores) = (Recorder::new([post]), Scorer::new(&batch, conditions.len())?);
//! lm.run(&batch, &conditions, &mut [&mut seen], Some(&mut scores))?;
//!
//! let (d_mlp, scores) = (lm.config().d_mlp, scores.by_prompt()); // a batch has its prompts by length
//! let of_neuron: Vec<f32> = seen.rows(post, 0)?.iter().skip(7).step_by(d_mlp).copied().collect();
//! println!("post at each token: {of_neuron:?}");
//! println!("nats: {} clean, {} without", scores[0][&0].target_logprob, scores[1][&0].target_logprob);
//! # assert_ne!(scores[0][&0], scores[1][&0]);
//! # Ok(())
//! # }
//! ```
//!
//! An [`Edit`] says which neurons, what becomes of them ([`Mode`]), [`at`](Edit::at) which tokens and
//! [`when`](Edit::when); an [`Observer`] reads [sites](Site), which have TransformerLens's names; a [`Readout`] reads
//! logits, and is how a measure of one's own is made. Both may fail, and stop the run. An edit that changes no value is
//! an error. Whole experiments are in [`experiment`]: [`ablate`](experiment::ablate) takes classes of neurons with
//! their [random sets](io_class::matched_draws), and its [`effects`](experiment::Ablation::effects) have intervals and tests.
//! `examples/` in the repository has a program for each: `log_neuron`, `ablate_list`, `own_measure`.
//!
//! # The map
//!
//! The modules stand in the order in which data passes through them; each imports only those above it.
//!
//! ```text
//! prompts/ -> Prompt -> TokenBatch -> residual streams, neurons, logits -> Outcome -> Estimate -> files
//! weights  -> NeuronTable (cosines, classes) -> neuron sets -> Condition ----^
//! ```
//!
//! | module | |
//! |---|---|
//! | [`hub`] | a model's name -> files on disk |
//! | [`prompts`] | facts, texts, subjects: read and checked |
//! | [`tokens`] | prompts -> [`TokenBatch`]: ids, subject span, target ids |
//! | [`model`] | what a gated decoder is: configuration, families, weights, layers |
//! | [`hooks`] | sites, observers (read), edits (write) |
//! | [`engine`] | runs a model over a batch under many conditions, layer by layer |
//! | [`io_class`] | cosines, classes, neuron sets, matched random sets |
//! | [`stats`] | intervals, contrasts, tests |
//! | [`experiment`] | ablations, sweeps, rankings, recordings: from a plan to estimates |
//! | [`report`] | tables, JSON, plots, one HTML page |
//!
//! # How exact it is
//!
//! Everything is computed in f32 unless [`LoadOptions`] says otherwise; sums over the vocabulary and over tokens run in
//! f64. A batch gives the numbers of one prompt at a time, and layers that are read as the run reaches them those of
//! layers in memory, to the last bit. Log-probabilities of random checkpoints of all families are within 2e-4 of
//! transformers', those of four real models within 2e-3; docs/exactness.md says what was found.
//!
//! # Features
//!
//! `cuda` and `metal` turn on candle's devices; without them everything runs on the CPU. [`candle`] is the version of candle
//! whose `Device`, `DType` and `Tensor` this library takes and gives.

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

mod open;

pub mod io_class;

pub mod stats;

pub mod experiment;

pub mod report;

mod cli;

/// The tensor library, in the version whose types stand in this one's functions.
pub use candle_core as candle;
// What the binary and the benchmarks need of the command line.
#[doc(hidden)]
pub use cli::{run as run_cli, set_up_process};
pub use engine::{Engine, EngineError, LogitBlock, Progress, Readout, check_edits};
pub use experiment::{Score, Scorer};
pub use hooks::{
    Condition, Edit, EditCount, HookPoint, Mode, Neuron, NeuronSet, Observer, ReadError, Recorder,
    SignCase, Site, SiteRows,
};
pub use model::{Config, LoadOptions, Model};
pub use open::{LanguageModel, OpenError};
pub use prompts::{Prompt, PromptSet};
pub use tokens::{Positions, TokenBatch, Tokenizer};
