//! The control of random weights: a model whose matrices have the same entries in another order.
//!
//! Such a model has the same shapes, norms and spread of weights and knows nothing, so that an experiment on it must show
//! nothing (a sanity check after Adebayo et al. 2018, "Sanity checks for saliency maps"). Entries are put in order as they
//! are read, and the files stay as they are.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use candle_core::Tensor;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::error::ModelError;

/// Mixed into every seed; a change of the procedure gets another tag.
const SEED_TAG: &[u8] = b"gatelens shuffled weights 1";

/// Which weights a model runs with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunWeights {
    /// Those of the files.
    #[default]
    Stored,
    /// The entries of each stored matrix among themselves in random order; norms and biases as they are. A matrix that is
    /// stored for two purposes (a tied head, the fused projections of Phi-3) is shuffled as one.
    Shuffled {
        /// Of the orders.
        seed: u64,
    },
}

/// Puts the entries of matrices in another order, each time in the same.
pub(super) struct Shuffle {
    seed: u64,
    /// Embedding and head by their names in the file, shuffled: rows of them are read again and again, and any row may have
    /// entries of any other.
    vocabulary: Mutex<HashMap<&'static str, Tensor>>,
}

impl Shuffle {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            vocabulary: Mutex::default(),
        }
    }

    /// The entries of the matrix of this name in their order in the file, put in that of the shuffle.
    pub fn shuffle(&self, name: &str, entries: &mut [f32]) {
        let mut hash = Sha256::new();
        hash.update(SEED_TAG);
        hash.update(self.seed.to_le_bytes());
        hash.update(name.as_bytes());
        let mut rng = ChaCha8Rng::from_seed(hash.finalize().into());
        entries.shuffle(&mut rng);
    }

    /// An embedding or a head, made once by `read`, `[vocab_size, d_model]`.
    pub fn vocabulary(
        &self,
        name: &'static str,
        read: impl FnOnce() -> Result<Tensor, ModelError>,
    ) -> Result<Tensor, ModelError> {
        // Nothing can be half written in it.
        let mut kept = self
            .vocabulary
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(matrix) = kept.get(name) {
            return Ok(matrix.clone());
        }
        let matrix = read()?;
        kept.insert(name, matrix.clone());
        Ok(matrix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shuffled(seed: u64, name: &str) -> Vec<f32> {
        let mut entries: Vec<f32> = (0..500).map(|i| i as f32).collect();
        Shuffle::new(seed).shuffle(name, &mut entries);
        entries
    }

    #[test]
    fn the_same_entries_in_an_order_of_seed_and_name() {
        let one = shuffled(0, "a");
        let mut sorted = one.clone();
        sorted.sort_by(f32::total_cmp);
        assert!(sorted.into_iter().eq((0..500).map(|i| i as f32)));
        assert_eq!(one, shuffled(0, "a"));
        let others = [(1, "a"), (0, "b")].map(|(seed, name)| shuffled(seed, name));
        for other in others {
            let same = one.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!(same < 10, "{same}");
        }
        // In the file's order about one entry in 500 would be at its place.
        let stayed = one.iter().enumerate().filter(|(i, v)| *i as f32 == **v);
        assert!(stayed.count() < 10);
    }
}
