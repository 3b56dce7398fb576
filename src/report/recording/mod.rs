//! What a run may take from a folder that `record` wrote: means of `post` (`--mode mean`, `mean-sign`), firing
//! frequencies (`--match layer+frequency`), one neuron (`neuron --recorded`).
//!
//! Each file is checked by the sha256 in the folder's `run.json`. What has to be as in the run that uses it:
//!
//! | of the recording | means | frequencies | one neuron |
//! |---|---|---|---|
//! | model files, tokenizer | same | same | same |
//! | whether a BOS token is prepended, dtype | same | same | nothing is run |
//! | fold | same | same | same |
//! | positions | all, or those of the edit | likewise | shown |
//! | context, where both read texts | same | same | nothing is run |
//! | threshold, layers, seed, draws, top | not read | not read | not read |
//!
//! The fold changes no activation; a class is one of a fold, and what is said of it from a recording of another would
//! look as if it were of the same.

mod coverage;
mod neuron;
mod summary;

pub use neuron::RecordedNeuron;

use std::path::{Path, PathBuf};

use super::owned::{Mark, PLAN, RUN, damage, sha256_file};
use super::record::SUMMARY;
use super::{ReportError, RunInfo};

/// A folder that `record` wrote.
pub struct RecordedFolder {
    path: PathBuf,
    run: RunInfo,
}

/// How a run that uses a recording reads its own input; absent is what it does not do.
#[derive(Clone, Debug, Default)]
pub struct Reading<'r> {
    /// As `run.json` has it: the policy, and what came of it.
    pub bos: Option<&'r str>,
    /// Precision.
    pub dtype: Option<&'r str>,
    /// How norms are folded.
    pub fold: Option<&'r str>,
    /// Where the edits are.
    pub positions: Option<&'r str>,
    /// Tokens of a window of text.
    pub context: Option<usize>,
    /// What the model can read at most, with `context`.
    pub max_positions: Option<usize>,
}

/// Tokens of a window of text that is recorded, where nothing else is said and the model can read as many.
pub const CONTEXT: usize = 1024;

impl RecordedFolder {
    /// Reads the folder's `run.json`.
    ///
    /// # Errors
    /// [`ReportError::Recording`] where that is missing, not of a recording, or of one that is not finished.
    pub fn open(path: &Path) -> Result<RecordedFolder, ReportError> {
        let file = path.join(RUN);
        let stopped = "the recording was stopped; go on with it (--resume) first";
        if !file.exists() && matches!(Mark::read(path, PLAN), Mark::Ours(_)) {
            return Err(damaged(path, stopped));
        }
        let text = std::fs::read(&file).map_err(|why| damaged(&file, why))?;
        let run: RunInfo = serde_json::from_slice(&text).map_err(|why| damaged(&file, why))?;
        if !run.finished {
            return Err(damaged(&file, stopped));
        }
        let path = path.to_owned();
        Ok(RecordedFolder { path, run })
    }

    /// Whether the folder is of a version that wrote no sha256 of its files: they cannot be checked.
    pub fn is_unchecked(&self) -> bool {
        !self.run.lists_outputs()
    }

    /// Checks that it was recorded as the run that uses it reads its own input; see the table above. What a folder of
    /// version 0.1.0 does not say is not compared.
    ///
    /// # Errors
    /// [`ReportError::OtherSettings`], with both sides.
    pub fn check_settings(&self, here: &Reading<'_>) -> Result<(), ReportError> {
        let done = |bos: &str| {
            bos.split_once(": ")
                .map_or(bos, |(_, done)| done)
                .to_string()
        };
        let text = |text: &str| text.to_string();
        let run = &self.run;
        let same = |what, there: Option<String>, here: Option<String>| match (there, here) {
            (Some(recorded), Some(here)) if recorded != here => Err(ReportError::OtherSettings {
                path: self.path.clone(),
                what,
                recorded,
                here,
            }),
            _ => Ok(()),
        };
        let bos = |bos: &str| format!("BOS {}", done(bos));
        same("BOS policy", run.bos.as_deref().map(bos), here.bos.map(bos))?;
        let dtype = |dtype: &str| format!("--dtype {dtype}");
        same("precision", Some(dtype(&run.dtype)), here.dtype.map(dtype))?;
        let fold = |fold: &str| format!("--fold {fold}");
        same("fold", Some(fold(&run.fold)), here.fold.map(fold))?;
        let positions = Some(self.positions()).filter(|positions| *positions != "all");
        let at = |positions: String| format!("--positions {positions}");
        same(
            "choice of positions",
            positions.map(text).map(at),
            here.positions.map(text).map(at),
        )?;
        let context = |context: usize| format!("--context {context}");
        let longest = here.max_positions.unwrap_or(usize::MAX);
        let [there, here] = [self.context(), here.context];
        let context = |n: usize| context(n.min(longest));
        same("context", there.map(context), here.map(context))
    }

    /// Tokens of a window of text, where texts were recorded.
    fn context(&self) -> Option<usize> {
        let texts = !self.run.texts.is_empty();
        let context = self.run.settings["context"].as_u64();
        texts.then(|| context.map_or(CONTEXT, |context| context as usize))
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
            let there = files.iter().map(|file| (file.path.clone(), &file.sha256));
            let here = model
                .iter()
                .map(|(path, sha256)| (path.display().to_string(), sha256));
            return Err(other("model", hashes(there), hashes(here)));
        }
        let there = self.run.tokenizer_sha256.as_deref().unwrap_or("none");
        if there != tokenizer_sha256 {
            let sha256 = |hash: &str| format!("sha256 {hash}");
            return Err(other("tokenizer", sha256(there), sha256(tokenizer_sha256)));
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
        self.run.settings["positions"].as_str().unwrap_or("all")
    }

    /// Of `summary.parquet`, lower-case hex.
    ///
    /// # Errors
    /// [`ReportError::Recording`] where it cannot be read.
    pub fn summary_sha256(&self) -> Result<String, ReportError> {
        let path = self.path.join(SUMMARY);
        sha256_file(&path).map_err(|why| damaged(&path, why))
    }

    /// A table, as the recording wrote it.
    fn table(&self, name: &str) -> Result<PathBuf, ReportError> {
        let path = self.path.join(name);
        match damage(&self.run, &path) {
            Some(why) => Err(damaged(&path, why)),
            None => Ok(path),
        }
    }
}

fn hashes<'a>(files: impl Iterator<Item = (String, &'a String)>) -> String {
    let files = files.map(|(path, sha256)| format!("{path} (sha256 {sha256})"));
    files.collect::<Vec<_>>().join(", ")
}

fn damaged(path: &Path, why: impl ToString) -> ReportError {
    ReportError::Recording {
        path: path.to_owned(),
        why: why.to_string(),
    }
}
