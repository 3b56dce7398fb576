//! What patching leaves of the difference between a fact and its corrupted run.

use super::effects::Arms;
use crate::stats::mean;

/// What each arm has of the difference between `clean` and `corrupted`, prompt by prompt: R = Σ(v - corrupted) / Σ(clean -
/// corrupted), a ratio of sums and no mean of ratios. Its linearised values R + (nᵢ - R·dᵢ)/d̄ have R as their mean and its
/// spread (Cochran 1977, "Sampling Techniques", chapter 6). Nothing where the two do not differ.
pub(super) fn recovered(arms: Arms, clean: &[f64], corrupted: &[f64]) -> Arms {
    let range: Vec<f64> = clean.iter().zip(corrupted).map(|(a, b)| a - b).collect();
    let Some(mean_range) = mean(&range).filter(|range| *range != 0.0) else {
        return Arms::default();
    };
    let share = |values: &Vec<f64>| -> Vec<f64> {
        let over: Vec<f64> = values.iter().zip(corrupted).map(|(a, b)| a - b).collect();
        let ratio = mean(&over).unwrap_or(f64::NAN) / mean_range;
        let pairs = over.iter().zip(&range);
        pairs
            .map(|(over, range)| ratio + (over - ratio * range) / mean_range)
            .collect()
    };
    Arms {
        clean: share(&arms.clean),
        class: share(&arms.class),
        draws: arms.draws.iter().map(share).collect(),
        clusters: arms.clusters,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Clusters;

    #[test]
    fn a_ratio_of_sums_is_no_mean_of_ratios() {
        // Of ranges 4 and 1, half of the one and all of the other: (2 + 1) / (4 + 1).
        let arms = Arms {
            clean: vec![5.0, 3.0],
            class: vec![3.0, 3.0],
            draws: vec![vec![1.0, 2.0]],
            clusters: Clusters::alone(2),
        };
        let found = recovered(arms, &[5.0, 3.0], &[1.0, 2.0]);
        let close = |values: &[f64], expected: f64| {
            assert!(
                (mean(values).unwrap() - expected).abs() < 1e-12,
                "{values:?}"
            );
        };
        close(&found.class, 0.6);
        close(&found.draws[0], 0.0);
        assert_eq!(found.clean, [1.0, 1.0]);
        // R + (nᵢ - R·dᵢ)/d̄ with R = .6, d̄ = 2.5.
        assert!((found.class[0] - (0.6 + (2.0 - 0.6 * 4.0) / 2.5)).abs() < 1e-12);
    }

    #[test]
    fn without_a_range_there_is_nothing() {
        let found = recovered(Arms::default(), &[1.0, 2.0], &[2.0, 1.0]);
        assert!(found.class.is_empty());
    }
}
