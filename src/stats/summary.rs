//! Mean, spread, quantiles, and the interval that all other files speak of.

use serde::{Deserialize, Serialize};

/// Differences this small relative to the values they come from are rounding, not data.
///
/// A sum of a few thousand `f64` terms is off by some 1e-13 of its largest term; the model's own outputs are
/// f32 and carry 1e-7 of noise, so nothing real is lost.
pub(super) const ROUNDING: f64 = 1e-12;

/// An interval of stated confidence, in the unit of the estimate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Whether `value` lies in the interval, its ends included.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// The arithmetic mean, in the unit of `values`; `None` when there are none.
pub fn mean(values: &[f64]) -> Option<f64> {
    let pivot = *values.first()?;
    // Summing differences to the first value makes the mean of equal values exact, so that no spread is
    // invented by rounding where there is none.
    let offsets: f64 = values.iter().map(|value| value - pivot).sum();
    Some(pivot + offsets / values.len() as f64)
}

/// The sample variance, with divisor n - 1, in squared units; `None` for fewer than 2 values.
pub fn sample_variance(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let centre = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    Some(squares / (values.len() - 1) as f64)
}

/// The sample standard deviation (divisor n - 1), in the unit of `values`; `None` for fewer than 2 values.
pub fn sample_sd(values: &[f64]) -> Option<f64> {
    sample_variance(values).map(f64::sqrt)
}

/// The median, in the unit of `values`; the mean of the middle two for an even count, `None` when there are none.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// The quantile at `share`, by linear interpolation between order statistics.
///
/// Position (n - 1) · share in the sorted values: the default of R ("type 7") and NumPy. `None` when there are
/// no values or `share` is outside [0, 1].
///
/// Source: Hyndman and Fan 1996, "Sample Quantiles in Statistical Packages", definition 7.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    quantile_of_sorted(&sorted, share)
}

/// [`quantile`] of values that are already in ascending order.
pub(super) fn quantile_of_sorted(sorted: &[f64], share: f64) -> Option<f64> {
    if sorted.is_empty() || !(0.0..=1.0).contains(&share) {
        return None;
    }
    let position = share * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = position.ceil() as usize;
    let weight = position - below as f64;
    Some(sorted[below] + weight * (sorted[above] - sorted[below]))
}

/// The largest magnitude among `values`, against which rounding is judged; 0 when there are none.
pub(super) fn magnitude<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values
        .into_iter()
        .fold(0.0, |largest, value| value.abs().max(largest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_computed_mean_spread_and_median() {
        let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert_eq!(mean(&values), Some(5.0));
        // Squared deviations 9 + 1 + 1 + 1 + 0 + 0 + 4 + 16 = 32, over n - 1 = 7.
        assert_eq!(sample_variance(&values), Some(32.0 / 7.0));
        assert_eq!(sample_sd(&values), Some((32.0_f64 / 7.0).sqrt()));
        assert_eq!(median(&values), Some(4.5));
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
    }

    #[test]
    fn what_the_data_cannot_give_is_absent() {
        assert_eq!(mean(&[]), None);
        assert_eq!(median(&[]), None);
        assert_eq!(sample_sd(&[]), None);
        assert_eq!(sample_sd(&[1.0]), None);
        assert_eq!(quantile(&[1.0, 2.0], 1.5), None);
        assert_eq!(quantile(&[1.0, 2.0], f64::NAN), None);
    }

    #[test]
    fn equal_values_have_a_spread_of_exactly_zero() {
        // 0.1 summed and divided naively gives another number than 0.1.
        assert_eq!(mean(&[0.1; 7]), Some(0.1));
        assert_eq!(sample_sd(&[0.1; 7]), Some(0.0));
    }

    #[test]
    fn quantiles_interpolate_between_order_statistics() {
        let values = [40.0, 10.0, 30.0, 20.0];
        assert_eq!(quantile(&values, 0.0), Some(10.0));
        assert_eq!(quantile(&values, 1.0), Some(40.0));
        // Position 3 · 0.25 = 0.75: three quarters of the way from 10 to 20.
        assert_eq!(quantile(&values, 0.25), Some(17.5));
    }
}
