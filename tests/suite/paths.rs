//! The direct path: against plain loops on a model of two layers, what holds between paths on models of every kind of norm, and
//! what the command makes of both. The goldens hold it against transformers.

use gatelens::hooks::{Condition, Edit, Mode, Neuron, NeuronSet, Path, SignConvention};
use gatelens::model::Model;
use gatelens::tokens::Positions;
use serde_json::Value;
use tempfile::TempDir;

use super::cli::{FACTS, columns, fail, file, json, succeed};
use super::common::{batch, goldens, max_difference, model, run};
use super::edits::{
    Asked, NEURONS, ablation, assert_close, clean_traces, logprobs, modes, prompts,
};
use super::golden::Golden;
use super::two_layer::{At, TwoLayer};

/// Models with every kind of norms: RMS, centred without gains, and one after the MLP.
const MODELS: [&str; 6] = [
    "tiny-llama",
    "tiny-gemma3",
    "tiny-olmo",
    "tiny-olmo2",
    "smollm2-135m",
    "gemma3-270m",
];

#[test]
fn every_mode_goes_straight_to_the_norm_as_in_plain_loops() {
    let two_layer = TwoLayer::new();
    let traces = clean_traces(&two_layer);
    let last = |prompt: usize, at: At| at.position + 1 == prompts()[prompt].prompt_len;
    let all = |_: usize, _: At| true;
    type Chosen<'a> = &'a dyn Fn(usize, At) -> bool;
    // Three tokens are predicted: two of the first prompt's answer, and that of the second.
    let cases: [(Positions, u64, Chosen<'_>); 2] =
        [(Positions::All, 3, &all), (Positions::Last, 2, &last)];
    for path in [Path::Direct, Path::DirectFrozenNorm] {
        for (positions, tokens, chosen) in cases {
            for (mode, value) in modes(&traces, &|_| 1.0) {
                let asked = Asked {
                    positions,
                    path,
                    ..Asked::default()
                };
                let found = ablation(&two_layer, &mode.parse().unwrap(), asked).unwrap();
                let expected = prompts().map(|prompt| {
                    let edit = |at: At| {
                        let is_edited = NEURONS.contains(&(at.layer, at.neuron));
                        if is_edited && chosen(prompt.prompt, at) {
                            value(prompt.prompt, at)
                        } else {
                            at.post
                        }
                    };
                    two_layer.direct_logprob(&prompt, &edit, path == Path::DirectFrozenNorm)
                });
                assert_close(
                    &format!("{mode}, {positions}, {path}"),
                    &logprobs(&found),
                    &expected,
                );
                assert_eq!(found.changed.touched, tokens * 4, "{mode} {positions}");
            }
        }
    }
}

/// The log-probabilities at all tokens of a golden's short prompts, by condition.
fn at_all_tokens(model: &Model, golden: &Golden, conditions: &[Condition]) -> Vec<Vec<f32>> {
    let mut prompts = golden.prompts();
    prompts.retain(|prompt| prompt.len() <= 40);
    let batch = batch(&prompts);
    let (logprobs, counts) = run(model, &batch, conditions, &mut []);
    assert!(counts[1..].iter().all(|count| count.changed > 0));
    let rows = |condition| (0..batch.tokens()).map(move |row| (condition, row));
    (0..conditions.len())
        .map(|condition| {
            rows(condition)
                .flat_map(|(condition, row)| logprobs.at(condition, row).to_vec())
                .collect()
        })
        .collect()
}

fn zero(neurons: &NeuronSet, path: Path) -> Condition {
    Edit::zero(neurons.clone()).by(path).into()
}

#[test]
fn in_the_last_layer_the_direct_effect_is_the_total_one() {
    // A norm after the MLP divides as without the edit on the direct path alone.
    let without_norm = |name: &&&str| !["tiny-gemma3", "tiny-olmo2", "gemma3-270m"].contains(*name);
    for name in MODELS.iter().filter(without_norm) {
        let model = model(name);
        let config = model.config();
        let last = config.n_layers() - 1;
        let neurons = (0..10).map(|index| Neuron::new(last, index * 3));
        let neurons = NeuronSet::new(config, neurons).unwrap();
        let conditions = [
            Condition::Clean,
            zero(&neurons, Path::Total),
            zero(&neurons, Path::Direct),
        ];
        let found = at_all_tokens(&model, &Golden::read(name), &conditions);
        let difference = max_difference(&found[1], &found[2]);
        assert!(difference < 1e-4, "{name}: {difference}");
        let effect = max_difference(&found[0], &found[1]);
        assert!(effect > 1e-2, "{name}: {effect}");
    }
}

/// What an edit changes of each logit, minus what it changes of the row's first.
fn changes(clean: &[f32], edited: &[f32], vocab_size: usize) -> Vec<f32> {
    let rows = clean
        .chunks_exact(vocab_size)
        .zip(edited.chunks_exact(vocab_size));
    let of_row = |(clean, edited): (&[f32], &[f32])| -> Vec<f32> {
        let first = edited[0] - clean[0];
        let logits = clean.iter().zip(edited);
        logits
            .map(|(clean, edited)| edited - clean - first)
            .collect()
    };
    rows.flat_map(of_row).collect()
}

#[test]
fn with_a_frozen_norm_the_changes_of_logits_add_up() {
    for name in MODELS {
        let model = model(name);
        let golden = Golden::read(name);
        let all: Vec<Neuron> = golden.neurons(&model).iter().collect();
        let set = |which: fn(usize) -> bool| {
            let some = all
                .iter()
                .enumerate()
                .filter(|(i, _)| which(*i))
                .map(|(_, n)| *n);
            NeuronSet::new(model.config(), some).unwrap()
        };
        let sets = [set(|i| i % 3 == 0), set(|i| i % 3 != 0), set(|_| true)];
        for (path, adds_up) in [(Path::DirectFrozenNorm, true), (Path::Direct, false)] {
            let edits = sets.iter().map(|neurons| zero(neurons, path));
            let conditions: Vec<Condition> =
                std::iter::once(Condition::Clean).chain(edits).collect();
            let found = at_all_tokens(&model, &golden, &conditions);
            let of = |i: usize| changes(&found[0], &found[i], model.config().vocab_size);
            let [one, other, both] = [1, 2, 3].map(of);
            let sums: Vec<f32> = one.iter().zip(&other).map(|(a, b)| a + b).collect();
            let difference = max_difference(&sums, &both);
            assert_eq!(difference < 1e-4, adds_up, "{name}, {path}: {difference}");
        }
    }
}

/// An effect of a metric by a path.
fn effect<'e>(effects: &'e Value, class: &str, metric: &str, path: &str) -> &'e Value {
    let mut all = effects.as_array().unwrap().iter();
    let is_it = |e: &&Value| e["class"] == class && e["metric"] == metric && e["path"] == path;
    all.find(is_it)
        .unwrap_or_else(|| panic!("{class}, {metric}, {path}"))
}

#[test]
fn both_paths_and_what_lies_between() {
    let dir = TempDir::new().unwrap();
    let facts = file(&dir, "facts.jsonl", FACTS);
    let texts = file(
        &dir,
        "texts.jsonl",
        &"{\"text\": \"A line of a text that says little.\"}\n".repeat(3),
    );
    let tiny = goldens().join("tiny-llama");
    let neurons = file(&dir, "mine.txt", "0.3\n1.17\n3.61\n");
    let shared = [
        "--model",
        tiny.to_str().unwrap(),
        "--neurons",
        &neurons,
        "--draws",
        "5",
        "--path",
        "both",
        "--freeze-norm",
    ];
    let on_facts = ["ablate", "--prompts", &facts, "--subset", "all"];
    let on_text = ["ablate", "--text", &texts];
    let kinds: [(&[&str], &str, &str, &str); 2] = [
        (&on_facts, "target_logprob", "kl", "outcomes.parquet"),
        (&on_text, "loss", "token_entropy", "outcomes_text.parquet"),
    ];
    for (command, primary, other, table) in kinds {
        let out = dir.path().join(table);
        let args = [command, &shared, &["--out", out.to_str().unwrap()]].concat();
        let printed = succeed(&args);
        for row in ["mine ", "mine, direct-frozen-norm ", "mine, indirect "] {
            assert!(printed.contains(row), "{row}: {printed}");
        }
        let effects = json(&out.join("effects.json"));
        for metric in [primary, other] {
            let of = |path| effect(&effects, "mine", metric, path);
            let number = |path, name: &str| of(path)[name].as_f64().unwrap();
            for name in ["difference_to_clean", "difference_to_baseline"] {
                let between = number("total", name) - number("direct-frozen-norm", name);
                let found = number("indirect", name);
                assert!((found - between).abs() < 1e-12, "{metric} {name}");
            }
            for path in ["total", "direct-frozen-norm", "indirect"] {
                assert!(of(path)["baseline_ci"].is_object(), "{metric} {path}");
                let is_tested = (metric, path) == (primary, "total");
                assert_eq!(
                    of(path)["p_adjusted"].is_f64(),
                    is_tested,
                    "{metric} {path}"
                );
            }
        }
        let (_, rows) = columns(&out.join(table));
        let paths = rows.column_by_name("path").unwrap();
        let paths = arrow_array::cast::AsArray::as_string::<i32>(paths);
        let of = |wanted: &str| paths.iter().filter(|path| *path == Some(wanted)).count();
        assert_eq!(of("total"), of("direct-frozen-norm"));
        assert_eq!(of("total"), 6 * of(""), "a class and five draws");
        let (_, draws) = columns(&out.join("draws.parquet"));
        assert_eq!(draws.num_rows(), 5 * 3, "the same draws on both paths");
        succeed(&["report", out.to_str().unwrap()]);
    }
}

#[test]
fn what_a_path_cannot_do_is_said_before_any_weight_is_read() {
    let refused = |more: &[&str]| fail(&[&["ablate", "--model", "nowhere"], more].concat());
    let error = refused(&["--freeze-norm"]);
    assert!(error.contains("--path total has none"), "{error}");
    let error = refused(&["--path", "both", "--positions", "subject"]);
    assert!(error.contains("--positions subject"), "{error}");
    let error = refused(&["--path", "straight"]);
    assert!(error.contains("accepted: total, direct, both"), "{error}");
}

/// Of an edit alone, without the clean run: what it reads is the unedited residual all the same.
#[test]
fn a_direct_edit_needs_no_clean_condition_beside_it() {
    let model = model("tiny-gemma3");
    let golden = Golden::read("tiny-gemma3");
    let neurons = golden.neurons(&model);
    let edits = [Path::Total, Path::Direct, Path::DirectFrozenNorm].map(|path| {
        let edit = Edit::new(neurons.clone(), Mode::Multiply(3.0)).signs(SignConvention::Raw);
        Condition::from(edit.by(path))
    });
    let prompts = golden.prompts();
    let batch = batch(&prompts);
    let with = |conditions: &[Condition]| {
        let (logprobs, counts) = run(&model, &batch, conditions, &mut []);
        let of = |condition: usize| -> Vec<f32> {
            (0..batch.tokens())
                .flat_map(|row| logprobs.at(condition, row).to_vec())
                .collect()
        };
        let found = (0..conditions.len()).map(|condition| (of(condition), counts[condition]));
        found.collect::<Vec<_>>()
    };
    let together = with(&[&[Condition::Clean], &edits[..]].concat());
    for (edit, expected) in edits.iter().zip(&together[1..]) {
        let alone = with(std::slice::from_ref(edit)).remove(0);
        assert_eq!(alone.0, expected.0, "to the last bit");
        assert_eq!(alone.1, expected.1);
    }
}
