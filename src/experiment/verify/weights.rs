//! The claims that the weights alone decide.

use super::super::effects::Estimate;
use statrs::distribution::{Beta, ContinuousCDF};

use super::finding::{Basis, Direction, Finding, Room};
use crate::io_class::{Class, ClassQuery, NeuronRow, NeuronTable};
use crate::stats::{
    BootstrapSettings, Clusters, Interval, difference_over_clusters, mean, median_interval,
    rank_correlation,
};

/// Layers that count as early for the medians, of all.
const EARLY: f64 = 0.6;

/// Up to this share of them may stray: the published tables of eleven models have none, that of OLMo-1B more than half.
const STRAY: f64 = 0.1;

/// A class is rare below this share of all neurons.
const RARE: f64 = 0.01;

/// Mean relative depth (0 the first layer, 1 the last) of any-enrichment neurons minus that of any-depletion ones. Neurons of a
/// layer have their depth in common: interval and p are over layers.
pub(super) fn depth_enrichment(table: &NeuronTable, settings: &BootstrapSettings) -> Vec<Finding> {
    let last = table.layers.len().saturating_sub(1).max(1) as f64;
    let layers_of = |query: ClassQuery| -> Vec<usize> {
        let layers = table.layers.iter().enumerate();
        let members = |(layer, rows): (usize, &Vec<NeuronRow>)| {
            let members = rows.iter().filter(|row| query.includes(row.class));
            vec![layer; members.count()]
        };
        layers.flat_map(members).collect()
    };
    let groups = [ClassQuery::AnyEnrichment, ClassQuery::AnyDepletion].map(layers_of);
    let finding = Finding::missing(
        "mean relative depth of any-enrichment neurons minus any-depletion (0 to 1)",
        Direction::Lower,
        "no difference, over layers",
        "one of the two has no neurons, or all lie in one layer".to_string(),
    )
    .primary();
    let depths = groups
        .each_ref()
        .map(|layers| -> Vec<f64> { layers.iter().map(|layer| *layer as f64 / last).collect() });
    let of = |group: usize| (depths[group].as_slice(), groups[group].as_slice());
    let Some(tested) = difference_over_clusters(of(0), of(1), settings.level) else {
        return vec![finding];
    };
    let [enrichment, depletion] = depths
        .each_ref()
        .map(|depths| mean(depths).unwrap_or(f64::NAN));
    vec![Finding {
        n: depths.iter().map(Vec::len).sum(),
        why: format!(
            "{} enrichment neurons at {enrichment:.2} of the depth, {} depletion neurons at {depletion:.2}",
            depths[0].len(),
            depths[1].len(),
        ),
        evidence: tested.into(),
        room: Room {
            largest: Some(-1.0),
            ..Room::default()
        },
        ..finding
    }]
}

/// The medians of cos(w_in, w_out): positive in the first 60 % of layers; their rank correlation with depth over the
/// last half.
pub(super) fn depth_median(table: &NeuronTable, settings: &BootstrapSettings) -> Vec<Finding> {
    let medians: Vec<f64> = table.median_in_out().into_iter().map(f64::from).collect();
    let intervals = table.layers.iter().map(|rows| {
        let cosines: Vec<f64> = rows
            .iter()
            .map(|row| f64::from(row.cosines.in_out))
            .collect();
        median_interval(&cosines, settings.level)
    });
    let intervals: Vec<Option<Interval>> = intervals.collect();
    vec![
        positive_early(&medians, &intervals),
        falling(&medians, settings),
    ]
}

/// Layers in which the interval of the median lies on one side of 0 count; up to [`STRAY`] of them may be on the other side.
fn positive_early(medians: &[f64], intervals: &[Option<Interval>]) -> Finding {
    let layers = medians.len();
    let early = ((layers as f64 * EARLY).round() as usize).clamp(1, layers);
    let clearly = |side: fn(&Interval) -> bool| -> Vec<String> {
        let layers = (0..early).filter(|layer| intervals[*layer].as_ref().is_some_and(side));
        layers.map(|layer| layer.to_string()).collect()
    };
    let (positive, negative) = (clearly(|ci| ci.low > 0.0), clearly(|ci| ci.high < 0.0));
    let share = |layers: &[String]| layers.len() as f64 / early as f64;
    let holds = if share(&negative) > STRAY {
        Some(false)
    } else {
        (share(&positive) >= 1.0 - STRAY).then_some(true)
    };
    let against = match negative.as_slice() {
        [] => "in none is it clearly negative".to_string(),
        layers => format!("in layers {} it is clearly negative", layers.join(", ")),
    };
    Finding {
        evidence: Basis::Counted {
            estimate: medians[..early]
                .iter()
                .filter(|median| **median > 0.0)
                .count() as f64
                / early as f64,
            holds,
        },
        n: early,
        why: format!(
            "in {} of layers 0 to {} the median is clearly positive (its 95 % interval over neurons lies above 0); {against}",
            positive.len(),
            early - 1
        ),
        ..Finding::missing(
            "share of the first 60 % of layers with a positive median of cos(w_in, w_out)",
            Direction::Higher,
            "all but one tenth of them",
            String::new(),
        )
        .primary()
    }
}

/// The trend is described: neighbouring layers are alike, so that shuffled layers are no null (they reject in 42 % of the cases
/// where 5 % is meant, with medians that are autocorrelated by .8), and half a model has too few layers for shifts of blocks.
fn falling(medians: &[f64], settings: &BootstrapSettings) -> Finding {
    let half = medians.len() / 2;
    let late = &medians[half..];
    let depth: Vec<f64> = (half..medians.len()).map(|layer| layer as f64).collect();
    let finding = Finding::missing(
        "Spearman's rho of the median of cos(w_in, w_out) with depth, last half of layers",
        Direction::Lower,
        "no trend; neighbouring layers are alike, so there is no p",
        "too few layers, or medians that do not vary".to_string(),
    );
    match rank_correlation(&depth, late, settings) {
        None => finding,
        Some(found) => Finding {
            evidence: Basis::Tested {
                estimate: Estimate {
                    difference_to_baseline: Some(found.rho),
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

/// How many depletion neurons there are, beside what chance makes of random weights of width `d_model`, and how many of them are
/// in the second half of layers.
pub(super) fn rare_depletion(
    table: &NeuronTable,
    d_model: usize,
    settings: &BootstrapSettings,
) -> Vec<Finding> {
    let counts = table.counts_per_layer();
    let half = counts.len() / 2;
    let neurons: usize = table.layers.iter().map(Vec::len).sum();
    let layers: Vec<usize> = counts
        .iter()
        .enumerate()
        .flat_map(|(layer, counts)| vec![layer; counts[&Class::Depletion]])
        .collect();
    let all = layers.len();
    let (share, chance) = (
        all as f64 / neurons as f64,
        opposite_by_chance(d_model, table.threshold),
    );
    let rare = Finding::missing(
        "share of depletion neurons",
        Direction::Lower,
        "1 %, and chance",
        "no depletion neurons, as in a network of random weights".to_string(),
    )
    .primary();
    let second_half = Finding::missing(
        "share of depletion neurons in the second half of layers, minus one half",
        Direction::Higher,
        "one half, over layers",
        "no depletion neurons, or all in one layer".to_string(),
    );
    if all == 0 {
        return vec![rare, second_half];
    }
    let rare = Finding {
        evidence: Basis::Counted {
            estimate: share,
            holds: (share > chance).then_some(share < RARE),
        },
        n: neurons,
        why: format!(
            "{all} of {neurons} neurons, {:.2} %; of random weights less than {:.2} %",
            100.0 * share,
            100.0 * chance
        ),
        ..rare
    };
    let late: Vec<f64> = layers
        .iter()
        .map(|layer| f64::from(u8::from(*layer >= half)))
        .collect();
    let count = late.iter().sum::<f64>();
    let tested = Clusters::of(layers).mean(&late, settings.level);
    let second_half = match tested {
        None => second_half,
        Some(found) => Finding {
            evidence: Basis::Tested {
                estimate: Estimate {
                    difference_to_baseline: Some(found.mean),
                    baseline_ci: Some(found.interval),
                    ..Estimate::default()
                },
                draws: 0,
            }
            .minus(0.5),
            n: all,
            why: format!(
                "{count} of {all} lie in layers {half} to {}",
                counts.len() - 1
            ),
            ..second_half
        },
    };
    vec![rare, second_half]
}

/// Of random weights no larger share has a cos(w_in, w_out) below -`threshold`, which depletion needs (PAPER 1, chance level).
fn opposite_by_chance(d_model: usize, threshold: f32) -> f64 {
    let shape = (d_model.max(2) - 1) as f64 / 2.0;
    let cosine = Beta::new(shape, shape).map(|beta| beta.cdf((1.0 - f64::from(threshold)) / 2.0));
    cosine.unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::super::claim::CLAIMS;
    use super::super::judge::{ClaimTest, judge};
    use super::super::verdict::Verdict;
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
        let counted =
            |layers: &[Vec<Class>]| judged(rare_depletion(&table(layers), 576, &settings()));
        let found = counted(&[layer(Class::Depletion, 1), layer(Class::Depletion, 1)]);
        assert_eq!(found[0].verdict, Verdict::Contradicted);
        assert_eq!((difference(&found[0]), found[0].n), (Some(2.0 / 80.0), 80));
        assert_eq!(found[1].verdict, Verdict::Described);
        assert_eq!((difference(&found[1]), found[1].n), (Some(0.0), 2));
        // 1 in layer 1, 3 in layer 2, of 3 layers: all in the second half. Shares of the layers in the error are 0.
        let late = counted(&[
            layer(Class::OrthogonalOutput, 0),
            layer(Class::Depletion, 1),
            layer(Class::Depletion, 3),
        ]);
        assert_eq!(difference(&late[1]), Some(0.5));
    }

    /// A network of random weights has none, and none is no evidence that there are few.
    #[test]
    fn no_depletion_is_not_rare_depletion() {
        let none = table(&[
            layer(Class::OrthogonalOutput, 0),
            layer(Class::OrthogonalOutput, 0),
        ]);
        let found = verdicts(rare_depletion(&none, 576, &settings()));
        assert_eq!(found, [Verdict::NotTestable, Verdict::NotTestable]);
        // P(cos < -1/2) of two random vectors of 3 numbers is 1/4, of 576 next to nothing.
        assert!((opposite_by_chance(3, 0.5) - 0.25).abs() < 1e-12);
        assert!(opposite_by_chance(576, 0.5) < 1e-30);
        let some = table(&[
            layer(Class::Depletion, 1),
            layer(Class::OrthogonalOutput, 0),
        ]);
        let as_chance_has_it = judged(rare_depletion(&some, 3, &settings()));
        assert_eq!(as_chance_has_it[0].verdict, Verdict::NotDistinguishable);
    }

    /// Half a neuron in each layer has no more than layers say: intervals are over layers.
    #[test]
    fn depths_are_compared_over_layers() {
        use Class::{ConditionalEnrichment, Depletion};
        // Each layer has as many of both, whatever their number: no difference, and no certainty about it.
        let both = |of_each: usize| -> Vec<Class> {
            let classes = [ConditionalEnrichment, Depletion];
            classes
                .into_iter()
                .flat_map(|class| vec![class; of_each])
                .collect()
        };
        let interval = |of_each: usize| {
            let table = table(&[
                layer(ConditionalEnrichment, 1),
                both(of_each),
                both(of_each),
                layer(Depletion, 1),
            ]);
            let Basis::Tested { estimate, .. } = depth_enrichment(&table, &settings())[0].evidence
            else {
                panic!("tested")
            };
            let ci = estimate.baseline_ci.unwrap();
            (ci.high - ci.low) * of_each as f64
        };
        // With ten times as many neurons in the middle the two at the ends weigh a tenth, and the interval shrinks by that and
        // not by another root of ten.
        let (few, many) = (interval(10), interval(100));
        assert!((few / many - 1.0).abs() < 0.2, "{few} {many}");
    }

    /// Medians of the twelve published models: eleven bear the claim out, OLMo-1B does not (PAPER 2).
    #[test]
    fn the_published_tables_decide_as_the_paper_says() {
        for (model, published) in crate::io_class::PublishedTables::bundled().unwrap().models {
            let medians: Vec<f64> = published
                .median_cos_in_out_per_layer
                .iter()
                .map(|m| f64::from(*m))
                .collect();
            // The intervals of layers with 5,000 to 19,000 neurons are about so wide.
            let around = |m: &f64| {
                Some(Interval {
                    low: m - 0.02,
                    high: m + 0.02,
                })
            };
            let intervals: Vec<_> = medians.iter().map(around).collect();
            let verdict = verdicts(vec![positive_early(&medians, &intervals)]);
            let expected = if model == "allenai/OLMo-1B-hf" {
                Verdict::Contradicted
            } else {
                Verdict::Supported
            };
            assert_eq!(verdict, [expected], "{model}");
        }
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
            (Some(-1.0), Verdict::Described)
        );
        let rising = with(&[0.1, -0.3, 0.5, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]);
        let found = judged(depth_median(&rising, &settings()));
        assert_eq!(found[0].verdict, Verdict::Contradicted);
        assert!(
            found[0].why.ends_with("in layers 1 it is clearly negative"),
            "{}",
            found[0].why
        );
    }
}
