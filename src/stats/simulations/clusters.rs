//! Facts of one relation that depend on each other.

use super::*;

/// Share of 2,000 intervals of a mean that cover 0, for relations of `size` facts each whose values share so much of their
/// variance (`icc`); `clustered` says whether the interval knows of the relations.
fn coverage(relations: usize, size: usize, icc: f64, clustered: bool) -> f64 {
    const SAMPLES: u64 = 2_000;
    let facts = relations * size;
    let clusters = if clustered {
        Clusters::of((0..facts).map(|fact| fact / size))
    } else {
        Clusters::alone(facts)
    };
    let covered = (0..SAMPLES).into_par_iter().filter(|run| {
        let mut noise = Noise::of_run(7, *run);
        let shared: Vec<f64> = (0..relations)
            .map(|_| noise.normal() * icc.sqrt())
            .collect();
        let values =
            (0..facts).map(|fact| shared[fact / size] + (1.0 - icc).sqrt() * noise.normal());
        let values: Vec<f64> = values.collect();
        clusters
            .mean(&values, LEVEL)
            .unwrap()
            .interval
            .contains(0.0)
    });
    covered.count() as f64 / SAMPLES as f64
}

/// The bundled facts have 35 relations of 16, of which a small model knows about 8; .42 and .53 are the intra-class
/// correlations of two classes' effects on SmolLM2-135M.
#[test]
fn an_interval_over_relations_covers_where_one_over_facts_does_not() {
    for (size, icc) in [(8, 0.42), (8, 0.53), (16, 0.42), (1, 0.0)] {
        let clustered = coverage(35, size, icc, true);
        assert!(
            (0.935..=0.965).contains(&clustered),
            "{size}, {icc}: {clustered}"
        );
    }
    let alone = coverage(35, 8, 0.42, false);
    assert!(alone < 0.75, "{alone}");
}

/// One-way effects of relations in every arm: the contrast, too, must count relations and not facts.
#[test]
fn a_contrast_over_relations_has_the_stated_error_rate() {
    let rejected = |clustered: bool| {
        share_of(|run| {
            let mut noise = Noise::of_run(11, run);
            let arm = |noise: &mut Noise| -> Vec<f64> {
                let shared: Vec<f64> = (0..35).map(|_| noise.normal()).collect();
                (0..35 * 8)
                    .map(|fact| shared[fact / 8] + noise.normal())
                    .collect()
            };
            let class = arm(&mut noise);
            // Draws that hardly differ: what is left is chance in the facts.
            let typical = arm(&mut noise);
            let draws: Vec<Vec<f64>> = (0..12)
                .map(|_| {
                    typical
                        .iter()
                        .map(|value| value + 0.1 * noise.normal())
                        .collect()
                })
                .collect();
            let clusters = if clustered {
                Clusters::of((0..35 * 8).map(|fact| fact / 8))
            } else {
                Clusters::alone(35 * 8)
            };
            let table = Table {
                class: &class,
                draws: &draws,
                clusters: &clusters,
            };
            rejects(&contrast(table, &settings()).unwrap())
        })
    };
    let clustered = rejected(true);
    assert!((clustered - 0.05).abs() <= BAND, "{clustered}");
    let alone = rejected(false);
    assert!(alone > 0.3, "{alone}");
}
