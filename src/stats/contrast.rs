//! A neuron class against K matched random draws, measured on the same prompts.
//!
//! Two things are samples here: the prompts, and the random draws. An interval over the prompts alone answers "is
//! the class different from *these* draws?" and calls a class special where any other random set would have looked
//! so too. So both kinds of chance enter the interval. It stops at one class and one metric: families of tests go
//! through [`holm`](super::holm()).

use serde::Serialize;

use super::clusters::Clusters;
use super::error::{StatsError, ValueSource};
use super::permutation::{permutation_floor, permutation_p};
use super::settings::StatsSettings;
use super::summary::{Interval, ROUNDING, magnitude, mean, sample_sd};
use super::variance::{Parts, Sample, Variance};

/// The class against its matched random draws. Values are in the unit of the metric unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Contrast {
    /// Mean over prompts of the class minus the mean over draws.
    pub estimate: f64,
    /// Interval of the estimate, at the level of the settings. Like `p`, `degrees_of_freedom` and
    /// `standard_error`, absent with fewer than 2 draws or 2 clusters, and where nothing varies at all. It holds the class
    /// minus one fresh random set.
    pub interval: Option<Interval>,
    /// Interval of the class minus the average over all random sets; absent as `interval` is.
    pub average_interval: Option<Interval>,
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

/// Compares a class with its K random draws on the same prompts.
///
/// ```text
/// y_ki          value of draw k at prompt i;  x_i: value of the class;  d_i = x_i - mean over k of y_ki
/// estimate      mean over i of d_i
/// A = (1 + 1/K) · sd²           sd: standard deviation over draws of their means over prompts
/// S             variance of the mean of d_i, over G clusters of prompts
/// C = (1 + 1/K) · R             R: the same variance of the draw-by-prompt residuals of the table y, summed over draws, by K - 1
/// B = max(0, S - C)
/// V = A + B                     estimate ± t(df) · sqrt(V), and p from Student's t
/// df = V² / (A²/(K - 1) + S²/(G - 1) + C²/((K - 1)(G - 1))), at least min(K - 1, G - 1); K - 1 where B = 0
/// ```
///
/// Why: let y_ki = draw effect a_k + prompt effect b_i + interaction c_ki, and the class the same plus its own effect
/// e_i, which varies between prompts. b_i cancels in d_i. The estimate's variance is then
/// (1 + 1/K)(Var a + Var c / n) + Var e / n. A has the whole first term for its expectation: under the null (e = 0)
/// the class is one more draw, and A alone would do, with K - 1 degrees of freedom. What A cannot see is Var e / n,
/// chance in the prompts that belongs to the class alone. S sees it, but holds (1 + 1/K) Var c / n once more, which C
/// estimates and B takes away. Prompts of one cluster may depend on each other: S and R are variances of sums over clusters
/// ([`Clusters`]).
///
/// `average_interval` asks another question: by how much does the class exceed the average of all random sets? There the
/// class is no draw, so A = sd²/K and C = R/K; the rest is the same.
///
/// The degrees of freedom are Satterthwaite's for the three mean squares that V is made of: A, S and -C. Giving B
/// as a whole G - 1 would overlook that a difference of two noisy numbers is noisier than either.
///
/// How exact it is (simulated beside the code): for normal draws, K >= 5 and G >= 30 the 5 % test rejects in 3 to 6 % of the
/// cases. It is conservative (3.5 to 4.7 %) where draws differ by interaction alone, since B is cut off at 0. With
/// fewer draws it is too liberal where B is small next to A but not 0 (up to 7.5 % at K = 3, 12 % at K = 2): use 5
/// draws or more. Heavy-tailed draws are beyond it, most of all at the small levels that Holm asks for (10 times the level
/// at .05/15 with lognormal draws): no verdict rests on this p, but on the rank ([`permutation_p`]).
///
/// # Errors
/// Impossible settings, no prompts, no draws, a draw of another length, a value that is not finite.
///
/// Source: Satterthwaite 1946, "An Approximate Distribution of Estimates of Variance Components"; Searle, Casella
/// and McCulloch 1992, "Variance Components", chapter 4 (the two-way table). The paper compares with one draw and
/// gives no test.
pub fn contrast(table: Table<'_>, settings: &StatsSettings) -> Result<Contrast, StatsError> {
    contrast_of(&[table], settings)
}

/// A class and its draws on the same prompts, of one metric and in its unit.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// `[prompts]`.
    pub class: &'a [f64],
    /// K times `[prompts]`, the same prompts in the same order.
    pub draws: &'a [Vec<f64>],
    /// Which prompts belong together.
    pub clusters: &'a Clusters,
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
    settings: &StatsSettings,
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
fn contrast_of(tables: &[Table<'_>], settings: &StatsSettings) -> Result<Contrast, StatsError> {
    settings.check()?;
    tables.iter().try_for_each(check_table)?;
    Ok(join(tables, settings.level))
}

fn check_table(table: &Table<'_>) -> Result<(), StatsError> {
    let Table {
        class,
        draws,
        clusters,
    } = *table;
    if class.is_empty() {
        return Err(StatsError::NoPrompts);
    }
    if draws.is_empty() {
        return Err(StatsError::NoDraws);
    }
    if clusters.units() != class.len() {
        return Err(StatsError::ClusterCount {
            prompts: class.len(),
            clustered: clusters.units(),
        });
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
fn differences(class: &[f64], draws: &[Vec<f64>]) -> Vec<f64> {
    prompt_means(draws)
        .iter()
        .zip(class)
        .map(|(baseline, class)| class - baseline)
        .collect()
}

/// The contrast of checked tables.
fn join(tables: &[Table<'_>], level: f64) -> Contrast {
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
    let average = 1.0 / draws as f64;
    let [one_set, average_set] = [1.0 + average, average].map(|widening| {
        let variance = variance(tables, sd_draws?, widening)?;
        (variance.value.sqrt() > rounding).then_some(variance)
    });
    Contrast {
        estimate,
        interval: one_set.and_then(|joined| joined.interval(estimate, level)),
        average_interval: average_set.and_then(|joined| joined.interval(estimate, level)),
        p: one_set.and_then(|joined| joined.two_sided_p(estimate)),
        degrees_of_freedom: one_set.map(|joined| joined.degrees_of_freedom),
        standard_error: one_set.map(|joined| joined.value.sqrt()),
        sd_draws,
        standardised: sd_draws
            .filter(|sd| *sd > 0.0)
            .map(|sd| estimate / (sd * (1.0 + average).sqrt())),
        permutation_p: permutation_p(class_mean, &draw_means),
        permutation_floor: permutation_floor(draws),
        draws,
        prompts: tables.iter().map(|table| table.class.len()).sum(),
    }
}

/// V, where the draws' variance of a mean counts `widening` times.
fn variance(tables: &[Table<'_>], sd_draws: f64, widening: f64) -> Option<Variance> {
    let samples = tables.iter().map(|table| {
        let Table {
            class,
            draws,
            clusters,
        } = *table;
        Some(Sample {
            over_prompts: clusters.variance_of_mean(&differences(class, draws))?,
            counted_twice: widening * interaction_variance(draws, clusters)?,
            clusters: clusters.count() as f64,
        })
    });
    let parts = Parts {
        between_draws: widening * sd_draws.powi(2),
        draws: tables[0].draws.len() as f64,
        samples: samples.collect::<Option<_>>()?,
    };
    parts.joined()
}

/// Per prompt, the mean over draws.
fn prompt_means(draws: &[Vec<f64>]) -> Vec<f64> {
    let prompts = draws.first().map_or(0, Vec::len);
    (0..prompts)
        .filter_map(|prompt| mean(&draws.iter().map(|draw| draw[prompt]).collect::<Vec<_>>()))
        .collect()
}

/// Variance of the mean over prompts of what is left of the [draws, prompts] table without its draw and prompt means: s²/n
/// where every prompt is its own cluster.
///
/// `None` for fewer than 2 draws or 2 clusters.
fn interaction_variance(draws: &[Vec<f64>], clusters: &Clusters) -> Option<f64> {
    let freedom = draws.len().checked_sub(1).filter(|freedom| *freedom > 0)?;
    let prompt_means = prompt_means(draws);
    let grand_mean = mean(&prompt_means)?;
    let mut sum = 0.0;
    for draw in draws {
        let draw_effect = mean(draw)? - grand_mean;
        let left = draw.iter().zip(&prompt_means);
        let left: Vec<f64> = left
            .map(|(value, prompt_mean)| value - prompt_mean - draw_effect)
            .collect();
        sum += clusters.variance_of_mean(&left)?;
    }
    Some(sum / freedom as f64)
}

/// The value of the first table, minus that of a second one.
fn signed_sum(tables: &[Table<'_>], value: impl Fn(&Table<'_>) -> Option<f64>) -> f64 {
    let values = tables.iter().map(|table| value(table).unwrap_or(f64::NAN));
    let signed = values.zip([1.0, -1.0]).map(|(value, sign)| sign * value);
    signed.sum()
}

#[cfg(test)]
mod tests;
