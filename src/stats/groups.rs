//! Two groups of a population: is their difference one of chance labels?

use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use statrs::distribution::{Beta, Binomial, ContinuousCDF, DiscreteCDF, Normal};

use super::settings::BootstrapSettings;
use super::summary::{Interval, mean, sample_variance};

/// An estimate with its interval and a p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tested {
    /// In the unit of the values.
    pub estimate: f64,
    /// At the level of the settings.
    pub interval: Option<Interval>,
    /// Two-sided.
    pub p: f64,
}

/// Mean of the members of one group minus that of another, both of the population `values`, against labels shuffled
/// over all of it.
///
/// p = (1 + #{r : |d_r| >= |d|}) / (1 + R), where d_r is the difference of two disjoint random groups of the same
/// sizes. The interval is Welch's, with the normal quantile; groups of neurons are large.
///
/// `None` where a group is empty.
pub fn shuffled_labels(
    values: &[f64],
    (first, second): (&[usize], &[usize]),
    settings: &BootstrapSettings,
) -> Option<Tested> {
    let of = |members: &[usize]| -> Vec<f64> { members.iter().map(|m| values[*m]).collect() };
    let (a, b) = (of(first), of(second));
    let estimate = mean(&a)? - mean(&b)?;
    let generator = ChaCha8Rng::seed_from_u64(settings.seed);
    let as_far = (0..settings.resamples as u64)
        .into_par_iter()
        .filter(|resample| {
            let mut rng = generator.clone();
            rng.set_stream(*resample);
            let drawn = index::sample(&mut rng, values.len(), a.len() + b.len()).into_vec();
            let (first, second) = drawn.split_at(a.len());
            let difference = mean(&of(first)).zip(mean(&of(second))).map(|(a, b)| a - b);
            difference.is_some_and(|difference| difference.abs() >= estimate.abs() - 1e-12)
        });
    let as_far = as_far.count();
    let square = |values: &[f64]| Some(sample_variance(values)? / values.len() as f64);
    let interval = square(&a).zip(square(&b)).map(|(a, b)| {
        let reach = Normal::standard().inverse_cdf(0.5 + settings.level / 2.0) * (a + b).sqrt();
        Interval {
            low: estimate - reach,
            high: estimate + reach,
        }
    });
    Some(Tested {
        estimate,
        interval,
        p: (1 + as_far) as f64 / (1 + settings.resamples) as f64,
    })
}

/// The share of `hits` in `of`, against one half: exact two-sided binomial p (twice the smaller tail), Clopper and
/// Pearson's interval. `None` for no trials.
///
/// Source: Clopper and Pearson 1934, "The Use of Confidence or Fiducial Limits Illustrated in the Case of the
/// Binomial".
pub fn share_against_half(hits: u64, of: u64, level: f64) -> Option<Tested> {
    let chance = Binomial::new(0.5, of)
        .ok()
        .filter(|_| of > 0 && hits <= of)?;
    let at_most = chance.cdf(hits);
    let at_least = hits.checked_sub(1).map_or(1.0, |less| chance.sf(less));
    let tail = (1.0 - level) / 2.0;
    let (k, rest) = (hits as f64, (of - hits) as f64);
    let quantile = |a: f64, b: f64, share: f64| Some(Beta::new(a, b).ok()?.inverse_cdf(share));
    let low = if hits == 0 {
        Some(0.0)
    } else {
        quantile(k, rest + 1.0, tail)
    };
    let high = if hits == of {
        Some(1.0)
    } else {
        quantile(k + 1.0, rest, 1.0 - tail)
    };
    Some(Tested {
        estimate: k / of as f64,
        interval: low.zip(high).map(|(low, high)| Interval { low, high }),
        p: (2.0 * at_most.min(at_least)).min(1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_labels_of_a_small_population() {
        // Of the 4·3 ordered pairs of {0, 1, 2, 3}, |difference| is 3 in two.
        let values = [0.0, 1.0, 2.0, 3.0];
        let found = shuffled_labels(&values, (&[3], &[0]), &BootstrapSettings::default()).unwrap();
        assert_eq!((found.estimate, found.interval), (3.0, None));
        assert!((found.p - 1.0 / 6.0).abs() < 0.015, "{}", found.p);
        let none = shuffled_labels(&values, (&[], &[0]), &BootstrapSettings::default());
        assert_eq!(none, None);
    }

    #[test]
    fn apart_is_found_and_alike_is_not() {
        let values: Vec<f64> = (0..1000).map(|i| f64::from(i % 10)).collect();
        let members = |digits: std::ops::Range<usize>| -> Vec<usize> {
            (0..200).filter(|i| digits.contains(&(i % 10))).collect()
        };
        let settings = BootstrapSettings {
            resamples: 999,
            ..BootstrapSettings::default()
        };
        let p = |a: &[usize], b: &[usize]| {
            let found = shuffled_labels(&values, (a, b), &settings);
            found.unwrap().p
        };
        assert_eq!(p(&members(0..3), &members(7..10)), 0.001);
        let (even, odd): (Vec<usize>, Vec<usize>) = (0..200).partition(|i| (i / 10) % 2 == 0);
        assert_eq!(p(&even, &odd), 1.0);
    }

    #[test]
    fn shares_by_hand() {
        // 8 of 10: P(X >= 8) = 56/1024; Clopper-Pearson 0.4439 to 0.9748.
        let found = share_against_half(8, 10, 0.95).unwrap();
        assert!((found.p - 112.0 / 1024.0).abs() < 1e-12);
        let interval = found.interval.unwrap();
        assert!((interval.low - 0.443_905).abs() < 1e-5, "{interval:?}");
        assert!((interval.high - 0.974_789).abs() < 1e-5, "{interval:?}");
        let all = share_against_half(3, 3, 0.95).unwrap();
        assert!((all.p - 0.25).abs() < 1e-12);
        assert_eq!(all.interval.unwrap().high, 1.0);
        assert_eq!(share_against_half(0, 0, 0.95), None);
    }
}
