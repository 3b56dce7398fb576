//! Ctrl-C: what is finished is kept, and the run that goes on gives what one run gives.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::cli::{columns, fail, file, json, succeed};
use super::common::goldens;

/// Ends a run by Ctrl-C after `delay`.
fn interrupted(args: &[&str], delay: Duration) {
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("gatelens"))
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(delay);
    // SAFETY: the child was not waited for, so its id is its own.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
    child.wait().unwrap();
}

/// Leaves an unfinished run in `out`: tries delays around what half of a whole run takes.
fn stop_halfway(args: &[&str], out: &Path, whole: Duration) {
    let mut delay = whole.mul_f64(0.5);
    for _ in 0..12 {
        interrupted(args, delay);
        let mark = out.join("run.json");
        if !mark.exists() {
            delay = delay.mul_f64(1.2);
        } else if json(&mark)["finished"] == true {
            std::fs::remove_dir_all(out).unwrap();
            delay = delay.mul_f64(0.8);
        } else {
            return;
        }
    }
    panic!("no delay stopped {args:?} between its passes");
}

fn check(command: &[&str], table: &str) {
    let dir = TempDir::new().unwrap();
    let neurons = file(&dir, "mine.txt", "0.3\n1.17\n1.40\n2.8\n3.61\n");
    let facts = (0..900).map(|i| {
        format!(
            "{{\"id\": \"{i}\", \"prompt\": \"Number {i} of the long list is\", \"subject\": \"list\", \"target\": \"here\"}}\n"
        )
    });
    let facts = file(&dir, "facts.jsonl", &facts.collect::<String>());
    let texts =
        (0..900).map(|i| format!("{{\"text\": \"Line {i} of a text that says little.\"}}\n"));
    let texts = file(&dir, "texts.jsonl", &texts.collect::<String>());
    let tiny = goldens().join("tiny-llama");
    let input: &[&str] = match command.contains(&"--text") {
        true => &[&texts],
        false => &["--prompts", &facts, "--subset", "all"],
    };
    let shared = [
        "--model",
        tiny.to_str().unwrap(),
        "--neurons",
        &neurons,
        "--draws",
        "8",
    ];
    let args = |out: &Path| -> Vec<String> {
        let out = ["--out", out.to_str().unwrap()];
        let all = [command, input, &shared, &out].concat();
        all.into_iter().map(str::to_string).collect()
    };
    let [whole, stopped] = ["whole", "stopped"].map(|name| dir.path().join(name));
    let whole_args = args(&whole);
    let started = Instant::now();
    succeed(&whole_args.iter().map(String::as_str).collect::<Vec<_>>());
    let took = started.elapsed();

    let args = args(&stopped);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    stop_halfway(&args, &stopped, took);
    let rows = |run: &Path| columns(&run.join(table)).1;
    let (kept, expected) = (rows(&stopped).num_rows(), rows(&whole));
    assert!(0 < kept && kept < expected.num_rows(), "{kept} rows");
    assert!(!stopped.join("effects.json").exists());
    assert!(
        fail(&args).contains("--resume"),
        "an unfinished run is not replaced"
    );
    let other = [&args[..], &["--resume", "--seed", "9"]].concat();
    assert!(fail(&other).contains("--seed: 9 now, 0 then"));

    succeed(&[&args[..], &["--resume"]].concat());
    assert_eq!(rows(&stopped), expected);
    assert_eq!(
        json(&stopped.join("effects.json")),
        json(&whole.join("effects.json"))
    );
    let [found, expected] = [&stopped, &whole].map(|run| json(&run.join("run.json")));
    assert_eq!(found["counts"], expected["counts"]);
    assert_eq!(found["finished"], true);
    assert!(!stopped.join("resume.json").exists());
}

#[test]
fn an_ablation_goes_on() {
    check(&["ablate"], "outcomes.parquet");
}

#[test]
fn a_sweep_goes_on() {
    check(&["sweep", "--window", "2"], "outcomes.parquet");
}

#[test]
fn an_ablation_of_text_goes_on() {
    check(&["ablate", "--text"], "outcomes_text.parquet");
}
