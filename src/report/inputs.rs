//! The files that a run's command line names: written down with their sha256, and checked before the run is made again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::ReportError;
use super::owned::{RUN, sha256_file};
use super::run_info::{FileHash, RunInfo};
use crate::prompts::{Documents, PromptSet};

/// Settings that name files or folders, besides the model's. A test of the command line holds this list.
pub const PATHS: [&str; 5] = ["prompts", "text", "neurons", "reference", "subjects"];

/// The files that the settings of a command name, with their sha256. Of a run's folder `run.json` stands for all, since it
/// has the sha256 of the others; of another folder the JSON files are taken.
///
/// # Errors
/// [`ReportError::Damaged`] for one that cannot be read.
pub fn input_files(settings: &Value) -> Result<Vec<FileHash>, ReportError> {
    let mut files = Vec::new();
    for key in PATHS {
        let named = match &settings[key] {
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            one => Vec::from_iter(one.as_str()),
        };
        for path in named.into_iter().filter(|text| !is_bundled(key, text)) {
            let damaged = |why: io::Error| ReportError::Damaged {
                path: path.into(),
                why: why.to_string(),
            };
            let path = std::path::absolute(path).map_err(damaged)?;
            take(&path, &mut files).map_err(damaged)?;
        }
    }
    files.dedup();
    Ok(files)
}

fn is_bundled(key: &str, text: &str) -> bool {
    key == "text" && text == Documents::NEUTRAL
}

/// Adds a file, or those of a folder; nothing where there is none.
fn take(path: &Path, files: &mut Vec<FileHash>) -> io::Result<()> {
    let Ok(metadata) = fs::metadata(path) else {
        return Ok(());
    };
    let run = path.join(RUN);
    if metadata.is_dir() && !run.is_file() {
        let mut names: Vec<PathBuf> = fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()?;
        // As they are read.
        names.retain(|name| name.is_dir() || name.extension().is_some_and(|end| end == "json"));
        names.sort();
        return names.iter().try_for_each(|name| take(name, files));
    }
    let path = if metadata.is_dir() { &run } else { path };
    // What stands in a pipe is gone once it was read, and reading it here could wait for ever.
    let sha256 = match fs::metadata(path)?.is_file() {
        true => sha256_file(path)?,
        false => String::new(),
    };
    files.push(FileHash {
        path: path.display().to_string(),
        sha256,
    });
    Ok(())
}

/// Checks that every input of a run but the model is as it was. Relative paths of its settings begin in the working folder.
///
/// # Errors
/// [`ReportError::Rerun`] with the name of a file that is gone, new or another, and what was expected.
pub fn check_inputs(folder: &Path, run: &RunInfo) -> Result<(), ReportError> {
    let refused = |why: String| ReportError::Rerun {
        path: folder.to_path_buf(),
        why,
    };
    let by_path = |files: &[FileHash]| -> BTreeMap<String, String> {
        let pairs = files.iter().cloned();
        pairs.map(|file| (file.path, file.sha256)).collect()
    };
    let recorded = by_path(&run.inputs);
    if let Some(path) = recorded.keys().find(|path| recorded[*path].is_empty()) {
        return Err(refused(format!(
            "it read {path}, which is not a file, such as a pipe; what stood in it is not kept"
        )));
    }
    let now = by_path(&input_files(&run.settings)?);
    for (path, expected) in &recorded {
        let found = match now.get(path) {
            Some(found) => found.clone(),
            None if Path::new(path).is_file() => sha256_file(Path::new(path)).unwrap_or_default(),
            None => return Err(refused(gone(path, expected))),
        };
        if found != *expected {
            return Err(refused(other(path, expected, &found)));
        }
    }
    if let Some(path) = now.keys().find(|path| !recorded.contains_key(*path)) {
        return Err(refused(format!(
            "{path} was not there when the run was made; move it away"
        )));
    }
    check_bundled(run).map_err(refused)
}

/// Prompts and texts that come with the program may be others in another version.
fn check_bundled(run: &RunInfo) -> Result<(), String> {
    let bundled = |name: &str, found: &str, of: &[&super::PromptSetInfo]| {
        let mut of = of.iter().filter(|set| set.name == name);
        match of.find(|set| set.sha256 != found) {
            Some(set) => Err(other(&format!("the bundled {name}"), &set.sha256, found)),
            None => Ok(()),
        }
    };
    if run.settings["prompts"].is_null()
        && let (Some(set), Ok(found)) = (&run.prompts, PromptSet::bundled())
    {
        bundled(&found.name, &found.sha256, &[set])?;
    }
    if let Ok(found) = Documents::bundled() {
        bundled(
            &found.name,
            &found.sha256,
            &run.texts.iter().collect::<Vec<_>>(),
        )?;
    }
    Ok(())
}

/// That a file is gone, in words.
pub fn gone(path: &str, expected: &str) -> String {
    format!("{path} is gone; a file with the sha256 {expected} is expected there")
}

fn other(path: &str, expected: &str, found: &str) -> String {
    format!(
        "{path} is not the file that the run read: its sha256 should be {expected}, and is {found}"
    )
}
