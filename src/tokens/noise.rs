//! Noise on the embeddings of a prompt's subject, as causal tracing has it (Meng et al. 2022, "Locating and Editing Factual
//! Associations in GPT", arXiv 2202.05262, section 2.1).
//!
//! A prompt has the seed of its noise and not the numbers, which are as wide as the model is. They come from the seed alone: the
//! company in which the prompt runs, and what is edited there, change nothing.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use sha2::{Digest, Sha256};

/// Mixed into every seed; a change of the procedure gets another tag.
const SEED_TAG: &[u8] = b"gatelens embedding noise 1";

/// Normal noise that is added to the embeddings of a prompt's subject.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EmbeddingNoise {
    /// Of each number, in the unit of the embeddings that the first layer sees.
    pub standard_deviation: f64,
    /// Of the run.
    pub seed: u64,
    /// Which of the noises of this prompt, from 0.
    pub draw: usize,
    /// Index in the prompt set of the fact that gets it: each has noise of its own.
    pub fact: usize,
}

impl EmbeddingNoise {
    /// The noise on a subject of so many tokens: `[tokens, d_model]`, row-major, each number drawn by itself.
    pub fn rows(&self, tokens: usize, d_model: usize) -> Vec<f32> {
        let mut hash = Sha256::new().chain_update(SEED_TAG);
        for number in [self.seed, self.draw as u64, self.fact as u64] {
            hash.update(number.to_le_bytes());
        }
        let rng = ChaCha8Rng::from_seed(hash.finalize().into());
        let standard = Distribution::<f64>::sample_iter(StandardNormal, rng);
        standard
            .take(tokens * d_model)
            .map(|value| (self.standard_deviation * value) as f32)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOISE: EmbeddingNoise = EmbeddingNoise {
        standard_deviation: 0.5,
        seed: 7,
        draw: 2,
        fact: 31,
    };

    #[test]
    fn numbers_are_normal_and_grow_with_the_standard_deviation() {
        let rows = NOISE.rows(40, 500);
        let n = rows.len() as f64;
        let moment = |power: i32| {
            rows.iter()
                .map(|x| f64::from(*x / 0.5).powi(power))
                .sum::<f64>()
                / n
        };
        // Five standard errors of each: 1/√n, √2/√n, √96/√n.
        for (power, expected, spread) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (4, 3.0, 96.0)] {
            let error = (moment(power) - expected).abs();
            assert!(
                error < 5.0 * f64::sqrt(spread / n),
                "moment {power}: {error}"
            );
        }
        let doubled = EmbeddingNoise {
            standard_deviation: 1.0,
            ..NOISE
        };
        let mut pairs = doubled.rows(40, 500).into_iter().zip(&rows);
        assert!(pairs.all(|(double, once)| double == 2.0 * once));
    }

    #[test]
    fn each_fact_draw_and_seed_has_its_own_and_always_the_same() {
        let rows = |noise: EmbeddingNoise| noise.rows(2, 3);
        assert_eq!(rows(NOISE), rows(NOISE));
        assert_eq!(
            rows(NOISE)[..3],
            NOISE.rows(1, 3),
            "the first token's first"
        );
        let others = [
            EmbeddingNoise { seed: 8, ..NOISE },
            EmbeddingNoise { draw: 3, ..NOISE },
            EmbeddingNoise { fact: 30, ..NOISE },
        ];
        for other in others {
            assert!(rows(other).iter().zip(rows(NOISE)).all(|(a, b)| *a != b));
        }
    }
}
