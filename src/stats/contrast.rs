//! A neuron class against K matched random draws, measured on the same prompts.
//!
//! Two things are samples here: the prompts, and the random draws. An interval over the prompts alone answers "is
//! the class different from *these* draws?" and calls a class special where any other random set would have looked
//! so too. So both kinds of chance enter the interval. It stops at one class and one metric: families of tests go
//! through [`holm`](super::holm()).

use serde::Serialize;

use super::bootstrap::{BootstrapSettings, bootstrap_mean};
use super::error::{StatsError, ValueSource};
use super::permutation::{permutation_floor, permutation_p};
use super::summary::{Interval, ROUNDING, magnitude, mean, sample_sd};
use super::variance::{Parts, Sample, interaction_variance, prompt_means};

/// The class against its matched random draws. Values are in the unit of the metric unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Contrast {
    /// Mean over prompts of the class minus the mean over draws.
    pub estimate: f64,
    /// Interval of the estimate, at the level of the settings. Like `p`, `degrees_of_freedom` and
    /// `standard_error`, absent with fewer than 2 draws or 2 prompts, and where nothing varies at all.
    pub interval: Option<Interval>,
    /// Two-sided p of "the class is one more random draw", from Student's t.
    pub p: Option<f64>,
    /// Degrees of freedom of interval and p.
    pub degrees_of_freedom: Option<f64>,
    /// Standard error of the estimate, both kinds of chance joined.
    pub standard_error: Option<f64>,
    /// Standard deviation over draws of their means over prompts; absent with fewer than 2 draws.
    pub sd_draws: Option<f64>,
    /// estimate / (sd_draws · sqrt(1 + 1/K)): how many spreads of a random draw the class lies off. No unit; absent
    /// without `sd_draws` or where it is 0.
    pub standardised: Option<f64>,
    /// [`permutation_p`] of the means over prompts.
    pub permutation_p: Option<f64>,
    /// The least that `permutation_p` can be with so many draws, 1/(1 + K).
    pub permutation_floor: f64,
    /// K, the number of random draws.
    pub draws: usize,
    /// n, the number of prompts.
    pub prompts: usize,
}

/// Compares a class with its K random draws: `class` is `[prompts]`, `draws` K times `[prompts]`, the same prompts in
/// the same order, all of one metric and in its unit.
///
/// ```text
/// y_ki          value of draw k at prompt i;  x_i: value of the class;  d_i = x_i - mean over k of y_ki
/// estimate      mean over i of d_i
/// A = (1 + 1/K) · sd²           sd: standard deviation over draws of their means over prompts
/// S = n/(n - 1) · se²           se: bootstrap standard error of the mean of d_i over prompts
/// C = (1 + 1/K) · s² / n        s²: draw-by-prompt residual variance of the table y, df (K - 1)(n - 1)
/// B = max(0, S - C)
/// V = A + B                     estimate ± t(df) · sqrt(V), and p from Student's t
/// df = V² / (A²/(K - 1) + S²/(n - 1) + C²/((K - 1)(n - 1))), at least min(K - 1, n - 1); K - 1 where B = 0
/// ```
///
/// Why: let y_ki = draw effect a_k + prompt effect b_i + interaction c_ki, and the class the same plus its own effect
/// e_i, which varies between prompts. b_i cancels in d_i. The estimate's variance is then
/// (1 + 1/K)(Var a + Var c / n) + Var e / n. A has the whole first term for its expectation: under the null (e = 0)
/// the class is one more draw, and A alone would do, with K - 1 degrees of freedom. What A cannot see is Var e / n,
/// chance in the prompts that belongs to the class alone. S sees it, but holds (1 + 1/K) Var c / n once more, which C
/// estimates and B takes away. n/(n - 1) undoes the bootstrap's known shrinkage of the variance of a mean.
///
/// The degrees of freedom are Satterthwaite's for the three mean squares that V is made of: A, S and -C. Giving B
/// as a whole n - 1 would overlook that a difference of two noisy numbers is noisier than either.
///
/// How exact it is (normal data, simulated beside the code): for K >= 5 and n >= 30 the 5 % test rejects in 3 to 6 %
/// of the cases. It is conservative (3.5 to 4.7 %) where draws differ by interaction alone, since B is cut off at 0.
/// With fewer draws it is too liberal where B is small next to A but not 0 (up to 7.5 % at K = 3, 12 % at K = 2):
/// use 5 draws or more. Heavy-tailed draws are beyond it; the permutation p, which assumes no shape, stands beside.
///
/// # Errors
/// Impossible settings, no prompts, no draws, a draw of another length, a value that is not finite.
///
/// Source: Satterthwaite 1946, "An Approximate Distribution of Estimates of Variance Components"; Searle, Casella
/// and McCulloch 1992, "Variance Components", chapter 4 (the two-way table). The paper compares with one draw and
/// gives no test.
pub fn contrast(
    class: &[f64],
    draws: &[Vec<f64>],
    settings: &BootstrapSettings,
) -> Result<Contrast, StatsError> {
    contrast_of(&[Table { class, draws }], settings)
}

/// A class and its draws on the same prompts.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// `[prompts]`.
    pub class: &'a [f64],
    /// K times `[prompts]`.
    pub draws: &'a [Vec<f64>],
}

/// What a class does in one sample of prompts minus what it does in another, against its draws: the difference in
/// differences. Draw k is the same set of neurons in both tables, so sd is that of the draws' differences; S and C are
/// those of each sample, and B is the sum over both. The rest is as in [`contrast`]; `prompts` counts both samples.
///
/// # Errors
/// As [`contrast`]; [`StatsError::DrawCount`] where the tables differ in their number of draws.
pub fn contrast_of_two(
    first: Table<'_>,
    second: Table<'_>,
    settings: &BootstrapSettings,
) -> Result<Contrast, StatsError> {
    if first.draws.len() != second.draws.len() {
        return Err(StatsError::DrawCount {
            first: first.draws.len(),
            second: second.draws.len(),
        });
    }
    contrast_of(&[first, second], settings)
}

/// The first table, or the first minus the second.
fn contrast_of(tables: &[Table<'_>], settings: &BootstrapSettings) -> Result<Contrast, StatsError> {
    settings.check()?;
    for table in tables {
        check_table(table.class, table.draws)?;
    }
    let variances = tables.iter().map(|table| {
        let differences = differences(table.class, table.draws);
        bootstrap_mean(&differences, settings).map(|bootstrap| {
            let n = table.class.len() as f64;
            bootstrap.standard_error.powi(2) * n / (n - 1.0)
        })
    });
    Ok(join(tables, &variances.collect::<Vec<_>>(), settings.level))
}

fn check_table(class: &[f64], draws: &[Vec<f64>]) -> Result<(), StatsError> {
    if class.is_empty() {
        return Err(StatsError::NoPrompts);
    }
    if draws.is_empty() {
        return Err(StatsError::NoDraws);
    }
    check_finite(class, ValueSource::Class)?;
    for (draw, values) in draws.iter().enumerate() {
        if values.len() != class.len() {
            return Err(StatsError::PromptCount {
                draw,
                expected: class.len(),
                found: values.len(),
            });
        }
        check_finite(values, ValueSource::Draw(draw))?;
    }
    Ok(())
}

fn check_finite(values: &[f64], source_of_value: ValueSource) -> Result<(), StatsError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(prompt) => Err(StatsError::NotFinite {
            source_of_value,
            prompt,
            value: values[prompt],
        }),
    }
}

/// d_i: per prompt, the class minus the mean of the draws.
pub(super) fn differences(class: &[f64], draws: &[Vec<f64>]) -> Vec<f64> {
    prompt_means(draws)
        .iter()
        .zip(class)
        .map(|(baseline, class)| class - baseline)
        .collect()
}

/// The contrast of checked tables, given S of each, the variance of the mean of d_i over prompts (absent for one
/// prompt).
///
/// Apart from [`contrast`] so that simulations can put in the closed form of S, to which the bootstrap converges.
pub(super) fn join(tables: &[Table<'_>], prompt_variances: &[Option<f64>], level: f64) -> Contrast {
    let class_mean = signed_sum(tables, |table| mean(table.class));
    let draws = tables[0].draws.len();
    let draw_mean = |draw: usize| signed_sum(tables, |table| mean(&table.draws[draw]));
    let draw_means: Vec<f64> = (0..draws).map(draw_mean).collect();
    let estimate = signed_sum(tables, |table| mean(&differences(table.class, table.draws)));
    let values = tables.iter().flat_map(|table| {
        let draws = table.draws.iter().flatten();
        draws.chain(table.class)
    });
    let rounding = ROUNDING * magnitude(values);
    let sd_draws = sample_sd(&draw_means).map(|sd| if sd <= rounding { 0.0 } else { sd });
    let widening = 1.0 + 1.0 / draws as f64;
    let samples = tables
        .iter()
        .zip(prompt_variances)
        .map(|(table, variance)| {
            Some(Sample {
                over_prompts: (*variance)?,
                counted_twice: widening * interaction_variance(table.draws)?
                    / table.class.len() as f64,
                prompts: table.class.len() as f64,
            })
        });
    let variance = sd_draws
        .zip(samples.collect::<Option<Vec<_>>>())
        .and_then(|(sd, samples)| {
            Parts {
                between_draws: widening * sd.powi(2),
                draws: draws as f64,
                samples,
            }
            .joined()
        })
        .filter(|joined| joined.value.sqrt() > rounding);
    Contrast {
        estimate,
        interval: variance.and_then(|joined| joined.interval(estimate, level)),
        p: variance.and_then(|joined| joined.two_sided_p(estimate)),
        degrees_of_freedom: variance.map(|joined| joined.degrees_of_freedom),
        standard_error: variance.map(|joined| joined.value.sqrt()),
        sd_draws,
        standardised: sd_draws
            .filter(|sd| *sd > 0.0)
            .map(|sd| estimate / (sd * widening.sqrt())),
        permutation_p: permutation_p(class_mean, &draw_means),
        permutation_floor: permutation_floor(draws),
        draws,
        prompts: tables.iter().map(|table| table.class.len()).sum(),
    }
}

/// The value of the first table, minus that of a second one.
fn signed_sum(tables: &[Table<'_>], value: impl Fn(&Table<'_>) -> Option<f64>) -> f64 {
    let values = tables.iter().map(|table| value(table).unwrap_or(f64::NAN));
    let signed = values.zip([1.0, -1.0]).map(|(value, sign)| sign * value);
    signed.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> BootstrapSettings {
        BootstrapSettings::default()
    }

    fn join_one(class: &[f64], draws: &[Vec<f64>], variance: Option<f64>, level: f64) -> Contrast {
        join(&[Table { class, draws }], &[variance], level)
    }

    fn close(found: f64, expected: f64, tolerance: f64) {
        assert!(
            (found - expected).abs() <= tolerance,
            "{found} is not {expected}"
        );
    }

    /// Draw means 1, 2, 3; the same prompt pattern everywhere, so no interaction and equal d_i.
    fn additive_table() -> (Vec<f64>, Vec<Vec<f64>>) {
        let draw = |effect: f64| vec![effect - 1.0, effect, effect + 1.0, effect];
        (draw(6.0), vec![draw(1.0), draw(2.0), draw(3.0)])
    }

    #[test]
    fn hand_computed_with_chance_in_the_draws_alone() {
        let (class, draws) = additive_table();
        let found = contrast(&class, &draws, &settings()).unwrap();
        // sd of 1, 2, 3 is 1; V = A = 4/3, df 2; t = 4 / sqrt(4/3) = 3.4641. For df 2,
        // P(|T| > t) = 1 - t / sqrt(2 + t²) = 1 - 3.4641 / sqrt(14) = 0.07418.
        close(found.estimate, 4.0, 1e-12);
        assert_eq!(found.sd_draws, Some(1.0));
        assert_eq!(found.degrees_of_freedom, Some(2.0));
        close(found.standard_error.unwrap(), (4.0_f64 / 3.0).sqrt(), 1e-12);
        close(
            found.p.unwrap(),
            1.0 - 12.0_f64.sqrt() / 14.0_f64.sqrt(),
            1e-9,
        );
        // t(0.975; 2) = 4.302653.
        let interval = found.interval.unwrap();
        close(
            interval.high,
            4.0 + 4.302_653 * (4.0_f64 / 3.0).sqrt(),
            1e-5,
        );
        close(interval.low, 8.0 - interval.high, 1e-12);
        close(found.standardised.unwrap(), 12.0_f64.sqrt(), 1e-12);
        assert_eq!(found.permutation_p, Some(0.25));
        assert_eq!(found.permutation_floor, 0.25);
        assert_eq!((found.draws, found.prompts), (3, 4));
    }

    #[test]
    fn hand_computed_with_all_three_parts() {
        // Table rows (0, 0), (0, 2): means 0 and 1, prompt means 0 and 1, grand mean 1/2; residuals ±1/2, so
        // s² = 4 · 1/4 / 1 = 1 and C = 3/2 · 1/2 = 3/4. sd² = 1/2, A = 3/4. Class (3, 10): d = (3, 9),
        // variance 18, S = 9. V = 3/4 + 9 - 3/4 = 9; df = 81 / (9/16 + 81 + 9/16) = 0.986, lifted to 1.
        let draws = [vec![0.0, 0.0], vec![0.0, 2.0]];
        let found = join_one(&[3.0, 10.0], &draws, Some(9.0), 0.95);
        close(found.estimate, 6.0, 1e-12);
        close(found.standard_error.unwrap(), 3.0, 1e-12);
        assert_eq!(found.degrees_of_freedom, Some(1.0));
        // df 1 is Cauchy: p = 1 - 2/pi · atan(2); t(0.975; 1) = tan(0.475 pi) = 12.7062.
        close(
            found.p.unwrap(),
            1.0 - 2.0_f64.atan() * 2.0 / std::f64::consts::PI,
            1e-9,
        );
        close(found.interval.unwrap().high, 6.0 + 3.0 * 12.706_205, 1e-4);
    }

    #[test]
    fn the_bootstrap_gives_the_closed_form_within_its_own_noise() {
        let class: Vec<f64> = (0..60)
            .map(|prompt| 1.0 + (f64::from(prompt) * 0.7).sin())
            .collect();
        let draws: Vec<Vec<f64>> = (0..6)
            .map(|draw| {
                (0..60)
                    .map(|prompt| (f64::from(draw * 31 + prompt) * 1.3).cos())
                    .collect()
            })
            .collect();
        let variance = super::super::sample_variance(&differences(&class, &draws)).unwrap() / 60.0;
        let exact = join_one(&class, &draws, Some(variance), 0.95);
        let found = contrast(&class, &draws, &settings()).unwrap();
        // 10,000 resamples know S to 1.4 %, its root to 0.7 %; 3 % is four of those.
        let ratio = found.standard_error.unwrap() / exact.standard_error.unwrap();
        close(ratio, 1.0, 0.03);
        assert_eq!(found.estimate, exact.estimate);
        assert_eq!(
            contrast(&class, &draws, &settings()),
            Ok(found),
            "same seed, same numbers"
        );
    }

    #[test]
    fn interval_and_p_agree_on_what_is_found() {
        let (class, draws) = additive_table();
        for shift in [-12.0, -4.5, -4.0, 0.0, 0.7, 3.0] {
            let class: Vec<f64> = class.iter().map(|value| value + shift).collect();
            let found = contrast(&class, &draws, &settings()).unwrap();
            assert_eq!(
                found.p.unwrap() <= 0.05,
                !found.interval.unwrap().contains(0.0)
            );
        }
    }

    #[test]
    fn one_draw_or_one_prompt_has_an_estimate_but_no_interval() {
        let (class, draws) = additive_table();
        let one_draw = contrast(&class, &draws[..1], &settings()).unwrap();
        assert_eq!(one_draw.estimate, 5.0);
        assert_eq!((one_draw.interval, one_draw.p), (None, None));
        assert_eq!((one_draw.standard_error, one_draw.sd_draws), (None, None));
        assert_eq!(
            (one_draw.standardised, one_draw.permutation_p),
            (None, Some(1.0))
        );

        let first: Vec<Vec<f64>> = draws.iter().map(|draw| draw[..1].to_vec()).collect();
        let one_prompt = contrast(&class[..1], &first, &settings()).unwrap();
        assert_eq!((one_prompt.interval, one_prompt.p), (None, None));
        assert_eq!(one_prompt.degrees_of_freedom, None);
        assert_eq!(one_prompt.sd_draws, Some(1.0));
    }

    #[test]
    fn draws_without_any_spread_leave_the_prompts_to_decide() {
        // Draws that changed nothing: an ordinary paired t-test over the prompts, df n - 1.
        let draws = vec![vec![0.1; 4]; 5];
        let class = [1.1, 2.1, 3.1, 4.1];
        let found = join_one(&class, &draws, Some(5.0 / 12.0), 0.95);
        assert_eq!((found.sd_draws, found.standardised), (Some(0.0), None));
        close(
            found.standard_error.unwrap(),
            (5.0_f64 / 12.0).sqrt(),
            1e-12,
        );
        close(found.degrees_of_freedom.unwrap(), 3.0, 1e-9);
    }

    #[test]
    fn where_nothing_varies_there_is_no_p() {
        let found = contrast(&[0.3; 6], &vec![vec![0.1; 6]; 4], &settings()).unwrap();
        close(found.estimate, 0.2, 1e-15);
        assert_eq!((found.p, found.interval), (None, None));
        assert_eq!(
            (found.standard_error, found.degrees_of_freedom),
            (None, None)
        );
        assert_eq!(found.standardised, None);
    }

    #[test]
    fn rounding_is_not_taken_for_spread() {
        // In exact numbers every d_i is 0.3 and every draw equal; in f64 they differ in the last digits.
        let prompts: Vec<f64> = (0..50).map(|prompt| f64::from(prompt) * 0.1).collect();
        let class: Vec<f64> = prompts.iter().map(|value| value + 0.3).collect();
        let draws = vec![
            prompts.iter().map(|value| value - 0.1 + 0.1).collect(),
            prompts,
        ];
        let found = contrast(&class, &draws, &settings()).unwrap();
        assert_eq!((found.sd_draws, found.p), (Some(0.0), None));
    }

    #[test]
    fn bad_tables_are_named() {
        let (class, mut draws) = additive_table();
        assert_eq!(
            contrast(&[], &draws, &settings()),
            Err(StatsError::NoPrompts)
        );
        assert_eq!(contrast(&class, &[], &settings()), Err(StatsError::NoDraws));
        draws[2][1] = f64::INFINITY;
        assert_eq!(
            contrast(&class, &draws, &settings()),
            Err(StatsError::NotFinite {
                source_of_value: ValueSource::Draw(2),
                prompt: 1,
                value: f64::INFINITY
            })
        );
        draws[1].pop();
        let error = contrast(&class, &draws, &settings()).unwrap_err();
        assert_eq!(
            error,
            StatsError::PromptCount {
                draw: 1,
                expected: 4,
                found: 3
            }
        );
        assert!(
            error
                .to_string()
                .contains("random draw 1 has values for 3 prompts")
        );
        let wrong = BootstrapSettings {
            level: 95.0,
            ..settings()
        };
        assert_eq!(
            contrast(&class, &draws, &wrong),
            Err(StatsError::Level { level: 95.0 })
        );
    }

    #[test]
    fn two_samples_by_hand() {
        let (class, draws) = additive_table();
        let halved = |values: &[f64]| -> Vec<f64> { values.iter().map(|v| v / 2.0).collect() };
        let half_draws: Vec<Vec<f64>> = draws.iter().map(|draw| halved(draw)).collect();
        let half = halved(&class);
        fn table<'a>(class: &'a [f64], draws: &'a [Vec<f64>]) -> Table<'a> {
            Table { class, draws }
        }
        let three: Vec<Vec<f64>> = half_draws.iter().map(|draw| draw[..3].to_vec()).collect();
        let first = table(&class, &draws);
        let found = contrast_of_two(first, table(&half[..3], &three), &settings()).unwrap();
        // Differences 4 and 2; draw means 1, 2, 3 minus their halves: sd 1/2, V = (4/3)/4, df 2.
        close(found.estimate, 2.0, 1e-12);
        close(found.sd_draws.unwrap(), 0.5, 1e-12);
        close(found.standard_error.unwrap(), (1.0_f64 / 3.0).sqrt(), 1e-12);
        assert_eq!(found.degrees_of_freedom, Some(2.0));
        assert_eq!(found.prompts, 7);
        let fewer = contrast_of_two(
            table(&class, &draws),
            table(&half, &half_draws[1..]),
            &settings(),
        );
        assert_eq!(
            fewer,
            Err(StatsError::DrawCount {
                first: 3,
                second: 2
            })
        );
    }
}
