//! Writing text: with and without kept keys and values, greedily and by sampling, clean and edited; and what each
//! setting of the sampling does.

use candle_core::{Device, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling};
use gatelens::engine::{Engine, LogitBlock, Readout};
use gatelens::experiment::{Choice, Generator};
use gatelens::hooks::{Condition, Edit, Mode, Neuron, NeuronSet, ReadError};
use gatelens::model::Model;
use gatelens::tokens::{Positions, Sequence, TokenBatch};
use serde_json::Value;

use super::cli::{fail, file, succeed};
use super::common::{goldens, model};
use super::families::VARIANTS;

/// Tokens that are written after a prompt.
const TOKENS: usize = 12;

const PROMPT: [u32; 6] = [3, 41, 7, 29, 11, 5];

/// Half of the neurons of every layer, at these positions.
fn edited(model: &Model, positions: Positions, mode: Mode) -> Condition {
    let (layers, d_mlp) = (model.config().n_layers(), model.config().d_mlp);
    let neurons = (0..layers).flat_map(|layer| {
        let every_second = (0..d_mlp).step_by(2);
        every_second.map(move |index| Neuron { layer, index })
    });
    Condition::Edited(
        Edit::new(
            NeuronSet::from_neurons(layers, d_mlp, neurons).unwrap(),
            mode,
        )
        .called("every second")
        .at(positions),
    )
}

/// What the generator writes: each token goes through the model once.
fn cached(model: &Model, condition: &Condition, choice: &Choice) -> Vec<u32> {
    let engine = Engine::new(model);
    let (prompt, condition) = (PROMPT.to_vec(), condition.clone());
    let mut generator = Generator::new(&engine, condition.clone(), prompt, *choice);
    let tokens = (0..TOKENS).map(|_| generator.next_token().unwrap());
    let tokens = tokens.collect();
    let edits = condition != Condition::Clean;
    assert_eq!(generator.changed().changed > 0, edits);
    tokens
}

/// The last logits of a plain forward pass over the prompt and what follows it.
fn logits(model: &Model, condition: &Condition, written: &[u32]) -> Vec<f32> {
    let all = Sequence::of_ids(0, [&PROMPT[..], written].concat());
    // What was written stands where a target would: positions of the prompt stay where they are.
    let target = if written.is_empty() {
        Vec::new()
    } else {
        vec![0; written.len() + 1]
    };
    let sequence = Sequence {
        prompt_len: PROMPT.len(),
        target,
        ..all
    };
    let batch = TokenBatch::new(vec![sequence]).unwrap();
    let mut last = Last {
        row: [batch.tokens() - 1],
        logits: Vec::new(),
    };
    let conditions = std::slice::from_ref(condition);
    let engine = Engine::new(model);
    let readout: Option<&mut dyn Readout> = Some(&mut last);
    engine
        .run(&batch, conditions, &mut [], readout, &())
        .unwrap();
    last.logits
}

struct Last {
    row: [usize; 1],
    logits: Vec<f32>,
}

impl Readout for Last {
    fn rows(&self) -> &[usize] {
        &self.row
    }

    fn read(&mut self, block: &LogitBlock<'_>) -> Result<(), ReadError> {
        self.logits = block.logits()?.into_owned();
        Ok(())
    }
}

/// The same text by plain forward passes, `choose` taking the next token from the logits.
fn uncached(
    model: &Model,
    condition: &Condition,
    mut choose: impl FnMut(&[f32]) -> u32,
) -> Vec<u32> {
    let mut written = Vec::new();
    for _ in 0..TOKENS {
        let token = choose(&logits(model, condition, &written));
        written.push(token);
    }
    written
}

fn argmax(logits: &[f32]) -> u32 {
    let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
    best.unwrap() as u32
}

/// candle_transformers' own sampler.
fn sampler(choice: &Choice) -> impl FnMut(&[f32]) -> u32 {
    let temperature = choice.temperature;
    let sampling = match (choice.top_k, choice.top_p) {
        _ if temperature == 0.0 => Sampling::ArgMax,
        (None, None) => Sampling::All { temperature },
        (Some(k), None) => Sampling::TopK { k, temperature },
        (None, Some(p)) => Sampling::TopP { p, temperature },
        (Some(k), Some(p)) => Sampling::TopKThenTopP { k, p, temperature },
    };
    let mut processor = LogitsProcessor::from_sampling(choice.seed, sampling);
    move |logits| {
        let logits = Tensor::new(logits, &Device::Cpu).unwrap();
        processor.sample(&logits).unwrap()
    }
}

const GREEDY: Choice = Choice::GREEDY;

fn at(temperature: f64, seed: u64) -> Choice {
    Choice {
        temperature,
        seed,
        ..GREEDY
    }
}

#[test]
fn kept_keys_and_values_change_no_token_under_any_condition() {
    for variant in VARIANTS {
        let model = model(variant.name);
        let conditions = [
            Condition::Clean,
            edited(&model, Positions::All, Mode::Zero),
            edited(&model, Positions::All, Mode::Multiply(-2.0)),
            edited(&model, Positions::Last, Mode::Fixed(3.0)),
            edited(&model, Positions::NotFirst, Mode::Zero),
        ];
        let mut texts = Vec::new();
        for condition in conditions {
            let name = variant.name;
            let greedy = cached(&model, &condition, &GREEDY);
            assert_eq!(greedy, uncached(&model, &condition, argmax), "{name}");
            let choice = at(1.5, 7);
            let sampled = cached(&model, &condition, &choice);
            let expected = uncached(&model, &condition, sampler(&choice));
            assert_eq!(sampled, expected, "{name}, sampled");
            texts.push((greedy, sampled));
        }
        // An edit that goes nowhere would pass the above.
        let clean = texts.remove(0);
        let changed = texts.iter().filter(|text| **text != clean);
        assert!(changed.count() >= 2, "{}", variant.name);
    }
}

#[test]
fn every_kind_of_sampling_is_that_of_candle_transformers() {
    let model = model("tiny-llama");
    for (top_k, top_p) in SETTINGS {
        for seed in 0..5 {
            let choice = Choice {
                top_k,
                top_p,
                ..at(2.0, seed)
            };
            let found = cached(&model, &Condition::Clean, &choice);
            let expected = uncached(&model, &Condition::Clean, sampler(&choice));
            assert_eq!(found, expected, "{choice:?}");
            assert_eq!(found, cached(&model, &Condition::Clean, &choice));
        }
    }
    let clean = |choice: &Choice| cached(&model, &Condition::Clean, choice);
    assert_ne!(clean(&at(5.0, 1)), clean(&at(5.0, 2)));
    let greedy = clean(&GREEDY);
    for temperature in [0.1, 1.0, 50.0] {
        let top_k = Some(1);
        let one = Choice {
            top_k,
            ..at(temperature, 3)
        };
        assert_eq!(clean(&one), greedy);
    }
    // The distribution of a cold model has one value.
    assert_eq!(clean(&at(1e-3, 4)), greedy);
}

/// top-k and top-p.
const SETTINGS: [(Option<usize>, Option<f64>); 7] = [
    (None, None),
    (Some(7), None),
    (None, Some(0.6)),
    (Some(7), Some(0.6)),
    // As good as none.
    (Some(100_000), Some(1.0)),
    (None, Some(0.0)),
    // The 7 do not reach it.
    (Some(7), Some(0.99)),
];

/// softmax(logits/T), in f64.
fn probabilities(logits: &[f32], temperature: f64) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::MIN, f32::max);
    let weights = logits
        .iter()
        .map(|l| (f64::from(l - max) / temperature).exp());
    let weights: Vec<f64> = weights.collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// How many tokens are more probable than `token`, and how probable these are together.
fn before(probabilities: &[f64], token: u32) -> (usize, f64) {
    let own = probabilities[token as usize];
    let better = probabilities.iter().filter(|p| **p > own);
    (better.clone().count(), better.sum())
}

#[test]
fn top_k_top_p_and_temperature_do_what_their_help_says() {
    let model = model("tiny-llama");
    let (k, p) = (4, 0.3);
    let drawn = |(top_k, top_p), temperature: f64| -> Vec<(usize, f64)> {
        let drawn = (0..20).flat_map(|seed| {
            let choice = Choice {
                top_k,
                top_p,
                ..at(temperature, seed)
            };
            let text = cached(&model, &Condition::Clean, &choice);
            let place = |i: usize| {
                let logits = logits(&model, &Condition::Clean, &text[..i]);
                before(&probabilities(&logits, temperature), text[i])
            };
            (0..TOKENS).map(place).collect::<Vec<_>>()
        });
        drawn.collect()
    };
    let most = |drawn: &[(usize, f64)]| drawn.iter().map(|(rank, _)| *rank).max().unwrap();
    let temperature = 3.0;
    let all = drawn((None, None), temperature);
    assert!(most(&all) > 50, "{}", most(&all));
    let of_k = drawn((Some(k), None), temperature);
    assert_eq!(most(&of_k), k - 1);
    let of_p = drawn((None, Some(p)), temperature);
    let mass = |drawn: &[(usize, f64)]| drawn.iter().map(|(_, mass)| *mass).fold(0.0, f64::max);
    assert!(mass(&of_p) < p && mass(&of_p) > 0.8 * p, "{}", mass(&of_p));
    assert!(mass(&all) > 0.9, "{}", mass(&all));
    // The mean rank of a token grows with the temperature.
    let ranks = [0.2, 1.0, 5.0].map(|temperature| {
        let drawn = drawn((None, None), temperature);
        drawn.iter().map(|(rank, _)| *rank).sum::<usize>()
    });
    assert!(ranks.is_sorted_by(|a, b| 2 * a < *b), "{ranks:?}");
}

/// What `generate --json` wrote after a prompt.
fn generated(more: &[&str]) -> Value {
    let model = goldens().join("tiny-llama");
    let mut args = vec!["generate", "--json", "--model", model.to_str().unwrap()];
    args.extend(["--prompt", "The capital of France is", "--max-tokens", "12"]);
    args.extend(more);
    serde_json::from_str(&succeed(&args)).unwrap()
}

fn texts(json: &Value) -> Vec<&Value> {
    let texts = json["texts"].as_array().unwrap().iter();
    texts.map(|text| &text["tokens"]).collect()
}

#[test]
fn the_settings_reach_the_sampler_from_the_command_line() {
    let tiny = goldens().join("tiny-llama");
    let tokenizer =
        gatelens::tokens::Tokenizer::from_files(&tiny.join("tokenizer.json"), None, None).unwrap();
    let prompt = tokenizer.encode("The capital of France is").unwrap().ids;
    let bos = tokenizer
        .bos_for(gatelens::tokens::BosPolicy::Auto)
        .unwrap();
    let prompt: Vec<u32> = bos.into_iter().chain(prompt).collect();
    let model = model("tiny-llama");
    let engine = Engine::new(&model);
    for (flags, top_k, top_p) in [
        (&[][..], None, None),
        (&["--top-k", "9"], Some(9), None),
        (&["--top-p", "0.7"], None, Some(0.7)),
        (&["--top-k", "9", "--top-p", "0.7"], Some(9), Some(0.7)),
    ] {
        let more = [flags, &["--temperature", "1.25", "--seed", "7"]].concat();
        let choice = Choice {
            top_k,
            top_p,
            ..at(1.25, 7)
        };
        let mut generator = Generator::new(&engine, Condition::Clean, prompt.clone(), choice);
        let expected = (0..12).map(|_| generator.next_token().unwrap());
        let expected = expected.take_while(|token| !tokenizer.is_special(*token));
        let expected = Value::from(expected.collect::<Vec<_>>());
        assert_eq!(texts(&generated(&more)), [&expected], "{flags:?}");
    }
    // Greedy is the default, and what is left of one token at any temperature.
    let greedy = generated(&[]);
    let one = generated(&["--temperature", "9", "--top-k", "1", "--seed", "5"]);
    assert_eq!(texts(&greedy), texts(&one));
}

#[test]
fn both_texts_of_a_comparison_are_those_of_single_runs() {
    let dir = tempfile::tempdir().unwrap();
    let neurons: String = (0..40).map(|n| format!("1.{n}\n2.{n}\n")).collect();
    let neurons = file(&dir, "neurons.txt", &neurons);
    let sampled = ["--temperature", "2", "--seed", "3"];
    let edit = ["--neurons", &neurons, "--mode", "fixed=4"];
    let clean = generated(&sampled);
    let edited = generated(&[&sampled[..], &edit].concat());
    let both = generated(&[&sampled[..], &edit, &["--compare"]].concat());
    let expected = [texts(&clean)[0], texts(&edited)[0]];
    assert_ne!(expected[0], expected[1]);
    assert_eq!(texts(&both), expected);
}

#[test]
fn settings_without_a_meaning_are_refused() {
    for (flags, culprit) in [
        (&["--top-k", "3"][..], "--temperature 0.8"),
        (&["--temperature", "1", "--top-k", "0"], "--top-k 0"),
        (&["--temperature", "1", "--top-p", "1.5"], "--top-p"),
        (&["--temperature", "1", "--top-p", "0"], "--top-p"),
        (&["--temperature=-1"], "--temperature -1"),
        (&["--temperature", "NaN"], "--temperature NaN"),
        (&["--compare"], "--classes"),
    ] {
        let error = fail(&[&["generate", "--prompt", "a"], flags].concat());
        assert!(error.contains(culprit), "{flags:?}: {error}");
    }
}
