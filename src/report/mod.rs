//! Outcomes and estimates to files. Exporters are pure functions from records to bytes; only
//! [`OutDir`] touches the disk.

mod classes;
mod heat_map;
mod out_dir;
mod parquet;
mod recording;
mod run_info;
mod text_outcomes;

pub use classes::classes_json;
pub use heat_map::heat_map_svg;
pub use out_dir::{OutDir, Overwrite};
pub use parquet::{neurons_parquet, outcomes_parquet, sweep_outcomes_parquet};
pub use recording::Recording;
pub use run_info::{FileHash, ModelInfo, PromptSetInfo, RunInfo};
pub use text_outcomes::TextOutcomes;

use std::path::PathBuf;

/// What can go wrong while results are written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The folder holds a finished run.
    #[error("{} holds a finished run; choose another --out, or replace it with --force", path.display())]
    Finished {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds something that gatelens did not write.
    #[error("{} exists and is not a run folder of gatelens (it has no run.json); choose another --out", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// A file or folder that could not be written.
    #[error("cannot write {}: {why}; check the folder's permissions and the free disk space, or choose another --out", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// A folder that `record` did not write, or a damaged one.
    #[error("cannot read {}: {why}; --reference takes a folder that `gatelens record` wrote", path.display())]
    Recording {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A folder that was recorded with another model or tokenizer.
    #[error(
        "{} was recorded with another {what}:\n  there: {recorded}\n  here:  {here}\n\
         means of one model say nothing of another; record it again with this model",
        path.display()
    )]
    OtherModel {
        /// The folder.
        path: PathBuf,
        /// Model or tokenizer.
        what: &'static str,
        /// The files' hashes in the folder's `run.json`.
        recorded: String,
        /// Those of this run.
        here: String,
    },
    /// A table that could not be encoded.
    #[error("cannot encode {name}: {why}")]
    Encode {
        /// The file's name.
        name: &'static str,
        /// Why.
        why: String,
    },
}
