//! Numbers and choices that a command cannot take: refused at once, by their flag and with what is allowed.

use std::time::Duration;

use assert_cmd::Command;

use super::cli::{fail, file};
use super::common::goldens;

fn tiny() -> String {
    goldens().join("tiny-llama").to_str().unwrap().to_string()
}

/// The message of a call that ends with exit code 1, and soon, whatever the machine is doing besides.
fn refused(args: &[&str]) -> String {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("gatelens"));
    let output = command
        .args(args)
        .timeout(Duration::from_secs(30))
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "gatelens {args:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
    stderr
}

const COUNTS: &[&str] = &[
    "-1",
    "4294967296",
    "18446744073709551616",
    "1e3",
    "nan",
    "x",
    "",
];

#[test]
fn every_number_out_of_its_range_is_refused_by_its_flag() {
    let generate = ["generate", "--prompt", "a"].as_slice();
    let warm = ["generate", "--prompt", "a", "--temperature", "1"].as_slice();
    let text = ["ablate", "--text", "neutral"].as_slice();
    let neuron = ["neuron", "0.1"].as_slice();
    let cases: Vec<(&[&str], &str, &[&str])> = vec![
        (&["ablate"], "--draws", COUNTS),
        (&["sweep"], "--draws", COUNTS),
        (&["rank"], "--draws", COUNTS),
        (&["record"], "--draws", COUNTS),
        (&["attributes"], "--draws", COUNTS),
        (&["verify"], "--draws", COUNTS),
        (&["verify"], "--text-tokens", &["0", "1", "-1", "x"]),
        (
            &["rank"],
            "--top",
            &["0", "-1", "18446744073709551615", "x"],
        ),
        (
            &["attributes"],
            "--top",
            &["0", "-1", "18446744073709551615", "x"],
        ),
        (&["record"], "--top", &["-1", "18446744073709551615", "x"]),
        (neuron, "--top", &["-1", "18446744073709551615", "x"]),
        (
            &["sweep"],
            "--window",
            &["0", "-1", "18446744073709551615", "100000", "x"],
        ),
        (
            &["sweep"],
            "--stride",
            &["0", "-1", "18446744073709551615", "100000", "x"],
        ),
        (text, "--context", &["0", "1", "-1", "18446744073709551615"]),
        (
            &["record", "--text", "neutral"],
            "--context",
            &["0", "-1", "x"],
        ),
        (&["record"], "--max-tokens", &["0", "-1"]),
        (
            generate,
            "--max-tokens",
            &["0", "-1", "100000", "9223372036854775807", "x"],
        ),
        (
            generate,
            "--temperature",
            &["-1", "nan", "inf", "-inf", "x"],
        ),
        (warm, "--top-k", &["0", "-1", "x"]),
        (warm, "--top-p", &["0", "-1", "1.5", "nan", "x"]),
        (warm, "--seed", &["-1", "18446744073709551616", "x"]),
        (&["ablate"], "--seed", &["-1", "18446744073709551616", "x"]),
        (
            &["ablate"],
            "--threshold",
            &["0", "1", "-0.5", "nan", "inf", "x"],
        ),
        (
            &["classify"],
            "--threshold",
            &["0", "1", "-0.5", "nan", "inf", "x"],
        ),
        (
            &["ablate"],
            "--layers",
            &[
                "3..1",
                "2..2",
                "0..99",
                "..",
                "-1..2",
                "0..18446744073709551616",
                "x",
            ],
        ),
        (&["record"], "--layers", &["3..1", "2..2", "0..99", "x"]),
        (&["attributes"], "--rate-layers", &["3..1", "0..99", "x"]),
        (
            &["ablate"],
            "--mode",
            &[
                "fixed=inf",
                "fixed=1e39",
                "multiply=nan",
                "clamp=-inf",
                "fixed=",
                "x",
            ],
        ),
        (&["ablate"], "--positions", &["first", ""]),
        (&["ablate"], "--when", &["gate", "gate+,gate-", "-1", ""]),
        (
            &["ablate"],
            "--max-memory",
            &["0", "1", "-1", "4", "1e30GiB", "GiB", "", "nan"],
        ),
        (
            &["classify"],
            "--max-memory",
            &["0", "1", "-1", "4", "1e30GiB"],
        ),
        (generate, "--max-memory", &["1", "2MiB"]),
        (
            &["ablate"],
            "--threads",
            &["0", "-1", "x", "18446744073709551616"],
        ),
        (&["ablate"], "--device", &["cpu:7", "cuda:x", "tpu"]),
        (text, "--max-tokens", &["0", "-1", "18446744073709551616"]),
    ];
    let model = tiny();
    for (command, flag, values) in cases {
        for value in values {
            let message = refused(&[command, &["--model", &model, flag, value]].concat());
            assert!(
                message.contains(flag),
                "{command:?} {flag} {value:?}: {message}"
            );
        }
    }
}

#[test]
fn more_threads_than_cores_are_capped_with_a_warning() {
    let model = tiny();
    let args = [
        "generate",
        "--model",
        &model,
        "--prompt",
        "a",
        "--max-tokens",
        "2",
    ];
    let run = |args: &[&str], variable: Option<&str>| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("gatelens"));
        command.args(args).timeout(Duration::from_secs(30));
        variable.map(|value| command.env("RAYON_NUM_THREADS", value));
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        stderr
    };
    let message = run(&[&args[..], &["--threads", "100000"]].concat(), None);
    assert!(
        message.contains("--threads 100000") && message.contains("cores"),
        "{message}"
    );
    for value in ["100000", "x", "-3"] {
        let message = run(&args, Some(value));
        assert!(
            message.contains("RAYON_NUM_THREADS") && message.contains("core"),
            "{message}"
        );
    }
    assert_eq!(run(&args, None), "");
}

#[test]
fn settings_that_change_nothing_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let neurons = file(&dir, "n.txt", "0.1\n0.2\n");
    let generate = ["generate", "--prompt", "a"];
    let cases: [(&[&str], &[&str], &str); 9] = [
        (&generate, &["--mode", "fixed=1"], "--mode"),
        (&generate, &["--when", "gate-"], "--when"),
        (&generate, &["--layers", "0..2"], "--layers"),
        (&generate, &["--top-k", "3"], "--top-k"),
        (&generate, &["--seed", "3"], "--seed"),
        (
            &["ablate", "--neurons", &neurons],
            &["--sign", "reference"],
            "--sign",
        ),
        (
            &["ablate", "--neurons", &neurons],
            &["--reference", "x"],
            "--reference",
        ),
        (
            &["ablate", "--neurons", &neurons],
            &["--match", "layer+norm", "--draws", "0"],
            "--match",
        ),
        (&["neuron", "0.1"], &["--context", "9"], "--text"),
    ];
    let model = tiny();
    for (command, idle, flag) in cases {
        let message = fail(&[command, idle, &["--model", &model]].concat());
        assert!(message.contains(flag), "{command:?} {idle:?}: {message}");
    }
}
