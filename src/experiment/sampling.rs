//! How the next token of a text is chosen.

use candle_core::{D, Device, Result, Tensor};
use candle_nn::ops::softmax_last_dim;
use rand::SeedableRng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand_chacha::ChaCha12Rng;

/// How a token is chosen from the logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Logits are divided by it before the softmax; at 0 the most probable token is taken.
    pub temperature: f64,
    /// Only so many, the most probable ones.
    pub top_k: Option<usize>,
    /// Of these only the most probable ones that reach this probability together; their probabilities are still shares of
    /// the whole.
    pub top_p: Option<f64>,
    /// Of what is random in it.
    pub seed: u64,
}

impl Choice {
    /// The most probable token.
    pub const GREEDY: Choice = Choice {
        temperature: 0.0,
        top_k: None,
        top_p: None,
        seed: 0,
    };
}

/// Chooses one token after the other.
pub(super) struct Sampler {
    choice: Choice,
    rng: ChaCha12Rng,
}

impl Sampler {
    pub fn new(choice: Choice) -> Self {
        Self {
            choice,
            rng: ChaCha12Rng::seed_from_u64(choice.seed),
        }
    }

    /// A token from the logits of all.
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32> {
        let Choice {
            temperature,
            top_k,
            top_p,
            ..
        } = self.choice;
        let logits = Tensor::new(logits, &Device::Cpu)?;
        if temperature <= 0.0 {
            return logits.argmax(D::Minus1)?.to_scalar();
        }
        let all: Vec<f32> = softmax_last_dim(&(logits / temperature)?)?.to_vec1()?;
        let mut tokens: Vec<usize> = (0..all.len()).collect();
        if let Some(k) = top_k.filter(|k| *k < all.len()) {
            tokens.select_nth_unstable_by(k, |a, b| all[*b].total_cmp(&all[*a]));
            tokens.truncate(k);
        }
        let mut weights: Vec<f32> = tokens.iter().map(|token| all[*token]).collect();
        if let Some(p) = top_p.filter(|p| 0.0 < *p && *p < 1.0) {
            keep_top_p(&mut weights, p as f32);
        }
        let chosen = WeightedIndex::new(weights).map_err(candle_core::Error::wrap)?;
        Ok(tokens[chosen.sample(&mut self.rng)] as u32)
    }
}

/// Sets all weights to 0 but the fewest, the largest, that reach `p` together.
fn keep_top_p(weights: &mut [f32], p: f32) {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
    let mut sum = 0.0;
    for at in order {
        if sum >= p {
            weights[at] = 0.0;
        } else {
            sum += weights[at];
        }
    }
}
