//! The claims that the weights alone decide.

use super::super::effects::Estimate;
use super::finding::Direction;
use super::finding::{Basis, Finding};
use crate::io_class::{Class, ClassQuery, NeuronTable};
use crate::stats::{BootstrapSettings, rank_correlation, share_against_half, shuffled_labels};

/// Layers that count as early for the medians, of all.
const EARLY: f64 = 0.6;

/// A class is rare below this share of all neurons.
const RARE: f64 = 0.01;

/// Mean relative depth (0 the first layer, 1 the last) of any-enrichment neurons minus that of any-depletion ones.
pub(super) fn depth_enrichment(table: &NeuronTable, settings: &BootstrapSettings) -> Vec<Finding> {
    let last = table.layers.len().saturating_sub(1).max(1) as f64;
    let layers = table.layers.iter().enumerate();
    let neurons: Vec<(f64, Class)> = layers
        .flat_map(|(layer, rows)| rows.iter().map(move |row| (layer as f64 / last, row.class)))
        .collect();
    let depths: Vec<f64> = neurons.iter().map(|(depth, _)| *depth).collect();
    let members = |query: ClassQuery| -> Vec<usize> {
        let numbered = neurons.iter().enumerate();
        let members = numbered.filter(|(_, (_, class))| query.includes(*class));
        members.map(|(neuron, _)| neuron).collect()
    };
    let enrichment = members(ClassQuery::AnyEnrichment);
    let depletion = members(ClassQuery::AnyDepletion);
    let quantity = "mean relative depth of any-enrichment neurons minus any-depletion (0 to 1)";
    let finding = Finding::missing(
        quantity,
        Direction::Lower,
        "labels shuffled over all neurons",
        "one of the two has no neurons".to_string(),
    );
    let Some(tested) = shuffled_labels(&depths, (&enrichment, &depletion), settings) else {
        return vec![finding];
    };
    let mean =
        |members: &[usize]| members.iter().map(|m| depths[*m]).sum::<f64>() / members.len() as f64;
    vec![Finding {
        n: enrichment.len() + depletion.len(),
        why: format!(
            "{} enrichment neurons at {:.2} of the depth, {} depletion neurons at {:.2}",
            enrichment.len(),
            mean(&enrichment),
            depletion.len(),
            mean(&depletion)
        ),
        evidence: tested.into(),
        ..finding
    }]
}

/// The medians of cos(w_in, w_out): positive in the first 60 % of layers; their rank correlation with depth over the
/// last half.
pub(super) fn depth_median(table: &NeuronTable, settings: &BootstrapSettings) -> Vec<Finding> {
    let medians: Vec<f64> = table.median_in_out().into_iter().map(f64::from).collect();
    let layers = medians.len();
    let early = ((layers as f64 * EARLY).round() as usize).clamp(1, layers);
    let not_positive: Vec<String> = (0..early)
        .filter(|layer| medians[*layer] <= 0.0)
        .map(|layer| layer.to_string())
        .collect();
    let share = 1.0 - not_positive.len() as f64 / early as f64;
    let positive = Finding {
        evidence: Basis::Counted {
            estimate: share,
            holds: not_positive.is_empty(),
        },
        n: early,
        why: if not_positive.is_empty() {
            format!("all of layers 0 to {} have a positive median", early - 1)
        } else {
            format!("not positive in layers {}", not_positive.join(", "))
        },
        ..Finding::missing(
            "share of the first 60 % of layers with a positive median of cos(w_in, w_out)",
            Direction::Higher,
            "all of them",
            String::new(),
        )
    };
    vec![positive, falling(&medians, settings)]
}

fn falling(medians: &[f64], settings: &BootstrapSettings) -> Finding {
    let half = medians.len() / 2;
    let late = &medians[half..];
    let depth: Vec<f64> = (half..medians.len()).map(|layer| layer as f64).collect();
    let finding = Finding::missing(
        "Spearman's rho of the median of cos(w_in, w_out) with depth, last half of layers",
        Direction::Lower,
        "layers shuffled",
        "too few layers, or medians that do not vary".to_string(),
    );
    match rank_correlation(&depth, late, settings) {
        None => finding,
        Some(found) => Finding {
            evidence: Basis::Tested {
                estimate: Estimate {
                    difference_to_baseline: Some(found.rho),
                    baseline_ci: found.interval,
                    p: Some(found.p),
                    ..Estimate::default()
                },
                draws: 0,
            },
            n: found.pairs,
            why: format!(
                "median {:+.3} in layer {half}, {:+.3} in the last",
                late[0],
                late[late.len() - 1]
            ),
            ..finding
        },
    }
}

/// How many depletion neurons there are, and how many of them are in the second half of layers.
pub(super) fn rare_depletion(table: &NeuronTable, settings: &BootstrapSettings) -> Vec<Finding> {
    let counts = table.counts_per_layer();
    let of = |layers: std::ops::Range<usize>| -> usize {
        counts[layers].iter().map(|c| c[&Class::Depletion]).sum()
    };
    let (layers, half) = (counts.len(), counts.len() / 2);
    let neurons: usize = table.layers.iter().map(Vec::len).sum();
    let (all, late) = (of(0..layers), of(half..layers));
    let share = all as f64 / neurons as f64;
    let rare = Finding {
        evidence: Basis::Counted {
            estimate: share,
            holds: share < RARE,
        },
        n: neurons,
        why: format!("{all} of {neurons} neurons, {:.2} %", 100.0 * share),
        ..Finding::missing(
            "share of depletion neurons",
            Direction::Lower,
            "1 %",
            String::new(),
        )
    };
    let second_half = Finding::missing(
        "share of depletion neurons in the second half of layers, minus one half",
        Direction::Higher,
        "one half, binomial",
        "no depletion neurons".to_string(),
    );
    let tested = share_against_half(late as u64, all as u64, settings.level);
    let second_half = match tested {
        None => second_half,
        Some(tested) => Finding {
            evidence: Basis::from(tested).minus(0.5),
            n: all,
            why: format!("{late} of {all} lie in layers {half} to {}", layers - 1),
            ..second_half
        },
    };
    vec![rare, second_half]
}

#[cfg(test)]
mod tests {
    use super::super::claim::CLAIMS;
    use super::super::judge::{ClaimTest, Verdict, judge};
    use super::*;
    use crate::io_class::testing::table;

    fn judged(findings: Vec<Finding>) -> Vec<ClaimTest> {
        judge(
            findings
                .into_iter()
                .map(|finding| (&CLAIMS[0], finding))
                .collect(),
        )
    }

    fn verdicts(findings: Vec<Finding>) -> Vec<Verdict> {
        judged(findings)
            .into_iter()
            .map(|test| test.verdict)
            .collect()
    }

    fn settings() -> BootstrapSettings {
        BootstrapSettings {
            resamples: 2_000,
            ..BootstrapSettings::default()
        }
    }

    /// A layer of 40 neurons of which the first are of one class.
    fn layer(class: Class, of_it: usize) -> Vec<Class> {
        let rest = Class::OrthogonalOutput;
        (0..40)
            .map(|n| if n < of_it { class } else { rest })
            .collect()
    }

    #[test]
    fn a_planted_order_is_found_and_its_reverse_contradicts() {
        use Class::{ConditionalEnrichment, Depletion, OrthogonalOutput};
        let early_first = table(&[
            layer(ConditionalEnrichment, 12),
            layer(ConditionalEnrichment, 8),
            layer(OrthogonalOutput, 0),
            layer(Depletion, 12),
        ]);
        let found = depth_enrichment(&early_first, &settings());
        let Basis::Tested { estimate, .. } = found[0].evidence else {
            panic!("tested")
        };
        let estimate = estimate.difference_to_baseline.unwrap();
        // 20 neurons at a mean depth of (0·12 + 8/3)/20 = 0.1333, and 12 at 1.
        assert!((estimate + 1.0 - 8.0 / 60.0).abs() < 1e-12, "{estimate}");
        assert_eq!(verdicts(found), [Verdict::Supported]);
        let mut reversed = early_first;
        reversed.layers.reverse();
        let found = depth_enrichment(&reversed, &settings());
        assert_eq!(verdicts(found), [Verdict::Contradicted]);
        let neither = table(&[layer(OrthogonalOutput, 0), layer(ConditionalEnrichment, 3)]);
        let found = depth_enrichment(&neither, &settings());
        assert_eq!(verdicts(found), [Verdict::NotTestable]);
    }

    fn difference(test: &ClaimTest) -> Option<f64> {
        test.estimate.difference_to_baseline
    }

    #[test]
    fn depletion_is_counted() {
        let many = table(&[layer(Class::Depletion, 1), layer(Class::Depletion, 1)]);
        let found = judged(rare_depletion(&many, &settings()));
        assert_eq!(found[0].verdict, Verdict::Contradicted);
        assert_eq!((difference(&found[0]), found[0].n), (Some(2.0 / 80.0), 80));
        assert_eq!(found[1].verdict, Verdict::NotDistinguishable);
        assert_eq!((difference(&found[1]), found[1].n), (Some(0.0), 2));
        let late = table(&[
            layer(Class::OrthogonalOutput, 0),
            layer(Class::Depletion, 9),
        ]);
        let found = judged(rare_depletion(&late, &settings()));
        assert_eq!(found[1].verdict, Verdict::Supported);
        assert_eq!(difference(&found[1]), Some(0.5));
    }

    #[test]
    fn medians_are_read_by_layer() {
        let with = |medians: &[f32]| {
            let mut table = table(&vec![layer(Class::OrthogonalOutput, 0); medians.len()]);
            for (rows, median) in table.layers.iter_mut().zip(medians) {
                rows.iter_mut().for_each(|row| row.cosines.in_out = *median);
            }
            table
        };
        let as_published = with(&[
            0.1, 0.3, 0.5, 0.6, 0.6, 0.5, 0.4, 0.2, 0.1, -0.1, -0.2, -0.3,
        ]);
        let found = judged(depth_median(&as_published, &settings()));
        assert_eq!(found[0].verdict, Verdict::Supported);
        assert_eq!((found[0].n, found[1].n), (7, 6));
        assert_eq!(
            (difference(&found[1]), found[1].verdict),
            (Some(-1.0), Verdict::Supported)
        );
        let rising = with(&[0.1, -0.3, 0.5, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]);
        let found = judged(depth_median(&rising, &settings()));
        assert_eq!(found[0].verdict, Verdict::Contradicted);
        assert!(found[0].why.ends_with("layers 1"), "{}", found[0].why);
        assert_eq!(found[1].verdict, Verdict::Contradicted);
    }
}
