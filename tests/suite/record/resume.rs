//! A recording that is stopped with Ctrl-C, and gone on with: the same files as in one go.
#![cfg(unix)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use arrow_array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::cli::{FACTS, fail, file, json, succeed};
use crate::common::goldens;

/// Sentences of the first try; each one is twice as long as the one before.
const SENTENCES: usize = 1000;

const TRIES: u32 = 6;

/// Little enough for several passes.
const MEMORY: &str = "200MiB";

fn text(sentences: usize) -> String {
    let sentence = |i: usize| match i % 40 {
        39 => "\n---\n".to_string(),
        _ => format!("Walker {i} carried {} stones past the mill. ", i * i % 97),
    };
    (0..sentences).map(sentence).collect()
}

/// The command, without the binary; `out` is the folder.
fn arguments(text: &str, out: &Path) -> Vec<String> {
    let tiny = goldens().join("tiny-llama");
    #[rustfmt::skip]
    let arguments = [
        "record", "--model", tiny.to_str().unwrap(), "--text", text, "--bos", "always", "--threshold", "0.15",
        "--draws", "2", "--top", "2", "--dense", "--sites", "blocks.3.mlp.hook_post", "--max-memory", MEMORY,
        "--out", out.to_str().unwrap(),
    ];
    arguments.map(str::to_string).to_vec()
}

fn with<'a>(arguments: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    let arguments = arguments.iter().map(String::as_str);
    arguments.chain(more.iter().copied()).collect()
}

/// Whether a run to `out` has written the rows of the tensor's first pass: its file is all zeros before.
fn has_recorded(out: &Path) -> bool {
    let bytes = fs::read(out.join("parts").join(PARTIAL)).unwrap_or_default();
    let header = bytes
        .first_chunk()
        .map_or(usize::MAX, |len| u64::from_le_bytes(*len) as usize);
    let row = bytes.get(8..).and_then(|bytes| bytes.get(header..));
    row.is_some_and(|row| row.iter().any(|byte| *byte != 0))
}

const PARTIAL: &str = "gatelens-activations.partial.safetensors";

/// Starts the run and sends it SIGINT when its first pass writes. Its message, where it did not end before that.
fn interrupted(arguments: &[String], out: &Path) -> Option<String> {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("gatelens"));
    command.args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut run = command.spawn().unwrap();
    while !has_recorded(out) {
        if run.try_wait().unwrap().is_some() {
            let output = run.wait_with_output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{stderr}");
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // Where it has ended meanwhile, it was not waited for, so its number is nobody else's.
    let id = run.id().to_string();
    let sent = Command::new("kill").args(["-s", "INT", &id]).status();
    assert!(sent.unwrap().success());
    let output = run.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    match output.status.code() {
        Some(0) => None,
        Some(1) => Some(stderr),
        code => panic!("{code:?}: {stderr}"),
    }
}

/// A stopped run's folder, with its command and message.
fn stopped(dir: &tempfile::TempDir) -> (PathBuf, Vec<String>, String) {
    for attempt in 0..TRIES {
        let text = file(dir, "text.txt", &text(SENTENCES << attempt));
        // A folder of its own: beside it lies nothing but what the run stages.
        let beside = dir.path().join(format!("try-{attempt}"));
        fs::create_dir(&beside).unwrap();
        let out = beside.join("out");
        let arguments = arguments(&text, &out);
        if let Some(message) = interrupted(&arguments, &out) {
            return (out, arguments, message);
        }
    }
    panic!("{TRIES} runs ended before they could be stopped");
}

fn table(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let rows = reader.metadata().file_metadata().num_rows() as usize;
    let mut batches = reader.with_batch_size(rows).build().unwrap();
    let table = batches.next().unwrap().unwrap();
    assert_eq!(table.num_rows(), rows);
    table
}

#[test]
fn a_stopped_run_goes_on_to_the_same_files() {
    let dir = tempfile::tempdir().unwrap();
    let (out, arguments, message) = stopped(&dir);
    assert!(
        message.contains("stopped after") && message.contains("--resume"),
        "{message}"
    );

    assert_eq!(json(&out.join("plan.json"))["finished"], false);
    assert!(!out.join("run.json").exists());

    // Another run does not go on with it, and nothing takes its means for those of the whole.
    let resume = with(&arguments, &["--resume"]);
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
    let error = fail(&with(&arguments, &[]));
    assert!(error.contains("--resume"), "{error}");

    // What was changed is not gone on with, whichever file it is.
    let parts = fs::read_dir(out.join("parts")).unwrap();
    for part in parts.map(|entry| entry.unwrap().path()) {
        let bytes = fs::read(&part).unwrap();
        if part.ends_with(PARTIAL) {
            continue; // of the tensors, the size alone is checked
        }
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1;
        for changed in [&flipped[..], &bytes[..bytes.len() - 9]] {
            fs::write(&part, changed).unwrap();
            let error = fail(&resume);
            let name = part.file_name().unwrap().to_str().unwrap();
            assert!(error.contains(name), "{error}");
        }
        fs::write(&part, bytes).unwrap();
    }

    // Killed once more: it goes on from what was saved before.
    let mut run = Command::new(assert_cmd::cargo::cargo_bin!("gatelens"));
    let run = run
        .args(&resume)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut run = run.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    run.kill().unwrap();
    run.wait().unwrap();
    if !out.join("run.json").exists() {
        succeed(&resume);
    }
    let whole = dir.path().join("whole").join("out");
    let in_one_go: Vec<&str> = with(&arguments, &[])
        .into_iter()
        .map(|argument| {
            if argument == out.to_str().unwrap() {
                whole.to_str().unwrap()
            } else {
                argument
            }
        })
        .collect();
    succeed(&in_one_go);
    let [resumed, expected] = [&out, &whole].map(|folder| json(&folder.join("run.json")));
    assert_eq!(resumed["finished"], true);
    assert_eq!(resumed["counts"], expected["counts"]);
    for name in ["tokens", "activations", "summary", "top_tokens"] {
        let [found, expected] =
            [&out, &whole].map(|folder| table(&folder.join(name).with_extension("parquet")));
        assert!(found == expected, "{name}.parquet");
    }
    for name in ["class_activity.json", "activations.safetensors"] {
        let [found, expected] = [&out, &whole].map(|folder| fs::read(folder.join(name)).unwrap());
        assert!(found == expected, "{name}");
    }
    let [found, expected] = [&out, &whole].map(|folder| {
        let names = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        names.collect::<std::collections::BTreeSet<_>>()
    });
    assert_eq!(found, expected, "nothing of the stopped run is left");
    let error = fail(&resume);
    assert!(error.contains("finished"), "{error}");
}
