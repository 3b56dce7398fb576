//! The command as a person or a program meets it: outputs, files, and what goes wrong.

use std::fs;
use std::path::Path;

use arrow_array::{Array, StringArray, UInt32Array};
use assert_cmd::Command;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tempfile::TempDir;

use super::common::{goldens, model_path};

pub fn gatelens() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("gatelens"))
}

/// Standard output of a call that must succeed.
pub fn succeed(args: &[&str]) -> String {
    let output = gatelens().args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "gatelens {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// stderr of a call that must succeed.
pub fn warnings(args: &[&str]) -> String {
    let output = gatelens().args(args).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "gatelens {args:?}: {stderr}");
    stderr
}

/// The message of a call that must fail with exit code 1, in one line without a panic.
pub fn fail(args: &[&str]) -> String {
    let output = gatelens().args(args).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "gatelens {args:?}: {stderr}");
    assert!(
        stderr.contains("error: ") && !stderr.contains("panicked"),
        "{stderr}"
    );
    stderr
}

fn tiny(name: &str) -> String {
    goldens().join(name).to_str().unwrap().to_string()
}

/// A few facts that SmolLM2 knows, and one that it does not.
pub const FACTS: &str = r#"{"id": "fr", "prompt": "The capital of France is", "subject": "France", "target": "Paris", "relation": "capital"}
{"id": "water", "prompt": "Water is made of hydrogen and", "subject": "Water", "target": "oxygen", "relation": "made-of"}
{"id": "jp", "prompt": "The capital city of Japan is called", "subject": "Japan", "target": "Tokyo", "relation": "capital"}
{"id": "it", "prompt": "The capital of Italy is", "subject": "Italy", "target": "Rome", "relation": "capital"}
{"id": "odd", "prompt": "The capital of Peru is", "subject": "Peru", "target": "Quagmire City", "relation": "capital"}
"#;

pub fn file(dir: &TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_string()
}

pub fn columns(path: &Path) -> (Vec<(String, String)>, arrow_array::RecordBatch) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
    let fields = reader.schema().fields().clone();
    let columns = fields
        .iter()
        .map(|f| (f.name().clone(), f.data_type().to_string()))
        .collect();
    let batch = reader
        .with_batch_size(1 << 20)
        .build()
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    (columns, batch)
}

pub fn named(columns: &[(&str, &str)]) -> Vec<(String, String)> {
    columns
        .iter()
        .map(|(name, kind)| (name.to_string(), kind.to_string()))
        .collect()
}

pub fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn classify_writes_the_published_kind_of_table() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let printed = succeed(&["classify", "--out", out.to_str().unwrap()]);
    assert!(printed.contains("3,850"), "{printed}");
    let classes = json(&out.join("classes.json"));
    for (class, count) in [
        ("conditional-enrichment", 3850),
        ("enrichment", 16),
        ("depletion", 104),
        ("conditional-depletion", 1811),
    ] {
        let found = classes["totals"][class].as_i64().unwrap();
        assert!((found - count).abs() <= 2, "{class}: {found}");
    }
    assert_eq!(classes["per_layer"].as_array().unwrap().len(), 30);
    assert_eq!(
        (&classes["fold"], &classes["threshold"]),
        (&"pre".into(), &0.5.into())
    );
    let (columns, rows) = columns(&out.join("neurons.parquet"));
    assert_eq!(
        columns,
        named(&[
            ("layer", "UInt16"),
            ("neuron", "UInt32"),
            ("cos_gate_in", "Float32"),
            ("cos_gate_out", "Float32"),
            ("cos_in_out", "Float32"),
            ("norm_gate", "Float32"),
            ("norm_in", "Float32"),
            ("norm_out", "Float32"),
            ("class", "Utf8"),
        ])
    );
    assert_eq!(rows.num_rows(), 30 * 1536);
    let run = json(&out.join("run.json"));
    assert_eq!(run["command"], "classify");
    assert_eq!(
        run["model"]["files"][0]["sha256"].as_str().unwrap().len(),
        64
    );
}

#[test]
fn ablate_writes_outcomes_effects_and_run() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "facts.jsonl", FACTS);
    let out = dir.path().join("run");
    let args = [
        "ablate",
        "--prompts",
        &prompts,
        "--classes",
        "depletion,weakening",
        "--draws",
        "3",
    ];
    let error = fail(&args); // the same class by two names would be counted twice
    assert!(error.contains("depletion"), "{error}");
    let args = [
        "ablate",
        "--prompts",
        &prompts,
        "--classes",
        "depletion,strengthening",
        "--draws",
        "3",
        "--out",
        out.to_str().unwrap(),
    ];
    let printed = succeed(&args);
    assert!(
        printed.contains("depletion") && printed.contains("of 5 facts"),
        "{printed}"
    );

    let (columns, rows) = columns(&out.join("outcomes.parquet"));
    assert_eq!(
        columns,
        named(&[
            ("prompt_id", "Utf8"),
            ("class", "Utf8"),
            ("arm", "Utf8"),
            ("draw", "UInt32"),
            ("mode", "Utf8"),
            ("neurons", "UInt32"),
            ("target_logprob", "Float64"),
            ("first_logprob", "Float64"),
            ("first_rank", "UInt32"),
            ("known", "Boolean"),
            ("entropy", "Float64"),
            ("kl", "Float64"),
            ("top_token", "Utf8"),
            ("top_token_id", "UInt32"),
            ("logit_diff", "Float64"),
            ("path", "Utf8"),
            ("noise_seed", "UInt32"),
        ])
    );
    let run = json(&out.join("run.json"));
    let known = run["counts"]["known"].as_u64().unwrap() as usize;
    assert!((1..5).contains(&known), "{known} known");
    assert_eq!(
        rows.num_rows(),
        5 + 2 * (1 + 3) * known,
        "clean on all, the edits on the known"
    );
    let column = |name: &str| rows.column_by_name(name).unwrap().clone();
    let arms = column("arm");
    let arms = arms.as_any().downcast_ref::<StringArray>().unwrap();
    assert_eq!(
        (0..5).map(|i| arms.value(i)).collect::<Vec<_>>(),
        ["clean"; 5]
    );
    let neurons = column("neurons");
    let neurons = neurons.as_any().downcast_ref::<UInt32Array>().unwrap();
    assert_eq!((neurons.value(0), neurons.value(5)), (0, 104));

    let effects = json(&out.join("effects.json"));
    let effects = effects.as_array().unwrap();
    assert_eq!(effects.len(), 2 * 6, "two classes, six metrics, one subset");
    // where nothing varies, as top1 may over so few prompts, an interval is absent
    for effect in effects
        .iter()
        .filter(|effect| effect["metric"] == "target_logprob")
    {
        assert_eq!(
            (&effect["draws"], &effect["prompts"]),
            (&3.into(), &known.into())
        );
        for key in [
            "means",
            "difference_to_clean",
            "clean_ci",
            "difference_to_baseline",
            "baseline_ci",
            "p",
            "p_adjusted",
            "permutation_p",
        ] {
            assert!(!effect[key].is_null(), "{key} in {effect}");
        }
    }
    for key in [
        "settings",
        "version",
        "tokenizer_sha256",
        "dtype",
        "device",
        "fold",
        "bos",
        "seed",
        "prompts",
        "wall_s",
    ] {
        assert!(!run[key].is_null(), "{key}");
    }

    let again = fail(&args);
    assert!(again.contains("--force"), "{again}");
    let forced: Vec<&str> = args.iter().copied().chain(["--force"]).collect();
    succeed(&forced);
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        2,
        "nothing but the prompts and the run"
    );
}

#[test]
fn json_output_is_json() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "facts.jsonl", FACTS);
    let ablated = succeed(&[
        "ablate",
        "--json",
        "--prompts",
        &prompts,
        "--classes",
        "depletion",
        "--draws",
        "2",
        "--subset",
        "all",
    ]);
    let ablated: Value = serde_json::from_str(&ablated).unwrap();
    assert_eq!(
        ablated["effects"].as_array().unwrap().len(),
        2 * 6,
        "known and all"
    );
    let inspected: Value =
        serde_json::from_str(&succeed(&["inspect", "gemma3-270m", "--json"])).unwrap();
    assert_eq!(
        (&inspected["family"], &inspected["bos"]),
        (&"gemma3".into(), &"<bos>".into())
    );
    let fetched: Value = serde_json::from_str(&succeed(&["fetch", "--json"])).unwrap();
    assert!(fetched["files"][0].as_str().unwrap().ends_with(".gguf"));
    let classified: Value = serde_json::from_str(&succeed(&[
        "classify",
        "--json",
        "--model",
        &tiny("tiny-llama"),
    ]))
    .unwrap();
    assert_eq!(classified["per_layer"].as_array().unwrap().len(), 4);
}

#[test]
fn a_neuron_file_names_its_own_class() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "facts.jsonl", FACTS);
    let neurons = file(&dir, "my-neurons.txt", "# two of them\n3.17\n28.5 # late\n");
    let printed = succeed(&[
        "ablate",
        "--neurons",
        &neurons,
        "--prompts",
        &prompts,
        "--draws",
        "2",
    ]);
    assert!(printed.contains("my-neurons"), "{printed}");
    for (text, culprit) in [
        ("3.17\n30.2\n", "30.2"),
        ("3.1536\n", "3.1536"),
        ("x\n", "x"),
        ("# none\n", "no neuron"),
    ] {
        let neurons = file(&dir, "bad.txt", text);
        let error = fail(&["ablate", "--neurons", &neurons, "--prompts", &prompts]);
        assert!(error.contains(culprit), "{error}");
    }
}

#[test]
fn bad_prompts_are_named_all_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let bad = "{\"id\": \"a\", \"prompt\": \"The capital of France is\", \"subject\": \"Spain\", \"target\": \"Paris\"}\nnot json\n\
               {\"id\": \"c\", \"prompt\": \"The capital of Peru is\", \"subject\": \"Peru\"}\n";
    let error = fail(&["ablate", "--prompts", &file(&dir, "bad.jsonl", bad)]);
    for culprit in ["a", "Spain", "line 2", "target"] {
        assert!(error.contains(culprit), "{culprit}: {error}");
    }
    assert!(
        fail(&["ablate", "--prompts", "/nowhere/facts.jsonl"]).contains("/nowhere/facts.jsonl")
    );
}

#[test]
fn bad_models_are_named() {
    let dir = tempfile::tempdir().unwrap();
    assert!(
        fail(&["inspect", "smollm3"]).contains("smollm2-135m"),
        "the aliases are listed"
    );
    assert!(fail(&["inspect", "./nothing.gguf"]).contains("nothing.gguf"));

    let whole = fs::read(model_path("smollm2-135m")).unwrap();
    let cut = dir.path().join("cut.gguf");
    fs::write(&cut, &whole[..whole.len() - 1000]).unwrap();
    let error = fail(&["inspect", cut.to_str().unwrap()]);
    assert!(
        error.contains("cut.gguf") && error.contains("incomplete"),
        "{error}"
    );

    let copy = dir.path().join("tiny");
    fs::create_dir(&copy).unwrap();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(Path::new(&tiny("tiny-llama")).join(name), copy.join(name)).unwrap();
    }
    let model = copy.to_str().unwrap();
    let weights = fs::read(copy.join("model.safetensors")).unwrap();
    fs::write(
        copy.join("model.safetensors"),
        &weights[..weights.len() / 2],
    )
    .unwrap();
    assert!(fail(&["classify", "--model", model]).contains("model.safetensors"));
    fs::write(copy.join("model.safetensors"), &weights).unwrap();
    let config = fs::read_to_string(copy.join("config.json")).unwrap();
    fs::write(
        copy.join("config.json"),
        config.replace("\"silu\"", "\"swoosh\""),
    )
    .unwrap();
    let error = fail(&["inspect", model]);
    assert!(
        error.contains("swoosh") && error.contains("gelu_pytorch_tanh"),
        "{error}"
    );
    fs::write(
        copy.join("config.json"),
        config.replace("\"intermediate_size\": 80", "\"intermediate_size\": 81"),
    )
    .unwrap();
    let error = fail(&["inspect", model]);
    assert!(
        error.contains("gate_proj") && error.contains("81"),
        "{error}"
    );
    fs::remove_file(copy.join("tokenizer.json")).unwrap();
    assert!(fail(&["inspect", model]).contains("tokenizer.json"));
}

#[test]
fn bad_settings_are_refused_before_any_work() {
    let error = fail(&["ablate", "--classes", "enrichment", "--layers", "0..1"]);
    assert!(
        error.contains("enrichment") && error.contains("no neuron"),
        "{error}"
    );
    assert!(fail(&["ablate", "--layers", "3..99"]).contains("30 layers"));
    assert!(fail(&["classify", "--threshold", "1.5"]).contains("1.5"));
    assert!(fail(&["ablate", "--max-memory", "10MiB"]).contains("--max-memory"));
    assert!(fail(&["classify", "--out", "/proc/gatelens"]).contains("/proc/gatelens"));
    let foreign = tempfile::tempdir().unwrap();
    fs::write(foreign.path().join("thesis.tex"), "").unwrap();
    let error = fail(&[
        "classify",
        "--force",
        "--out",
        foreign.path().to_str().unwrap(),
    ]);
    assert!(error.contains("not a run folder"), "{error}");
    assert!(foreign.path().join("thesis.tex").exists());
    for (args, accepted) in [
        (["ablate", "--classes", "enrichmend"], "enrichment"),
        (["ablate", "--mode", "nil"], "zero"),
        (["ablate", "--when", "gate"], "gate-"),
        (["ablate", "--layers", "9..3"], "3..9"),
        (["ablate", "--match", "norm"], "layer+norm"),
        (
            ["ablate", "--match", "layer+frequency"],
            "record --text neutral",
        ),
        (["sweep", "--match", "layer+frequency"], "--reference"),
        (
            ["record", "--match", "layer+frequency"],
            "what `record` measures",
        ),
    ] {
        let error = fail(&args);
        assert!(error.contains(accepted), "{args:?}: {error}");
    }
}

#[test]
fn a_shell_and_man_are_told_of_the_commands_and_their_flags() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = succeed(&["completions", shell]);
        assert!(
            script.contains("ablate") && script.contains("known-by"),
            "{shell}"
        );
    }
    assert!(fail(&["completions", "cmd"]).contains("possible values: bash"));
    let version = format!("gatelens {}", env!("CARGO_PKG_VERSION"));
    let page = succeed(&["man"]);
    assert!(page.contains(&version) && page.contains("ablate"));
    let page = succeed(&["man", "ablate"]);
    assert!(page.contains(&version) && page.contains(r"\-\-known\-by"));
    assert!(fail(&["man", "ablat"]).contains("there is no command ablat"));
    let help = succeed(&["--help"]);
    assert!(
        help.contains("\n  completions ") && help.contains("\n  man "),
        "{help}"
    );
}

/// A disk of 64 KiB, in a mount namespace of the test's own.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_leaves_nothing_behind() {
    let unshared = |script: &str| {
        std::process::Command::new("unshare")
            .args(["-rm", "sh", "-c", script])
            .output()
    };
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().to_str().unwrap();
    let mount = format!("mount -t tmpfs -o size=64k tmpfs {disk}");
    if !unshared(&mount).is_ok_and(|output| output.status.success()) {
        eprintln!("not run: this machine allows no mount namespace");
        return;
    }
    let binary = assert_cmd::cargo::cargo_bin!("gatelens");
    let script = format!(
        "{mount} && {} classify --out {disk}/run; echo code $?; ls -A {disk}",
        binary.display()
    );
    let output = unshared(&script).unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        stderr.contains("neurons.parquet") && stderr.contains("disk space"),
        "{stderr}"
    );
    assert!(
        stdout.ends_with("code 1\n"),
        "nothing may be left: {stdout}"
    );
}
