//! Runs that are ended, by Ctrl-C or by `kill -9` at any moment: what is finished is kept, and the run that goes on gives
//! what one run gives, to the last bit.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::cli::{columns, fail, file, json, succeed};
use super::common::goldens;
use super::shards::{arguments, known_facts, result};

fn begun(args: &[&str]) -> Child {
    Command::new(assert_cmd::cargo::cargo_bin!("gatelens"))
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Sends a run a signal and waits for its end; what it said.
fn end(child: Child, signal: i32) -> String {
    // SAFETY: the child was not waited for, so its id is its own.
    unsafe { libc::kill(child.id() as libc::pid_t, signal) };
    String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap()
}

/// Ends a run after `delay`.
fn ended(args: &[&str], delay: Duration, signal: i32) -> String {
    let child = begun(args);
    std::thread::sleep(delay);
    end(child, signal)
}

/// Numbers in 0..1, the same in every run of the tests.
fn moments() -> impl Iterator<Item = f64> {
    let mut state = 20_261_129u64;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as f64 / (1u64 << 31) as f64
    })
}

/// The parts of a run that is not finished.
fn parts(out: &Path) -> Vec<std::path::PathBuf> {
    let parts = fs::read_dir(out.join("parts")).into_iter().flatten();
    let paths = parts.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|ext| ext == "part"))
        .collect()
}

/// Leaves an unfinished run in `out`: stops it as soon as its first pass is through.
pub fn stop_halfway(args: &[&str], out: &Path) {
    // On one thread, so that there is time to look between two passes.
    let slowly = [args, &["--threads", "1"]].concat();
    for _ in 0..12 {
        let mut child = begun(&slowly);
        while parts(out).is_empty() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let message = end(child, libc::SIGINT);
        if out.join("run.json").exists() {
            fs::remove_dir_all(out).unwrap(); // it was faster
        } else {
            let says = |words: &str| message.contains(words);
            assert!(says("stopped after") && says("--resume"), "{message}");
            return;
        }
    }
    panic!("nothing stopped {args:?} between its passes");
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
    let input: &[&str] = if command.contains(&"--text") {
        &[&texts]
    } else {
        &["--prompts", &facts, "--subset", "all"]
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
    stop_halfway(&args, &stopped);
    let rows = |run: &Path| columns(&run.join(table)).1;
    let same = |found: &Path| {
        assert_eq!(rows(found), rows(&whole));
        let [one, other] = [found, &whole].map(|run| json(&run.join("effects.json")));
        assert_eq!(one, other);
        let [one, other] = [found, &whole].map(|run| json(&run.join("run.json")));
        assert_eq!(one["counts"], other["counts"]);
        assert_eq!(one["finished"], true);
        let names = |run: &Path| {
            let entries = fs::read_dir(run).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name());
            names.collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(names(found), names(&whole), "nothing else is left");
    };
    assert_eq!(json(&stopped.join("plan.json"))["finished"], false);
    assert!(!stopped.join("effects.json").exists());
    assert!(
        fail(&args).contains("--resume"),
        "an unfinished run is not replaced"
    );
    let resume = [&args[..], &["--resume"]].concat();
    let other = [&resume[..], &["--seed", "9"]].concat();
    assert!(fail(&other).contains("--seed: 9 now, 0 then"));
    let page = dir.path().join("page.html");
    succeed(&[
        "report",
        stopped.to_str().unwrap(),
        "--out",
        page.to_str().unwrap(),
    ]);
    assert!(
        fs::read_to_string(page)
            .unwrap()
            .contains("This run is not finished.")
    );

    // A part that is cut or has a flipped bit is done again; passes that are not those of the run are refused.
    let plan = stopped.join("plan.json");
    let whole_plan = fs::read(&plan).unwrap();
    let mut changed = json(&plan);
    changed["stages"][0]["passes"][0]["units"]
        .as_array_mut()
        .unwrap()
        .pop();
    fs::write(&plan, changed.to_string()).unwrap();
    assert!(fail(&resume).contains("is not of this run"));
    fs::write(&plan, whole_plan).unwrap();
    let part = &parts(&stopped)[0];
    let mut bytes = fs::read(part).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 4;
    fs::write(part, bytes).unwrap();
    succeed(&resume);
    same(&stopped);

    let killed = dir.path().join("killed");
    let args = [
        command,
        input,
        &shared,
        &["--out", killed.to_str().unwrap(), "--resume"],
    ]
    .concat();
    let signals = [libc::SIGKILL, libc::SIGHUP, libc::SIGKILL, libc::SIGTERM];
    for (moment, signal) in moments().zip(signals.into_iter().cycle()).take(KILLS) {
        if !killed.join("run.json").exists() {
            ended(&args, took.mul_f64(moment), signal);
        }
    }
    if !killed.join("run.json").exists() {
        succeed(&args);
    }
    same(&killed);
}

/// Of each command.
const KILLS: usize = 8;

/// A run that is killed again and again, and goes on each time, gives what one run gives.
fn survives(arguments: &[&str]) {
    let dir = TempDir::new().unwrap();
    let [whole, killed] = ["whole", "killed"].map(|name| dir.path().join(name));
    let args = |out: &Path| -> Vec<String> {
        let out = ["--out", out.to_str().unwrap()];
        let all = [arguments, &out].concat();
        all.into_iter().map(str::to_string).collect()
    };
    let whole_args = args(&whole);
    let started = Instant::now();
    succeed(&whole_args.iter().map(String::as_str).collect::<Vec<_>>());
    let took = started.elapsed();
    let args = args(&killed);
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    args.push("--resume");
    for moment in moments().take(KILLS) {
        if !killed.join("run.json").exists() {
            ended(&args, took.mul_f64(moment), libc::SIGKILL);
        }
    }
    if !killed.join("run.json").exists() {
        succeed(&args);
    } else {
        // Killed when all files were in their places: what is left is cleared by the next run there.
        assert!(!killed.join("plan.json").exists());
        assert!(fail(&args).contains("is finished"));
    }
    assert_eq!(result(&killed), result(&whole));
}

#[test]
fn attributes_survive() {
    let dir = TempDir::new().unwrap();
    let arguments = arguments(&dir, &["attributes"]);
    survives(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_ranking_survives() {
    let dir = TempDir::new().unwrap();
    let facts = known_facts(&dir);
    let arguments = arguments(&dir, &["rank", "--top", "4", "--prompts", &facts]);
    survives(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn claims_survive() {
    let dir = TempDir::new().unwrap();
    let arguments = arguments(&dir, &["verify"]);
    survives(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_recording_survives() {
    let dir = TempDir::new().unwrap();
    let arguments = arguments(&dir, &["record"]);
    survives(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
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
