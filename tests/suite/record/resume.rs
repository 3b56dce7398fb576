//! A recording that is ended, and gone on with: the same files as in one go.
#![cfg(unix)]

use std::fs;
use std::path::Path;

use crate::cli::{FACTS, fail, file, json, succeed};
use crate::common::goldens;
use crate::shards::{arguments, result};
use crate::stopping::stop_halfway;

#[test]
fn a_stopped_run_goes_on_to_the_same_files() {
    let dir = tempfile::tempdir().unwrap();
    let record = arguments(&dir, &["record"]);
    let to = |out: &Path| -> Vec<String> {
        let out = ["--out", out.to_str().unwrap()].map(str::to_string);
        record.iter().cloned().chain(out).collect()
    };
    let [whole, out] = ["whole", "stopped"].map(|name| dir.path().join(name));
    let in_one_go = to(&whole);
    succeed(&in_one_go.iter().map(String::as_str).collect::<Vec<_>>());
    let stopped = to(&out);
    let stopped: Vec<&str> = stopped.iter().map(String::as_str).collect();
    stop_halfway(&stopped, &out);
    assert_eq!(json(&out.join("plan.json"))["finished"], false);
    assert!(!out.join("run.json").exists());

    // Another run does not go on with it, and nothing takes its means for those of the whole.
    let resume = [&stopped[..], &["--resume"]].concat();
    for (flag, value) in [("--top", "3"), ("--seed", "1"), ("--context", "100")] {
        let mut other = resume.clone();
        match other.iter().position(|argument| *argument == flag) {
            Some(at) => other[at + 1] = value,
            None => other.extend([flag, value]),
        }
        let error = fail(&other);
        assert!(error.contains(&format!("{flag}: {value} now")), "{error}");
    }
    let prompts = file(&dir, "facts.jsonl", FACTS);
    let tiny = goldens().join("tiny-llama");
    #[rustfmt::skip]
    let error = fail(&[
        "ablate", "--model", tiny.to_str().unwrap(), "--prompts", &prompts, "--threshold", "0.15", "--subset", "all",
        "--classes", "depletion", "--mode", "mean", "--reference", out.to_str().unwrap(),
    ]);
    assert!(error.contains("the recording was stopped"), "{error}");
    assert!(fail(&stopped).contains("--resume"));

    // What was changed is recorded again, whichever file it is.
    let first = |name: &str| name.starts_with("00000");
    let mut names = names(&out.join("parts"));
    names.retain(|name| first(name));
    let endings: Vec<&str> = names.iter().map(|name| &name[5..]).collect();
    #[rustfmt::skip]
    let expected = ["-1.parquet", "-activations.parquet", "-activations.safetensors", ".parquet", ".part"];
    assert_eq!(endings, expected);
    let kept = dir.path().join("kept");
    fs::rename(&out, &kept).unwrap();
    for name in &names {
        copy(&kept, &out);
        // Files of others are neither taken for parts nor removed.
        let others = ["backup-activations.safetensors", "20261129-mine.parquet"];
        let others = others.map(|other| out.join("parts").join(other));
        others
            .iter()
            .for_each(|other| fs::write(other, "mine").unwrap());
        let path = out.join("parts").join(name);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        succeed(&resume);
        for other in others {
            fs::remove_file(other).unwrap();
        }
        fs::remove_dir(out.join("parts")).unwrap();
        assert_eq!(result(&out), result(&whole), "{name}");
        if name != names.last().unwrap() {
            fs::remove_dir_all(&out).unwrap();
        }
    }
    assert!(fail(&resume).contains("finished"));
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy(&from, &to)
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}
