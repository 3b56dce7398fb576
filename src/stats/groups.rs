//! Two groups of a population whose members come in clusters; and the median of a sample.

use statrs::distribution::{Binomial, DiscreteCDF};

use super::clusters::Clusters;
use super::summary::{Interval, mean};
use super::variance::Variance;

/// An estimate with its interval and a p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tested {
    /// In the unit of the values.
    pub estimate: f64,
    /// At the level asked for.
    pub interval: Option<Interval>,
    /// Two-sided.
    pub p: f64,
}

/// Mean of one group minus that of another, each as its values with their clusters; members of one cluster, of either group,
/// may depend on each other.
///
/// With u_g = Σ_{a in g} (x_a - x̄) / n_x - Σ_{b in g} (y_b - ȳ) / n_y, the share of cluster g in the error, the variance is
/// G/(G - 1) · Σ u_g², with G - 1 degrees of freedom of Student's t. (Its mean over clusters is 0.)
///
/// `None` for an empty group, fewer than 2 clusters, and where nothing varies.
///
/// Source: Liang and Zeger 1986, "Longitudinal Data Analysis Using Generalized Linear Models".
pub fn difference_over_clusters(
    (x, of_x): (&[f64], &[usize]),
    (y, of_y): (&[f64], &[usize]),
    level: f64,
) -> Option<Tested> {
    let (mean_x, mean_y) = (mean(x)?, mean(y)?);
    let (n_x, n_y) = (x.len() as f64, y.len() as f64);
    let shares = x.iter().map(|x| (x - mean_x) / n_x);
    let shares: Vec<f64> = shares.chain(y.iter().map(|y| (mean_y - y) / n_y)).collect();
    let clusters = Clusters::of(of_x.iter().chain(of_y).copied());
    // The shares' mean is 0, so the variance of their sum is that of their mean times n².
    let n = shares.len() as f64;
    let variance = Variance {
        value: clusters.variance_of_mean(&shares)? * n * n,
        degrees_of_freedom: clusters.count() as f64 - 1.0,
    };
    if variance.value <= 0.0 {
        return None;
    }
    let estimate = mean_x - mean_y;
    Some(Tested {
        estimate,
        interval: variance.interval(estimate, level),
        p: variance.two_sided_p(estimate)?,
    })
}

/// An interval of the median from order statistics, whatever the distribution: between the k-th smallest and the k-th largest
/// value, k the largest number for which fewer than k of n values lie on one side with a chance of at most (1 - level)/2.
/// `None` for too few values.
///
/// Source: Conover 1999, "Practical Nonparametric Statistics", section 3.2.
pub fn median_interval(values: &[f64], level: f64) -> Option<Interval> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let below = Binomial::new(0.5, values.len() as u64).ok()?;
    // The number of values below the median: the quantile is the first count that is too likely.
    let k = below.inverse_cdf((1.0 - level) / 2.0) as usize;
    let (low, high) = (
        sorted.get(k.checked_sub(1)?)?,
        sorted.get(sorted.len() - k)?,
    );
    Some(Interval {
        low: *low,
        high: *high,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }

    #[test]
    fn a_difference_over_clusters_by_hand() {
        // Means 2 and 5; clusters 0 and 1 in both: u = (1 - 2)/2 - (4 - 5)/2 = 0 and 0.
        let found = difference_over_clusters((&[1.0, 3.0], &[0, 1]), (&[4.0, 6.0], &[0, 1]), 0.95);
        assert_eq!(found, None, "nothing is left to vary");
        // Three clusters: u_0 = (0 - 1)/2, u_1 = (2 - 1)/2, u_2 = 0; variance 3/2 · 1/2, t(2).
        let found = difference_over_clusters((&[0.0, 2.0], &[0, 1]), (&[4.0], &[2]), 0.95).unwrap();
        close(found.estimate, -3.0);
        let error = 0.75_f64.sqrt();
        close(found.interval.unwrap().high, -3.0 + 4.302_653 * error);
        let t = 3.0 / error;
        close(found.p, 1.0 - t / (2.0 + t * t).sqrt());
        assert_eq!(
            difference_over_clusters((&[], &[]), (&[4.0], &[2]), 0.95),
            None
        );
    }

    #[test]
    fn the_interval_of_a_median_by_the_table() {
        // Of 10 values P(fewer than 2 below) = 11/1024 and P(fewer than 3) = 56/1024: the second to the ninth.
        let values: Vec<f64> = (1..=10).map(f64::from).collect();
        let found = median_interval(&values, 0.95).unwrap();
        assert_eq!((found.low, found.high), (2.0, 9.0));
        // Of 20: P(fewer than 6) = 0.0207: the sixth to the fifteenth.
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        let found = median_interval(&values, 0.95).unwrap();
        assert_eq!((found.low, found.high), (6.0, 15.0));
        assert_eq!(median_interval(&values[..4], 0.95), None);
    }
}
