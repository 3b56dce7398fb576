//! The claims on models of which the truth is known, and the control with shuffled labels.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use gatelens::prompts::PromptSet;
use gatelens::tokens::{BosPolicy, Tokenizer, tokenize};
use serde_json::Value;
use tempfile::TempDir;

use super::cli::{fail, file, json, succeed};
use super::common::goldens;

const D: usize = 48;
const D_MLP: usize = 80;
/// The layer that is changed, and how many of its neurons.
const LAYER: usize = 2;
const PLANTED: usize = 6;

/// What carries the answer.
#[derive(Clone, Copy, PartialEq)]
enum Carrier {
    /// Neurons that write along what they read: conditional enrichment.
    ConditionalEnrichment,
    /// Neurons that write the answer alone: orthogonal output. There are conditional enrichment neurons that read the
    /// same, and write something else.
    OrthogonalOutput,
}

/// Facts that end in `#`, all with one answer; and texts without it.
fn facts() -> String {
    let names = [
        "apple", "boat", "cloud", "door", "engine", "fish", "garden", "house", "island", "jar",
    ];
    let fact = |(i, name): (usize, &str)| {
        format!(
            "{{\"id\": \"{name}{i}\", \"prompt\": \"The {name} has number {i} and mark #\", \"subject\": \"{name}\", \"target\": \"x\"}}\n"
        )
    };
    (0..3)
        .flat_map(|i| names.into_iter().map(move |name| (i, name)))
        .map(fact)
        .collect()
}

fn texts() -> String {
    let text = |i: usize| {
        format!(
            "Line {i} of a page is short, and {} words say little.\n---\n",
            i * 7 % 11
        )
    };
    (0..12).map(text).collect()
}

/// A unit vector of which only some coordinates are not 0.
fn unit(range: std::ops::Range<usize>, seed: f32) -> Vec<f32> {
    let mut values = [0.0; D];
    for i in range {
        values[i] = (seed * (i + 1) as f32).sin() + 0.1;
    }
    let norm = values.iter().map(|v| v * v).sum::<f32>().sqrt();
    values.iter().map(|v| v / norm).collect()
}

fn sum(parts: &[(f32, &[f32])]) -> Vec<f32> {
    (0..D)
        .map(|i| parts.iter().map(|(scale, part)| scale * part[i]).sum())
        .collect()
}

/// The rows of a matrix with some of them replaced.
fn with_rows(tensor: &Tensor, rows: &[(usize, Vec<f32>)]) -> Tensor {
    let mut values = tensor.to_vec2::<f32>().unwrap();
    for (row, new) in rows {
        values[*row] = new.clone();
    }
    Tensor::new(values, &Device::Cpu).unwrap()
}

/// The tiny Llama with an answer of one carrier: `#` has an embedding `read` along two directions, planted neurons have
/// their gate along the first and w_in along the second.
fn planted(dir: &Path, carrier: Carrier) {
    let tiny = goldens().join("tiny-llama");
    for name in ["config.json", "tokenizer.json"] {
        std::fs::copy(tiny.join(name), dir.join(name)).unwrap();
    }
    let mut tensors: HashMap<String, Tensor> =
        candle_core::safetensors::load(tiny.join("model.safetensors"), &Device::Cpu).unwrap();
    let set = PromptSet::parse("test", &facts()).unwrap();
    let tokenizer = Tokenizer::from_files(&tiny.join("tokenizer.json"), None, None).unwrap();
    let batch = tokenize(&set, &tokenizer, BosPolicy::Auto).unwrap();
    let sequence = &batch.sequences()[0];
    let (mark, target) = (sequence.ids[sequence.prompt_len - 1], sequence.target[0]);

    let [gate, read, write, other] = [
        unit(0..12, 1.3),
        unit(12..24, 0.7),
        unit(24..36, 2.1),
        unit(36..48, 0.4),
    ];
    let layer = |part: &str| format!("model.layers.{LAYER}.{part}.weight");
    let gain = tensors[&layer("post_attention_layernorm")]
        .to_vec1::<f32>()
        .unwrap();
    let final_gain = tensors["model.norm.weight"].to_vec1::<f32>().unwrap();
    let divided = |values: &[f32], by: &[f32], scale: f32| -> Vec<f32> {
        values.iter().zip(by).map(|(v, g)| scale * v / g).collect()
    };
    let mut change = |name: String, rows: &[(usize, Vec<f32>)]| {
        let changed = with_rows(&tensors[&name], rows);
        tensors.insert(name, changed);
    };
    change(
        "model.embed_tokens.weight".to_string(),
        &[(mark as usize, sum(&[(60.0, &gate), (60.0, &read)]))],
    );
    change(
        "lm_head.weight".to_string(),
        &[(target as usize, divided(&write, &final_gain, 6.0))],
    );
    // All other neurons of the layer are off at `#`: what they do, they do to text. (w·(gain∘along) becomes -1.2, so that the gate
    // is -1.2·√D there.)
    let along = sum(&[(0.5_f32.sqrt(), &gate), (0.5_f32.sqrt(), &read)]);
    let gates = tensors[&layer("mlp.gate_proj")].to_vec2::<f32>().unwrap();
    let off = |row: &Vec<f32>| -> Vec<f32> {
        let read = gain.iter().zip(&along).map(|(gain, along)| gain * along);
        let now: f32 = row.iter().zip(read).map(|(w, read)| w * read).sum();
        let step = divided(&along, &gain, -1.2 - now);
        row.iter().zip(step).map(|(w, step)| w + step).collect()
    };
    let rows: Vec<_> = (2 * PLANTED..D_MLP).map(|n| (n, off(&gates[n]))).collect();
    let gates = with_rows(&tensors[&layer("mlp.gate_proj")], &rows);
    tensors.insert(layer("mlp.gate_proj"), gates);
    let mut change = |name: String, rows: &[(usize, Vec<f32>)]| {
        let changed = with_rows(&tensors[&name], rows);
        tensors.insert(name, changed);
    };
    // The second half of the planted neurons is there in both models, and reads what the first half reads.
    let neurons = 0..2 * PLANTED;
    let rows = |values: Vec<f32>| -> Vec<(usize, Vec<f32>)> {
        neurons.clone().map(|n| (n, values.clone())).collect()
    };
    change(layer("mlp.gate_proj"), &rows(divided(&gate, &gain, 1.0)));
    change(layer("mlp.up_proj"), &rows(divided(&read, &gain, 1.0)));
    let enrichment = match carrier {
        Carrier::ConditionalEnrichment => sum(&[(0.2, &read), (0.2, &write)]),
        Carrier::OrthogonalOutput => sum(&[(0.2, &read), (0.2, &other)]),
    };
    let orthogonal = match carrier {
        Carrier::ConditionalEnrichment => sum(&[(0.02, &other)]),
        Carrier::OrthogonalOutput => sum(&[(0.28, &write)]),
    };
    let down = layer("mlp.down_proj");
    let columns = tensors[&down].t().unwrap();
    let rows: Vec<_> = neurons
        .clone()
        .map(|n| {
            (
                n,
                if n < PLANTED {
                    enrichment.clone()
                } else {
                    orthogonal.clone()
                },
            )
        })
        .collect();
    let columns = with_rows(&columns, &rows);
    tensors.insert(down, columns.t().unwrap().contiguous().unwrap());
    assert_eq!(columns.dims(), [D_MLP, D]);
    candle_core::safetensors::save(&tensors, dir.join("model.safetensors")).unwrap();
}

/// The tests of a claim, of one class.
fn tests<'c>(claims: &'c Value, id: &str, class: &str) -> Vec<&'c Value> {
    let claims = claims["claims"].as_array().unwrap().iter();
    claims
        .filter(|c| c["id"] == id && c["quantity"].as_str().unwrap().contains(class))
        .collect()
}

/// A planted model with facts and texts for it.
struct Planted {
    dir: TempDir,
    facts: String,
    texts: String,
}

impl Planted {
    fn new(carrier: Carrier, facts: &str) -> Self {
        let dir = TempDir::new().unwrap();
        planted(dir.path(), carrier);
        Self {
            facts: file(&dir, "facts.jsonl", facts),
            texts: file(&dir, "texts.txt", &texts()),
            dir,
        }
    }

    fn verify(&self, claims: &str) -> Value {
        let out = self.dir.path().join("out");
        #[rustfmt::skip]
        succeed(&[
            "verify", "--model", self.model(), "--prompts", &self.facts, "--text", &self.texts, "--draws", "10",
            "--claims", claims, "--out", out.to_str().unwrap(),
        ]);
        json(&out.join("claims.json"))
    }

    fn model(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }
}

fn verify(carrier: Carrier) -> Value {
    Planted::new(carrier, &facts()).verify("enrichment-recall,specific-recall,enrichment-indirect")
}

#[test]
fn a_class_that_carries_the_answer_is_found() {
    let claims = verify(Carrier::ConditionalEnrichment);
    let recall = tests(
        &claims,
        "enrichment-recall",
        "without conditional-enrichment",
    );
    assert!(recall[0]["estimate"].as_f64().unwrap() < -2.0);
    assert!(
        recall[0]["p_adjusted"].as_f64().unwrap() < 0.05,
        "{claims:#}"
    );
    // All facts end alike, so that another prompt's values are the same ones: the claim needs every kind of ablation.
    assert_eq!(recall[0]["verdict"], "not distinguishable", "{claims:#}");
    assert!(
        recall[0]["why"]
            .as_str()
            .unwrap()
            .contains("but with resample instead of zero ablation the sign is another")
    );
    let specific = tests(&claims, "specific-recall", "conditional-enrichment");
    assert_eq!(specific[0]["verdict"], "supported", "{claims:#}");
    // What it writes is the answer itself, and no later layer has to read it.
    let indirect = tests(&claims, "enrichment-indirect", "indirect effect minus");
    assert!(indirect[0]["estimate"].as_f64().unwrap() > 1.0);
    assert!(indirect[0]["p_adjusted"].as_f64().unwrap() < 0.05);
    assert_ne!(indirect[0]["verdict"], "supported");
    // There is no plain enrichment in it.
    let none = tests(&claims, "enrichment-recall", "without enrichment");
    assert_eq!(none[0]["verdict"], "not testable");
    assert!(
        none[0]["estimate"].is_null() && none[0]["why"].as_str().unwrap().contains("no enrichment")
    );
}

#[test]
fn a_class_that_does_not_is_not() {
    let claims = verify(Carrier::OrthogonalOutput);
    for id in ["enrichment-recall", "specific-recall"] {
        let found = tests(&claims, id, "conditional-enrichment");
        for test in found {
            assert_ne!(test["verdict"], "supported", "{test:#}");
        }
    }
}

/// The facts again, each with the mark as its subject and another mark as its counterfactual.
fn pairs() -> String {
    let pair = |fact: &str| {
        let mut fact: Value = serde_json::from_str(fact).unwrap();
        let prompt = fact["prompt"].as_str().unwrap().replace('#', "%");
        fact["subject"] = "#".into();
        fact["counterfactual"] =
            serde_json::json!({"prompt": prompt, "subject": "%", "target": "of"});
        format!("{fact}\n")
    };
    facts().lines().map(pair).collect()
}

#[test]
fn patching_the_class_that_carries_the_answer_is_found_and_is_what_ablate_measures() {
    let model = Planted::new(Carrier::ConditionalEnrichment, &pairs());
    let claims = model.verify("enrichment-patch");
    let patch = tests(&claims, "enrichment-patch", "patched at the subject");
    let (deciding, variants) = patch.split_first().unwrap();
    assert_eq!(deciding["verdict"], "supported", "{claims:#}");
    assert_eq!(variants.len(), 2);
    for variant in variants {
        let quantity = variant["quantity"].as_str().unwrap();
        assert!(quantity.contains("first position"), "{quantity}");
    }
    #[rustfmt::skip]
    let printed = succeed(&[
        "ablate", "--model", model.model(), "--prompts", &model.facts, "--classes", "conditional-enrichment",
        "--mode", "patch", "--positions", "subject", "--draws", "10", "--json",
    ]);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    let mut effects = printed["effects"].as_array().unwrap().iter();
    let effect = effects.find(|e| e["metric"] == "logit_diff").unwrap();
    let [here, there] = [&deciding["estimate"], &effect["difference_to_baseline"]];
    let [here, there] = [here, there].map(|value| value.as_f64().unwrap());
    assert!((here - there).abs() < 1e-9, "{here} {there}");
    assert_eq!(deciding["n"], effect["prompts"]);

    let deciding = |carrier, facts: &str| {
        let claims = Planted::new(carrier, facts).verify("enrichment-patch");
        tests(&claims, "enrichment-patch", "patched at the subject")[0].clone()
    };
    let other = deciding(Carrier::OrthogonalOutput, &pairs());
    assert_ne!(other["verdict"], "supported", "{other:#}");
    let without = deciding(Carrier::ConditionalEnrichment, &facts());
    assert_eq!(without["verdict"], "not testable");
    let why = without["why"].as_str().unwrap();
    assert!(why.contains("no known fact has a counterfactual"), "{why}");
}

#[test]
fn shuffled_labels_support_nothing() {
    let dir = TempDir::new().unwrap();
    for seed in ["1", "2", "3"] {
        let out = dir.path().join(seed);
        #[rustfmt::skip]
        succeed(&[
            "verify", "--null", "--quick", "--seed", seed, "--out", out.to_str().unwrap(),
            "--claims", "depth-enrichment,frequency-depletion,frequency-enrichment",
        ]);
        let claims = json(&out.join("claims.json"));
        for test in claims["claims"].as_array().unwrap() {
            assert_eq!(
                test["verdict"], "not distinguishable",
                "seed {seed}: {test:#}"
            );
        }
    }
    let error = fail(&["verify", "--null", "--claims", "rare-depletion"]);
    assert!(
        error.contains("rare-depletion") && error.contains("--null"),
        "{error}"
    );
}

#[test]
fn what_verify_cannot_do_is_said() {
    let dir = TempDir::new().unwrap();
    let error = fail(&["verify", "--claims", "depth"]);
    assert!(error.contains("depth-enrichment"), "{error}");
    let one = file(&dir, "one.txt", "Only one document here.");
    let error = fail(&["verify", "--text", &one]);
    assert!(error.contains("one document"), "{error}");
    let error = fail(&["verify", "--draws", "1"]);
    assert!(error.contains("no interval"), "{error}");
    let error = fail(&["verify", "--draws", "9", "--most-draws", "8"]);
    assert!(
        error.contains("--most-draws 8") && error.contains("below the 9"),
        "{error}"
    );
}

/// What is said of subjects is tested where the clean model says more of them than of others, and is not testable where it
/// does not, or knows nothing of what is asked.
#[test]
fn attributes_are_tested_where_there_is_something_to_lose() {
    let dir = TempDir::new().unwrap();
    let facts = include_str!("../../prompts/facts.jsonl");
    let capitals: Vec<&str> = facts.lines().filter(|l| l.contains("\"capital")).collect();
    let right = file(&dir, "right.jsonl", &capitals.join("\n"));
    let wrong = capitals[..4]
        .join("\n")
        .replace("\"target\": \"", "\"target\": \"zz");
    let wrong = file(&dir, "wrong.jsonl", &wrong);
    let verify = |model: &str, prompts: &str| {
        #[rustfmt::skip]
        let printed = succeed(&[
            "verify", "--model", model, "--prompts", prompts, "--claims", "enrichment-attributes", "--draws", "2",
            "--most-draws", "10", "--text-tokens", "4", "--json",
        ]);
        let printed: Value = serde_json::from_str(&printed).unwrap();
        let found = tests(&printed, "enrichment-attributes", "conditional-enrichment");
        found[0].clone()
    };
    let of = |test: &Value| {
        let text = |key: &str| test[key].as_str().unwrap().to_string();
        (text("verdict"), text("why"), text("quantity"))
    };
    let (verdict, why, _) = of(&verify("smollm2-135m", &wrong));
    assert_eq!(verdict, "not testable");
    assert!(why.contains("knows none of the facts"), "{why}");

    let floor = verify("smollm2-135m", &right);
    let (verdict, why, quantity) = of(&floor);
    assert_eq!(verdict, "not testable");
    assert!(why.contains("not three standard errors above 0") && floor["estimate"].is_null());
    assert!(quantity.contains("minus that with other subjects' texts"));

    let tested = verify("gemma3-270m", &right);
    let (verdict, why, _) = of(&tested);
    assert!(
        verdict != "not testable" && why.contains("others', difference 0.0"),
        "{why}"
    );
    assert!(tested["estimate"].is_f64() && tested["n"].as_u64().unwrap() > 10);
}
