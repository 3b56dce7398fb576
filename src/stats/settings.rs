//! What all statistics are told: the level of intervals, and the seed of what is shuffled.

use serde::Serialize;

use super::StatsError;

/// The fewest shuffles that can tell anything.
const MIN_RESAMPLES: usize = 2;

/// The level of intervals, and how labels and orders are shuffled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StatsSettings {
    /// Times that labels or orders are shuffled; at least 2, by default 10,000.
    pub resamples: usize,
    /// Confidence level of the interval, strictly between 0 and 1, by default 0.95.
    pub level: f64,
    /// Seed of the shuffling.
    pub seed: u64,
}

impl Default for StatsSettings {
    fn default() -> Self {
        Self {
            resamples: 10_000,
            level: 0.95,
            seed: 0,
        }
    }
}

impl StatsSettings {
    /// Checks the settings before any work is done.
    ///
    /// # Errors
    /// [`StatsError::Level`] or [`StatsError::Resamples`], naming the value and what is accepted.
    pub fn check(&self) -> Result<(), StatsError> {
        if !(self.level > 0.0 && self.level < 1.0) {
            return Err(StatsError::Level { level: self.level });
        }
        if self.resamples < MIN_RESAMPLES {
            return Err(StatsError::Resamples {
                resamples: self.resamples,
                minimum: MIN_RESAMPLES,
            });
        }
        Ok(())
    }
}
