//! How sure are we? Estimates with their intervals, from numbers alone.
//!
//! Everything here takes plain `f64` slices, one value per unit (a prompt, say), and knows nothing of models, neurons or
//! files. These questions are answered:
//!
//! - [`Clusters`]: how far may the mean of paired differences be off, had other facts, subjects or documents been asked?
//! - [`contrast`]: is a neuron class different from matched random sets, given that both the prompts *and* the
//!   random sets are samples? [`permutation_p`] and [`sequential_rank`] answer the same from ranks alone.
//! - [`rank_correlation`], [`difference_over_clusters`], [`median_interval`]: do values rise, do two groups differ, where is a
//!   median?
//! - [`holm`]: what remains once many such tests are read together?
//!
//! A statistic that the data cannot give (a standard deviation of one value, an interval from one draw) is
//! `None`, never 0. The same seed gives the same numbers on any count of threads.
//!
//! Where it stops: which prompts, conditions and tests are compared is the experiment's business, and how an
//! estimate is printed is the report's.

mod clusters;
mod contrast;
mod error;
mod groups;
mod multiple;
mod permutation;
mod rank;
mod sequential;
mod settings;
#[cfg(test)]
mod simulations;
mod summary;
mod variance;

pub use clusters::{ClusteredMean, Clusters};
pub use contrast::{Contrast, Table, contrast, contrast_of_two};
pub use error::{StatsError, ValueSource};
pub use groups::{Tested, difference_over_clusters, median_interval};
pub use multiple::{holm, holm_present};
pub use permutation::{permutation_floor, permutation_p};
pub use rank::{RankCorrelation, rank_correlation};
pub use sequential::{EXCEEDANCES, Rank, WeightedRank, rank_floor, sequential_rank, weighted_rank};
pub use settings::StatsSettings;
pub use summary::{Interval, mean, median, quantile, sample_sd, sample_variance};
