//! Folders of runs, given to `report`, `--reference`, `--recorded` and `--resume`.

use std::fs;
use std::path::{Path, PathBuf};

use gatelens::hooks::Neuron;
use gatelens::report::{RecordedFolder, report_html};
use tempfile::TempDir;

use super::super::cli::{file, succeed};
use super::super::common::goldens;
use super::bytes::{each, names};

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
        let strongest = found.strongest.iter().map(|token| token.post.to_bits());
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
