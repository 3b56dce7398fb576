//! The metrics of running text against transformers' numbers at every position.

use gatelens::engine::Engine;
use gatelens::experiment::{
    AblationPlan, Arm, Metric, PromptSubset, Run, TokenOutcome, Treatment, ablate_text,
};
use gatelens::hooks::{Condition, Mode};
use gatelens::io_class::MatchedDraws;
use gatelens::model::Model;
use gatelens::stats::StatsSettings;
use gatelens::tokens::Window;

use super::common::{model, sequence};
use super::families::VARIANTS;
use super::golden::{Golden, TINY};

/// The prompts of a golden file, each a document of one window.
fn documents(golden: &Golden) -> Vec<Window> {
    let prompts = golden.prompts().into_iter().enumerate();
    let windows = prompts.map(|(document, ids)| Window {
        document,
        number: 0,
        sequence: sequence(document, &ids),
    });
    windows.collect()
}

/// The golden's ablation, without a baseline.
fn plan(golden: &Golden, model: &Model) -> AblationPlan {
    let Condition::Edited(edit) = golden.ablation(model) else {
        panic!("the golden ablation edits")
    };
    let none = MatchedDraws {
        sets: vec![],
        shortfall: vec![],
    };
    AblationPlan {
        subset: PromptSubset::All,
        ..AblationPlan::new(
            vec![Treatment::new("golden".to_string(), edit.neurons, none)],
            Mode::Zero,
        )
    }
}

/// The goldens' entropies and scales, relative.
const RELATIVE: f64 = 1e-4;

#[test]
fn every_token_of_every_family_equals_transformers() {
    for variant in VARIANTS {
        let golden = Golden::read(variant.name);
        let model = model(variant.name);
        let windows = documents(&golden);
        let plan = plan(&golden, &model);
        let (mut seen, mut worst) = (0, 0f64);
        let mut check = |row: &TokenOutcome<'_>| {
            let (p, k) = (row.document, row.position);
            let name = format!("{} document {p} position {k}", variant.name);
            let prefix = match row.condition.arm {
                Arm::Clean => format!("p{p}"),
                _ => format!("p{p}.ablated"),
            };
            let logprobs = &golden.rows(&format!("{prefix}.logprobs"))[k];
            let logprob = logprobs[row.token as usize];
            let loss = -f64::from(logprob);
            let tolerance = f64::from(TINY.logprob);
            worst = worst.max((row.score.loss_nats - loss).abs());
            assert!(
                (row.score.loss_nats - loss).abs() <= tolerance,
                "{name}: loss"
            );
            assert_eq!(row.token, windows[p].sequence.ids[k + 1], "{name}");
            // ranks may differ where two logits are nearly equal
            let surely = logprobs
                .iter()
                .filter(|l| **l > logprob + TINY.logprob)
                .count();
            let perhaps = logprobs
                .iter()
                .filter(|l| **l > logprob - TINY.logprob)
                .count();
            let better = row.score.rank as usize - 1;
            assert!(
                (surely..=perhaps).contains(&better),
                "{name}: rank {better}"
            );
            if row.condition.arm == Arm::Clean {
                let entropy = f64::from(golden.rows(&format!("p{p}.entropy"))[k][0]);
                let scale = f64::from(golden.rows(&format!("p{p}.ln_final.hook_scale"))[k][0]);
                worst = worst.max((row.score.entropy_nats - entropy).abs());
                assert!(
                    (row.score.entropy_nats - entropy).abs() <= tolerance,
                    "{name}: entropy"
                );
                assert!(
                    (row.score.log_scale - scale.ln()).abs() <= RELATIVE,
                    "{name}: scale"
                );
            }
            seen += 1;
        };
        let mut sink = |rows: &[TokenOutcome<'_>]| {
            rows.iter().for_each(&mut check);
            Ok(())
        };
        let ablation = ablate_text(
            &mut Run::new(&()),
            &Engine::new(&model),
            &windows,
            &plan,
            &mut sink,
        )
        .unwrap();
        println!("{} loss and entropy of text: {worst:.1e}", variant.name);
        let predicted: usize = windows.iter().map(|w| w.sequence.ids.len() - 1).sum();
        assert_eq!((ablation.tokens, seen), (predicted, 2 * predicted));

        let effects = ablation.effects(&plan, &StatsSettings::default()).unwrap();
        let loss = effects.iter().find(|e| e.metric == Metric::LOSS).unwrap();
        assert_eq!(loss.prompts, ablation.documents);
        let change = loss.means.class - loss.means.clean;
        assert!((loss.difference_to_clean - change).abs() < 1e-12);
    }
}
