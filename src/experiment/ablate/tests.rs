use super::*;
use crate::experiment::plan::Treatment;
use crate::hooks::{Mode, NeuronSet};

fn score(logprob: f64) -> Score {
    Score {
        target_logprob: logprob,
        first_logprob: logprob,
        first_rank: if logprob > -2.0 { 1 } else { 2 },
        entropy_nats: 1.0,
        kl_nats: 0.0,
        top_token: 0,
        logit_diff: None,
        target_top1: false,
    }
}

/// Two known prompts and one unknown, a class and two draws.
fn example() -> (Ablation, AblationPlan) {
    let treatment = Treatment {
        class: "c".to_string(),
        layers: None,
        neurons: NeuronSet::empty(1),
        baseline: vec![NeuronSet::empty(1); 2],
        shortfall: vec![],
        written: None,
        first_order: None,
    };
    let plan = AblationPlan {
        subset: PromptSubset::All,
        ..AblationPlan::new(vec![treatment], Mode::Zero)
    };
    let arms = [
        [-1.0, -1.5, -9.0],
        [-2.0, -3.5, -9.5],
        [-1.2, -1.7, -9.0],
        [-1.4, -1.7, -9.0],
    ];
    let ablation = Ablation {
        conditions: plan.conditions(&plan.mode),
        scores: arms
            .map(|arm| {
                let scores = arm.map(|logprob| vec![score(logprob)]);
                scores.into_iter().enumerate().collect()
            })
            .to_vec(),
        corrupted: None,
        direction: plan.direction,
        has_noise: false,
        without_pair: Vec::new(),
        without_subject: Vec::new(),
        known: BTreeSet::from([0, 1]),
        clusters: (0..3).map(|prompt| (prompt, prompt)).collect(),
        known_in: None,
        edited_prompts: 3,
        changed: EditCount::default(),
        reference: None,
        passes: 1,
    };
    (ablation, plan)
}

#[test]
fn a_prompt_that_is_not_there_has_no_relation() {
    let (ablation, _) = example();
    let counted = ablation.known_by_relation(&[]);
    assert_eq!(counted.len(), 1);
    assert_eq!((counted[0].prompts, counted[0].known), (3, 2));
}

#[test]
fn means_and_differences_by_hand() {
    let (ablation, plan) = example();
    let effects = ablation
        .effects(&plan, &[], &StatsSettings::default())
        .unwrap();
    assert_eq!(effects.len(), 2 * 5, "known and all; nothing of pairs");
    let close =
        |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    let known = &effects[0];
    assert_eq!(
        (known.metric, known.subset, known.prompts),
        (Metric::TARGET_LOGPROB, PromptSubset::Known, 2)
    );
    close(known.means.clean, -1.25);
    close(known.means.class, -2.75);
    close(known.means.baseline.unwrap(), -1.5);
    assert_eq!(known.draw_means.len(), 2);
    close(known.draw_means[0], -1.45);
    close(known.draw_means[1], -1.55);
    close(known.difference_to_clean, -1.5);
    close(known.estimate.difference_to_baseline.unwrap(), -1.25);
    // Differences -1 and -2: standard error 1/2; t(0.975; 1) = 12.706205.
    let ci = known.clean_ci.unwrap();
    close(ci.low, -1.5 - 6.353_102_368);
    close(ci.high, -1.5 + 6.353_102_368);
    // class means 2 top-1 answers lost of 2; the draws lose none
    let top1 = effects
        .iter()
        .find(|e| e.metric == Metric::TOP1 && e.subset == PromptSubset::Known)
        .unwrap();
    assert_eq!(top1.answers_lost(), (2.0, Some(0.0)));
    let all = effects
        .iter()
        .find(|e| e.subset == PromptSubset::All)
        .unwrap();
    close(all.means.class, -5.0);
    close(
        all.estimate.difference_to_baseline.unwrap(),
        (-1.25 * 2.0 - 0.5) / 3.0,
    );
}

#[test]
fn holm_runs_over_the_primary_tests_alone() {
    let (ablation, plan) = example();
    let effects = ablation
        .effects(&plan, &[], &StatsSettings::default())
        .unwrap();
    let is_primary = |e: &&Effect| {
        e.metric == Metric::TARGET_LOGPROB && e.subset == PromptSubset::All // those that were asked for
    };
    let (primary, described): (Vec<&Effect>, Vec<&Effect>) = effects.iter().partition(is_primary);
    let [primary] = primary[..] else {
        panic!("one class")
    };
    // Farther out than both draws: 1 of 3; one class, so one test.
    let third = Some(1.0 / 3.0);
    assert_eq!(primary.estimate.permutation_p, third);
    assert_eq!(primary.estimate.p_adjusted, third);
    assert!(described.iter().all(|e| e.estimate.p_adjusted.is_none()));
    assert!(described.iter().any(|e| e.estimate.permutation_p.is_some()));
}

#[test]
fn relations_are_clusters_and_told_apart() {
    let (mut ablation, plan) = example();
    ablation.known.insert(2);
    ablation.clusters = BTreeMap::from([(0, 0), (1, 1), (2, 0)]);
    let prompt = |relation: &str| Prompt {
        relation: Some(relation.to_string()),
        ..Prompt::new("", "a", "a", "x").unwrap()
    };
    let prompts = ["capital", "river", "capital"].map(prompt);
    let effects = ablation.effects(&plan, &prompts, &StatsSettings::default());
    let effect = &effects.unwrap()[0];
    assert_eq!((effect.prompts, effect.clusters), (3, 2));
    let close =
        |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    // Capitals lose 1.0 and 0.5, the river 2.0; the draws .3 and 0, and .2.
    let [capital, river] = &effect.by_relation[..] else {
        panic!("two relations")
    };
    assert_eq!((capital.relation.as_str(), capital.prompts), ("capital", 2));
    close(capital.differences.difference_to_clean, -0.75);
    close(capital.differences.difference_to_baseline.unwrap(), -0.6);
    assert_eq!((river.relation.as_str(), river.prompts), ("river", 1));
    close(river.differences.difference_to_baseline.unwrap(), -1.8);
    let alike = effect.clusters_alike.unwrap();
    close(alike.difference_to_clean, (-0.75 - 2.0) / 2.0);
    close(alike.difference_to_baseline.unwrap(), (-0.6 - 1.8) / 2.0);
    close(effect.difference_to_clean, -3.5 / 3.0);
}
