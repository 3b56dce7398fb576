//! What a run may take from a folder that `record` wrote.

mod frequencies;
mod means;
mod neuron;
mod table;

pub use neuron::{RecordedNeuron, RecordedToken};

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ReportError;
use crate::prompts::sha256_hex;
use table::Table;

/// A folder that `record` wrote.
pub struct RecordedFolder {
    path: PathBuf,
    run: RunJson,
}

/// What is read of `run.json`.
#[derive(Deserialize)]
struct RunJson {
    model: ModelJson,
    tokenizer_sha256: String,
    /// Runs that cannot be stopped halfway do not say.
    finished: Option<bool>,
    #[serde(default)]
    settings: SettingsJson,
    prompts: Option<SourceJson>,
    #[serde(default)]
    texts: Vec<SourceJson>,
}

#[derive(Deserialize)]
struct ModelJson {
    files: Vec<ModelFile>,
}

#[derive(Deserialize)]
struct ModelFile {
    path: PathBuf,
    sha256: String,
}

#[derive(Default, Deserialize)]
struct SettingsJson {
    positions: Option<String>,
}

#[derive(Deserialize)]
struct SourceJson {
    name: String,
}

const RUN: &str = "run.json";
const SUMMARY: &str = "summary.parquet";
const TOP_TOKENS: &str = "top_tokens.parquet";

impl RecordedFolder {
    /// Reads the folder's `run.json`.
    ///
    /// # Errors
    /// [`ReportError::Recording`] where that is missing, not of a recording, or of one that is not finished.
    pub fn open(path: &Path) -> Result<RecordedFolder, ReportError> {
        let file = path.join(RUN);
        let text = std::fs::read(&file).map_err(|why| damaged(&file, why))?;
        let run: RunJson = serde_json::from_slice(&text).map_err(|why| damaged(&file, why))?;
        if run.finished == Some(false) {
            let why = "the recording was stopped; go on with it (--resume) first";
            return Err(damaged(&file, why));
        }
        let path = path.to_owned();
        Ok(RecordedFolder { path, run })
    }

    /// Checks that the model's files (with their hashes) and the tokenizer are those of the recording.
    ///
    /// # Errors
    /// [`ReportError::OtherModel`], with both sides.
    pub fn check(
        &self,
        model: &[(PathBuf, String)],
        tokenizer_sha256: &str,
    ) -> Result<(), ReportError> {
        let other = |what, recorded, here| ReportError::OtherModel {
            path: self.path.clone(),
            what,
            recorded,
            here,
        };
        let files = &self.run.model.files;
        let recorded = files.iter().map(|file| &file.sha256);
        if !recorded.eq(model.iter().map(|(_, sha256)| sha256)) {
            let there = files.iter().map(|file| (&file.path, &file.sha256));
            let here = model.iter().map(|(path, sha256)| (path, sha256));
            return Err(other("model", hashes(there), hashes(here)));
        }
        if self.run.tokenizer_sha256 != tokenizer_sha256 {
            let (there, here) = (&self.run.tokenizer_sha256, tokenizer_sha256);
            let sha256 = |hash: &str| format!("sha256 {hash}");
            return Err(other("tokenizer", sha256(there), sha256(here)));
        }
        Ok(())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the prompts or texts that were read.
    pub fn input(&self) -> String {
        let sources = self.run.prompts.iter().chain(&self.run.texts);
        let names: Vec<&str> = sources.map(|source| source.name.as_str()).collect();
        names.join(", ")
    }

    /// Which of their tokens were recorded: `all`, or what `--positions` said.
    pub fn positions(&self) -> &str {
        self.run.settings.positions.as_deref().unwrap_or("all")
    }

    /// Of `summary.parquet`, lower-case hex.
    ///
    /// # Errors
    /// [`ReportError::Recording`] where it cannot be read.
    pub fn summary_sha256(&self) -> Result<String, ReportError> {
        let path = self.path.join(SUMMARY);
        let bytes = std::fs::read(&path).map_err(|why| damaged(&path, why))?;
        Ok(sha256_hex(&bytes))
    }

    fn summary(&self) -> Table {
        Table::new(self.path.join(SUMMARY))
    }

    fn top_tokens(&self) -> Table {
        Table::new(self.path.join(TOP_TOKENS))
    }
}

fn hashes<'a>(files: impl Iterator<Item = (&'a PathBuf, &'a String)>) -> String {
    let files = files.map(|(path, sha256)| format!("{} (sha256 {sha256})", path.display()));
    files.collect::<Vec<_>>().join(", ")
}

fn damaged(path: &Path, why: impl ToString) -> ReportError {
    ReportError::Recording {
        path: path.to_owned(),
        why: why.to_string(),
    }
}
