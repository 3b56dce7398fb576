//! Gradients of neurons: against torch's on every family, against finite differences in f64 on a model of two layers, and the
//! rankings that are made of them.

use gatelens::engine::{Engine, LogitGradient, NeuronGradients};
use gatelens::hooks::{Condition, Edit, Mode, Path};
use gatelens::model::Model;
use gatelens::tokens::TokenBatch;

use super::common::{batch, first_row, model, relative_difference};
use super::edits::prompts;
use super::families::VARIANTS;
use super::golden::Golden;
use super::two_layer::{At, D_MLP, LAYERS, TwoLayer};

/// The log-probability of the most probable next token of some rows.
struct BestNext(Vec<usize>);

impl LogitGradient for BestNext {
    fn rows(&self) -> &[usize] {
        &self.0
    }

    fn of_logits(&self, _: usize, logits: &[f32]) -> Vec<f32> {
        let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
        of_logprob(best.unwrap(), logits)
    }
}

fn of_logprob(token: usize, logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::MIN, f32::max);
    let exp = |logit: &f32| f64::from(logit - max).exp();
    let sum: f64 = logits.iter().map(exp).sum();
    let minus = logits.iter().map(|logit| (-exp(logit) / sum) as f32);
    let mut gradient: Vec<f32> = minus.collect();
    gradient[token] += 1.0;
    gradient
}

/// The gradient of every neuron at every token, by layer: `[tokens, d_mlp]`.
fn gradients(
    model: &Model,
    batch: &TokenBatch,
    number: &dyn LogitGradient,
    path: Path,
) -> Vec<Vec<f32>> {
    let mut found = vec![Vec::new(); model.config().n_layers()];
    let mut sink = |seen: &NeuronGradients<'_>| {
        found[seen.layer] = seen.of_post.to_vec();
        Ok(())
    };
    Engine::new(model)
        .gradients(batch, (&Condition::Clean, path), number, &mut sink, &())
        .unwrap();
    found
}

/// The largest relative difference of a prompt's gradients from torch's.
fn worst(name: &str) -> f64 {
    let (golden, model) = (Golden::read(name), model(name));
    let prompts = golden.prompts();
    let batch = batch(&prompts);
    let d_mlp = model.config().d_mlp;
    let rows_of = |p: usize| {
        let positions = golden.ints(&format!("p{p}.positions")).into_iter();
        let first = first_row(&batch, p);
        let rows = positions.map(move |position| first + position as usize);
        rows.collect::<Vec<usize>>()
    };
    let rows = (0..prompts.len()).flat_map(rows_of).collect();
    let number = BestNext(rows);
    let mut worst = 0.0;
    for (path, suffix) in [(Path::Total, ""), (Path::Direct, ".direct")] {
        let found = gradients(&model, &batch, &number, path);
        for p in 0..prompts.len() {
            // In torch's file the neurons are in the order in which they were drawn.
            let expected = golden.rows(&format!("p{p}.gradient{suffix}"));
            let pairs = golden.ints("ablation.neurons");
            let pairs = pairs
                .chunks(2)
                .map(|pair| (pair[0] as usize, pair[1] as usize));
            let at = |row: usize| {
                let found = &found;
                pairs
                    .clone()
                    .map(move |(layer, index)| found[layer][row * d_mlp + index])
            };
            let found: Vec<f32> = rows_of(p).into_iter().flat_map(at).collect();
            let difference = relative_difference(&found, &expected.concat());
            assert!(
                difference < 1e-4,
                "{name}, prompt {p}, {path}: {difference:e}"
            );
            worst = f64::max(worst, difference);
        }
    }
    assert!(!golden.ints("ablation.neurons").is_empty());
    worst
}

#[test]
fn every_family_has_torchs_gradients() {
    for variant in VARIANTS {
        println!("{}: {:.1e}", variant.name, worst(variant.name));
    }
}

#[test]
fn real_models_have_torchs_gradients() {
    for name in ["smollm2-135m", "gemma3-270m", "qwen2.5-coder-0.5b"] {
        println!("{name}: {:.1e}", worst(name));
    }
}

/// The log-probability of every prompt's target.
struct Targets {
    rows: Vec<usize>,
    targets: Vec<u32>,
}

impl LogitGradient for Targets {
    fn rows(&self) -> &[usize] {
        &self.rows
    }

    fn of_logits(&self, place: usize, logits: &[f32]) -> Vec<f32> {
        of_logprob(self.targets[place] as usize, logits)
    }
}

#[test]
fn edits_that_make_their_values_of_the_run_are_refused() {
    let model = model("tiny-llama");
    let neurons = Golden::read("tiny-llama").neurons(&model);
    let edit = Edit::new(neurons, Mode::Multiply(2.0)).called("twice");
    let (batch, number) = (batch(&[vec![1, 2, 3]]), BestNext(vec![2]));
    let by = (&Condition::from(edit), Path::Total);
    let engine = Engine::new(&model);
    let error = engine.gradients(&batch, by, &number, &mut |_| Ok(()), &());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("`twice`"), "{error}");
}

#[test]
fn gradients_are_finite_differences() {
    const STEP: f64 = 1e-5;
    let two_layer = TwoLayer::new();
    let dir = tempfile::tempdir().unwrap();
    two_layer.checkpoint(dir.path());
    let model = two_layer.model(dir.path());
    let batch = TokenBatch::new(prompts().to_vec()).unwrap();
    let sequences = batch.sequences().iter().enumerate();
    let (rows, targets) = sequences
        .flat_map(|(i, sequence)| batch.target_rows(i).zip(sequence.target.clone()))
        .unzip();
    let number = Targets { rows, targets };
    for path in [Path::Total, Path::Direct] {
        let found = gradients(&model, &batch, &number, path);
        let (mut slopes, mut of_post) = (Vec::new(), Vec::new());
        for prompt in prompts() {
            let first = first_row(&batch, prompt.prompt);
            for position in 0..prompt.ids.len() {
                for (layer, neuron) in (0..LAYERS).flat_map(|l| (0..D_MLP).map(move |n| (l, n))) {
                    let moved = |by: f64| {
                        let edit = |at: At| {
                            let is_it =
                                (at.layer, at.position, at.neuron) == (layer, position, neuron);
                            at.post + if is_it { by } else { 0.0 }
                        };
                        match path {
                            Path::Total => {
                                two_layer.run(&prompt.ids, &edit).target_logprob(&prompt)
                            }
                            _ => two_layer.direct_logprob(&prompt, &edit, true),
                        }
                    };
                    let expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                    let row = first + position;
                    of_post.push(found[layer][row * D_MLP + neuron]);
                    slopes.push(expected as f32);
                }
            }
        }
        let difference = relative_difference(&of_post, &slopes);
        assert!(difference < 1e-4, "{path}: {difference:e}");
    }
}
