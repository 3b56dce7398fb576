//! The experiment on real facts: what is known, and that an outcome is what the logits say.

use gatelens::engine::Engine;
use gatelens::experiment::{AblationPlan, Arm, Facts, PromptSubset, Run, Treatment, ablate};
use gatelens::hooks::{Mode, Neuron, NeuronSet};
use gatelens::hub::gguf::GgufFile;
use gatelens::io_class::MatchedDraws;
use gatelens::model::Model;
use gatelens::prompts::PromptSet;
use gatelens::tokens::{BosPolicy, TokenBatch, Tokenizer, tokenize};

use super::common::{LogProbs, model, model_path};

fn tokenizer(alias: &str) -> Tokenizer {
    Tokenizer::from_gguf(&GgufFile::open(&model_path(alias)).unwrap()).unwrap()
}

fn plan(model: &Model, subset: PromptSubset) -> AblationPlan {
    let config = model.config();
    let set = |neurons: &[(usize, usize)]| {
        let neurons = neurons
            .iter()
            .map(|&(layer, index)| Neuron { layer, index });
        NeuronSet::new(config, neurons).unwrap()
    };
    let draws = MatchedDraws {
        sets: vec![set(&[(3, 1), (9, 2)]), set(&[(3, 7), (9, 8)])],
        shortfall: vec![],
    };
    AblationPlan {
        subset,
        ..AblationPlan::new(
            vec![Treatment::new(
                "two neurons".to_string(),
                set(&[(3, 5), (9, 70)]),
                draws,
            )],
            Mode::Zero,
        )
    }
}

/// Prompts that the model knows among the bundled facts.
fn known(alias: &str) -> usize {
    let model = model(alias);
    let facts = PromptSet::bundled().unwrap();
    let batch = tokenize(&facts, &tokenizer(alias), BosPolicy::Auto).unwrap();
    let mut plan = plan(&model, PromptSubset::Known);
    plan.treatments.clear();
    let ablation = ablate(&mut Run::new(&()), &Engine::new(&model), &batch, &plan).unwrap();
    for relation in ablation.known_by_relation(&facts.prompts) {
        println!(
            "{alias} {:<22} {:>3} of {:>3}",
            relation.relation, relation.known, relation.prompts
        );
    }
    ablation.known().len()
}

#[test]
fn both_models_know_enough_of_the_bundled_facts() {
    let facts = PromptSet::bundled().unwrap();
    let relations: std::collections::BTreeSet<_> =
        facts.prompts.iter().map(|p| p.relation.clone()).collect();
    assert!(facts.prompts.len() >= 400 && relations.len() >= 20);
    let (smollm2, gemma3) = (known("smollm2-135m"), known("gemma3-270m"));
    println!(
        "smollm2-135m knows {smollm2}, gemma3-270m {gemma3} of {}",
        facts.prompts.len()
    );
    assert!(smollm2 >= 120 && gemma3 >= 150);
}

#[test]
fn an_outcome_is_what_the_logits_say() {
    let model = model("smollm2-135m");
    let facts = PromptSet::bundled().unwrap();
    let all = tokenize(&facts, &tokenizer("smollm2-135m"), BosPolicy::Auto).unwrap();
    let few: Vec<usize> = (0..facts.prompts.len()).step_by(40).collect();
    let batch: TokenBatch = all.subset(&few).unwrap();
    assert!(
        batch.sequences().iter().any(|s| s.target.len() > 1),
        "a target of several tokens"
    );
    let plan = plan(&model, PromptSubset::All);
    let engine = Engine::new(&model);
    let ablation = ablate(&mut Run::new(&()), &engine, &batch, &plan).unwrap();
    assert_eq!(
        ablation.outcomes().count(),
        4 * few.len(),
        "clean, class and two draws"
    );

    let treatment = &plan.treatments[0];
    for (arm, draw, neurons) in [
        (Arm::Class, 0, &treatment.neurons),
        (Arm::Baseline, 0, &treatment.baseline[0]),
        (Arm::Baseline, 1, &treatment.baseline[1]),
    ] {
        let condition = gatelens::hooks::Condition::Edited(
            gatelens::hooks::Edit::zero(neurons.clone()).called("alone"),
        );
        let mut logprobs = LogProbs::of_all(&batch);
        engine
            .run(&batch, &[condition], &mut [], Some(&mut logprobs), &())
            .unwrap();
        for (i, sequence) in batch.sequences().iter().enumerate() {
            let outcome = ablation
                .outcomes()
                .find(|o| {
                    o.prompt == sequence.prompt
                        && o.condition.arm == arm
                        && o.condition.draw == draw
                })
                .unwrap();
            let steps = batch.target_rows(i).zip(&sequence.target);
            let expected: f64 = steps
                .map(|(row, id)| f64::from(logprobs.at(0, row)[*id as usize]))
                .sum();
            let at_last = logprobs.at(0, batch.last_row(i));
            let target = at_last[sequence.target[0] as usize];
            let rank = 1 + at_last.iter().filter(|lp| **lp > target).count() as u32;
            let entropy: f64 = at_last
                .iter()
                .map(|lp| -f64::from(*lp) * f64::from(*lp).exp())
                .sum();
            let score = &outcome.score;
            assert!(
                (score.target_logprob - expected).abs() < 1e-5,
                "{} {expected}",
                score.target_logprob
            );
            assert_eq!(score.first_rank, rank);
            assert!(
                (score.entropy_nats - entropy).abs() < 1e-4,
                "{} {entropy}",
                score.entropy_nats
            );
            assert!(score.kl_nats >= 0.0);
        }
    }
    for outcome in ablation
        .outcomes()
        .filter(|o| o.condition.arm == Arm::Clean)
    {
        assert_eq!(outcome.score.kl_nats, 0.0);
        assert_eq!(outcome.known, outcome.score.first_rank == 1);
    }
}

/// With other words that tell what is known, the prompts of the effect are those, and the numbers are of the prompt itself.
#[test]
fn other_words_tell_what_is_known_and_are_not_measured() {
    let model = model("smollm2-135m");
    let facts = PromptSet::bundled().unwrap();
    let words = tokenizer("smollm2-135m");
    let few: Vec<usize> = (0..facts.prompts.len()).step_by(7).collect();
    let [asked, other] = [facts.clone(), facts.rephrased().unwrap()].map(|set| {
        let all = tokenize(&set, &words, BosPolicy::Auto).unwrap();
        all.subset(&few).unwrap()
    });
    let engine = Engine::new(&model);
    let known_by_hand = |batch: &TokenBatch| -> std::collections::BTreeSet<usize> {
        let rows: Vec<usize> = (0..few.len()).map(|i| batch.last_row(i)).collect();
        let mut logprobs = LogProbs::new(rows);
        let clean = [gatelens::hooks::Condition::Clean];
        engine
            .run(batch, &clean, &mut [], Some(&mut logprobs), &())
            .unwrap();
        let knows = |&i: &usize| {
            let row = logprobs.at(0, batch.last_row(i));
            let target = row[batch.sequences()[i].target[0] as usize];
            row.iter().all(|logprob| *logprob <= target)
        };
        let known = (0..few.len()).filter(knows);
        known.map(|i| batch.sequences()[i].prompt).collect()
    };
    let [same, rephrased] = [&asked, &other].map(known_by_hand);
    let both = same.intersection(&rephrased).count();
    println!(
        "known: {}, rephrased {}, both {both}",
        same.len(),
        rephrased.len()
    );
    assert!(both > 5 && both < same.len() && both < rephrased.len());

    let plan = plan(&model, PromptSubset::Known);
    let run = |rephrased| {
        let facts = Facts {
            rephrased,
            ..Facts::from(&asked)
        };
        ablate(&mut Run::new(&()), &engine, facts, &plan).unwrap()
    };
    let (plain, found) = (run(None), run(Some(&other)));
    assert!(plain.known_in.is_none());
    let counts = found.known_in.unwrap();
    let expected = (same.len(), rephrased.len(), both);
    assert_eq!((counts.same, counts.rephrased, counts.both), expected);
    assert!(found.known().into_iter().eq(rephrased.iter().copied()));
    assert_eq!(found.edited_prompts, rephrased.len());
    for outcome in found.outcomes() {
        assert_eq!(outcome.known, rephrased.contains(&outcome.prompt));
        let of_both = plain
            .outcomes()
            .find(|o| o.prompt == outcome.prompt && o.condition == outcome.condition);
        if let Some(of_both) = of_both {
            let [a, b] = [of_both, outcome].map(|o| o.score.target_logprob);
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }
}
