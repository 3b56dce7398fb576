//! What decides where draws have heavy tails.

use super::*;

/// The level that Holm asks of the first of 15 tests.
const HOLM: f64 = 0.05 / 15.0;

/// Draws with the tails of real ones: most do little, some very much.
fn lognormal(noise: &mut Noise) -> f64 {
    -noise.normal().exp()
}

/// The class is one of the draws; only the means of the sets vary, as with the real draws (1.13 against .04 nats²).
#[test]
fn at_holms_level_students_t_fails_with_heavy_tails_and_the_rank_does_not() {
    const MANY: u64 = 40_000;
    let share = |test: &(dyn Fn(f64, Vec<f64>) -> bool + Sync), draws: usize| {
        let hits = (0..MANY).into_par_iter().filter(|run| {
            let mut noise = Noise::of_run(5, *run);
            let class = lognormal(&mut noise);
            test(class, (0..draws).map(|_| lognormal(&mut noise)).collect())
        });
        hits.count() as f64 / MANY as f64
    };
    let students = |class: f64, draws: Vec<f64>| {
        let pattern = |level: f64| vec![level - 0.5, level + 0.5];
        let draws: Vec<Vec<f64>> = draws.into_iter().map(pattern).collect();
        let table = Table {
            class: &pattern(class),
            draws: &draws,
            clusters: &Clusters::alone(2),
        };
        contrast(table, &settings()).unwrap().p.unwrap() < HOLM
    };
    for draws in [12, 20] {
        let by_t = share(&students, draws);
        assert!(by_t > 8.0 * HOLM, "{draws} draws: {by_t}");
    }
    let ranked = |class: f64, draws: Vec<f64>| sequential_rank(class, &draws).unwrap().p < HOLM;
    // One standard error is 0.029 points.
    let by_rank = share(&ranked, 999);
    assert!(by_rank <= HOLM + 0.0009, "{by_rank}");
    assert!(by_rank > HOLM / 3.0, "it is no idle test: {by_rank}");
    // With too few draws it cannot find anything, and does not.
    assert_eq!(share(&ranked, 199), 0.0);
}

/// How many draws a class needs: few where it is like them, all of them where it is not.
#[test]
fn a_class_that_is_like_its_draws_is_decided_early_and_one_that_is_not_is_found() {
    let ranks = |class: f64| {
        let of_run = move |run| {
            let mut noise = Noise::of_run(6, run);
            let draws: Vec<f64> = (0..999).map(|_| lognormal(&mut noise)).collect();
            sequential_rank(class, &draws).unwrap()
        };
        let ranks: Vec<Rank> = (0..200).into_par_iter().map(of_run).collect();
        let draws = ranks.iter().map(|rank| rank.draws as f64).sum::<f64>() / 200.0;
        let found = ranks.iter().filter(|rank| rank.p < HOLM).count();
        (draws, found)
    };
    // The median of the lognormal; then a value that one draw in 3,500 exceeds.
    let (draws, found) = ranks(-1.0);
    assert!((20.0..30.0).contains(&draws), "{draws}");
    assert_eq!(found, 0);
    let (draws, found) = ranks(-(3.45_f64.exp()));
    assert_eq!(draws, 999.0);
    assert!(found > 130, "{found}");
}
