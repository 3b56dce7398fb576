//! The statistics on data whose truth is known: stated error rates under the null, planted effects found.
//!
//! Every seed is fixed, so a test either always passes or never. With 4,000 runs a rate of 5 % is known to 0.34
//! points (one standard error): the band of ±1 point is three of those.

mod clusters;
mod ranks;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::contrast::{Contrast, Table, contrast, contrast_of_two};
use super::*;

const RUNS: u64 = 4_000;
/// Monte-Carlo band around a nominal rate.
const BAND: f64 = 0.01;
const LEVEL: f64 = 0.95;

/// Standard deviations of the parts of y_ki = a_k + b_i + c_ki, and the class's effect e_i.
#[derive(Clone, Copy, Debug)]
struct Mix {
    draw: f64,
    prompt: f64,
    interaction: f64,
    effect: Effect,
}

/// What sets the class apart from a random draw.
#[derive(Clone, Copy, Debug)]
enum Effect {
    None,
    /// Normal over prompts.
    Normal {
        mean: f64,
        sd: f64,
    },
    /// Exponential over prompts: most prompts untouched, some hit hard.
    Skewed {
        mean: f64,
    },
}

/// Seeded noise, one stream per run.
struct Noise {
    rng: ChaCha8Rng,
    /// Box and Muller make normals in pairs: the second of the last pair.
    spare: Option<f64>,
}

impl Noise {
    fn of_run(seed: u64, run: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(run);
        Self { rng, spare: None }
    }

    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (2.0 * self.exponential()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * self.rng.random::<f64>()).sin_cos();
        self.spare = Some(radius * sine);
        radius * cosine
    }

    /// Mean 1.
    fn exponential(&mut self) -> f64 {
        // 1 - u keeps the logarithm's argument above 0.
        -(1.0 - self.rng.random::<f64>()).ln()
    }

    fn effect(&mut self, effect: Effect) -> f64 {
        match effect {
            Effect::None => 0.0,
            Effect::Normal { mean, sd } => mean + sd * self.normal(),
            Effect::Skewed { mean } => mean * self.exponential(),
        }
    }
}

/// A class and its draws on the same prompts, where the level of each set may be given.
fn arms(mix: Mix, levels: &[f64], prompts: usize, noise: &mut Noise) -> (Vec<f64>, Vec<Vec<f64>>) {
    let prompt_effects: Vec<f64> = (0..prompts).map(|_| mix.prompt * noise.normal()).collect();
    let mut arm = |level: &f64| -> Vec<f64> {
        let prompts = prompt_effects.iter();
        prompts
            .map(|prompt| prompt + level + mix.interaction * noise.normal())
            .collect()
    };
    let mut arms: Vec<Vec<f64>> = levels.iter().map(&mut arm).collect();
    let draws = arms.split_off(1);
    let mut class = arms.swap_remove(0);
    for value in &mut class {
        *value += noise.effect(mix.effect);
    }
    (class, draws)
}

fn settings() -> StatsSettings {
    StatsSettings {
        level: LEVEL,
        ..StatsSettings::default()
    }
}

/// One simulated comparison.
fn simulated(mix: Mix, draws: usize, prompts: usize, run: u64) -> Contrast {
    let mut noise = Noise::of_run(20_250_523, run);
    let levels: Vec<f64> = (0..=draws).map(|_| mix.draw * noise.normal()).collect();
    let (class, draws) = arms(mix, &levels, prompts, &mut noise);
    let table = Table {
        class: &class,
        draws: &draws,
        clusters: &Clusters::alone(prompts),
    };
    contrast(table, &settings()).unwrap()
}

/// One simulated difference in differences: two samples of prompts, the same sets in both.
fn simulated_two(mix: Mix, draws: usize, prompts: [usize; 2], run: u64) -> Contrast {
    let mut noise = Noise::of_run(20_261_124, run);
    let mut levels = || -> Vec<f64> { (0..=draws).map(|_| mix.draw * noise.normal()).collect() };
    let levels = [levels(), levels()];
    let without_effect = Mix {
        effect: Effect::None,
        ..mix
    };
    let first = arms(mix, &levels[0], prompts[0], &mut noise);
    let second = arms(without_effect, &levels[1], prompts[1], &mut noise);
    let clusters = prompts.map(Clusters::alone);
    let [first, second] =
        [(&first, &clusters[0]), (&second, &clusters[1])].map(|(arms, clusters)| Table {
            class: &arms.0,
            draws: &arms.1,
            clusters,
        });
    contrast_of_two(first, second, &settings()).unwrap()
}

/// Share of the runs in which `holds`.
fn share(mix: Mix, draws: usize, prompts: usize, holds: fn(&Contrast) -> bool) -> f64 {
    share_of(|run| holds(&simulated(mix, draws, prompts, run)))
}

fn share_of(holds: impl Fn(u64) -> bool + Sync) -> f64 {
    let hits = (0..RUNS).into_par_iter().filter(|run| holds(*run)).count();
    hits as f64 / RUNS as f64
}

fn rejects(found: &Contrast) -> bool {
    found.p.unwrap() <= 1.0 - LEVEL
}

fn covers<const TRUTH_IN_TENTHS: i32>(found: &Contrast) -> bool {
    let truth = f64::from(TRUTH_IN_TENTHS) / 10.0;
    found.interval.unwrap().contains(truth)
}

/// Draws and prompts. The usual 20 and 200 cost more than the rest together, and have tests of their own.
const SIZES: [(usize, usize); 3] = [(5, 30), (5, 200), (20, 30)];

fn null(draw: f64, prompt: f64, interaction: f64) -> Mix {
    Mix {
        draw,
        prompt,
        interaction,
        effect: Effect::None,
    }
}

#[test]
fn under_the_null_the_error_rate_is_the_stated_one() {
    for mix in [
        null(1.0, 1.0, 1.0),
        null(1.0, 3.0, 0.1),
        null(0.5, 0.0, 1.0),
    ] {
        for (draws, prompts) in SIZES {
            let rate = share(mix, draws, prompts, rejects);
            assert!(
                (rate - 0.05).abs() <= BAND,
                "{mix:?}, {draws}, {prompts}: {rate}"
            );
        }
    }
}

#[test]
fn the_usual_size_has_the_stated_error_rate_too() {
    for mix in [null(0.1, 1.0, 1.0), null(0.0, 1.0, 1.0)] {
        let rate = share(mix, 20, 200, rejects);
        assert!((rate - 0.05).abs() <= BAND, "{mix:?}: {rate}");
    }
}

#[test]
fn without_a_draw_effect_the_test_is_conservative_and_not_idle() {
    // B is cut off at 0, so on average it adds a little where nothing is to be added: 3.5 % to 4.7 %.
    for mix in [null(0.0, 1.0, 1.0), null(0.05, 0.0, 1.0)] {
        for (draws, prompts) in SIZES {
            let rate = share(mix, draws, prompts, rejects);
            assert!(
                (0.03..=0.05 + BAND).contains(&rate),
                "{mix:?}, {draws}, {prompts}: {rate}"
            );
        }
    }
}

#[test]
fn the_permutation_p_holds_its_level() {
    let significant = |found: &Contrast| found.permutation_p.unwrap() <= 1.0 - LEVEL;
    for mix in [null(1.0, 1.0, 1.0), null(0.0, 1.0, 1.0)] {
        // 1/21 = 0.0476 is the one step below 0.05 that 20 draws have; 5 draws have none.
        let rate = share(mix, 20, 30, significant);
        assert!((rate - 1.0 / 21.0).abs() <= BAND, "{mix:?}: {rate}");
        assert_eq!(share(mix, 5, 30, significant), 0.0);
    }
}

#[test]
fn a_planted_effect_is_found() {
    // K = 20, n = 200: se² = 1.05 · (0.01 + 1/200) + 0.25/200 = 0.017, so 0.5 is 3.8 standard errors off and the
    // power about 95 %. K = 5: se² = 1.2 · 0.015 + 0.00125, 3.6 standard errors, but with few degrees of freedom.
    let mix = Mix {
        draw: 0.1,
        prompt: 2.0,
        interaction: 1.0,
        effect: Effect::Normal { mean: 0.5, sd: 0.5 },
    };
    let with_many_draws = share(mix, 20, 200, rejects);
    let with_few_draws = share(mix, 5, 200, rejects);
    assert!(with_many_draws > 0.93, "{with_many_draws}");
    assert!(with_few_draws > 0.75, "{with_few_draws}");
}

#[test]
fn the_interval_covers_an_effect_that_varies_between_prompts() {
    // Where B is small and uncertain the interval errs on the wide side: 96 % for 5 draws and 30 prompts.
    for (sd, draw, interaction) in [(3.0, 0.1, 0.1), (1.0, 0.1, 1.0), (1.0, 1.0, 0.1)] {
        let mix = Mix {
            draw,
            prompt: 1.0,
            interaction,
            effect: Effect::Normal { mean: 0.5, sd },
        };
        for (draws, prompts) in SIZES {
            let covered = share(mix, draws, prompts, covers::<5>);
            assert!(
                (LEVEL - BAND..=0.97).contains(&covered),
                "{mix:?}, {draws}, {prompts}: {covered}"
            );
        }
    }
}

#[test]
fn the_spread_of_the_draws_alone_would_not_cover_it() {
    // Why B is there: the class's own variation between prompts is invisible in the draws.
    let mix = Mix {
        draw: 0.1,
        prompt: 1.0,
        interaction: 0.1,
        effect: Effect::Normal { mean: 0.0, sd: 3.0 },
    };
    // t(0.975; 19) = 2.093.
    let by_draws_alone = share(mix, 20, 200, |found| {
        found.standardised.unwrap().abs() > 2.093
    });
    assert!(by_draws_alone > 0.3, "{by_draws_alone}");
}

#[test]
fn a_skewed_effect_is_covered_a_little_less() {
    let mix = Mix {
        draw: 0.05,
        prompt: 1.0,
        interaction: 0.2,
        effect: Effect::Skewed { mean: 1.0 },
    };
    let covered = share(mix, 20, 200, covers::<10>);
    assert!((0.93..=LEVEL + BAND).contains(&covered), "{covered}");
}

/// By how much a class exceeds the average set: its interval covers where sets differ, with heavy tails less so.
#[test]
fn the_interval_against_the_average_set_covers_the_excess() {
    // The class is 0.5 above the mean of all sets, whatever these are.
    let mix = Mix {
        draw: 1.0,
        prompt: 1.0,
        interaction: 1.0,
        effect: Effect::Normal { mean: 0.5, sd: 0.5 },
    };
    let covered = share_of(|run| {
        let mut noise = Noise::of_run(23, run);
        let mut levels: Vec<f64> = (0..=20).map(|_| mix.draw * noise.normal()).collect();
        levels[0] = 0.0;
        let (class, draws) = arms(mix, &levels, 60, &mut noise);
        let table = Table {
            class: &class,
            draws: &draws,
            clusters: &Clusters::alone(60),
        };
        let found = contrast(table, &settings()).unwrap();
        found.average_interval.unwrap().contains(0.5)
    });
    assert!((covered - LEVEL).abs() <= 0.015, "{covered}");
}

#[test]
fn a_difference_in_differences_has_the_stated_error_rate_and_finds_an_effect() {
    for mix in [null(1.0, 1.0, 1.0), null(0.3, 2.0, 1.0)] {
        for (draws, prompts) in [(5, [30, 60]), (12, [60, 30])] {
            let rate = share_of(|run| rejects(&simulated_two(mix, draws, prompts, run)));
            assert!(
                (0.03..=0.05 + BAND).contains(&rate),
                "{mix:?}, {draws}, {prompts:?}: {rate}"
            );
        }
    }
    let effect = Effect::Normal { mean: 1.0, sd: 1.0 };
    let mix = Mix {
        effect,
        ..null(0.1, 2.0, 1.0)
    };
    let power = share_of(|run| rejects(&simulated_two(mix, 12, [200, 60], run)));
    assert!(power > 0.9, "{power}");
}
