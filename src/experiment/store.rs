//! Where a run keeps what its passes gave, so that one that was ended goes on.

use super::score::Score;
use super::text::TokenScore;
use crate::hooks::EditCount;

/// What a store could not do.
pub type StoreError = Box<dyn std::error::Error + Send + Sync>;

/// Keeps what each pass gave, as numbers of 64 bits.
pub trait PassStore {
    /// The passes that were planned when the run began; none where it begins now.
    ///
    /// # Errors
    /// Where they cannot be read, or are not as they were written.
    fn passes(&mut self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Keeps the plan of the passes.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn keep_passes(&mut self, passes: &[u8]) -> Result<(), StoreError>;

    /// Whether there is something of a pass, whole or not.
    fn has(&self, pass: usize) -> bool;

    /// What a pass gave; nothing where it is not there or not whole.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    fn load(&mut self, pass: usize) -> Result<Option<Vec<u64>>, StoreError>;

    /// Keeps what a pass gave.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn save(&mut self, pass: usize, numbers: &[u64]) -> Result<(), StoreError>;
}

/// Keeps nothing.
impl PassStore for () {
    fn passes(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn keep_passes(&mut self, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    fn has(&self, _: usize) -> bool {
        false
    }

    fn load(&mut self, _: usize) -> Result<Option<Vec<u64>>, StoreError> {
        Ok(None)
    }

    fn save(&mut self, _: usize, _: &[u64]) -> Result<(), StoreError> {
        Ok(())
    }
}

/// What is kept as numbers, and comes back to the last bit.
pub(super) trait Numbers: Sized {
    /// Appends its numbers.
    fn put(&self, to: &mut Vec<u64>);

    /// Takes as many from the front, where they are enough.
    fn take(from: &mut &[u64]) -> Option<Self>;
}

fn take<const N: usize>(from: &mut &[u64]) -> Option<[u64; N]> {
    let (numbers, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*numbers)
}

impl Numbers for () {
    fn put(&self, _: &mut Vec<u64>) {}

    fn take(_: &mut &[u64]) -> Option<Self> {
        Some(())
    }
}

impl Numbers for EditCount {
    fn put(&self, to: &mut Vec<u64>) {
        to.extend([self.touched, self.changed, self.no_sign, self.no_reference]);
    }

    fn take(from: &mut &[u64]) -> Option<Self> {
        let [touched, changed, no_sign, no_reference] = take(from)?;
        Some(Self {
            touched,
            changed,
            no_sign,
            no_reference,
        })
    }
}

impl Numbers for Score {
    fn put(&self, to: &mut Vec<u64>) {
        to.extend([self.target_logprob, self.first_logprob].map(f64::to_bits));
        to.extend([self.entropy_nats, self.kl_nats].map(f64::to_bits));
        to.extend([self.first_rank, self.top_token].map(u64::from));
    }

    fn take(from: &mut &[u64]) -> Option<Self> {
        let [target, first, entropy, kl, rank, top] = take(from)?;
        Some(Self {
            target_logprob: f64::from_bits(target),
            first_logprob: f64::from_bits(first),
            first_rank: rank.try_into().ok()?,
            entropy_nats: f64::from_bits(entropy),
            kl_nats: f64::from_bits(kl),
            top_token: top.try_into().ok()?,
        })
    }
}

impl Numbers for TokenScore {
    fn put(&self, to: &mut Vec<u64>) {
        to.extend([self.loss_nats, self.entropy_nats, self.log_scale].map(f64::to_bits));
        to.push(self.rank.into());
    }

    fn take(from: &mut &[u64]) -> Option<Self> {
        let [loss, entropy, scale, rank] = take(from)?;
        Some(Self {
            loss_nats: f64::from_bits(loss),
            entropy_nats: f64::from_bits(entropy),
            rank: rank.try_into().ok()?,
            log_scale: f64::from_bits(scale),
        })
    }
}
