//! The ranking: a neuron that decides the answer is found, every number is that of plain loops or of `ablate`, and
//! what cannot be ranked is said.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::Path;

use arrow_array::{Array, Float64Array, Int32Array, UInt16Array, UInt32Array};
use assert_cmd::Command;
use candle_core::{Device, Tensor};
use gatelens::engine::Engine;
use gatelens::experiment::Run;
use gatelens::experiment::rank::{
    CurvePoint, Evaluation, Order, RankBy, RankPlan, RankSettings, Ranking, rank,
};
use gatelens::experiment::{AblationPlan, ExperimentError, Treatment};
use gatelens::hooks::{Condition, HookPoint, Mode, Neuron, NeuronSet, Recorder, SignCase, Site};
use gatelens::io_class::MatchedDraws;
use gatelens::model::{Checkpoint, Model};
use gatelens::stats::StatsSettings;
use gatelens::tokens::{Sequence, TokenBatch};
use serde_json::Value;

use super::cli::{FACTS, columns, fail, file, json, named, succeed};
use super::common::{LogProbs, checkpoint, goldens, model, sequence};
use super::two_layer::{At, D_MLP, LAYERS, TwoLayer};

/// Log-probabilities of 10 nats (where f32 has steps of 1e-6) after two layers in f32, against f64.
const IN_F32: f64 = 1e-5;

/// The planted neuron.
const PLANTED: Neuron = Neuron { layer: 1, index: 3 };

fn plan(
    checkpoint: &Checkpoint,
    neurons: &[Neuron],
    when: &str,
    settings: RankSettings,
) -> RankPlan {
    let config = checkpoint.config();
    let neurons = neurons.iter().copied();
    let neurons = NeuronSet::from_neurons(config.n_layers(), config.d_mlp, neurons).unwrap();
    let none = MatchedDraws {
        sets: vec![],
        shortfall: vec![],
    };
    let ablation = AblationPlan {
        when: match when {
            "" => SignCase::default(),
            when => when.parse().unwrap(),
        },
        ..AblationPlan::new(
            vec![Treatment::new("some".to_string(), neurons, none)],
            Mode::Zero,
        )
    };
    RankPlan::new(checkpoint, ablation, settings).unwrap()
}

fn settings(top: usize, draws: usize, evaluation: Evaluation) -> RankSettings {
    RankSettings {
        top: NonZeroUsize::new(top).unwrap(),
        by: RankBy::Output,
        steps: NonZeroUsize::new(8).unwrap(),
        draws,
        evaluation,
        statistics: StatsSettings {
            resamples: 500,
            ..StatsSettings::default()
        },
    }
}

fn with_target(prompt: usize, ids: &[u32], target: &[u32]) -> Sequence {
    let fed = &target[..target.len() - 1];
    Sequence {
        prompt_len: ids.len(),
        target: target.to_vec(),
        ..sequence(prompt, &[ids, fed].concat())
    }
}

/// Nine prompts with the planted answer, some of two tokens, and one with another.
fn prompts(answer: u32) -> Vec<Sequence> {
    let ids = |i: u32| -> Vec<u32> {
        (0..2 + i % 4)
            .map(|k| (3 * i + 7 * k + k * k) % 10)
            .collect()
    };
    let target = |i: u32| match i % 3 {
        0 => vec![answer, (i + 1) % 10],
        _ => vec![answer],
    };
    let known = (0..9).map(|i| with_target(i as usize, &ids(i), &target(i)));
    let unknown = with_target(9, &[1, 2, 3], &[(answer + 1) % 10]);
    known.chain([unknown]).collect()
}

fn every_neuron() -> Vec<Neuron> {
    let of_layer = |layer| (0..D_MLP).map(move |index| Neuron { layer, index });
    (0..LAYERS).flat_map(of_layer).collect()
}

struct Planted {
    two_layer: TwoLayer,
    prompts: Vec<Sequence>,
}

impl Planted {
    fn new() -> Self {
        let (two_layer, answer) = TwoLayer::new().planted((PLANTED.layer, PLANTED.index));
        let prompts = prompts(answer);
        Self { two_layer, prompts }
    }

    fn rank(&self, when: &str, settings: RankSettings) -> Result<Ranking, ExperimentError> {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = self.two_layer.checkpoint(dir.path());
        let plan = plan(&checkpoint, &every_neuron(), when, settings);
        let model = self.two_layer.model(dir.path());
        let batch = TokenBatch::new(self.prompts.clone()).unwrap();
        rank(&mut Run::new(&()), &Engine::new(&model), &batch, &plan)
    }

    /// Mean change of the target's log-probability on `prompts` without `neurons`, in plain loops.
    fn effect(&self, prompts: &[usize], neurons: &[Neuron]) -> f64 {
        let edit = |at: At| {
            let (layer, index) = (at.layer, at.neuron);
            if neurons.contains(&Neuron { layer, index }) {
                0.0
            } else {
                at.post
            }
        };
        let change = |&prompt: &usize| {
            let prompt = &self.prompts[prompt];
            let edited = self.two_layer.run(&prompt.ids, &edit);
            let clean = self.two_layer.run(&prompt.ids, &|at| at.post);
            edited.target_logprob(prompt) - clean.target_logprob(prompt)
        };
        prompts.iter().map(change).sum::<f64>() / prompts.len() as f64
    }

    /// ‖w_out‖ times the mean over prompts of the mean |post| over the target's rows, in plain loops.
    fn estimate(&self, prompts: &[usize], neuron: Neuron) -> f64 {
        let mean_post = |&prompt: &usize| {
            let prompt = &self.prompts[prompt];
            let trace = self.two_layer.run(&prompt.ids, &|at| at.post);
            let rows = prompt.prompt_len - 1..prompt.ids.len();
            let post = |position| trace.at(neuron.layer, position, neuron.index).post.abs();
            rows.clone().map(post).sum::<f64>() / rows.len() as f64
        };
        let mean = prompts.iter().map(mean_post).sum::<f64>() / prompts.len() as f64;
        mean * self.two_layer.output_norm(neuron.layer, neuron.index)
    }
}

impl Planted {
    /// What a neuron's zero ablation changes to first order, by all ways or straight: minus the slope of the target's
    /// log-probability in a factor on the neuron's post, by finite differences of plain loops.
    fn slope(&self, prompts: &[usize], neuron: Neuron, by: RankBy) -> f64 {
        const STEP: f64 = 1e-5;
        let of = |prompt: &usize| {
            let prompt = &self.prompts[*prompt];
            let at_factor = |factor: f64| {
                let edit = |at: At| {
                    let is_it = Neuron::new(at.layer, at.neuron) == neuron;
                    at.post * if is_it { factor } else { 1.0 }
                };
                match by {
                    RankBy::Direct => self.two_layer.direct_logprob(prompt, &edit, true),
                    _ => self
                        .two_layer
                        .run(&prompt.ids, &edit)
                        .target_logprob(prompt),
                }
            };
            (at_factor(1.0 - STEP) - at_factor(1.0 + STEP)) / (2.0 * STEP)
        };
        prompts.iter().map(of).sum::<f64>() / prompts.len() as f64
    }
}

impl Planted {
    /// The change that a neuron's zero ablation makes along the way from the zero ablation of all to the plain run: the mean, over
    /// places on it, of the slope in the neuron alone, by finite differences of plain loops.
    fn integrated(&self, prompts: &[usize], neuron: Neuron, steps: usize) -> f64 {
        const STEP: f64 = 1e-5;
        let of = |prompt: &usize| {
            let prompt = &self.prompts[*prompt];
            let plain = self.two_layer.run(&prompt.ids, &|at| at.post);
            let at_place = |share: f64, more: f64| {
                let edit = |at: At| {
                    let is_it = Neuron::new(at.layer, at.neuron) == neuron;
                    let post = plain.at(at.layer, at.position, at.neuron).post;
                    post * (share + if is_it { more } else { 0.0 })
                };
                let run = self.two_layer.run(&prompt.ids, &edit);
                run.target_logprob(prompt)
            };
            let slopes = (0..steps).map(|step| {
                let share = (step as f64 + 0.5) / steps as f64;
                (at_place(share, -STEP) - at_place(share, STEP)) / (2.0 * STEP)
            });
            slopes.sum::<f64>() / steps as f64
        };
        prompts.iter().map(of).sum::<f64>() / prompts.len() as f64
    }
}

#[test]
fn integrated_gradients_are_those_of_plain_loops_and_add_up_to_the_effect() {
    let planted = Planted::new();
    let rank = |steps: usize| {
        let settings = RankSettings {
            by: RankBy::Integrated,
            steps: NonZeroUsize::new(steps).unwrap(),
            ..settings(5, 2, Evaluation::OtherHalf)
        };
        planted.rank("", settings).unwrap()
    };
    let found = rank(4);
    for ranked in &found.neurons {
        let expected = planted.integrated(&found.ranked_on, ranked.neuron, 4);
        let difference = (ranked.estimate - expected).abs();
        let allowed = 1e-4 * (1.0 + expected.abs());
        let (name, estimate) = (ranked.neuron, ranked.estimate);
        assert!(difference < allowed, "{name}: {estimate} for {expected}");
    }
    // With small steps they add up.
    let found = rank(400);
    let sum = found.first_order.unwrap().class;
    let effect = planted.effect(&found.ranked_on, &every_neuron());
    assert!(
        (sum - effect).abs() < 1e-3 * effect.abs(),
        "{sum} for {effect}"
    );
    assert_eq!(found.neurons[0].neuron, PLANTED);
}

#[test]
fn gradients_rank_by_what_an_edit_changes_to_first_order() {
    let planted = Planted::new();
    for by in [RankBy::Direct, RankBy::Gradient] {
        let settings = RankSettings {
            by,
            ..settings(5, 2, Evaluation::OtherHalf)
        };
        let found = planted.rank("", settings).unwrap();
        for ranked in &found.neurons {
            let expected = planted.slope(&found.ranked_on, ranked.neuron, by);
            let difference = (ranked.estimate - expected).abs();
            let allowed = 1e-4 * (1.0 + expected.abs());
            assert!(
                difference < allowed,
                "{by} {}: {} for {expected}",
                ranked.neuron,
                ranked.estimate
            );
        }
        assert!(
            found.neurons.is_sorted_by(|a, b| a.estimate <= b.estimate),
            "harm first"
        );
        let order: Vec<Neuron> = found.neurons.iter().map(|ranked| ranked.neuron).collect();
        let points = found
            .curve
            .iter()
            .filter(|point| point.order == Order::Estimated);
        for point in points {
            let expected = planted.effect(&found.measured_on, &order[..point.neurons]);
            close("estimated", point.cost.effect, expected);
        }
    }
}

fn close(what: &str, found: f64, expected: f64) {
    let difference = (found - expected).abs();
    assert!(difference <= IN_F32, "{what}: {found} for {expected}");
}

fn ranked(curve: &[CurvePoint]) -> impl Iterator<Item = &CurvePoint> {
    curve.iter().filter(|point| point.order == Order::Ranked)
}

#[test]
fn a_planted_neuron_comes_first_and_the_curve_drops_at_one() {
    let planted = Planted::new();
    for evaluation in [Evaluation::OtherHalf, Evaluation::SamePrompts] {
        let found = planted.rank("", settings(5, 4, evaluation)).unwrap();
        assert_eq!((found.prompts, found.known), (10, 9));
        let first = &found.neurons[0];
        assert_eq!((first.neuron, first.estimate_rank), (PLANTED, 1));
        assert_eq!(first.exact.unwrap().rank, 1);
        assert_eq!(first.exact.unwrap().cost.facts_lost, found.ranked_on.len());
        let points: Vec<_> = ranked(&found.curve).collect();
        assert_eq!(
            points.iter().map(|p| p.neurons).collect::<Vec<_>>(),
            [1, 2, 4, 8, 12]
        );
        assert_eq!(points[0].cost.facts_lost, found.measured_on.len());
        // Few facts, so the interval is wide.
        let cost = points[0].cost;
        assert!(
            cost.effect < -5.0 && cost.interval.unwrap().contains(cost.effect),
            "{cost:?}"
        );
        // Of the random orders one in twelve begins with the planted neuron.
        let beside = &found.against_random[0];
        assert!(beside.difference < -1.0 && beside.random_effect > points[0].cost.effect);
    }
}

#[test]
fn every_number_is_that_of_plain_loops() {
    let planted = Planted::new();
    let found = planted
        .rank("", settings(5, 2, Evaluation::OtherHalf))
        .unwrap();
    let mut halves = [found.ranked_on.clone(), found.measured_on.clone()].concat();
    halves.sort();
    assert_eq!(
        halves,
        (0..9).collect::<Vec<_>>(),
        "each known prompt in one half"
    );

    let mut order = Vec::new();
    for ranked in &found.neurons {
        let name = ranked.neuron.to_string();
        close(
            &name,
            ranked.estimate,
            planted.estimate(&found.ranked_on, ranked.neuron),
        );
        assert_eq!(ranked.exact.is_some(), ranked.estimate_rank <= 5);
        if let Some(exact) = ranked.exact {
            let expected = planted.effect(&found.ranked_on, &[ranked.neuron]);
            close(&name, exact.cost.effect, expected);
            order.push((expected, ranked.neuron));
        }
    }
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let by_exact: Vec<_> = found.by_exact().iter().map(|(r, _)| r.neuron).collect();
    let mut order: Vec<_> = order.into_iter().map(|(_, neuron)| neuron).collect();
    assert_eq!(by_exact, order);

    order.extend(found.neurons[5..].iter().map(|ranked| ranked.neuron));
    for point in ranked(&found.curve) {
        let expected = planted.effect(&found.measured_on, &order[..point.neurons]);
        close("ranked", point.cost.effect, expected);
    }
    let singles = every_neuron().into_iter();
    let singles: Vec<_> = singles
        .map(|n| planted.effect(&found.measured_on, &[n]))
        .collect();
    let whole = ranked(&found.curve).last().unwrap();
    let random = found.curve.iter().filter(|p| p.order == Order::Random);
    for point in random {
        let cost = point.cost;
        match point.neurons {
            1 => assert!(singles.iter().any(|s| (s - cost.effect).abs() <= IN_F32)),
            12 => assert_eq!(cost, whole.cost, "all orders end with the whole set"),
            _ => {}
        }
    }
}

#[test]
fn an_edit_in_vain_of_one_neuron_is_0_and_of_all_an_error() {
    let planted = Planted::new();
    // The planted gate is positive at every token.
    let found = planted
        .rank("gate-", settings(1, 0, Evaluation::SamePrompts))
        .unwrap();
    let exact = found.neurons[0].exact.unwrap();
    assert_eq!((found.neurons[0].neuron, found.unchanged), (PLANTED, 1));
    assert_eq!((exact.cost.effect, exact.cost.facts_lost), (0.0, 0));
    assert!(found.agreement.is_none() && found.against_random.is_empty());

    let dir = tempfile::tempdir().unwrap();
    let checkpoint = planted.two_layer.checkpoint(dir.path());
    let one = settings(1, 0, Evaluation::SamePrompts);
    let plan = plan(&checkpoint, &[PLANTED], "gate-", one);
    let batch = TokenBatch::new(planted.prompts.clone()).unwrap();
    let model = planted.two_layer.model(dir.path());
    let error = rank(&mut Run::new(&()), &Engine::new(&model), &batch, &plan)
        .map(|_| ())
        .unwrap_err();
    assert!(error.to_string().contains("all 1 neurons"), "{error}");
}

#[test]
fn too_few_known_prompts_are_an_error() {
    let mut planted = Planted::new();
    planted.prompts.drain(3..9); // three known ones are left
    let few = |evaluation| planted.rank("", settings(2, 0, evaluation)).map(|_| ());
    let error = few(Evaluation::OtherHalf).unwrap_err().to_string();
    assert!(
        error.contains("knows 3 of the 4") && error.contains("--same-prompts"),
        "{error}"
    );
    few(Evaluation::SamePrompts).unwrap();
}

/// Prompts of random ids with the model's own answers as their targets, and a second token.
fn own_answers(model: &Model) -> TokenBatch {
    let ids = |i: u32| -> Vec<u32> { (0..3 + i % 3).map(|k| 7 * i + 5 * k + 3).collect() };
    let plain: Vec<Vec<u32>> = (0..5).map(ids).collect();
    let batch = super::common::batch(&plain);
    let mut logprobs = LogProbs::of_all(&batch);
    let clean = [Condition::Clean];
    Engine::new(model)
        .run(&batch, &clean, &mut [], Some(&mut logprobs), &())
        .unwrap();
    let answered = batch.sequences().iter().enumerate().map(|(i, sequence)| {
        let row = logprobs.at(0, batch.last_row(i));
        let best = (0..row.len())
            .max_by(|a, b| row[*a].total_cmp(&row[*b]))
            .unwrap();
        with_target(sequence.prompt, &sequence.ids, &[best as u32, 11])
    });
    TokenBatch::new(answered.collect()).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// ‖w_out‖ from the file, times the gain of the norm after the MLP where there is one (Gemma stores it less 1).
fn norm_in_file(tensors: &HashMap<String, Tensor>, neuron: Neuron) -> f64 {
    let name = |part: &str| format!("model.layers.{}.{part}.weight", neuron.layer);
    let down = &tensors[&name("mlp.down_proj")];
    let column = numbers(&down.narrow(1, neuron.index, 1).unwrap());
    let gain = tensors
        .get(&name("post_feedforward_layernorm"))
        .map(numbers);
    let gain = |d: usize| gain.as_ref().map_or(1.0, |gain| f64::from(1.0 + gain[d]));
    let entries = column
        .into_iter()
        .enumerate()
        .map(|(d, w)| f64::from(w) * gain(d));
    entries.map(|w| w.powi(2)).sum::<f64>().sqrt()
}

#[test]
fn the_estimate_is_that_of_recorded_rows_and_the_stored_column() {
    // plain, with a norm after the MLP, and with a norm that centres
    for name in ["tiny-llama", "tiny-gemma2", "tiny-olmo"] {
        let (checkpoint, model) = (checkpoint(name), model(name));
        let batch = own_answers(&model);
        let layers = checkpoint.config().n_layers();
        let neurons: Vec<Neuron> = (0..20)
            .map(|i| Neuron {
                layer: i % layers,
                index: (7 * i) % checkpoint.config().d_mlp,
            })
            .collect();
        let plan = plan(
            &checkpoint,
            &neurons,
            "",
            settings(1, 0, Evaluation::SamePrompts),
        );
        let engine = Engine::new(&model);
        let found = rank(&mut Run::new(&()), &engine, &batch, &plan).unwrap();
        assert_eq!(found.ranked_on.len(), 5, "{name} knows its own answers");

        let points = (0..layers).map(|l| HookPoint::in_layer(l, Site::Post));
        let mut recorder = Recorder::new(points);
        engine
            .run(&batch, &[Condition::Clean], &mut [&mut recorder], None, &())
            .unwrap();
        let weights = goldens().join(name).join("model.safetensors");
        let tensors = candle_core::safetensors::load(weights, &Device::Cpu).unwrap();
        for ranked in &found.neurons {
            let Neuron { layer, index } = ranked.neuron;
            let rows = recorder
                .rows(HookPoint::in_layer(layer, Site::Post), 0)
                .unwrap();
            let d_mlp = checkpoint.config().d_mlp;
            let post = |row: usize| f64::from(rows[row * d_mlp + index]).abs();
            let of_prompt =
                |i: usize| (post(batch.last_row(i)) + post(batch.last_row(i) + 1)) / 2.0;
            let mean = (0..5).map(of_prompt).sum::<f64>() / 5.0;
            let expected = mean * norm_in_file(&tensors, ranked.neuron);
            let difference = (ranked.estimate - expected).abs();
            assert!(
                difference <= 1e-9 * expected,
                "{name} {}: {difference}",
                ranked.neuron
            );
        }
    }
}

fn column<T: Array + Clone + 'static>(run: &Path, name: &str) -> T {
    let (_, rows) = columns(&run.join("ranking.parquet"));
    let column = rows.column_by_name(name).unwrap();
    column.as_any().downcast_ref::<T>().unwrap().clone()
}

/// The effect of an ablation on the target's log-probability, with its interval, and the facts that it loses.
fn ablated(run: &Path) -> [f64; 4] {
    let effects = json(&run.join("effects.json"));
    let of = |metric: &str| {
        effects
            .as_array()
            .unwrap()
            .iter()
            .find(|e| e["metric"] == metric)
            .unwrap()
            .clone()
    };
    let (target, top1) = (of("target_logprob"), of("top1"));
    let number = |value: &Value| value.as_f64().unwrap();
    [
        number(&target["difference_to_clean"]),
        number(&target["clean_ci"]["low"]),
        number(&target["clean_ci"]["high"]),
        (number(&top1["means"]["clean"]) - number(&top1["means"]["class"]))
            * number(&top1["prompts"]),
    ]
}

fn assert_same(what: &str, found: [f64; 4], expected: [f64; 4]) {
    for (found, expected) in found.into_iter().zip(expected) {
        assert!(
            (found - expected).abs() <= 1e-9,
            "{what}: {found} for {expected}"
        );
    }
}

#[test]
fn single_neurons_and_the_whole_class_are_what_ablate_says() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "facts.jsonl", FACTS);
    let out = |name: &str| dir.path().join(name);
    let run = |to: &Path, args: &[&str]| {
        let shared = [
            "--prompts",
            &prompts,
            "--seed",
            "3",
            "--out",
            to.to_str().unwrap(),
        ];
        succeed(&[args, &shared].concat())
    };
    let ranked = out("ranked");
    let printed = run(
        &ranked,
        &[
            "rank",
            "--class",
            "depletion",
            "--same-prompts",
            "--top",
            "3",
            "--draws",
            "2",
        ],
    );
    for part in [
        "104 neurons",
        "optimistic",
        "Spearman",
        "ranked minus random",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let (fields, rows) = columns(&ranked.join("ranking.parquet"));
    let expected = named(&[
        ("layer", "UInt16"),
        ("neuron", "UInt32"),
        ("estimate", "Float64"),
        ("estimate_rank", "UInt32"),
        ("exact", "Float64"),
        ("exact_low", "Float64"),
        ("exact_high", "Float64"),
        ("exact_rank", "UInt32"),
        ("facts_lost", "Int32"),
    ]);
    assert_eq!((fields, rows.num_rows()), (expected, 104));
    let exact: [Float64Array; 3] =
        ["exact", "exact_low", "exact_high"].map(|name| column(&ranked, name));
    let lost: Int32Array = column(&ranked, "facts_lost");
    assert_eq!((exact[0].null_count(), lost.null_count()), (101, 101));

    let layer: UInt16Array = column(&ranked, "layer");
    let index: UInt32Array = column(&ranked, "neuron");
    for row in 0..3 {
        let name = format!("{}.{}", layer.value(row), index.value(row));
        let (alone, neurons) = (out(&name), file(&dir, "one.txt", &name));
        run(&alone, &["ablate", "--neurons", &neurons, "--draws", "0"]);
        let [effect, low, high] = exact.each_ref().map(|column| column.value(row));
        let found = [effect, low, high, f64::from(lost.value(row))];
        assert_same(&name, found, ablated(&alone));
    }

    let whole = out("whole");
    run(
        &whole,
        &["ablate", "--classes", "depletion", "--draws", "0"],
    );
    let curve = json(&ranked.join("curve.json"));
    let ends: Vec<&Value> = curve
        .as_array()
        .unwrap()
        .iter()
        .filter(|p| p["neurons"] == 104)
        .collect();
    assert_eq!(ends.len(), 2 + 2, "ranked, estimated and two at random");
    for end in ends {
        let found = ["effect", "low", "high", "facts_lost"].map(|key| end[key].as_f64().unwrap());
        assert_same("whole class", found, ablated(&whole));
    }
    let counts = &json(&ranked.join("run.json"))["counts"];
    assert_eq!(counts["ranked_on"], counts["measured_on"]);
    assert_eq!(
        (&counts["neurons"], &counts["alone"]),
        (&104.into(), &3.into())
    );
}

#[test]
fn a_neuron_file_is_ranked_on_one_half_and_measured_on_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let more = r#"{"id": "de", "prompt": "The capital of Germany is", "subject": "Germany", "target": "Berlin"}
{"id": "es", "prompt": "The capital of Spain is", "subject": "Spain", "target": "Madrid"}
"#;
    let prompts = file(&dir, "facts.jsonl", &[FACTS, more].concat());
    let neurons = file(&dir, "mine.txt", "28.1095\n29.1285\n3.17\n");
    let args = [
        "rank",
        "--neurons",
        &neurons,
        "--prompts",
        &prompts,
        "--draws",
        "0",
        "--json",
    ];
    let found: Value = serde_json::from_str(&succeed(&args)).unwrap();
    assert_eq!(
        (&found["class"], &found["evaluation"]),
        (&"mine".into(), &"other-half".into())
    );
    let known = found["known"].as_u64().unwrap();
    let parts = ["ranked_on", "measured_on"].map(|key| found[key].as_u64().unwrap());
    assert_eq!(parts, [known.div_ceil(2), known / 2]);
    assert_eq!(found["ranking"].as_array().unwrap().len(), 3);
    let curve = found["curve"].as_array().unwrap();
    let points: Vec<_> = curve
        .iter()
        .filter(|p| p["order"] == "ranked")
        .map(|p| p["neurons"].as_u64().unwrap())
        .collect();
    assert_eq!(points, [1, 2, 3]);

    // The sum of the estimates stands beside random sets of the layers, or beside sets that write as much.
    let first_order = |matching: &str| {
        let by = ["--by", "direct", "--match", matching];
        let printed = succeed(&[&args[..], &by].concat());
        serde_json::from_str::<Value>(&printed).unwrap()["first_order"].clone()
    };
    let [layer, written] = ["layer", "layer+contribution"].map(first_order);
    assert_eq!(
        (&layer["draws"], &layer["class"]),
        (&99.into(), &written["class"])
    );
    assert_ne!(layer["baseline"], written["baseline"]);
}

#[test]
fn what_cannot_be_ranked_is_said() {
    let error = fail(&["rank", "--class", "enrichment", "--layers", "0..1"]);
    assert!(error.contains("no neuron is enrichment"), "{error}");
    let error = fail(&["rank", "--steps", "3"]);
    assert!(error.contains("--by integrated"), "{error}");
    let error = fail(&["rank", "--by", "gradient", "--dtype", "bf16"]);
    assert!(error.contains("in f32 alone"), "{error}");
    let error = fail(&["rank", "--match", "layer+norm"]);
    assert!(error.contains("--by direct and gradient"), "{error}");
    let error = fail(&["rank", "--by", "direct", "--match", "layer+effect"]);
    assert!(error.contains("needs a recording or a text"), "{error}");
    let error = fail(&["rank", "--class", "enrichmend"]);
    assert!(error.contains("did you mean"), "{error}");
    for args in [
        ["rank", "--top", "0", "--draws", "1"],
        ["rank", "--class", "depletion", "--neurons", "x"],
    ] {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("gatelens"));
        let output = command.args(args).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && error.contains(args[1]),
            "{error}"
        );
    }
}
