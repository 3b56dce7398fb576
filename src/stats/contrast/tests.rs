use super::*;

fn settings() -> StatsSettings {
    StatsSettings::default()
}

/// Of prompts that are independent of each other.
fn contrast(
    class: &[f64],
    draws: &[Vec<f64>],
    settings: &StatsSettings,
) -> Result<Contrast, StatsError> {
    let clusters = Clusters::alone(class.len());
    let table = Table {
        class,
        draws,
        clusters: &clusters,
    };
    super::contrast(table, settings)
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
    // Of the average set: V = sd²/K = 1/3.
    let average = found.average_interval.unwrap();
    close(average.high, 4.0 + 4.302_653 / 3.0_f64.sqrt(), 1e-5);
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
    let found = contrast(&[3.0, 10.0], &draws, &settings()).unwrap();
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

/// Clusters of prompts are to the contrast what their means are, where they are equally large.
#[test]
fn equal_clusters_are_as_good_as_their_means() {
    let class = [1.0, 4.0, 2.5, 3.0];
    let draws = [
        [0.5, 1.0, 2.0, 0.3],
        [1.1, 0.2, 0.9, 2.2],
        [0.4, 0.6, 1.7, 1.0],
    ];
    let means = contrast(&class, &draws.map(|draw| draw.to_vec()), &settings()).unwrap();
    let spread = |values: [f64; 4]| -> Vec<f64> {
        values
            .into_iter()
            .flat_map(|value| [value - 0.3, value + 0.3])
            .collect()
    };
    let (class, draws) = (spread(class), draws.map(spread));
    let clusters = Clusters::of([0, 0, 1, 1, 2, 2, 3, 3]);
    let table = Table {
        class: &class,
        draws: &draws,
        clusters: &clusters,
    };
    let found = super::contrast(table, &settings()).unwrap();
    close(
        found.standard_error.unwrap(),
        means.standard_error.unwrap(),
        1e-12,
    );
    close(found.p.unwrap(), means.p.unwrap(), 1e-9);
    let [ci, expected] = [found, means].map(|found| found.average_interval.unwrap());
    close(ci.low, expected.low, 1e-9);
    let other = Clusters::alone(3);
    let error = super::contrast(
        Table {
            clusters: &other,
            ..table
        },
        &settings(),
    );
    let expected = StatsError::ClusterCount {
        prompts: 8,
        clustered: 3,
    };
    assert_eq!(error, Err(expected));
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
    let found = contrast(&class, &draws, &settings()).unwrap();
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
    let wrong = StatsSettings {
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
    let [three_alone, four_alone] = [3, 4].map(Clusters::alone);
    fn table<'a>(class: &'a [f64], draws: &'a [Vec<f64>], clusters: &'a Clusters) -> Table<'a> {
        Table {
            class,
            draws,
            clusters,
        }
    }
    let three: Vec<Vec<f64>> = half_draws.iter().map(|draw| draw[..3].to_vec()).collect();
    let first = table(&class, &draws, &four_alone);
    let found =
        contrast_of_two(first, table(&half[..3], &three, &three_alone), &settings()).unwrap();
    // Differences 4 and 2; draw means 1, 2, 3 minus their halves: sd 1/2, V = (4/3)/4, df 2.
    close(found.estimate, 2.0, 1e-12);
    close(found.sd_draws.unwrap(), 0.5, 1e-12);
    close(found.standard_error.unwrap(), (1.0_f64 / 3.0).sqrt(), 1e-12);
    assert_eq!(found.degrees_of_freedom, Some(2.0));
    assert_eq!(found.prompts, 7);
    let fewer = contrast_of_two(
        table(&class, &draws, &four_alone),
        table(&half, &half_draws[1..], &four_alone),
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

#[test]
fn interaction_is_what_draws_and_prompts_leave() {
    // Rows (0, 0), (0, 2): residuals ±1/2, squares sum to 1, one degree of freedom.
    let table = [vec![0.0, 0.0], vec![0.0, 2.0]];
    let of = |table: &[Vec<f64>]| interaction_variance(table, &Clusters::alone(table[0].len()));
    assert_eq!(of(&table), Some(1.0 / 2.0), "s² = 1, by 2 prompts");
    let additive = [vec![1.0, 2.0, 5.0], vec![3.0, 4.0, 7.0]];
    close(of(&additive).unwrap(), 0.0, 1e-30);
    assert_eq!(of(&table[..1]), None);
    assert_eq!(of(&[vec![1.0], vec![2.0]]), None);
    assert_eq!(interaction_variance(&table, &Clusters::of([5])), None);
}
