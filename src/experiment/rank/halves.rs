//! Which known prompts a set is ranked on, and which its curve is measured on.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// On which prompts the curve is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evaluation {
    /// Ranked on one half of the known prompts, measured on the other.
    OtherHalf,
    /// Ranked and measured on all known prompts: the first points of the curve are too low, by chance alone.
    SamePrompts,
}

/// Prompts that a half has at least: fewer give no interval.
const FEWEST: usize = 2;

/// The known prompts of each kind, ascending.
#[derive(Debug, PartialEq)]
pub(super) struct Halves {
    pub ranking: Vec<usize>,
    pub measuring: Vec<usize>,
}

impl Halves {
    /// Of every two neighbours among `known` one ranks and the other measures, by lot; a last one without a neighbour
    /// ranks. So both halves have the same relations, where a set of prompts has those in order. The error is how many
    /// prompts are needed.
    pub fn new(known: &[usize], evaluation: Evaluation, seed: u64) -> Result<Self, usize> {
        let needed = match evaluation {
            Evaluation::OtherHalf => 2 * FEWEST,
            Evaluation::SamePrompts => FEWEST,
        };
        if known.len() < needed {
            return Err(needed);
        }
        let mut halves = Self {
            ranking: Vec::new(),
            measuring: Vec::new(),
        };
        match evaluation {
            Evaluation::OtherHalf => halves.deal(known, seed),
            Evaluation::SamePrompts => {
                (halves.ranking, halves.measuring) = (known.to_vec(), known.to_vec());
            }
        }
        Ok(halves)
    }

    fn deal(&mut self, known: &[usize], seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for pair in known.chunks(2) {
            let ranks = rng.random_range(0..pair.len());
            for (place, &prompt) in pair.iter().enumerate() {
                if place == ranks {
                    self.ranking.push(prompt)
                } else {
                    self.measuring.push(prompt)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_share_no_prompt_and_miss_none() {
        let known: Vec<usize> = (0..21).map(|i| 3 * i).collect();
        let halves = |seed| Halves::new(&known, Evaluation::OtherHalf, seed).unwrap();
        let found = halves(0);
        assert_eq!((found.ranking.len(), found.measuring.len()), (11, 10));
        let mut all = [found.ranking.clone(), found.measuring.clone()].concat();
        all.sort();
        assert_eq!(all, known);
        for pair in known.chunks_exact(2) {
            let ranks = pair.iter().filter(|p| found.ranking.contains(p));
            assert_eq!(ranks.count(), 1, "one of {pair:?}");
        }
        assert_eq!(found, halves(0));
        assert_ne!(found, halves(1));
    }

    #[test]
    fn too_few_prompts_give_no_halves() {
        let of = |known: &[usize], evaluation| Halves::new(known, evaluation, 0);
        assert_eq!(of(&[1, 2, 3], Evaluation::OtherHalf), Err(4));
        assert_eq!(of(&[1], Evaluation::SamePrompts), Err(2));
        let same = of(&[1, 2], Evaluation::SamePrompts).unwrap();
        assert_eq!(same.ranking, same.measuring);
    }
}
