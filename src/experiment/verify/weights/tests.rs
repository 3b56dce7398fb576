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

fn settings() -> StatsSettings {
    StatsSettings {
        resamples: 2_000,
        ..StatsSettings::default()
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
    let counted = |layers: &[Vec<Class>]| judged(rare_depletion(&table(layers), 576, &settings()));
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

/// Medians of the twelve published models: eleven bear the claim out, OLMo-1B does not.
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
        found[0].why.ends_with("in layer 1 it is clearly negative"),
        "{}",
        found[0].why
    );
}
