//! `--dry-run`: the steps are those that the run makes then, and nothing is written.

use serde_json::Value;
use tempfile::TempDir;

use super::cli::{fail, json, succeed};
use super::shards::{arguments, known_facts};

/// What a dry run of `words` says.
fn forecast(words: &[String], more: &[&str]) -> Value {
    let words = words.iter().map(String::as_str).chain(more.iter().copied());
    let words: Vec<&str> = words.chain(["--dry-run", "--json"]).collect();
    serde_json::from_str(&succeed(&words)).unwrap()
}

/// Passes of the steps but those that measure contributions, which `run.json` counts by themselves.
fn passes(forecast: &Value) -> u64 {
    let steps = forecast["steps"].as_array().unwrap().iter();
    let of_run = steps.filter(|step| !step["what"].as_str().unwrap().contains("contributions"));
    of_run.map(|step| step["passes"].as_u64().unwrap()).sum()
}

#[test]
fn the_steps_are_those_of_the_run() {
    for (command, more) in [
        (&["ablate"][..], &[][..]),
        (&["ablate"], &["--mode", "mean"]),
        (&["ablate"], &["--mode", "resample"]),
        (&["ablate", "--text"], &["--mode", "mean"]),
        (&["sweep"], &["--window", "2"]),
        (&["attributes"], &["--subset", "all"]),
        (&["rank"], &[]),
        (&["rank"], &["--by", "gradient", "--mode", "mean"]),
    ] {
        let dir = TempDir::new().unwrap();
        let mut words = arguments(&dir, command);
        if command == ["rank"] {
            words.extend(["--prompts".to_string(), known_facts(&dir)]);
        }
        words.extend(more.iter().map(|word| word.to_string()));
        let out = dir.path().join("out");
        let to = ["--out", out.to_str().unwrap()];
        let forecast = forecast(&words, &to);
        assert!(!out.exists(), "{command:?}");
        let words: Vec<&str> = words.iter().map(String::as_str).chain(to).collect();
        succeed(&words);
        let run = json(&out.join("run.json"));
        let (planned, made) = (passes(&forecast), run["counts"]["passes"].as_u64().unwrap());
        // It ranks on facts that the model knows alone.
        let is_most = command == ["rank"];
        assert!(
            planned == made || is_most && planned > made,
            "{command:?} {more:?}: {made}, {forecast}"
        );
        if let Some(conditions) = run["counts"]["conditions"].as_u64() {
            let last = forecast["steps"].as_array().unwrap().last().unwrap();
            let what = last["what"].as_str().unwrap();
            assert!(what.contains(&format!("{conditions} conditions")), "{what}");
        }
        let written = std::fs::read_dir(&out).unwrap();
        let bytes: u64 = written
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum();
        // Beside the tables, JSON files and draws of a few kilobytes.
        assert!(
            forecast["disk_bytes"].as_u64().unwrap() + 100_000 > bytes,
            "{command:?}"
        );
    }
}

#[test]
fn every_long_command_says_what_it_would_do() {
    let dir = TempDir::new().unwrap();
    for command in ["record", "verify"] {
        let out = dir.path().join("out");
        let to = ["--out", out.to_str().unwrap()];
        let forecast = forecast(&arguments(&dir, &[command]), &to);
        assert!(!out.exists(), "{command}");
        assert_eq!(forecast["command"], command);
        assert!(!forecast["steps"].as_array().unwrap().is_empty());
        assert!(forecast["seconds"].as_f64().unwrap() > 0.0);
    }
    let words = arguments(&dir, &["ablate"]);
    let words: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .chain(["--dry-run"])
        .collect();
    let said = succeed(&words);
    for part in [
        "nothing is written",
        "700 prompts, 5 conditions",
        "memory: all layers",
        "without --out",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // What one shard does of it.
    let out = dir.path().join("out");
    let shard = ["--shard", "1/3", "--out", out.to_str().unwrap()];
    let said = succeed(&[&words[..], &shard].concat());
    assert!(
        said.contains("shard 1/3 runs the passes with a number that is 1 modulo 3, at most "),
        "{said}"
    );
    assert!(!out.exists());
    // What cannot be run has no steps.
    let message = fail(&[&words[..], &["--max-memory", "1MiB"]].concat());
    assert!(message.contains("too little"), "{message}");
}
