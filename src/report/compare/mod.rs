//! Two runs, file by file: what is the same to the last bit, and where the others differ most.

mod differences;
mod json;
mod table;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use serde::Serialize;

pub use differences::{Difference, Differences};

use super::owned::{damage, is_figure, sha256_file};
use super::run_info::RunInfo;

/// Endings of files that are not compared: pictures, pages and notes, which are made of what is compared; as are figures.
const LEFT_OUT: [&str; 3] = ["svg", "html", "md"];

/// So many bytes of a file are read at once.
const BUFFER: usize = 1 << 16;

/// A file of two runs, or the counts of `run.json`.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// Its name in both folders.
    pub name: String,
    /// Whether it was compared; pictures, pages and notes are not.
    pub compared: bool,
    /// Where it differs; nothing where it is the same to the last bit.
    #[serde(skip_serializing_if = "Differences::is_empty")]
    pub differences: Differences,
}

/// Compares the files that either of two finished runs lists, and their counts. `recorded` is called so in what is said,
/// `again` the rerun.
pub fn compare_runs(recorded: (&Path, &RunInfo), again: (&Path, &RunInfo)) -> Vec<Compared> {
    let listed = [recorded.1, again.1].map(|run| run.outputs.iter().map(|file| &file.name));
    let mut names: Vec<&String> = listed.into_iter().flatten().collect();
    names.sort();
    names.dedup();
    let of = |name: &String| {
        let ending = Path::new(name)
            .extension()
            .and_then(|ending| ending.to_str());
        let is_left_out = ending.is_some_and(|ending| LEFT_OUT.contains(&ending));
        let compared = !is_left_out && !is_figure(name);
        let path = recorded.0.join(name);
        let mut differences = match compared {
            true => compare_files(&path, &again.0.join(name), ending),
            false => Differences::default(),
        };
        if !differences.is_empty()
            && path.is_file()
            && let Some(damage) = damage(recorded.1, &path)
        {
            let what = format!("the recorded run's file is not as it was written: {damage}");
            differences.lacks.insert(0, what);
        }
        Compared {
            name: name.clone(),
            compared,
            differences,
        }
    };
    let mut files: Vec<Compared> = names.into_iter().map(of).collect();
    files.push(Compared {
        name: "counts of run.json".to_string(),
        compared: true,
        differences: json::compare(&recorded.1.counts, &again.1.counts),
    });
    files
}

fn compare_files(recorded: &Path, again: &Path, ending: Option<&str>) -> Differences {
    for (path, whose) in [(recorded, "recorded run"), (again, "rerun")] {
        if !path.is_file() {
            return Differences::of(format!("the {whose} lacks this file"));
        }
    }
    let hashes = [recorded, again].map(sha256_file);
    if let [Ok(one), Ok(other)] = &hashes
        && one == other
    {
        return Differences::default();
    }
    let found = match ending {
        Some("parquet") => table::compare(recorded, again),
        Some("json") => json::compare_files(recorded, again),
        _ => bytes(recorded, again).map_err(|why| why.to_string()),
    };
    found.unwrap_or_else(|why| Differences::of(format!("the files cannot be compared: {why}")))
}

/// Where the bytes of two files differ first.
fn bytes(recorded: &Path, again: &Path) -> io::Result<Differences> {
    let open = |path| Ok::<_, io::Error>(BufReader::with_capacity(BUFFER, File::open(path)?));
    let (one, other) = (open(recorded)?, open(again)?);
    for (place, (a, b)) in one.bytes().zip(other.bytes()).enumerate() {
        if a? != b? {
            return Ok(Differences::of(format!(
                "byte {place} is the first that differs"
            )));
        }
    }
    let sizes = [recorded, again].map(|path| path.metadata().map(|file| file.len()));
    let [one, other] = sizes;
    Ok(Differences::of(format!(
        "the recorded run has {} bytes, the rerun {}",
        one?, other?
    )))
}
