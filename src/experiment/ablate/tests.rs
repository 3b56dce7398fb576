use super::*;
use crate::experiment::plan::Treatment;
use crate::hooks::{Mode, NeuronSet, SignCase, SignConvention};
use crate::tokens::Positions;

fn score(logprob: f64) -> Score {
    Score {
        target_logprob: logprob,
        first_logprob: logprob,
        first_rank: if logprob > -2.0 { 1 } else { 2 },
        entropy_nats: 1.0,
        kl_nats: 0.0,
        top_token: 0,
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
    };
    let plan = AblationPlan {
        treatments: vec![treatment],
        mode: Mode::Zero,
        positions: Positions::All,
        when: SignCase::default(),
        signs: SignConvention::Raw,
        subset: PromptSubset::All,
        seed: 0,
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
            .map(|arm| arm.map(score).into_iter().enumerate().collect())
            .to_vec(),
        known: BTreeSet::from([0, 1]),
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
        .effects(&plan, &BootstrapSettings::default())
        .unwrap();
    assert_eq!(effects.len(), 2 * of_facts().count(), "known and all");
    let close =
        |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} {expected}");
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
    let ci = known.clean_ci.unwrap();
    assert_eq!(
        (ci.low, ci.high),
        (-2.0, -1.0),
        "two prompts: the bootstrap's ends are the pairs themselves"
    );
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
fn holm_runs_over_all_tests_of_the_run() {
    let (ablation, plan) = example();
    let effects = ablation
        .effects(&plan, &BootstrapSettings::default())
        .unwrap();
    let tested = effects.iter().filter(|e| e.estimate.p.is_some()).count() as f64;
    let smallest = effects
        .iter()
        .filter(|e| e.estimate.p.is_some())
        .min_by(|a, b| a.estimate.p.partial_cmp(&b.estimate.p).unwrap())
        .unwrap();
    let expected = (smallest.estimate.p.unwrap() * tested).min(1.0);
    assert!((smallest.estimate.p_adjusted.unwrap() - expected).abs() < 1e-12);
    for effect in effects.iter().filter(|e| e.estimate.p.is_none()) {
        assert!(
            effect.estimate.p_adjusted.is_none(),
            "nothing varies there: {effect:?}"
        );
    }
}
