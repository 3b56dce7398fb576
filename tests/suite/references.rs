//! Edits that take values from a reference, as a person meets them: the heading, `run.json`, the folder of
//! means, and what is refused.

use std::path::Path;

use arrow_array::Float64Array;
use gatelens::io_class::Class;
use gatelens::report::rows::SummaryRow;
use gatelens::report::table::write_table;
use serde_json::{Value, json};

use super::cli::{FACTS, columns, fail, file, json, succeed};

/// The neurons of SmolLM2-135M.
const SHAPE: (u16, u32) = (30, 1536);

/// The run's folder, and what it printed.
fn run(dir: &tempfile::TempDir, name: &str, more: &[&str]) -> (Value, String, Vec<f64>) {
    let prompts = file(dir, "facts.jsonl", FACTS);
    let out = dir.path().join(name);
    let mut args = vec!["ablate", "--prompts", &prompts, "--classes", "depletion"];
    args.extend([
        "--draws",
        "2",
        "--subset",
        "all",
        "--out",
        out.to_str().unwrap(),
    ]);
    args.extend(more);
    let printed = succeed(&args);
    let (_, rows) = columns(&out.join("outcomes.parquet"));
    let logprobs = rows.column_by_name("target_logprob").unwrap();
    let logprobs: &Float64Array = logprobs.as_any().downcast_ref().unwrap();
    (
        json(&out.join("run.json")),
        printed,
        logprobs.values().to_vec(),
    )
}

/// What a recorded folder says of one neuron: the mean over all tokens, and of each sign case.
type Means = fn(u16, u32) -> (f64, [Option<f64>; 4]);

/// A folder as `record` writes it, of `run`'s model, with these means.
fn recorded(folder: &Path, run: &Value, means: Means) -> String {
    std::fs::create_dir_all(folder).unwrap();
    let mut info = run.clone();
    let fields = info.as_object_mut().unwrap();
    fields.insert("command".to_string(), json!("record"));
    // As version 0.1.0 wrote it, without a list of files.
    for name in ["tool", "outputs", "settings", "counts", "prompts", "texts"] {
        fields.remove(name);
    }
    std::fs::write(folder.join("run.json"), info.to_string()).unwrap();
    let neurons = (0..SHAPE.0).flat_map(|l| (0..SHAPE.1).map(move |n| (l, n)));
    let rows = neurons.map(|(layer, neuron)| {
        let (mean_post, by_sign) = means(layer, neuron);
        let [gp_up, gp_um, gm_up, gm_um] = by_sign;
        let count = |mean: Option<f64>| u64::from(mean.is_some());
        SummaryRow {
            layer,
            neuron,
            class: Class::OrthogonalOutput,
            sign: 1,
            tokens: 77,
            frequency: None,
            mean_post: Some(mean_post),
            var_post: None,
            max_abs_post: 0.0,
            count_gp_up: count(gp_up),
            mean_post_gp_up: gp_up,
            max_abs_post_gp_up: None,
            count_gp_um: count(gp_um),
            mean_post_gp_um: gp_um,
            max_abs_post_gp_um: None,
            count_gm_up: count(gm_up),
            mean_post_gm_up: gm_up,
            max_abs_post_gm_up: None,
            count_gm_um: count(gm_um),
            mean_post_gm_um: gm_um,
            max_abs_post_gm_um: None,
        }
    });
    write_table(&folder.join("summary.parquet"), rows).unwrap();
    folder.to_str().unwrap().to_string()
}

#[test]
fn a_reference_is_named_and_a_folder_of_means_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let (zero, _, zeroed) = run(&dir, "zero", &[]);
    assert!(zero["counts"]["reference"].is_null());
    let (own, printed, _) = run(&dir, "own", &["--mode", "mean"]);
    assert!(
        printed.contains("mean ablation") && printed.contains("clean pass over all 5 prompts"),
        "{printed}"
    );
    let reference = &own["counts"]["reference"];
    assert_eq!(
        (&reference["source"], &reference["prompts"]),
        (&"clean_means".into(), &5.into())
    );

    // Means of 0 are zero ablation, to the last bit; a fixed value, likewise.
    let folder = dir.path().join("recorded");
    let zeros = recorded(&folder, &zero, |_, _| (0.0, [Some(0.0); 4]));
    for mode in ["mean", "mean-sign"] {
        let (info, printed, found) = run(
            &dir,
            &format!("zero-{mode}"),
            &["--mode", mode, "--reference", &zeros],
        );
        assert!(printed.contains("77 tokens, recorded in"), "{printed}");
        assert_eq!(info["counts"]["reference"]["source"], "recorded");
        assert_eq!(found, zeroed, "{mode}");
    }
    let (_, _, fixed) = run(&dir, "fixed", &["--mode", "fixed=0.25"]);
    let quarters = recorded(&folder, &zero, |_, _| (0.25, [None; 4]));
    let (_, _, found) = run(
        &dir,
        "quarter",
        &["--mode", "mean", "--reference", &quarters],
    );
    assert_eq!(found, fixed);
    let error = fail_ablation(&dir, &["--mode", "mean-sign", "--reference", &quarters]);
    assert!(
        error.contains("changed no value") && error.contains("without a value in the reference"),
        "{error}"
    );
}

/// The message of an ablation that must fail.
fn fail_ablation(dir: &tempfile::TempDir, more: &[&str]) -> String {
    let prompts = file(dir, "facts.jsonl", FACTS);
    let mut args = vec![
        "ablate",
        "--prompts",
        &prompts,
        "--classes",
        "depletion",
        "--draws",
        "2",
    ];
    args.extend(more);
    fail(&args)
}

#[test]
fn a_reference_of_something_else_is_refused_with_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let (run, ..) = run(&dir, "run", &["--mode", "resample"]);
    assert_eq!(
        run["counts"]["reference"],
        json!({"source": "donors", "prompts": 5, "seed": 0})
    );
    let folder = dir.path().join("recorded");
    let with = |change: fn(&mut Value)| {
        let mut other = run.clone();
        change(&mut other);
        let folder = recorded(&folder, &other, |_, _| (0.0, [None; 4]));
        fail_ablation(&dir, &["--mode", "mean", "--reference", &folder])
    };
    let error = with(|run| run["model"]["files"][0]["sha256"] = "beef".into());
    let here = run["model"]["files"][0]["sha256"].as_str().unwrap();
    assert!(
        error.contains("another model") && error.contains("beef") && error.contains(here),
        "{error}"
    );
    let error = with(|run| run["tokenizer_sha256"] = "cafe".into());
    let here = run["tokenizer_sha256"].as_str().unwrap();
    assert!(
        error.contains("another tokenizer") && error.contains("cafe") && error.contains(here),
        "{error}"
    );

    let own = dir.path().join("run");
    let error = fail_ablation(
        &dir,
        &["--mode", "mean", "--reference", own.to_str().unwrap()],
    );
    assert!(
        error.contains("summary.parquet") && error.contains("gatelens record"),
        "{error}"
    );
    let error = fail_ablation(&dir, &["--mode", "mean", "--reference", "/nowhere"]);
    assert!(error.contains("/nowhere/run.json"), "{error}");
    let error = fail_ablation(&dir, &["--reference", own.to_str().unwrap()]);
    assert!(
        error.contains("--mode zero") && error.contains("mean-sign"),
        "{error}"
    );

    let mut stopped = json(&folder.join("run.json"));
    stopped["finished"] = false.into();
    std::fs::write(folder.join("run.json"), stopped.to_string()).unwrap();
    let error = fail_ablation(
        &dir,
        &["--mode", "mean", "--reference", folder.to_str().unwrap()],
    );
    assert!(error.contains("--resume"), "{error}");
}

#[test]
fn signs_that_change_nothing_are_refused() {
    assert!(fail(&["ablate", "--sign", "reference"]).contains("--when"));
    let error = fail(&["ablate", "--when", "gate-,up-,post-"]);
    assert!(error.contains("no value is in the sign case"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let asked = ["--when", "gate-,post+", "--sign", "reference"];
    let (info, printed, _) = run(&dir, "signs", &asked);
    assert!(
        printed.contains("where gate-,post+ (reference sign)"),
        "{printed}"
    );
    assert_eq!(
        (&info["settings"]["when"], &info["settings"]["sign"]),
        (&"gate-,post+".into(), &"reference".into())
    );
}
