//! Units that belong together: facts of one relation, prompts about one subject, tokens of one document.
//!
//! What is true of one unit of a cluster is partly true of the others, so that n units say less than n independent ones.
//! The variance of a mean is therefore that of sums over clusters, and its degrees of freedom are counted in clusters.

use std::collections::HashMap;

use super::summary::{Interval, mean};
use super::variance::Variance;

/// Which cluster each unit is of, clusters numbered from 0 in the order of their first units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clusters {
    of_unit: Vec<usize>,
    count: usize,
}

/// A mean with its t interval, in the unit of the values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClusteredMean {
    /// Mean of the values as they are: every unit counts alike.
    pub mean: f64,
    /// Student's t interval at the level asked for.
    pub interval: Interval,
    /// Its standard error.
    pub standard_error: f64,
    /// Two-sided p of a mean of 0, by Student's t; absent where nothing varies.
    pub p: Option<f64>,
}

impl Clusters {
    /// Units that are independent of each other: each is its own cluster.
    pub fn alone(units: usize) -> Self {
        Self {
            of_unit: (0..units).collect(),
            count: units,
        }
    }

    /// Units with the same key are of one cluster. Where all have the same, nothing tells how clusters differ: what is found is about
    /// that one alone, and its units stand for themselves.
    pub fn of(keys: impl IntoIterator<Item = usize>) -> Self {
        let mut numbers = HashMap::new();
        let number = |key| {
            let next = numbers.len();
            *numbers.entry(key).or_insert(next)
        };
        let of_unit: Vec<usize> = keys.into_iter().map(number).collect();
        if numbers.len() == 1 {
            return Self::alone(of_unit.len());
        }
        Self {
            count: numbers.len(),
            of_unit,
        }
    }

    /// Number of clusters.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Units of a cluster.
    pub fn size(&self, cluster: usize) -> usize {
        self.of_unit.iter().filter(|of| **of == cluster).count()
    }

    /// Number of units.
    pub fn units(&self) -> usize {
        self.of_unit.len()
    }

    /// The cluster of each unit.
    pub fn of_units(&self) -> &[usize] {
        &self.of_unit
    }

    /// Variance of the mean of `values`, one per unit: G/(G - 1) · Σ_g (Σ_{i in g} (v_i - m))² / n², which for clusters of
    /// one unit is the sample variance by n. `None` for fewer than 2 clusters.
    ///
    /// Source: Liang and Zeger 1986, "Longitudinal Data Analysis Using Generalized Linear Models", for the mean.
    pub(super) fn variance_of_mean(&self, values: &[f64]) -> Option<f64> {
        let centre = mean(values)?;
        let others = self.count.checked_sub(1).filter(|others| *others > 0)?;
        let mut sums = vec![0.0; self.count];
        for (value, cluster) in values.iter().zip(&self.of_unit) {
            sums[*cluster] += value - centre;
        }
        let squares: f64 = sums.iter().map(|sum| sum * sum).sum();
        let n = values.len() as f64;
        Some(self.count as f64 / others as f64 * squares / (n * n))
    }

    /// The standard error of the mean of `values`, one per unit. `None` for fewer than 2 clusters.
    pub fn standard_error(&self, values: &[f64]) -> Option<f64> {
        self.variance_of_mean(values).map(f64::sqrt)
    }

    /// The mean of `values`, one per unit (pairs already differenced), with its interval from Student's t with G - 1
    /// degrees of freedom. `None` for fewer than 2 clusters, and for a value that is not finite.
    pub fn mean(&self, values: &[f64], level: f64) -> Option<ClusteredMean> {
        if values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let (mean, variance) = (mean(values)?, self.variance_of_mean(values)?);
        let variance = Variance {
            value: variance,
            degrees_of_freedom: self.count as f64 - 1.0,
        };
        Some(ClusteredMean {
            mean,
            interval: variance.interval(mean, level)?,
            standard_error: variance.value.sqrt(),
            p: variance.two_sided_p(mean),
        })
    }

    /// The mean over clusters of the clusters' means: every cluster counts alike. `None` without values.
    pub fn mean_of_clusters(&self, values: &[f64]) -> Option<f64> {
        mean(&self.means(values))
    }

    /// The mean of each cluster.
    pub fn means(&self, values: &[f64]) -> Vec<f64> {
        let mut sums = vec![(0.0, 0.0); self.count];
        for (value, cluster) in values.iter().zip(&self.of_unit) {
            sums[*cluster].0 += value;
            sums[*cluster].1 += 1.0;
        }
        sums.into_iter().map(|(sum, units)| sum / units).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }

    #[test]
    fn units_alone_have_the_variance_of_a_mean() {
        // 1, 2, 3, 6: mean 3, squares 4 + 1 + 0 + 9 = 14, variance 14/3, by 4; t(0.975; 3) = 3.182446.
        let found = Clusters::alone(4)
            .mean(&[1.0, 2.0, 3.0, 6.0], 0.95)
            .unwrap();
        let error = (14.0_f64 / 12.0).sqrt();
        close(found.mean, 3.0);
        close(found.standard_error, error);
        close(found.interval.high, 3.0 + 3.182_446 * error);
        close(found.interval.low, 3.0 - 3.182_446 * error);
        close(found.p.unwrap(), 0.069136869);
        for constant in [1.0, 0.0] {
            let found = Clusters::alone(2).mean(&[constant; 2], 0.95).unwrap();
            assert_eq!(found.p, None);
        }
    }

    #[test]
    fn clusters_by_hand() {
        let clusters = Clusters::of([7, 3, 7, 3, 9]);
        assert_eq!((clusters.count(), clusters.units()), (3, 5));
        assert_eq!(clusters.of_units(), [0, 1, 0, 1, 2]);
        // Values 1, 2, 3, 4, 5: mean 3; sums of deviations -2, 0, 2: 3/2 · 8 / 25.
        let values = [1.0, 2.0, 3.0, 4.0, 5.0];
        close(clusters.variance_of_mean(&values).unwrap(), 0.48);
        assert_eq!(clusters.means(&values), [2.0, 3.0, 5.0]);
        close(clusters.mean_of_clusters(&values).unwrap(), 10.0 / 3.0);
    }

    #[test]
    fn one_cluster_is_its_units_and_one_unit_has_no_interval() {
        assert_eq!(Clusters::of([1, 1, 1]), Clusters::alone(3));
        assert_eq!(Clusters::alone(1).mean(&[1.0], 0.95), None);
        assert_eq!(Clusters::alone(2).mean(&[1.0, f64::NAN], 0.95), None);
    }

    /// A model that knows by relation: all facts of one change alike.
    #[test]
    fn copies_of_a_unit_add_nothing() {
        let values = [0.3, -1.0, 2.5, 0.9];
        let copied: Vec<f64> = values.iter().flat_map(|value| [*value; 16]).collect();
        let clusters = Clusters::of((0..64).map(|unit| unit / 16));
        let (few, many) = (
            Clusters::alone(4).mean(&values, 0.95).unwrap(),
            clusters.mean(&copied, 0.95).unwrap(),
        );
        close(few.interval.low, many.interval.low);
        close(few.standard_error, many.standard_error);
    }
}
