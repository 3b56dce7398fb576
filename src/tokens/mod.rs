//! Prompts -> [`TokenBatch`]: ids, offsets, subject spans, target ids.
//!
//! A [`Tokenizer`] comes from `tokenizer.json` or from the metadata of a GGUF file; [`tokenize`] turns a
//! prompt set into a batch, packed without padding, that the engine reads row by row. What a row is
//! (BOS, prompt, target; inside the subject or not) is decided here and nowhere else.
//!
//! The stage stops at ids: it knows neither the model nor its vocabulary matrix. Texts are encoded without
//! special tokens, and a BOS is put in front by [`BosPolicy`] alone, so that a tokenizer's own template cannot
//! add a second one.

mod batch;
mod bos;
mod encode;
mod error;
#[cfg(test)]
pub(crate) mod fixtures;
mod gguf;
mod lost;
mod noise;
mod pieces;
mod positions;
mod save;
mod tokenizer;
mod vocabulary;
mod windows;

pub use batch::{Group, Sequence, TokenBatch};
pub use bos::BosPolicy;
pub use encode::{
    PairedFacts, tokenize, tokenize_counterfactuals, tokenize_to_subject, with_partners,
};
pub(crate) use error::text_problem;
pub use error::{PromptProblem, TokenError};
pub use gguf::{GgufError, assumed_of_gguf, is_known_gguf_key};
pub use noise::EmbeddingNoise;
pub use positions::Positions;
pub use save::TokenizerFiles;
pub use tokenizer::{Encoded, Tokenizer};
pub use vocabulary::{SpecialInText, check_vocabulary, special_tokens};
pub use windows::{Window, Windowing, windows};
