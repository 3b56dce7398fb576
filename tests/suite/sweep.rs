//! The sweep: a cell is what an ablation of its layers alone gives, and cells that there are not are named.

use std::path::Path;

use arrow_array::{Array, Float64Array, RecordBatch, StringArray, UInt16Array, UInt32Array};
use serde_json::Value;

use super::cli::{FACTS, columns, fail, file, json, succeed, warnings};
use super::common::goldens;

/// What `outcomes.parquet` says of one class and window, or of the clean model.
#[derive(Debug, PartialEq)]
struct Row {
    prompt: String,
    class: String,
    arm: String,
    draw: u32,
    neurons: u32,
    numbers: [f64; 4],
}

fn column<T: Array + Clone + 'static>(rows: &RecordBatch, name: &str) -> T {
    let column = rows.column_by_name(name).unwrap();
    column.as_any().downcast_ref::<T>().unwrap().clone()
}

fn rows(run: &Path, layer: Option<u16>) -> Vec<Row> {
    let (_, rows) = columns(&run.join("outcomes.parquet"));
    let layers: Option<UInt16Array> = layer.map(|_| column(&rows, "first_layer"));
    let [prompt, class, arm]: [StringArray; 3] =
        ["prompt_id", "class", "arm"].map(|name| column(&rows, name));
    let [draw, neurons]: [UInt32Array; 2] = ["draw", "neurons"].map(|name| column(&rows, name));
    let numbers: [Float64Array; 4] =
        ["target_logprob", "first_logprob", "entropy", "kl"].map(|name| column(&rows, name));
    let in_layer = |i: &usize| match (&layers, layer) {
        (Some(layers), Some(layer)) => layers.is_null(*i) || layers.value(*i) == layer,
        _ => true,
    };
    let row = |i| Row {
        prompt: prompt.value(i).to_string(),
        class: class.value(i).to_string(),
        arm: arm.value(i).to_string(),
        draw: draw.value(i),
        neurons: neurons.value(i),
        numbers: numbers.each_ref().map(|column| column.value(i)),
    };
    (0..rows.num_rows()).filter(in_layer).map(row).collect()
}

/// The entries of `effects.json` without what depends on the other tests of the run.
fn effects(run: &Path, layers: Option<[u64; 2]>) -> Vec<Value> {
    let mut effects = json(&run.join("effects.json"));
    let effects = effects.as_array_mut().unwrap();
    if let Some(layers) = layers {
        effects.retain(|effect| effect["layers"] == serde_json::json!(layers));
    }
    for effect in effects.iter_mut() {
        let effect = effect.as_object_mut().unwrap();
        effect.remove("layers");
        effect.remove("p_adjusted");
    }
    effects.clone()
}

#[test]
fn a_cell_is_the_ablation_of_its_layers_alone() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "facts.jsonl", FACTS);
    let run = |name: &str, command: &[&str]| {
        let out = dir.path().join(name);
        let classes = "depletion,conditional-depletion";
        let shared = [
            "--prompts",
            &prompts,
            "--classes",
            classes,
            "--draws",
            "2",
            "--seed",
            "7",
        ];
        let to = ["--out", out.to_str().unwrap()];
        succeed(&[command, &shared, &to].concat());
        out
    };
    let sweep = run("sweep", &["sweep", "--layers", "26..29"]);
    let alone = run("alone", &["ablate", "--layers", "27..28"]);
    assert_eq!(rows(&sweep, Some(27)), rows(&alone, None));
    assert_eq!(effects(&sweep, Some([27, 27])), effects(&alone, None));

    let sweep = run(
        "wide",
        &[
            "sweep", "--layers", "20..27", "--window", "3", "--stride", "2",
        ],
    );
    let alone = run("three", &["ablate", "--layers", "22..25"]);
    assert_eq!(rows(&sweep, Some(22)), rows(&alone, None));
    assert_eq!(effects(&sweep, Some([22, 24])), effects(&alone, None));
    let counts = &json(&sweep.join("run.json"))["counts"];
    assert_eq!(
        counts["conditions"],
        1 + 2 * 3 * 3,
        "windows 20-22, 22-24, 24-26"
    );
}

#[test]
fn absent_cells_are_named_and_grey() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "facts.jsonl", FACTS);
    let out = dir.path().join("run");
    let args = [
        "sweep",
        "--prompts",
        &prompts,
        "--classes",
        "enrichment,depletion",
        "--layers",
        "4..8",
        "--draws",
        "2",
        "--out",
        out.to_str().unwrap(),
    ];
    let printed = succeed(&args);
    assert!(
        printed.contains("no neurons: enrichment in 4–6; depletion in 4"),
        "{printed}"
    );

    let (fields, table) = columns(&out.join("outcomes.parquet"));
    let last: Vec<_> = fields
        .iter()
        .rev()
        .take(3)
        .map(|(name, kind)| format!("{name} {kind}"))
        .collect();
    assert_eq!(
        last,
        [
            "last_layer UInt16",
            "first_layer UInt16",
            "noise_seed UInt32"
        ]
    );
    let first: UInt16Array = column(&table, "first_layer");
    let arms: StringArray = column(&table, "arm");
    for i in 0..table.num_rows() {
        assert_eq!(first.is_null(i), arms.value(i) == "clean");
    }
    let effects = json(&out.join("effects.json"));
    let layers_of = |class: &str| -> Vec<u64> {
        let effects = effects.as_array().unwrap().iter();
        let of_class = effects.filter(|e| e["class"] == class && e["metric"] == "kl");
        of_class.map(|e| e["layers"][0].as_u64().unwrap()).collect()
    };
    assert_eq!(
        (layers_of("enrichment"), layers_of("depletion")),
        (vec![7], vec![5, 6, 7])
    );
    let run = json(&out.join("run.json"));
    assert_eq!(run["counts"]["absent"].as_array().unwrap().len(), 4);
    assert_eq!(
        run["counts"]["cells"][0]["layers"],
        serde_json::json!([5, 5])
    );

    let svg = std::fs::read_to_string(out.join("heat_map.svg")).unwrap();
    assert_eq!(
        svg.matches(r##"fill="#E2E2E2""##).count(),
        3 * 4,
        "in each of three panels"
    );
    for text in [
        "class edited",
        "difference",
        "smollm2-135m",
        "\n7\n",
        "nats",
    ] {
        assert!(svg.contains(text), "{text}");
    }
    assert!(svg.trim_end().ends_with("</svg>"));
}

#[test]
fn without_draws_the_cells_are_compared_with_the_clean_model() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "facts.jsonl", FACTS);
    let neurons = file(&dir, "mine.txt", "3.17\n28.5\n");
    let out = dir.path().join("run");
    let args = [
        "sweep",
        "--neurons",
        &neurons,
        "--prompts",
        &prompts,
        "--draws",
        "0",
    ];
    let printed = succeed(&[&args[..], &["--out", out.to_str().unwrap()]].concat());
    assert!(
        printed.contains("minus clean") && printed.contains("mine"),
        "{printed}"
    );
    let effects = json(&out.join("effects.json"));
    assert_eq!(
        effects.as_array().unwrap().len(),
        2 * 6,
        "two layers, six metrics"
    );
    let svg = std::fs::read_to_string(out.join("heat_map.svg")).unwrap();
    assert!(!svg.contains("random"), "one panel");
}

#[test]
fn what_a_sweep_cannot_do_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "facts.jsonl", FACTS);
    let sweep =
        |args: &[&str]| fail(&[&["sweep", "--prompts", &prompts, "--draws", "1"], args].concat());
    let error = sweep(&["--layers", "3..5", "--window", "3"]);
    assert!(
        error.contains("3 layers") && error.contains("--window"),
        "{error}"
    );
    let error = sweep(&["--classes", "enrichment", "--layers", "0..3"]);
    assert!(
        error.contains("enrichment") && error.contains("no neuron"),
        "{error}"
    );
    let unchanged = [
        "--classes",
        "depletion",
        "--layers",
        "27..30",
        "--window",
        "2",
        "--stride",
        "2",
        "--mode",
        "clamp=1e30",
    ];
    let error = sweep(&unchanged);
    assert!(error.contains("no window has layer 29"), "{error}");
    assert!(error.contains("`depletion, layers 27 to 28`"), "{error}");
}

/// A command on a small model, with the classes that it has at a low threshold.
fn small<'a>(command: &'a str, model: &'a str, prompts: &'a str, draws: &'a str) -> Vec<&'a str> {
    let words = [command, "--model", model, "--prompts", prompts];
    let more = ["--subset", "all", "--threshold", "0.2", "--draws", draws];
    words.into_iter().chain(more).collect()
}

#[test]
fn few_relations_are_warned_of_by_both_commands() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "facts.jsonl", FACTS);
    let model = goldens().join("tiny-llama");
    for command in ["ablate", "sweep"] {
        let said = warnings(&small(command, model.to_str().unwrap(), &prompts, "2"));
        assert_eq!(
            said.matches("warning: 2 relations are few").count(),
            1,
            "{command}: {said}"
        );
    }
}

#[test]
fn without_draws_the_comparison_is_with_clean() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "facts.jsonl", FACTS);
    let model = goldens().join("tiny-llama");
    let args = small("ablate", model.to_str().unwrap(), &prompts, "0");
    let printed = succeed(&args);
    for part in [
        "without random neurons",
        "difference to clean",
        "the difference to clean is:",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    assert!(!printed.contains("baseline"), "{printed}");
    let said = warnings(&args);
    assert!(!said.contains("draws"), "{said}");
}
