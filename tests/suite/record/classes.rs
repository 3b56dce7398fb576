//! `class_activity.json` against sums over a plain run, with the classes of `classify` and the draws of the library.

use std::collections::BTreeSet;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt16Type};
use gatelens::hooks::{Neuron, NeuronSet};
use gatelens::io_class::{Class, Fold, Matching, NeuronTable, matched_draws};
use gatelens::tokens::{BosPolicy, Sequence};
use serde_json::Value;

use super::{LAYERS, NEURONS, PROMPTS, Values, numbers, plain_run, record, sequences, texts};
use crate::cli::{columns, file, json, succeed};
use crate::common::{checkpoint, goldens};

const DRAWS: usize = 3;
const SEED: u64 = 7;

/// With whether the token is the first of its prompt.
const ROLES: [(&str, bool); 7] = [
    ("first", true),
    ("last", false),
    ("subject-last", false),
    ("subject", false),
    ("other", false),
    ("subject-last", true),
    ("subject", true),
];

const QUANTITIES: [&str; 3] = ["frequency", "mean_abs_post", "contribution"];

/// Of sums of |post|: those of 64 tokens pass through f32.
const RELATIVE: f64 = 1e-6;

/// A neuron's share with gate > 0, |post| and |post|·‖w_out‖, each summed over the tokens of a role.
type Sums = [[f64; 3]; ROLES.len()];

fn role(sequence: &Sequence, position: usize) -> usize {
    let subject = &sequence.subject;
    match position {
        0 if subject.contains(&0) => 5 + usize::from(subject.end > 1),
        0 => 0,
        at if at + 1 == sequence.prompt_len => 1,
        at if at + 1 == subject.end => 2,
        at if subject.contains(&at) => 3,
        _ => 4,
    }
}

/// Classes and lengths of w_out, `[layer][neuron]`, as `classify` writes them.
struct Classified {
    classes: Vec<Vec<String>>,
    norms: Vec<Vec<f64>>,
}

fn classify(dir: &tempfile::TempDir, threshold: &str) -> Classified {
    let out = dir.path().join(format!("classes-{threshold}"));
    let tiny = goldens().join("tiny-llama");
    #[rustfmt::skip]
    succeed(&[
        "classify", "--model", tiny.to_str().unwrap(), "--threshold", threshold, "--out", out.to_str().unwrap(),
    ]);
    let (_, table) = columns(&out.join("neurons.parquet"));
    let layers = table["layer"].as_primitive::<UInt16Type>();
    let places = (0..LAYERS).flat_map(|layer| (0..NEURONS).map(move |neuron| (layer, neuron)));
    let neurons = numbers(&table, "neuron").into_iter().enumerate();
    let found = neurons.map(|(i, neuron)| (layers.value(i) as usize, neuron));
    assert!(found.eq(places), "layer by layer");
    let classes = texts(&table, "class").into_iter().map(str::to_string);
    let norms = table["norm_out"].as_primitive::<Float32Type>().values();
    let norms: Vec<f64> = norms.iter().map(|norm| f64::from(*norm)).collect();
    let classes: Vec<String> = classes.collect();
    Classified {
        classes: classes.chunks(NEURONS).map(<[_]>::to_vec).collect(),
        norms: norms.chunks(NEURONS).map(<[_]>::to_vec).collect(),
    }
}

/// Sums of every neuron, and the tokens of each role.
fn sums(
    values: &Values,
    sequences: &[Sequence],
    norms: &[Vec<f64>],
) -> (Vec<Vec<Sums>>, [usize; ROLES.len()]) {
    let roles = sequences
        .iter()
        .flat_map(|s| (0..s.ids.len()).map(|position| role(s, position)));
    let roles: Vec<usize> = roles.collect();
    let mut tokens = [0; ROLES.len()];
    roles.iter().for_each(|role| tokens[*role] += 1);
    let neuron = |layer: usize, neuron: usize| {
        let mut sums = Sums::default();
        for (token, role) in roles.iter().enumerate() {
            let [gate, post] = [0, 2].map(|site: usize| values[site][layer][token][neuron]);
            let strength = f64::from(post.abs());
            let more = [
                f64::from(u8::from(gate > 0.0)),
                strength,
                strength * norms[layer][neuron],
            ];
            sums[*role]
                .iter_mut()
                .zip(more)
                .for_each(|(sum, more)| *sum += more);
        }
        sums
    };
    let layer = |layer| (0..NEURONS).map(|n| neuron(layer, n)).collect();
    ((0..LAYERS).map(layer).collect(), tokens)
}

/// The mean of a set in one layer, over its neurons and the tokens of some roles.
struct Means<'a> {
    sums: &'a [Vec<Sums>],
    tokens: [usize; ROLES.len()],
    roles: Range<usize>,
    quantity: usize,
}

impl Means<'_> {
    fn tokens(&self) -> usize {
        self.tokens[self.roles.clone()].iter().sum()
    }

    fn in_layer(&self, set: &NeuronSet, layer: usize) -> f64 {
        let neurons = set.layer(layer).iter();
        let of_neuron = |neuron: &u32| -> f64 {
            let sums = &self.sums[layer][*neuron as usize];
            sums[self.roles.clone()]
                .iter()
                .map(|sums| sums[self.quantity])
                .sum()
        };
        let sum: f64 = neurons.map(of_neuron).sum();
        sum / (set.layer(layer).len() * self.tokens()) as f64
    }

    /// Over layers, each by as much as the class has neurons there.
    fn over(&self, layers: &[usize], set: &NeuronSet, class: &NeuronSet) -> f64 {
        let weight = |layer: &usize| class.layer(*layer).len() as f64;
        let neurons: f64 = layers.iter().map(weight).sum();
        let layers = layers
            .iter()
            .map(|layer| self.in_layer(set, *layer) * weight(layer));
        layers.sum::<f64>() / neurons
    }
}

fn close(found: &Value, expected: Option<f64>, name: &str) {
    let (found, expected) = match (found.as_f64(), expected) {
        (None, None) => return,
        (Some(found), Some(expected)) => (found, expected),
        other => panic!("{name}: {other:?}"),
    };
    let apart = (found - expected).abs();
    assert!(
        apart <= RELATIVE * expected.abs(),
        "{name}: {found}, not {expected}"
    );
}

/// The one entry of a class, quantity, role and layer.
fn entry<'v>(
    view: &'v [Value],
    key: (&str, &str, (&str, Option<bool>), Option<usize>),
) -> Option<&'v Value> {
    let mut found = view.iter().filter(|entry| {
        let layer = entry["layer"].as_u64().map(|layer| layer as usize);
        let texts = ["class", "quantity", "role"].map(|field| entry[field].as_str().unwrap());
        let first = entry["first"].as_bool();
        (texts, first, layer) == ([key.0, key.1, key.2.0], key.2.1, key.3)
    });
    let first = found.next();
    assert!(found.next().is_none(), "{key:?} twice");
    first
}

/// Checks every entry against sums over a plain run. Returns the layers that classes fill and those in which a class
/// has more than half.
fn check(threshold: &str, bos: BosPolicy) -> (usize, usize) {
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "prompts.jsonl", PROMPTS);
    let (draws, seed) = (DRAWS.to_string(), SEED.to_string());
    #[rustfmt::skip]
    let out = record(&dir, "out", &[
        "--prompts", &prompts, "--bos", &bos.to_string(), "--threshold", threshold, "--draws", &draws, "--seed", &seed,
        "--top", "0",
    ]);
    let view = json(&out.join("class_activity.json"));
    let view = view.as_array().unwrap();

    let Classified { classes, norms } = classify(&dir, threshold);
    let sequences = sequences(PROMPTS, bos);
    let ids: Vec<Vec<u32>> = sequences.iter().map(|s| s.ids.clone()).collect();
    let (sums, tokens) = sums(&plain_run(&ids), &sequences, &norms);
    assert!(tokens[..5].iter().all(|tokens| *tokens > 0), "{tokens:?}");
    let begin = tokens[5..].iter().sum::<usize>();
    assert_eq!(
        begin,
        usize::from(bos == BosPolicy::Never),
        "a subject begins its prompt"
    );
    let table = threshold.parse().unwrap();
    let table = NeuronTable::classify(&checkpoint("tiny-llama"), Fold::Pre, table).unwrap();

    let mut names: Vec<&String> = classes.iter().flatten().collect();
    names.sort();
    names.dedup();
    assert!(names.len() > 2, "{names:?}");
    let (mut checked, mut filled, mut most) = (0, 0, 0);
    for name in names {
        let neurons =
            (0..LAYERS).flat_map(|layer| (0..NEURONS).map(move |index| Neuron { layer, index }));
        let neurons = neurons.filter(|neuron| classes[neuron.layer][neuron.index] == *name);
        let class = NeuronSet::from_neurons(LAYERS, NEURONS, neurons).unwrap();
        let draws = matched_draws(&table, &class, DRAWS, SEED, Matching::Layer)
            .unwrap()
            .sets;
        let there: Vec<usize> = (0..LAYERS)
            .filter(|l| !class.layer(*l).is_empty())
            .collect();
        let compared: Vec<usize> = there
            .iter()
            .copied()
            .filter(|l| !draws[0].layer(*l).is_empty())
            .collect();
        filled += there.len() - compared.len();
        most += compared
            .iter()
            .filter(|l| draws[0].layer(**l).len() < class.layer(**l).len())
            .count();
        for (quantity, metric) in QUANTITIES.into_iter().enumerate() {
            let all = (("all", None), 0..ROLES.len());
            let roles = ROLES
                .into_iter()
                .enumerate()
                .map(|(i, (name, first))| ((name, Some(first)), i..i + 1));
            for (name_of_role, roles) in [all].into_iter().chain(roles) {
                let means = Means {
                    sums: &sums,
                    tokens,
                    roles,
                    quantity,
                };
                let found = entry(view, (name, metric, name_of_role, None));
                assert_eq!(found.is_some(), means.tokens() > 0, "{name_of_role:?}");
                let Some(found) = found else { continue };
                let label = format!("{name} {metric} {name_of_role:?} at {threshold}");
                let of_class = means.over(&compared, &class, &class);
                let of_draws = draws.iter().map(|draw| means.over(&compared, draw, &class));
                let of_draws = of_draws.sum::<f64>() / DRAWS as f64;
                close(&found["means"]["class"], Some(of_class), &label);
                close(&found["means"]["baseline"], Some(of_draws), &label);
                let difference = found["difference_to_baseline"].as_f64().unwrap();
                let apart = (difference - (of_class - of_draws)).abs();
                assert!(
                    apart <= RELATIVE * (of_class + of_draws),
                    "{label}: {difference}"
                );
                let has_some = |sequence: &&Sequence| {
                    let mut of = (0..sequence.ids.len()).map(|at| role(sequence, at));
                    of.any(|role| means.roles.contains(&role))
                };
                let units: Vec<&Sequence> = sequences.iter().filter(has_some).collect();
                let clusters: BTreeSet<usize> = units.iter().map(|s| s.cluster).collect();
                let counts = [
                    "tokens",
                    "neurons",
                    "baseline_neurons",
                    "draws",
                    "units",
                    "clusters",
                ];
                let counts = counts.map(|count| found[count].as_u64().unwrap() as usize);
                let expected = [
                    means.tokens(),
                    class.len(),
                    draws[0].len(),
                    DRAWS,
                    units.len(),
                    // Prompts that are all of one relation stand for themselves.
                    match clusters.len() {
                        1 => units.len(),
                        clusters => clusters,
                    },
                ];
                assert_eq!(counts, expected, "{label}");
                checked += 1;
            }
            for layer in 0..LAYERS {
                let found = entry(view, (name, metric, ("all", None), Some(layer)));
                assert_eq!(
                    found.is_some(),
                    there.contains(&layer),
                    "{name} layer {layer}"
                );
                let Some(found) = found else { continue };
                let means = Means {
                    sums: &sums,
                    tokens,
                    roles: 0..ROLES.len(),
                    quantity,
                };
                let label = format!("{name} {metric} layer {layer} at {threshold}");
                let of_draws = draws.iter().map(|draw| means.in_layer(draw, layer));
                let of_draws = compared
                    .contains(&layer)
                    .then(|| of_draws.sum::<f64>() / DRAWS as f64);
                close(
                    &found["means"]["class"],
                    Some(means.in_layer(&class, layer)),
                    &label,
                );
                close(&found["means"]["baseline"], of_draws, &label);
                assert_eq!(found["neurons"], class.layer(layer).len(), "{label}");
                assert_eq!(
                    found["baseline_neurons"],
                    draws[0].layer(layer).len(),
                    "{label}"
                );
                assert!(
                    found["p"].is_null() && found["baseline_ci"].is_null(),
                    "{label}"
                );
                checked += 1;
            }
        }
    }
    assert_eq!(checked, view.len());
    (filled, most)
}

#[test]
fn classes_and_draws_do_what_their_neurons_do() {
    // Random weights make few classes at the published threshold, and many at a low one.
    let (_, most) = check("0.15", BosPolicy::Never);
    assert!(most > 0, "a class with more than half of a layer");
    let (filled, _) = check("0.36", BosPolicy::Always);
    assert!(filled > 0, "a class with all of a layer");
}

#[test]
fn what_is_printed_fits_a_terminal_and_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "prompts.jsonl", PROMPTS);
    let text = file(&dir, "text.txt", "One stone.\n");
    let tiny = goldens().join("tiny-llama");
    let print = |more: &[&str]| {
        let mut args = vec!["record", "--model", tiny.to_str().unwrap()];
        args.extend(["--threshold", "0.15"]);
        args.extend(more);
        let printed = succeed(&args);
        for line in printed.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
        printed
    };
    let printed = print(&["--prompts", &prompts, "--draws", "3"]);
    for class in Class::ALL {
        let rows = printed
            .lines()
            .filter(|line| line.starts_with(&format!(" {class} ")));
        assert_eq!(
            rows.count(),
            2 * QUANTITIES.len(),
            "{class} over all tokens, and by role"
        );
    }
    let notes = [
        "orthogonal-output has more than half of the neurons of 1 layer",
        "Holm: the p of the rank among the draws",
    ];
    for note in notes {
        assert!(printed.contains(note), "{note}");
    }
    assert!(print(&["--text", &text, "--draws", "3"]).contains("these need two documents or more"));
    let printed = print(&["--prompts", &prompts, "--draws", "0"]);
    assert!(printed.contains("no baseline (--draws 0)") && !printed.contains("Holm:"));
}
