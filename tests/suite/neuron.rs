//! `neuron` from a recorded folder, against the run over the same texts.

use std::path::Path;

use gatelens::experiment::record::TOP_TOKENS;
use serde_json::Value;
use tempfile::TempDir;

use super::cli::{fail, file, json, succeed};
use super::common::goldens;

/// Two texts of which neither begins like the other: every token of both is a candidate of a recording's strongest.
const TEXTS: &str =
    "The river was high, and she counted 12 boats.\nThe smallest of them carried two dogs.
---
Nobody had asked for rain. It came with a wind from the north, and took the tiles from three roofs.
";

/// Means are sums of the same f32 values, in f64 and in another order.
const SUMMED: f64 = 1e-12;

fn model() -> String {
    goldens().join("tiny-llama").to_str().unwrap().to_string()
}

/// A folder of `record`, of [`TEXTS`].
fn recorded(dir: &TempDir, more: &[&str]) -> (String, String) {
    let texts = file(dir, "texts.txt", TEXTS);
    let out = dir.path().join("out").to_str().unwrap().to_string();
    let (model, mut args) = (model(), vec!["record", "--draws", "0", "--top", "0"]);
    args.extend(["--model", &model, "--text", &texts, "--bos", "never"]);
    args.extend(["--out", &out]);
    args.extend(more);
    succeed(&args);
    (texts, out)
}

/// What `neuron` prints of a neuron of the tiny model.
fn shown(neuron: &str, more: &[&str]) -> String {
    let model = model();
    succeed(&[&["neuron", neuron, "--model", &model], more].concat())
}

fn shown_json(neuron: &str, more: &[&str]) -> Value {
    serde_json::from_str(&shown(neuron, &[more, &["--json"]].concat())).unwrap()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap()
}

#[test]
fn a_recorded_neuron_is_that_of_a_run_over_the_same_texts() {
    let dir = tempfile::tempdir().unwrap();
    let (texts, out) = recorded(&dir, &[]);
    let mut signs = Vec::new();
    for neuron in ["0.3", "1.17", "2.40", "3.79"] {
        let run = shown_json(neuron, &["--text", &texts, "--bos", "never"]);
        let found = shown_json(neuron, &["--recorded", &out]);
        assert_eq!(
            (&run["recorded"], &found["recorded"]["folder"]),
            (&Value::Null, &out.as_str().into())
        );
        for (key, value) in run.as_object().unwrap() {
            match key.as_str() {
                "sign_cases" | "sign_cases_in_reference_sign" => same_cases(value, &found[key]),
                "strongest" => same_places(value, &found[key]),
                "recorded" => {}
                _ => assert_eq!(*value, found[key], "{neuron} {key}"),
            }
        }
        assert_eq!(
            run.as_object().unwrap().len(),
            found.as_object().unwrap().len()
        );
        in_reference_sign(&found);
        signs.push(run["sign"].as_i64().unwrap());
    }
    assert!(signs.contains(&1) && signs.contains(&-1), "{signs:?}");
}

fn same_cases(run: &Value, found: &Value) {
    let (run, found) = (run.as_array().unwrap(), found.as_array().unwrap());
    assert_eq!((run.len(), found.len()), (4, 4));
    for (run, found) in run.iter().zip(found) {
        for key in ["case", "tokens", "strongest_post"] {
            assert_eq!(run[key], found[key]);
        }
        match (run["mean_post"].as_f64(), found["mean_post"].as_f64()) {
            (Some(a), Some(b)) => assert!((a - b).abs() <= SUMMED * a.abs(), "{a} {b}"),
            (a, b) => assert_eq!(a, b),
        }
    }
}

fn same_places(run: &Value, found: &Value) {
    let (run, found) = (run.as_array().unwrap(), found.as_array().unwrap());
    assert_eq!((run.len(), found.len()), (10, 10));
    for (run, found) in run.iter().zip(found) {
        for key in ["id", "token"] {
            assert_eq!(run[key], found[key]);
        }
        for key in ["position", "post"] {
            assert_eq!(run["values"][key], found["values"][key]);
        }
        assert_eq!(found["values"].as_object().unwrap().len(), 2, "{found}");
        // Both show the text around the token, one so many bytes of it, the other so many tokens.
        let (a, b) = (text(run, "before"), text(found, "before"));
        assert!(a.ends_with(b) || b.ends_with(a), "{a:?} {b:?}");
        let (a, b) = (text(run, "after"), text(found, "after"));
        assert!(a.starts_with(b) || b.starts_with(a), "{a:?} {b:?}");
    }
}

/// In reference sign, up and post are multiplied by the sign.
fn in_reference_sign(found: &Value) {
    let sign = found["sign"].as_f64().unwrap();
    let cases = |key: &str| found[key].as_array().unwrap().clone();
    let pairs = cases("sign_cases")
        .into_iter()
        .zip(cases("sign_cases_in_reference_sign"));
    for (raw, read) in pairs {
        assert_eq!(raw["tokens"], read["tokens"]);
        let (gate, up) = text(&raw, "case").split_once(',').unwrap();
        let up = match (up, sign < 0.0) {
            ("up+", true) => "up-",
            ("up-", true) => "up+",
            (up, _) => up,
        };
        assert_eq!(text(&read, "case"), format!("{gate},{up}"));
        for key in ["mean_post", "strongest_post"] {
            let [raw, read] = [&raw, &read].map(|case| case[key].as_f64());
            assert_eq!(read, raw.map(|value| sign * value));
        }
    }
}

#[test]
fn a_recorded_neuron_is_printed_like_one_of_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let (texts, out) = recorded(&dir, &[]);
    let mut with_reference = 0;
    for neuron in ["0.3", "1.17", "2.40", "3.79"] {
        let run = shown(neuron, &["--text", &texts, "--bos", "never", "--top", "4"]);
        let found = shown(neuron, &["--recorded", &out, "--top", "4"]);
        let place = format!("{texts} (recorded in {out})");
        assert!(found.contains(&format!("On {place}, ")), "{found}");
        let found = found.replace(&place, &texts);
        let (mut run, mut found) = (run.lines(), found.lines());
        let strongest = format!("Strongest on {texts}:");
        for line in run.by_ref().take_while(|line| **line != strongest) {
            assert_eq!(found.next(), Some(line));
        }
        assert_eq!(found.next(), Some(strongest.as_str()));
        for (run, found) in run.zip(found) {
            // Up to the value of post the lines are the same; then gate and up are left out.
            let upto = run.find("  gate").unwrap_or(run.len());
            assert_eq!(found.get(..upto), run.get(..upto));
            assert!(!found.contains("  gate "), "{found}");
            let token = |line: &str| {
                let start = line.find('[').unwrap_or(0);
                line[start..]
                    .split_once(']')
                    .map(|(token, _)| token.to_string())
            };
            assert_eq!(token(found), token(run));
        }
        let printed = shown(neuron, &["--recorded", &out]);
        with_reference += printed.matches("mean post").count() - 1;
    }
    assert!(
        (1..4).contains(&with_reference),
        "only where the sign is -1"
    );
}

#[test]
fn a_recording_of_some_tokens_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "prompts.jsonl", super::cli::FACTS);
    let out = dir.path().join("last").to_str().unwrap().to_string();
    let model = model();
    let mut args = vec![
        "record",
        "--model",
        &model,
        "--prompts",
        &prompts,
        "--draws",
        "0",
    ];
    args.extend(["--top", "0", "--positions", "last", "--out", &out]);
    succeed(&args);
    let printed = shown("1.17", &["--recorded", &out]);
    let heading = format!("{prompts} (positions last, recorded in {out}), 5 tokens");
    assert!(printed.contains(&heading), "{printed}");
}

#[test]
fn what_a_recording_cannot_give_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_, out) = recorded(&dir, &["--layers", "1..3"]);
    let (model, other) = (model(), goldens().join("tiny-llama3"));
    let refused = |neuron: &str, more: &[&str]| {
        let args = ["neuron", neuron, "--model", &model, "--recorded", &out];
        fail(&[&args, more].concat())
    };
    let error = refused("0.3", &[]);
    assert!(
        error.contains("0.3") && error.contains("[1, 2] alone were recorded"),
        "{error}"
    );
    assert!(refused("9.3", &[]).contains("its layers are 0 to 3"));
    for flag in [
        ["--text", "neutral"],
        ["--prompts", "x"],
        ["--context", "9"],
        ["--bos", "never"],
    ] {
        let error = refused("1.3", &flag);
        assert!(
            error.contains("cannot be used with") && error.contains(flag[0]),
            "{error}"
        );
    }
    let other = other.to_str().unwrap();
    let error = fail(&["neuron", "1.3", "--model", other, "--recorded", &out]);
    assert!(error.contains("another model"), "{error}");
    let error = fail(&["neuron", "1.3", "--model", &model, "--recorded", "/nowhere"]);
    assert!(
        error.contains("/nowhere/run.json") && error.contains("gatelens record"),
        "{error}"
    );

    let more = (TOP_TOKENS + 1).to_string();
    let found = shown_json("1.3", &["--recorded", &out, "--top", &more]);
    assert_eq!(found["strongest"].as_array().unwrap().len(), TOP_TOKENS);

    let run = Path::new(&out).join("run.json");
    let mut stopped = json(&run);
    stopped["finished"] = false.into();
    std::fs::write(&run, stopped.to_string()).unwrap();
    assert!(refused("1.3", &[]).contains("--resume"));
    std::fs::write(
        &run,
        stopped
            .to_string()
            .replace("\"finished\":false", "\"finished\":true"),
    )
    .unwrap();
    std::fs::remove_file(Path::new(&out).join("top_tokens.parquet")).unwrap();
    assert!(refused("1.3", &[]).contains("top_tokens.parquet"));
}
