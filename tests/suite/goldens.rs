//! The real models against Hugging Face transformers and torch.

use gatelens::io_class::{Class, Fold, NeuronTable};
use gatelens::model::Weights;
use serde_json::Value;

use super::common::{checkpoint, goldens, max_difference};
use super::families::{VARIANTS, assert_stated};
use super::golden::{Golden, LARGE, REAL, check};

#[test]
fn smollm2_equals_transformers() {
    let worst = check("smollm2-135m", "smollm2-135m", usize::MAX, &REAL);
    assert_stated("llama", Weights::Real("SmolLM2 135M"), worst);
}

#[test]
fn gemma3_equals_transformers() {
    let worst = check("gemma3-270m", "gemma3-270m", usize::MAX, &REAL);
    assert_stated("gemma3", Weights::Real("Gemma 3 270M"), worst);
}

#[test]
fn qwen_0_5b_equals_transformers() {
    let worst = check(
        "qwen2.5-coder-0.5b",
        "qwen2.5-coder-0.5b",
        usize::MAX,
        &REAL,
    );
    assert_stated("qwen2", Weights::Real("Qwen2.5-Coder 0.5B"), worst);
}

#[test]
#[ignore = "downloads 1.1 GB and needs 6 GiB of memory"]
fn qwen_1_5b_equals_transformers() {
    let worst = check(
        "qwen2.5-coder-1.5b",
        "qwen2.5-coder-1.5b",
        usize::MAX,
        &LARGE,
    );
    assert_stated("qwen2", Weights::Real("Qwen2.5-Coder 1.5B"), worst);
}

/// Cosines in f32 against torch's.
const COSINE_TOLERANCE: f32 = 2e-6;
/// What `make.py` says of a real model.
fn golden_json(name: &str) -> Value {
    let path = goldens().join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Neurons within rounding of the threshold may fall on its other side.
const COUNT_TOLERANCE: usize = 2;

#[test]
fn cosines_and_class_counts_equal_torch() {
    let tiny = VARIANTS.iter().map(|variant| variant.name);
    for name in [
        "smollm2-135m",
        "gemma3-270m",
        "qwen2.5-coder-0.5b",
        "tiny-gemma3.gguf",
    ]
    .into_iter()
    .chain(tiny)
    {
        let golden = Golden::read(name.trim_end_matches(".gguf"));
        let table = NeuronTable::classify(&checkpoint(name), Fold::Pre, 0.5).unwrap();
        for (l, rows) in table.layers.iter().enumerate() {
            let key = format!("blocks.{l}.cos");
            if !golden.has(&key) {
                continue;
            }
            for (row, expected) in rows.iter().zip(golden.rows(&key)) {
                let found = [
                    row.cosines.gate_in,
                    row.cosines.gate_out,
                    row.cosines.in_out,
                ];
                let difference = max_difference(&found, &expected);
                assert!(
                    difference <= COSINE_TOLERANCE,
                    "{name} layer {l}: {difference:.1e}"
                );
            }
        }
    }
}

#[test]
fn class_totals_equal_torch_under_every_fold() {
    for name in ["smollm2-135m", "gemma3-270m", "qwen2.5-coder-0.5b"] {
        let json = golden_json(name);
        let checkpoint = checkpoint(name);
        for (fold, key) in [
            (Fold::Pre, "pre"),
            (Fold::None, "none"),
            (Fold::PrePlusPost, "pre+post"),
        ] {
            for (class, found) in NeuronTable::classify(&checkpoint, fold, 0.5)
                .unwrap()
                .totals()
            {
                let expected = json["classes"][key]["total"][class.as_str()]
                    .as_u64()
                    .unwrap() as usize;
                assert!(
                    found.abs_diff(expected) <= COUNT_TOLERANCE,
                    "{name} {key} {class}: {found}, torch {expected}"
                );
            }
        }
    }
}

/// No cosine of this model is nearer to the threshold than 5.7e-6 under fold `pre`, so that f32 moves no neuron.
#[test]
fn class_counts_by_layer_of_the_papers_descendant_are_exactly_torchs() {
    let name = "qwen2.5-coder-0.5b";
    let json = golden_json(name);
    let expected: Vec<Vec<usize>> =
        serde_json::from_value(json["classes"]["pre"]["by_layer"].clone()).unwrap();
    let table = NeuronTable::classify(&checkpoint(name), Fold::Pre, 0.5).unwrap();
    let found = table.counts_per_layer();
    let found = found
        .iter()
        .map(|counts| Class::ALL.map(|class| counts[&class]).to_vec());
    assert_eq!(found.collect::<Vec<_>>(), expected);
}
