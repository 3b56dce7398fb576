use super::*;
use crate::stats::{StatsSettings, Table, contrast, sequential_rank};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[test]
fn the_direction_is_the_ratio_of_the_losses() {
    let close = |fact, text, degrees: f64| assert!((direction(fact, text) - degrees).abs() < 1e-9);
    close(1.0, 1.0, 45.0);
    close(2.0, 2.0, 45.0);
    close(3.0, 0.0, 90.0);
    close(0.0, 0.1, 0.0);
    close(0.2, -0.1, 116.565_051_177);
    assert_eq!(damage(3.0, 4.0), 5.0);
    assert_eq!((damage(-3.0, 4.0), damage(-1.0, -1.0)), (4.0, 0.0));
}

/// Seeded, with mean 0 and variance 1 (Irwin and Hall).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

/// Losses of facts and of text of a set that damages with this force: facts lose three times as much, give or take.
fn losses(force: f64, rng: &mut ChaCha8Rng) -> (f64, f64) {
    let mut noise = || (0.15 * normal(rng)).exp();
    (3.0 * force * noise(), force * noise())
}

/// The rank of the direction of a class's losses, and the directions of its draws.
fn ranked(class: (f64, f64), draws: &[(f64, f64)]) -> (WeightedRank, Vec<f64>) {
    let of = |number: fn(f64, f64) -> f64| -> Vec<f64> {
        draws
            .iter()
            .map(|(fact, text)| number(*fact, *text))
            .collect()
    };
    let directions = of(direction);
    let rank = weighted_rank(direction(class.0, class.1), &directions, &of(damage));
    (rank.unwrap(), directions)
}

/// A class does what its draws do, and twice as much of it. That is no sign of recall; the difference of the two losses says
/// that it is, in two runs of three.
#[test]
fn twice_the_damage_is_not_specific() {
    const RUNS: u64 = 1_000;
    let (mut by_direction, mut by_difference) = (0, 0);
    for run in 0..RUNS {
        let mut rng = ChaCha8Rng::seed_from_u64(run);
        let class = losses(2.0, &mut rng);
        let draws: Vec<(f64, f64)> = (0..399)
            .map(|_| losses((0.2 * normal(&mut rng)).exp(), &mut rng))
            .collect();
        let (rank, _) = ranked(class, &draws);
        by_direction += u64::from(rank.p < 0.05);
        // Two prompts, so that only draws vary.
        let apart = |(fact, text): &(f64, f64)| vec![fact - text - 0.1, fact - text + 0.1];
        let table = Table {
            class: &apart(&class),
            draws: &draws[..12].iter().map(apart).collect::<Vec<_>>(),
            clusters: &crate::stats::Clusters::alone(2),
        };
        let found = contrast(table, &StatsSettings::default()).unwrap();
        by_difference += u64::from(found.estimate > 0.0 && found.p.unwrap() < 0.05);
    }
    assert!(
        by_direction <= 70,
        "{by_direction} of {RUNS}, 50 are expected"
    );
    assert!(by_difference > 600, "{by_difference}");
}

/// Damage to answers alone is specific, also where many sets do next to nothing in any direction.
#[test]
fn damage_to_answers_alone_is_specific() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let tiny = (0..400).map(|_| (1e-3 * normal(&mut rng), 1e-3 * normal(&mut rng)));
    let mut draws: Vec<(f64, f64)> = tiny.collect();
    draws.extend((0..400).map(|_| losses((0.2 * normal(&mut rng)).exp(), &mut rng)));
    let (by_weight, directions) = ranked((2.0, 0.02), &draws);
    assert!(by_weight.p < 0.01, "{by_weight:?}");
    assert!(
        (300.0..401.0).contains(&by_weight.effective_draws),
        "{by_weight:?}"
    );
    let by_number = sequential_rank(direction(2.0, 0.02), &directions).unwrap();
    assert!(by_number.p > 0.1, "{by_number:?}");
}
