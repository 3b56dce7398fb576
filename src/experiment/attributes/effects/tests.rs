use super::*;
use crate::engine::Lens;
use crate::experiment::PromptSubset;
use crate::experiment::attributes::FilterOrder;
use crate::experiment::plan::Treatment;
use crate::hooks::{EditCount, Mode, NeuronSet};

#[test]
fn the_default_layers_are_the_published_ones_and_at_their_depths() {
    let layers = |n| default_layers(n);
    assert_eq!(layers(32), 5..29);
    // 30: 4.7 and 2.8 are left out; 18: 2.8 and 1.7; 16: 2.5 and 1.5.
    assert_eq!([layers(30), layers(18), layers(16)], [5..27, 3..16, 3..14]);
    assert!((1..200).all(|n| !layers(n).is_empty()));
}

/// With one other text, in which nothing occurs.
fn share(hits: u32, kept: u32) -> Share {
    Share {
        kept,
        hits,
        other_texts: 1,
        ..Share::default()
    }
}

fn plan() -> AblationPlan {
    AblationPlan {
        subset: PromptSubset::All,
        ..AblationPlan::new(
            vec![Treatment {
                class: "c".to_string(),
                layers: None,
                neurons: NeuronSet::empty(3),
                baseline: vec![NeuronSet::empty(3); 2],
                shortfall: vec![],
                written: None,
                first_order: None,
            }],
            Mode::Zero,
        )
    }
}

/// Shares by condition (clean, class, two draws), prompt and layer.
fn effects(shares: [Vec<Vec<Share>>; 4]) -> AttributeEffects {
    let found = Attributes {
        conditions: plan().conditions(&Mode::Zero),
        shares: shares
            .map(|shares| shares.into_iter().enumerate().collect())
            .to_vec(),
        texts: vec![0, 1, 1],
        changed: EditCount::default(),
        reference: None,
        passes: 1,
    };
    let settings = RateSettings {
        filter_order: FilterOrder::TopFirst,
        top: std::num::NonZeroUsize::MIN,
        lens: Lens::Raw,
    };
    let layers = LayerWindow { first: 1, last: 2 };
    let statistics = StatsSettings::default();
    attribute_effects(&found, &plan(), settings, layers, &statistics).unwrap()
}

/// Three prompts, three layers.
fn example() -> [Vec<Vec<Share>>; 4] {
    let full = |a, b, c| vec![share(a, 10), share(b, 10), share(c, 10)];
    [
        vec![full(1, 6, 8), full(0, 2, 4), full(9, 9, 9)],
        // The second prompt has no rate after layer 1, the third none after layers 1 and 2.
        vec![
            full(1, 4, 6),
            vec![share(0, 10), share(0, 0), share(1, 10)],
            vec![share(5, 10), share(0, 0), share(0, 0)],
        ],
        vec![full(2, 6, 8), full(2, 3, 3), full(9, 9, 9)],
        vec![full(2, 5, 7), full(2, 1, 3), full(9, 9, 9)],
    ]
}

#[test]
fn means_over_layers_by_hand_and_prompts_without_a_rate_are_left_out() {
    let found = effects(example());
    assert_eq!(found.effects.len(), 2 * 4, "the mean and three layers");
    let mean = &found.effects[0];
    assert_eq!(
        (mean.layer, mean.effect.layers.unwrap().layers()),
        (None, 1..3)
    );
    assert_eq!((mean.left_out, mean.effect.prompts), (1, 2));
    let close =
        |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    // clean (.7, .3); class (.5, .1); draws (.7, .3) and (.6, .2)
    close(mean.effect.means.clean, 0.5);
    close(mean.effect.means.class, 0.3);
    close(mean.effect.means.baseline.unwrap(), 0.45);
    close(mean.effect.difference_to_clean, -0.2);
    close(mean.effect.estimate.difference_to_baseline.unwrap(), -0.15);
    // clean .7 and .3, each a subject of its own: s/√2 = .2
    close(mean.clean_error.unwrap(), 0.2);
    let rates = found.effects.iter();
    let left_out: Vec<_> = rates.take(4).map(|e| (e.layer, e.left_out)).collect();
    assert_eq!(
        left_out,
        [(None, 1), (Some(0), 0), (Some(1), 2), (Some(2), 1)]
    );
    let first = &found.effects[1].effect;
    close(first.means.clean, 1.0 / 3.0);
    close(first.means.class, 0.2);
    assert!(found.absent.is_empty());
}

#[test]
fn holm_runs_over_the_excess_of_the_means_alone() {
    let found = effects(example());
    let (means, layers): (Vec<_>, Vec<_>) = found.effects.iter().partition(|e| e.layer.is_none());
    assert_eq!(means.len(), 2, "the rate and its excess");
    let [rate, excess] = means[..] else {
        panic!("two metrics")
    };
    assert_eq!(excess.adjustment, Adjustment::Holm);
    let estimate = excess.effect.estimate;
    assert!(estimate.p_adjusted.is_some());
    assert_eq!(
        estimate.p_adjusted, estimate.permutation_p,
        "one class, one test"
    );
    // The rate itself is described.
    assert_eq!(rate.adjustment, Adjustment::None);
    assert_eq!(rate.effect.estimate.p_adjusted, None);
    for layer in &layers {
        assert_eq!(layer.adjustment, Adjustment::None);
        assert_eq!(layer.effect.estimate.p_adjusted, None);
    }
    assert!(layers[0].effect.estimate.baseline_ci.is_some());
}

#[test]
fn where_no_prompt_is_left_there_is_no_effect() {
    let mut shares = example();
    for prompt in &mut shares[2] {
        prompt[2] = share(0, 0);
    }
    let found = effects(shares);
    let absent = LayerWindow { first: 2, last: 2 };
    assert_eq!(found.absent.len(), 1);
    assert_eq!(found.absent[0].layers, absent);
    assert!(
        found
            .effects
            .iter()
            .all(|e| e.effect.layers != Some(absent))
    );
}

#[test]
fn the_excess_by_hand() {
    let share = |hits, other_hits| Share {
        kept: 10,
        hits,
        other_hits,
        other_texts: 4,
    };
    let arm = |values: [(u32, u32); 3]| {
        let of_prompt =
            |(hits, others)| vec![share(0, 40), share(hits, others), share(hits, others)];
        values.map(of_prompt).to_vec()
    };
    let found = effects([
        arm([(5, 8), (3, 4), (2, 4)]),  // .5 - .2, .3 - .1, .2 - .1
        arm([(5, 16), (2, 4), (1, 8)]), // .5 - .4, .2 - .1, .1 - .2
        arm([(5, 8), (3, 4), (2, 4)]),
        arm([(4, 8), (3, 4), (0, 4)]), // .4 - .2, .3 - .1, 0 - .1
    ]);
    let excess = |e: &&AttributeEffect| e.effect.metric == Metric::ATTRIBUTE_EXCESS;
    let excess: Vec<&AttributeEffect> = found.effects.iter().filter(excess).collect();
    assert_eq!(excess.len(), 4);
    let close =
        |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    let means = excess[0].effect.means;
    close(means.clean, 0.2);
    close(means.class, 0.1 / 3.0);
    close(means.baseline.unwrap(), (0.6 + 0.3) / 6.0);
    // .1 in one cluster, 0 and -.1 in the other: √(2/1 · (.01 + .01)) / 3
    close(excess[0].clean_error.unwrap(), 0.2 / 3.0);
    assert!(
        is_there(0.2001, excess[0].clean_error),
        "three errors and a little"
    );
    assert!(!is_there(0.19, excess[0].clean_error));
    assert!(!is_there(0.0, Some(0.0)) && !is_there(1.0, None));
    close(excess[1].effect.means.clean, -1.0);
}

#[test]
fn without_other_texts_there_is_no_excess() {
    let alone = |shares: Vec<Vec<Share>>| {
        let alone = |share| Share {
            other_texts: 0,
            ..share
        };
        let of_prompt = |shares: Vec<Share>| shares.into_iter().map(alone).collect();
        shares
            .into_iter()
            .map(of_prompt)
            .collect::<Vec<Vec<Share>>>()
    };
    let found = effects(example().map(alone));
    assert_eq!(found.effects.len(), 4);
    assert!(found.absent.is_empty());
}
