//! Many tests read together: Holm's adjustment of a family of p values.
//!
//! It holds the chance of *any* false finding in the family below the level, whatever the dependence between the
//! tests. It stops at the arithmetic: which tests form a family (all of one run) is the experiment's choice.

/// Holm-adjusted p values, in the order of `p`.
///
/// With p(1) <= ... <= p(m) in ascending order, adjusted p(i) = max over j <= i of min(1, (m - j + 1) · p(j)). So
/// an adjusted value is at least its raw one, at most Bonferroni's m · p, and keeps the order. NaN counts as 1: it
/// belongs to the family and finds nothing. A test that could not be made at all belongs into [`holm_present`].
///
/// Source: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".
pub fn holm(p: &[f64]) -> Vec<f64> {
    let known: Vec<f64> = p
        .iter()
        .map(|p| if p.is_nan() { 1.0 } else { *p })
        .collect();
    let mut ascending: Vec<usize> = (0..known.len()).collect();
    ascending.sort_by(|a, b| known[*a].total_cmp(&known[*b]));
    let mut adjusted = vec![0.0; known.len()];
    let mut largest = 0.0_f64;
    for (rank, &test) in ascending.iter().enumerate() {
        let remaining = (known.len() - rank) as f64;
        largest = largest.max((remaining * known[test]).min(1.0));
        adjusted[test] = largest;
    }
    adjusted
}

/// [`holm`] over the tests that have a p; the others stay `None` and do not count in the family.
pub fn holm_present(p: &[Option<f64>]) -> Vec<Option<f64>> {
    let present: Vec<f64> = p.iter().copied().flatten().collect();
    let mut adjusted = holm(&present).into_iter();
    p.iter().map(|p| p.and_then(|_| adjusted.next())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-12,
                "{found} is not {expected}"
            );
        }
    }

    #[test]
    fn hand_computed() {
        // Ascending .005, .01, .03, .04 times 4, 3, 2, 1: .02, .03, .06, .04 -> the last is lifted to .06.
        assert_close(&holm(&[0.01, 0.04, 0.03, 0.005]), &[0.03, 0.06, 0.06, 0.02]);
        assert_close(&holm(&[0.5, 0.4, 0.9]), &[1.0, 1.0, 1.0]);
        assert_close(&holm(&[0.02]), &[0.02]);
        assert_close(&holm(&[]), &[]);
    }

    #[test]
    fn an_absent_p_stays_absent_and_costs_nothing() {
        let found = holm_present(&[Some(0.02), None, Some(0.03), None]);
        assert_eq!(found, [Some(0.04), None, Some(0.04), None]);
        assert_eq!(holm_present(&[None, None]), [None, None]);
    }

    #[test]
    fn not_a_number_finds_nothing_but_counts() {
        assert_close(&holm(&[f64::NAN, 0.01]), &[1.0, 0.02]);
    }

    proptest! {
        #[test]
        fn between_raw_and_bonferroni_and_monotone(p in prop::collection::vec(0.0..=1.0_f64, 0..40)) {
            let adjusted = holm(&p);
            prop_assert_eq!(adjusted.len(), p.len());
            for (raw, adjusted) in p.iter().zip(&adjusted) {
                prop_assert!(adjusted >= raw);
                prop_assert!(*adjusted <= (raw * p.len() as f64).min(1.0));
            }
            for a in 0..p.len() {
                for b in 0..p.len() {
                    prop_assert!(p[a] > p[b] || adjusted[a] <= adjusted[b]);
                }
            }
        }

        #[test]
        fn the_order_of_the_tests_does_not_matter(p in prop::collection::vec(0.0..=1.0_f64, 0..40)) {
            let backwards: Vec<f64> = p.iter().rev().copied().collect();
            let mut again = holm(&backwards);
            again.reverse();
            prop_assert_eq!(again, holm(&p));
        }
    }
}
