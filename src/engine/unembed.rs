//! Residual rows through the unembedding: the tokens that they point at.
//!
//! There is no soft cap, which leaves the order of a row's tokens as it is. So does what the final norm divides by; its
//! gain does not, and [`Lens`] says whether it is there.

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use serde::Serialize;
use strum::{Display, EnumString, IntoStaticStr};

use super::error::EngineError;
use super::rows::Rows;
use super::run::Engine;
use crate::model::Residency;

/// What residual rows go through before the unembedding.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Display, EnumString, IntoStaticStr,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = no_lens)]
pub enum Lens {
    /// Nothing. Where a few dimensions of the residual are much larger than all others, they alone decide then.
    Raw,
    /// The final norm, as the last layer's residual does (the logit lens). The residual times an unembedding with the
    /// norm's gain folded in has the same order.
    #[default]
    FinalNorm,
}

impl Lens {
    /// The name in files and on the command line.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

fn no_lens(text: &str) -> String {
    format!("`{text}` is no lens; accepted: raw, final-norm")
}

/// Bytes of the scores that are in memory together.
const SCORE_BYTES: usize = 16 << 20;

/// Tokens of the vocabulary that are scored together, about.
const TOKENS: usize = 1 << 13;

/// Candidates for each place: a row's list is cut once it is so full.
const CANDIDATES: usize = 4;

/// Bytes of a score with its token.
const CANDIDATE_BYTES: usize = size_of::<(f32, u32)>();

impl Engine<'_> {
    /// The `count` tokens that each of some residual rows, `[rows, d_model]`, points at most, best first; of equal ones
    /// the lower id. Only tokens that are `ranked`, `[vocab_size]`, take part. A score that is not a number, or minus
    /// infinity, has no place: a row may have fewer tokens than asked for.
    ///
    /// # Errors
    /// [`EngineError::Length`] for slices of other shapes, and those of reading the head and of the tensor library.
    pub fn top_tokens(
        &self,
        residuals: &[f32],
        lens: Lens,
        count: usize,
        ranked: &[bool],
    ) -> Result<Vec<Vec<u32>>, EngineError> {
        let model = self.model;
        let d_model = model.config().d_model;
        let rows = residuals.len() / d_model;
        let lengths = [
            ("residual rows", residuals.len(), rows * d_model),
            ("ranked tokens", ranked.len(), model.config().vocab_size),
        ];
        for (what, found, expected) in lengths {
            if found != expected {
                return Err(EngineError::Length {
                    what,
                    found,
                    expected,
                });
            }
        }
        if count == 0 {
            return Ok(vec![Vec::new(); rows]);
        }
        let mut best = vec![Best::new(count); rows];
        let together = rows.clamp(1, SCORE_BYTES / (4 * TOKENS));
        let residuals = Tensor::from_slice(residuals, (rows, d_model), &Device::Cpu)?;
        let residuals = residuals
            .to_dtype(model.dtype())?
            .to_device(model.device())?;
        let residuals = match lens {
            Lens::Raw => residuals,
            Lens::FinalNorm => model.final_norm(&residuals)?,
        };
        for block in model.head()? {
            let block = block?;
            for (first, tokens) in parts(block.weights.dim(0)?) {
                let weights = block.weights.narrow(0, first, tokens)?;
                let first = block.first + first;
                let ranked = &ranked[first..first + tokens];
                for (best, place) in best.chunks_mut(together).zip((0..).step_by(together)) {
                    let some = residuals.narrow(0, place, best.len())?;
                    let scores = model.unembed(&some, &weights)?; // [rows, tokens]
                    Rows::of(&scores)?.read(|scores| {
                        best.par_iter_mut()
                            .zip(scores.par_chunks_exact(tokens))
                            .for_each(|(best, scores)| best.offer(scores, first as u32, ranked));
                    })?;
                }
            }
        }
        Ok(best.into_iter().map(Best::tokens).collect())
    }

    /// What [`top_tokens`](Self::top_tokens) of so many rows takes at most, the rows themselves included, bytes.
    pub fn top_tokens_bytes(&self, rows: usize, count: usize) -> u64 {
        let d_model = self.model.config().d_model;
        let weights = match self.model.plan().residency {
            Residency::Resident => 0,
            // The block that is worked on and the next, which is read as f32.
            Residency::Streamed => 3 * 4 * self.model.head_rows() * d_model,
        };
        // The rows, once more as a tensor, and with their norm; the scores as they come and in the order of the rows.
        let row = 3 * 4 * d_model + CANDIDATES * count * CANDIDATE_BYTES;
        (rows * row + 2 * SCORE_BYTES + weights) as u64
    }
}

/// Parts of nearly equal size of so many tokens, each its first token and how many: none is much narrower than the
/// others, since narrow products would be summed in another order.
fn parts(tokens: usize) -> impl Iterator<Item = (usize, usize)> {
    let parts = tokens.div_ceil(TOKENS);
    let bound = move |part: usize| part * tokens / parts;
    (0..parts).map(move |part| (bound(part), bound(part + 1) - bound(part)))
}

/// The best tokens of a row so far.
#[derive(Clone)]
struct Best {
    count: usize,
    /// With their scores, in no order; among them the best of all that were offered.
    found: Vec<(f32, u32)>,
    /// What a score must be beyond to be among the best.
    bar: f32,
}

impl Best {
    fn new(count: usize) -> Self {
        Self {
            count,
            found: Vec::new(),
            bar: f32::NEG_INFINITY,
        }
    }

    /// Tokens that come after all that were offered before, the first with the id `first`.
    fn offer(&mut self, scores: &[f32], first: u32, ranked: &[bool]) {
        let tokens = (first..).zip(scores.iter().zip(ranked));
        for (token, (&score, &ranked)) in tokens {
            // A score equal to the bar is that of a lower id, which goes first.
            if score > self.bar && ranked {
                self.found.push((score, token));
                if self.found.len() >= CANDIDATES * self.count {
                    self.cut();
                }
            }
        }
    }

    /// Keeps the best alone.
    fn cut(&mut self) {
        if self.found.len() > self.count {
            self.found.select_nth_unstable_by(self.count - 1, better);
            self.found.truncate(self.count);
            self.bar = self.found[self.count - 1].0;
        }
    }

    /// Best first.
    fn tokens(mut self) -> Vec<u32> {
        self.cut();
        self.found.sort_unstable_by(better);
        self.found.into_iter().map(|(_, token)| token).collect()
    }
}

/// The higher score first, of equal ones the lower id. Scores are numbers.
fn better(a: &(f32, u32), b: &(f32, u32)) -> std::cmp::Ordering {
    b.0.partial_cmp(&a.0)
        .unwrap_or(std::cmp::Ordering::Equal)
        .then(a.1.cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::hub::ModelFiles;
    use crate::model::{Checkpoint, LoadOptions, Model};

    fn best(count: usize, scores: &[f32], ranked: &[bool], part: usize) -> Vec<u32> {
        let mut best = Best::new(count);
        let parts = scores.chunks(part).zip(ranked.chunks(part)).enumerate();
        for (i, (scores, ranked)) in parts {
            best.offer(scores, (i * part) as u32, ranked);
        }
        best.tokens()
    }

    #[test]
    fn the_best_by_hand() {
        let scores = [1.0, 3.0, f32::NAN, 3.0, f32::NEG_INFINITY, 2.0, 3.0];
        let all = [true; 7];
        for part in 1..8 {
            assert_eq!(best(2, &scores, &all, part), [1, 3], "of equals the lower");
            assert_eq!(best(9, &scores, &all, part), [1, 3, 6, 5, 0]);
        }
        let mut some = all;
        some[1] = false;
        assert_eq!(best(2, &scores, &some, 3), [3, 6]);
    }

    #[test]
    fn selection_is_a_sort_in_parts_of_any_size() {
        // Many ties, in no order.
        let scores: Vec<f32> = (0..3000).map(|i| (i * 7919 % 400) as f32).collect();
        let ranked: Vec<bool> = (0..3000).map(|i| i % 7 != 3).collect();
        let mut sorted: Vec<u32> = (0..3000).filter(|i| ranked[*i as usize]).collect();
        sorted.sort_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]));
        for count in [1, 2, 50, 2900] {
            let expected = &sorted[..count.min(sorted.len())];
            for part in [1, 13, 400, 3000] {
                assert_eq!(best(count, &scores, &ranked, part), expected);
            }
        }
    }

    #[test]
    fn parts_follow_each_other_and_are_alike() {
        for tokens in [1, 300, TOKENS, TOKENS + 1, 262_144] {
            let mut next = 0;
            for (first, size) in parts(tokens) {
                assert_eq!(first, next);
                assert!(size <= TOKENS && size >= tokens.min(TOKENS / 2));
                next += size;
            }
            assert_eq!(next, tokens);
        }
    }

    #[test]
    fn a_head_that_is_read_in_blocks_ranks_the_same() {
        let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
        let files = ModelFiles::Gguf(vec![goldens.join("tiny-llama/model.gguf")]);
        let top = |max_memory| {
            let options = LoadOptions {
                max_memory,
                ..LoadOptions::default()
            };
            let model = Model::load(Checkpoint::open(&files).unwrap(), options).unwrap();
            let config = model.config();
            let (d_model, ranked) = (config.d_model, vec![true; config.vocab_size]);
            let residuals: Vec<f32> = (0..5 * d_model).map(|i| (i as f32 * 0.37).sin()).collect();
            let blocks = model.head().unwrap().count();
            let top = Engine::new(&model).top_tokens(&residuals, Lens::Raw, 50, &ranked);
            (blocks, top.unwrap())
        };
        let ((one, resident), (several, streamed)) = (top(None), top(Some(300 << 20)));
        assert!(one == 1 && several > 1);
        assert!(resident.len() == 5 && resident.iter().all(|tokens| tokens.len() == 50));
        assert_eq!(resident, streamed);
    }
}
