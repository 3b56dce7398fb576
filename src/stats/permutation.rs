//! The permutation p: how many random draws are at least as extreme as the class?
//!
//! Under the null a class is one more random draw, so its rank among the K + 1 is uniform and nothing needs to be
//! assumed about shapes. It stops at 1/(K + 1): few draws cannot give a small p, which is why this p is shown
//! beside the one of [`contrast`](super::contrast()) and does not decide alone.

use super::summary::{ROUNDING, magnitude, mean};

/// The smallest p that `draws` random draws can give: 1/(1 + K). With 20 draws, 0.048.
pub fn permutation_floor(draws: usize) -> f64 {
    1.0 / (1.0 + draws as f64)
}

/// Two-sided permutation p of one class value against `draws`, the values of K random draws (any unit).
///
/// ```text
/// p = (1 + #{k : |draw_k - m| >= |class - m|}) / (1 + K),   m = mean of all K + 1 values
/// ```
///
/// m treats the class and the draws alike, so under exchangeability the rank of the class is uniform and
/// P(p <= a) <= a exactly, for every a. (|x - m| orders the values as the distance of each to the mean of the K
/// *others* does, for that distance is (K + 1)/K times as large. Measuring from the mean of the draws alone would
/// treat the class as the only outsider and reject too often.) Ties count as extreme, and so do differences within
/// rounding, which can only raise p.
///
/// With K = 1 both values are equally far from m, so p is 1. `None` without draws or with a value that is not
/// finite.
///
/// Source: Phipson and Smyth 2010, "Permutation P-values Should Never Be Zero".
pub fn permutation_p(class: f64, draws: &[f64]) -> Option<f64> {
    let pooled: Vec<f64> = std::iter::once(class)
        .chain(draws.iter().copied())
        .collect();
    if draws.is_empty() || pooled.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let centre = mean(&pooled)?;
    let tie = ROUNDING * magnitude(&pooled);
    let bar = (class - centre).abs() - tie;
    let extreme = draws
        .iter()
        .filter(|draw| (**draw - centre).abs() >= bar)
        .count();
    Some((1 + extreme) as f64 / (1 + draws.len()) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_computed() {
        // All five: mean 4, distances 6 (class), 3, 2, 1, 0. None of the draws is as far out: 1/5.
        assert_eq!(permutation_p(10.0, &[1.0, 2.0, 3.0, 4.0]), Some(0.2));
        // All five: mean 3, distances 1 (class 2), 2, 0, 1 (tie), 2: three of four, 4/5.
        assert_eq!(permutation_p(2.0, &[1.0, 3.0, 4.0, 5.0]), Some(0.8));
    }

    #[test]
    fn both_sides_count_alike() {
        let draws = [1.0, 2.5, 3.0, -4.0, 0.5];
        let mirrored = draws.map(|draw| -draw);
        assert_eq!(permutation_p(6.0, &draws), permutation_p(-6.0, &mirrored));
        // -6 is as far from the mean 0 of all three as +6: one draw of two is as extreme.
        assert_eq!(permutation_p(6.0, &[-6.0, 0.0]), Some(2.0 / 3.0));
    }

    #[test]
    fn a_class_far_out_reaches_the_floor_and_no_less() {
        let draws: Vec<f64> = (0..20).map(f64::from).collect();
        assert_eq!(permutation_p(1e9, &draws), Some(permutation_floor(20)));
        assert_eq!(permutation_floor(20), 1.0 / 21.0);
    }

    #[test]
    fn ties_count_as_extreme_even_through_rounding() {
        assert_eq!(permutation_p(0.3, &[0.3; 4]), Some(1.0));
        assert_eq!(permutation_p(0.1 + 0.2, &[0.3; 4]), Some(1.0));
        // Two values are always equally far from their mean.
        assert_eq!(permutation_p(0.1, &[0.7]), Some(1.0));
    }

    #[test]
    fn every_rank_is_equally_likely() {
        // Each of the six values takes the class's place once: exact validity means p = 1/6, 2/6 .. 6/6, once each.
        let values = [0.3, 1.1, -2.0, 5.0, 0.9, 2.8];
        let mut found: Vec<f64> = (0..values.len())
            .map(|class| {
                let draws: Vec<f64> = (0..values.len())
                    .filter(|index| *index != class)
                    .map(|index| values[index])
                    .collect();
                permutation_p(values[class], &draws).unwrap()
            })
            .collect();
        found.sort_unstable_by(f64::total_cmp);
        let expected: Vec<f64> = (1..=6).map(|rank| f64::from(rank) / 6.0).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn unusable_input_is_absent() {
        assert_eq!(permutation_p(1.0, &[]), None);
        assert_eq!(permutation_p(f64::NAN, &[1.0]), None);
        assert_eq!(permutation_p(1.0, &[f64::INFINITY]), None);
    }
}
