//! Folders of runs, given to `report`, `--reference`, `--recorded` and `--resume`.

use std::fs;
use std::path::{Path, PathBuf};

use gatelens::hooks::Neuron;
use gatelens::report::{RecordedFolder, report_html};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use super::super::cli::{columns, file, gatelens, succeed};
use super::super::common::goldens;
use super::super::stopping::stop_halfway;
use super::bytes::{each, mutated, names};

/// A finished run in a new folder.
fn run(command: &[&str]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let model = goldens().join("tiny-llama");
    let neurons = file(&dir, "mine.txt", "0.3\n1.17\n2.8\n");
    let mut args = vec![command[0], "--model", model.to_str().unwrap()];
    args.extend(&command[1..]);
    args.extend(["--out", out.to_str().unwrap()]);
    if command[0] == "ablate" {
        args.extend(["--neurons", &neurons]);
    }
    succeed(&args);
    (dir, out)
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

#[test]
fn the_page_of_a_run() {
    let (_dir, out) = run(&["ablate", "--subset", "all", "--draws", "2"]);
    let whole = report_html(&out).unwrap();
    for path in files_of(&out) {
        let bytes = fs::read(&path).unwrap();
        let is_mark = path.ends_with("run.json");
        each(
            &path,
            &bytes,
            0..bytes.len(),
            250,
            |new| match report_html(&out) {
                Err(error) => names(&error.to_string(), &out),
                Ok(page) => assert!(
                    is_mark || new == bytes || page == whole,
                    "{}",
                    path.display()
                ),
            },
        );
    }
}

#[test]
fn a_recording() {
    let (_dir, out) = run(&["record", "--max-tokens", "400", "--draws", "1"]);
    let neuron = Neuron {
        layer: 1,
        index: 17,
    };
    let read = || -> Result<String, String> {
        let folder = RecordedFolder::open(&out).map_err(|e| e.to_string())?;
        let means = folder.means(4, 80).map_err(|e| e.to_string())?;
        let frequencies = folder.frequencies(4, 80).map_err(|e| e.to_string())?;
        let found = folder.neuron(neuron).map_err(|e| e.to_string())?;
        let strongest = found.strongest.iter().map(|token| token.value.to_bits());
        let strongest: Vec<u32> = strongest.collect();
        Ok(format!("{:?} {:?} {strongest:?}", means.1, frequencies.1))
    };
    let whole = read().unwrap();
    for name in ["summary.parquet", "top_tokens.parquet", "run.json"] {
        let path = out.join(name);
        let bytes = fs::read(&path).unwrap();
        let last = bytes.len();
        // Parquet's own description stands at the end.
        for range in [0..last, last.saturating_sub(4096)..last] {
            each(&path, &bytes, range, 200, |new| match read() {
                Err(error) => names(&error, &out),
                Ok(found) => {
                    assert!(name == "run.json" || new == bytes, "{name} was believed");
                    assert_eq!(found, whole);
                }
            });
        }
    }
}

/// Copies the files of a folder and of those in it.
fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copied(&path, &target)
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[cfg(unix)]
#[test]
fn a_run_to_go_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let neurons = file(&dir, "mine.txt", "0.3\n1.17\n2.8\n");
    let facts = (0..500).map(|i| {
        format!(
            "{{\"id\": \"{i}\", \"prompt\": \"Number {i} of the long list is\", \"subject\": \"list\", \
             \"target\": \"here\"}}\n"
        )
    });
    let facts = file(&dir, "facts.jsonl", &facts.collect::<String>());
    let model = goldens().join("tiny-llama");
    let [whole, stopped, again] = ["whole", "stopped", "again"].map(|name| dir.path().join(name));
    let args = |out: &Path| -> Vec<String> {
        let fixed = ["ablate", "--subset", "all", "--draws", "6", "--neurons"];
        let rest = [
            &neurons,
            "--prompts",
            &facts,
            "--model",
            model.to_str().unwrap(),
        ];
        let out = ["--out", out.to_str().unwrap()];
        let all = [&fixed[..], &rest, &out].concat();
        all.into_iter().map(str::to_string).collect()
    };
    gatelens().args(args(&whole)).assert().success();
    let args_of_stopped = args(&stopped);
    let words: Vec<&str> = args_of_stopped.iter().map(String::as_str).collect();
    stop_halfway(&words, &stopped);

    let expected = columns(&whole.join("outcomes.parquet")).1;
    let mut files = files_of(&stopped);
    files.extend(files_of(&stopped.join("parts")).into_iter().take(3));
    files.retain(|path| fs::metadata(path).unwrap().len() > 0);
    for (number, path) in files.iter().enumerate() {
        let within = path.strip_prefix(&stopped).unwrap();
        let bytes = fs::read(path).unwrap();
        for case in 0..6 {
            let mut rng = ChaCha8Rng::seed_from_u64(100 * number as u64 + case);
            let _ = fs::remove_dir_all(&again);
            copied(&stopped, &again);
            fs::write(
                again.join(within),
                mutated(&bytes, 0..bytes.len(), &mut rng),
            )
            .unwrap();
            let run = gatelens()
                .args(args(&again))
                .arg("--resume")
                .output()
                .unwrap();
            let error = String::from_utf8_lossy(&run.stderr);
            assert!(!error.contains("panicked"), "{}: {error}", within.display());
            match run.status.code() {
                Some(0) => {
                    let found = columns(&again.join("outcomes.parquet")).1;
                    assert_eq!(found, expected, "{}, case {case}", within.display());
                }
                Some(1) => names(&error, &again),
                other => panic!("{}, case {case}: {other:?}: {error}", within.display()),
            }
        }
    }
}
