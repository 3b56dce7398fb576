//! The percentile bootstrap: how far may a mean be off, had other prompts been asked?
//!
//! The prompts are drawn again, with replacement, many times; the middle 95 % of the means so found is the
//! interval. It stops at the prompts: chance in the choice of a random neuron set is the business of
//! [`contrast`](super::contrast()).

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use super::StatsError;
use super::summary::{Interval, mean, quantile_of_sorted, sample_sd};

/// The fewest resamples that place both ends of an interval at all.
const MIN_RESAMPLES: usize = 2;

/// How a bootstrap is run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BootstrapSettings {
    /// Times that the prompts are drawn again; at least 2, by default 10,000.
    pub resamples: usize,
    /// Confidence level of the interval, strictly between 0 and 1, by default 0.95.
    pub level: f64,
    /// Seed of the resampling. Samples of equal size under the same seed are resampled alike, so that two
    /// metrics of the same prompts can be compared without extra noise.
    pub seed: u64,
}

impl Default for BootstrapSettings {
    fn default() -> Self {
        Self {
            resamples: 10_000,
            level: 0.95,
            seed: 0,
        }
    }
}

impl BootstrapSettings {
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

/// A mean with its bootstrap interval, all in the unit of the values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bootstrap {
    /// Mean of the values as they are.
    pub mean: f64,
    /// Percentile interval of the level asked for.
    pub interval: Interval,
    /// Standard deviation of the resampled means.
    pub standard_error: f64,
}

/// Percentile bootstrap of the mean of `values`, one per prompt (pairs already differenced).
///
/// With m_1..m_R the means of R samples of n values drawn with replacement, the interval of level c runs from the
/// (1 - c)/2 to the (1 + c)/2 quantile of m, and the standard error is their standard deviation. Resample r uses
/// stream r of one ChaCha8 generator, so the numbers do not depend on the count of threads.
///
/// The percentile interval is a little too short for few prompts: at n = 20 the simulations beside the code see
/// 92.5 % for normal and 90 % for exponential values instead of 95 %, at n = 100 both within 1.5 points.
///
/// `None` for fewer than 2 values, for a value that is not finite, and for settings that
/// [`BootstrapSettings::check`] refuses: check those once, where they are read.
///
/// Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 6 and 13.
pub fn bootstrap_mean(values: &[f64], settings: &BootstrapSettings) -> Option<Bootstrap> {
    let usable = values.len() >= 2 && values.iter().all(|value| value.is_finite());
    if !usable || settings.check().is_err() {
        return None;
    }
    let means = resampled_means(values, settings);
    let tail = (1.0 - settings.level) / 2.0;
    Some(Bootstrap {
        mean: mean(values)?,
        interval: Interval {
            low: quantile_of_sorted(&means, tail)?,
            high: quantile_of_sorted(&means, 1.0 - tail)?,
        },
        standard_error: sample_sd(&means)?,
    })
}

/// The means of all resamples, ascending.
fn resampled_means(values: &[f64], settings: &BootstrapSettings) -> Vec<f64> {
    // Offsets to the first value keep the resampled means of equal values exactly equal.
    let pivot = values[0];
    let offsets: Vec<f64> = values.iter().map(|value| value - pivot).collect();
    let generator = ChaCha8Rng::seed_from_u64(settings.seed);
    let mut means: Vec<f64> = (0..settings.resamples as u64)
        .into_par_iter()
        .map(|resample| {
            let mut rng = generator.clone();
            rng.set_stream(resample);
            pivot + resampled_mean(&offsets, &mut rng)
        })
        .collect();
    means.par_sort_unstable_by(f64::total_cmp);
    means
}

fn resampled_mean(values: &[f64], rng: &mut ChaCha8Rng) -> f64 {
    let count = values.len();
    let sum: f64 = (0..count).map(|_| values[rng.random_range(0..count)]).sum();
    sum / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(resamples: usize, seed: u64) -> BootstrapSettings {
        BootstrapSettings {
            resamples,
            seed,
            ..BootstrapSettings::default()
        }
    }

    #[test]
    fn two_values_give_their_three_possible_means() {
        // Samples of {0, 1}: mean 0, 1/2 or 1 with chances 1/4, 1/2, 1/4; sd of the mean sqrt(1/8).
        let result = bootstrap_mean(&[0.0, 1.0], &settings(10_000, 1)).unwrap();
        assert_eq!(result.mean, 0.5);
        assert_eq!(
            result.interval,
            Interval {
                low: 0.0,
                high: 1.0
            }
        );
        assert!((result.standard_error - 0.125_f64.sqrt()).abs() < 0.01);
    }

    #[test]
    fn the_standard_error_is_the_closed_form_of_a_mean() {
        let values: Vec<f64> = (0..40).map(|index| f64::from(index * index % 17)).collect();
        let n = values.len() as f64;
        let closed_form =
            ((n - 1.0) / n * super::super::sample_variance(&values).unwrap() / n).sqrt();
        let result = bootstrap_mean(&values, &BootstrapSettings::default()).unwrap();
        // 10,000 resamples know a standard deviation to 0.7 %; 3 % is four of those.
        assert!((result.standard_error / closed_form - 1.0).abs() < 0.03);
    }

    #[test]
    fn a_constant_has_a_point_for_an_interval() {
        let result = bootstrap_mean(&[0.1; 9], &settings(200, 3)).unwrap();
        assert_eq!(
            result.interval,
            Interval {
                low: 0.1,
                high: 0.1
            }
        );
        assert_eq!(result.standard_error, 0.0);
    }

    #[test]
    fn a_wider_level_contains_a_narrower_one() {
        let values: Vec<f64> = (0..30).map(|index| f64::from(index % 7)).collect();
        let at = |level| {
            let wanted = BootstrapSettings {
                level,
                ..settings(2_000, 5)
            };
            bootstrap_mean(&values, &wanted).unwrap().interval
        };
        assert!(at(0.99).low < at(0.5).low && at(0.99).high > at(0.5).high);
    }

    #[test]
    fn seed_decides_and_thread_count_does_not() {
        let values: Vec<f64> = (0..50)
            .map(|index| (f64::from(index) * 1.7).sin())
            .collect();
        let on_threads = |threads, seed| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| bootstrap_mean(&values, &settings(1_000, seed)))
        };
        assert_eq!(on_threads(1, 7), on_threads(5, 7));
        assert_ne!(on_threads(1, 7), on_threads(1, 8));
    }

    #[test]
    fn unusable_input_is_absent() {
        let usual = settings(100, 0);
        assert_eq!(bootstrap_mean(&[], &usual), None);
        assert_eq!(bootstrap_mean(&[1.0], &usual), None);
        assert_eq!(bootstrap_mean(&[1.0, f64::NAN], &usual), None);
        assert_eq!(bootstrap_mean(&[1.0, f64::NEG_INFINITY], &usual), None);
        assert_eq!(bootstrap_mean(&[1.0, 2.0], &settings(1, 0)), None);
    }

    #[test]
    fn impossible_settings_are_named() {
        for level in [0.0, 1.0, 95.0, f64::NAN] {
            let wrong = BootstrapSettings {
                level,
                ..settings(100, 0)
            };
            assert!(matches!(wrong.check(), Err(StatsError::Level { .. })));
        }
        assert_eq!(
            settings(0, 0).check(),
            Err(StatsError::Resamples {
                resamples: 0,
                minimum: 2
            })
        );
        assert_eq!(BootstrapSettings::default().check(), Ok(()));
    }
}
