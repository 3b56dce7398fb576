//! The rank of a class among random draws that come one after the other, until it is decided.
//!
//! A verdict at a small level needs many draws, and a class that is like its draws needs few to show that. So draws are
//! made in batches, and the counting stops as soon as enough of them lie on both sides of the class.

use super::summary::{ROUNDING, magnitude};

/// With so many draws on both sides of the class it is like them: the p that is reached then is at least 2·10/999.
pub const EXCEEDANCES: usize = 10;

/// Where a class stands among its draws.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rank {
    /// Two-sided p of "the class is one more random draw".
    pub p: f64,
    /// Draws that it is of; those behind the one that decided it do not count.
    pub draws: usize,
    /// How many of them are on the side where fewer are, ties among them.
    pub beyond: usize,
    /// Whether more draws could change it.
    pub decided: bool,
}

/// The rank of `class` among `draws`, in their order, until [`EXCEEDANCES`] of them are at or above and as many at or below
/// it. With h that number, l the draw that completed it, K all draws and b the smaller of the two counts:
///
/// ```text
/// p = min(1, 2h/l) where it is decided, else min(1, 2(b + 1)/(K + 1))
/// ```
///
/// For one side h/l, and (b + 1)/(K + 1) at the end, is a p whatever the distribution: P(p <= a) <= a. Doubling the smaller
/// holds that for both sides. Ties count on both sides, and so do differences within rounding, which can only raise p.
/// The p depends neither on how draws are cut into batches nor, once decided, on how many there are.
///
/// `None` without draws, or with a value that is not finite.
///
/// Source: Besag and Clifford 1991, "Sequential Monte Carlo p-values".
pub fn sequential_rank(class: f64, draws: &[f64]) -> Option<Rank> {
    let values = || draws.iter().chain([&class]);
    if draws.is_empty() || values().any(|value| !value.is_finite()) {
        return None;
    }
    let tie = ROUNDING * magnitude(values());
    let (mut at_least, mut at_most) = (0, 0);
    for (draw, value) in draws.iter().enumerate() {
        at_least += usize::from(*value >= class - tie);
        at_most += usize::from(*value <= class + tie);
        let beyond = at_least.min(at_most);
        if beyond == EXCEEDANCES {
            let draws = draw + 1;
            return Some(Rank {
                p: (2.0 * beyond as f64 / draws as f64).min(1.0),
                draws,
                beyond,
                decided: true,
            });
        }
    }
    let beyond = at_least.min(at_most);
    Some(Rank {
        p: (2.0 * (beyond + 1) as f64 / (draws.len() + 1) as f64).min(1.0),
        draws: draws.len(),
        beyond,
        decided: false,
    })
}

/// The smallest p that so many draws of equal weight can give: 2/(1 + K).
pub fn rank_floor(draws: f64) -> f64 {
    (2.0 / (1.0 + draws)).min(1.0)
}

/// The rank of a class among draws of which some count for more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightedRank {
    /// Two-sided p of "the class is a draw that was picked with a chance proportional to its weight".
    pub p: f64,
    /// So many draws of equal weight would tell as much: (Σw)²/Σw².
    pub effective_draws: f64,
}

/// The rank of `class` among `draws` with these weights, 0 or more: twice the smaller of the two shares of weight at or beyond
/// it, where the class counts as a draw of the weight that a pick by weight has on average, Σw²/Σw.
///
/// ```text
/// p = min(1, 2·min((own + Σ w_k [y_k >= x]) / (own + Σ w_k), the same with <=)),   own = Σ w² / Σ w
/// ```
///
/// With equal weights it is the usual rank, (1 + beyond)/(1 + K), doubled. `None` without weight, for slices of different lengths,
/// or with a value that is not finite.
pub fn weighted_rank(class: f64, draws: &[f64], weights: &[f64]) -> Option<WeightedRank> {
    let finite = draws
        .iter()
        .chain(weights)
        .chain([&class])
        .all(|value| value.is_finite());
    let all: f64 = weights.iter().sum();
    if !finite || draws.len() != weights.len() || all <= 0.0 {
        return None;
    }
    let own = weights.iter().map(|weight| weight * weight).sum::<f64>() / all;
    let beyond = |holds: fn(f64, f64) -> bool| {
        let pairs = draws.iter().zip(weights);
        let beyond: f64 = pairs
            .filter(|(draw, _)| holds(**draw, class))
            .map(|(_, weight)| weight)
            .sum();
        (own + beyond) / (own + all)
    };
    let smaller = beyond(|draw, class| draw >= class).min(beyond(|draw, class| draw <= class));
    Some(WeightedRank {
        p: (2.0 * smaller).min(1.0),
        effective_draws: all / own,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_weights_are_the_usual_rank() {
        // One of nine at or above: 2·(1 + 1)/(1 + 9).
        let draws: Vec<f64> = (1..=9).map(f64::from).collect();
        let found = weighted_rank(8.5, &draws, &[0.5; 9]).unwrap();
        assert!((found.p - 0.4).abs() < 1e-12 && (found.effective_draws - 9.0).abs() < 1e-12);
        // The one above hardly counts: Σw = 8.1, Σw² = 8.01, own .98889: 2·(.98889 + .1)/(.98889 + 8.1).
        let mut weights = [1.0; 9];
        weights[8] = 0.1;
        let found = weighted_rank(8.5, &draws, &weights).unwrap();
        assert!(
            (found.p - 2.0 * 1.088_888_9 / 9.088_888_9).abs() < 1e-7,
            "{found:?}"
        );
        assert_eq!(weighted_rank(8.5, &draws, &[0.0; 9]), None);
    }

    #[test]
    fn by_hand() {
        // Two of four at or above 3, two at or below: 2·3/5, at most 1.
        let found = sequential_rank(3.0, &[1.0, 2.0, 4.0, 5.0]).unwrap();
        assert_eq!(
            (found.p, found.draws, found.beyond, found.decided),
            (1.0, 4, 2, false)
        );
        // None at or above 9.
        let draws: Vec<f64> = (0..7).map(f64::from).collect();
        let found = sequential_rank(9.0, &draws).unwrap();
        assert_eq!((found.p, found.beyond), (0.25, 0));
        assert_eq!(found.p, rank_floor(7.0));
        assert_eq!(sequential_rank(-9.0, &draws).unwrap().p, 0.25);
    }

    #[test]
    fn it_stops_where_it_is_decided() {
        // Every fourth draw is above the class: the tenth of them is draw number 40, p 2·10/40.
        let draws: Vec<f64> = (1..=400)
            .map(|draw| if draw % 4 == 0 { 1.0 } else { -1.0 })
            .collect();
        let all = sequential_rank(0.0, &draws).unwrap();
        assert_eq!((all.p, all.draws, all.decided), (0.5, 40, true));
        assert_eq!(sequential_rank(0.0, &draws[..40]), Some(all));
        assert!(!sequential_rank(0.0, &draws[..39]).unwrap().decided);
    }

    #[test]
    fn ties_count_on_both_sides() {
        let found = sequential_rank(0.1 + 0.2, &[0.3; 12]).unwrap();
        assert_eq!((found.p, found.draws), (1.0, 10));
    }

    #[test]
    fn unusable_input_is_absent() {
        assert_eq!(sequential_rank(1.0, &[]), None);
        assert_eq!(sequential_rank(f64::NAN, &[1.0]), None);
        assert_eq!(sequential_rank(1.0, &[f64::INFINITY]), None);
    }
}
