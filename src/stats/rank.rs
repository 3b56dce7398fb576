//! Does one number rise with another? Spearman's rank correlation.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use statrs::distribution::{ContinuousCDF, Normal};

use super::settings::StatsSettings;
use super::summary::{Interval, mean};

/// A rank correlation with its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankCorrelation {
    /// Spearman's rho, -1 to 1.
    pub rho: f64,
    /// Interval of rho; absent for fewer than 4 pairs, and where rho is ±1.
    pub interval: Option<Interval>,
    /// Two-sided permutation p of "no association".
    pub p: f64,
    /// Number of pairs.
    pub pairs: usize,
}

/// Spearman's rho of pairs: Pearson's correlation of the ranks, ties sharing the mean of theirs.
///
/// p is that of a permutation test, (1 + #{r : |rho_r| >= |rho|}) / (1 + R) over R = `settings.resamples` seeded
/// shuffles. The interval is tanh(atanh(rho) ± z·sqrt(1.06 / (n - 3))), z the normal quantile of `settings.level`.
///
/// `None` for slices of different lengths, fewer than 2 pairs, values that are not finite, or where one side does
/// not vary.
///
/// Source: Fieller, Hartley and Pearson 1957, "Tests for Rank Correlation Coefficients I".
pub fn rank_correlation(x: &[f64], y: &[f64], settings: &StatsSettings) -> Option<RankCorrelation> {
    let finite = x.iter().chain(y).all(|value| value.is_finite());
    if x.len() != y.len() || !finite {
        return None;
    }
    let (x, mut y) = (ranks(x), ranks(y));
    let rho = pearson(&x, &y)?;
    let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
    let extreme = (0..settings.resamples).filter(|_| {
        y.shuffle(&mut rng);
        pearson(&x, &y).is_some_and(|shuffled| shuffled.abs() >= rho.abs() - 1e-12)
    });
    Some(RankCorrelation {
        rho,
        p: (1 + extreme.count()) as f64 / (1 + settings.resamples) as f64,
        interval: interval(rho, x.len(), settings.level),
        pairs: x.len(),
    })
}

fn interval(rho: f64, pairs: usize, level: f64) -> Option<Interval> {
    let freedom = pairs.checked_sub(3).filter(|freedom| *freedom > 0)?;
    if rho.abs() >= 1.0 - 1e-12 {
        return None;
    }
    let z = Normal::standard().inverse_cdf(0.5 + level / 2.0);
    let reach = z * (1.06 / freedom as f64).sqrt();
    Some(Interval {
        low: (rho.atanh() - reach).tanh(),
        high: (rho.atanh() + reach).tanh(),
    })
}

/// 1 for the smallest; equal values share the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count();
        let equal = values.iter().filter(|other| *other == value).count();
        below as f64 + (equal + 1) as f64 / 2.0
    };
    values.iter().map(rank).collect()
}

fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let (mean_x, mean_y) = (mean(x)?, mean(y)?);
    let pairs = || {
        x.iter()
            .map(|x| x - mean_x)
            .zip(y.iter().map(|y| y - mean_y))
    };
    let products: f64 = pairs().map(|(x, y)| x * y).sum();
    let squares: (f64, f64) = pairs().fold((0.0, 0.0), |(xx, yy), (x, y)| (xx + x * x, yy + y * y));
    let length = (squares.0 * squares.1).sqrt();
    (length > 0.0).then(|| products / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> StatsSettings {
        StatsSettings::default()
    }

    #[test]
    fn by_hand() {
        // Ranks of y: 2, 1, 4, 3; d² sum to 4: rho = 1 - 6·4 / (4·15) = 0.6.
        let found = rank_correlation(&[1.0, 2.0, 3.0, 4.0], &[0.2, 0.1, 9.0, 0.3], &settings());
        let found = found.unwrap();
        assert!((found.rho - 0.6).abs() < 1e-12);
        // Of the 24 orders of four, 10 have |rho| >= 0.6.
        assert!((found.p - 10.0 / 24.0).abs() < 0.02, "{}", found.p);
        assert_eq!(ranks(&[5.0, 1.0, 5.0]), [2.5, 1.0, 2.5]);
    }

    #[test]
    fn a_fall_is_minus_one_and_no_variation_is_nothing() {
        let depth: Vec<f64> = (0..15).map(f64::from).collect();
        let falling: Vec<f64> = depth.iter().map(|d| (-d).exp()).collect();
        let found = rank_correlation(&depth, &falling, &settings()).unwrap();
        assert_eq!((found.rho, found.interval), (-1.0, None));
        assert!(found.p < 2e-4);
        assert_eq!(rank_correlation(&depth, &[1.0; 15], &settings()), None);
        assert_eq!(rank_correlation(&depth, &falling[1..], &settings()), None);
    }

    #[test]
    fn the_interval_is_that_of_fisher_and_fieller() {
        // rho 0.5, n 28: atanh 0.549306, reach 1.959964·sqrt(1.06/25) = 0.403582.
        let interval = interval(0.5, 28, 0.95).unwrap();
        assert!((interval.low - 0.145_724_f64.tanh()).abs() < 1e-6);
        assert!((interval.high - 0.952_888_f64.tanh()).abs() < 1e-6);
    }
}
