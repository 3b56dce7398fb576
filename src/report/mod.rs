//! Outcomes and estimates to files. Exporters are pure functions from records to bytes; only
//! [`OutDir`] touches the disk, and [`RecordFiles`], which writes while the engine runs.

mod classes;
mod heat_map;
mod html;
mod out_dir;
mod parquet;
mod ranking;
mod rates;
mod record;
mod recording;
mod run_info;
mod stopped;
mod table;
mod text_outcomes;
mod tone;

pub use classes::classes_json;
pub use heat_map::heat_map_svg;
pub use html::{count, p_value, report_html, write_report};
pub use out_dir::{OutDir, Overwrite, Staging};
pub use parquet::{neurons_parquet, outcomes_parquet, sweep_outcomes_parquet};
pub use ranking::ranking_parquet;
pub use rates::rates_parquet;
pub use record::{DensePlan, RecordFiles, Start, context_of, expected_bytes, saved_state};
pub use recording::{RecordedFolder, RecordedNeuron, RecordedToken};
pub use run_info::{FileHash, ModelInfo, PromptSetInfo, RunInfo, resume_line};
pub use stopped::{RESUME, stopped_ablation};
pub use text_outcomes::TextOutcomes;

use std::path::PathBuf;

use crate::hooks::Neuron;

/// What can go wrong while results are written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The folder holds a finished run.
    #[error("{} holds a finished run; choose another --out, or replace it with --force", path.display())]
    Finished {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds a run that was stopped.
    #[error(
        "{} holds an unfinished run; go on with the same command and --resume, or replace it with --force",
        path.display()
    )]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// The disk is too small.
    #[error(
        "{} needs {:.1} MiB, and {:.1} MiB are free there; record less (--sites, --layers, --neurons, \
         --positions, --max-tokens, --top), or choose another --out",
        path.display(), mib(*needed), mib(*free)
    )]
    Space {
        /// The folder.
        path: PathBuf,
        /// Bytes that the files take.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// A file of a run that cannot be gone on with.
    #[error("cannot go on with {}: {why}; begin anew with --force and without --resume", path.display())]
    Resume {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
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
    #[error("cannot read {}: {why}; a folder that `gatelens record` wrote is needed here", path.display())]
    Recording {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A folder without `run.json`.
    #[error(
        "{} is no run folder of gatelens: it has no run.json; name a folder that a command wrote with --out",
        path.display()
    )]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// A file of a run folder that cannot be read.
    #[error("cannot read {}: {why}; make the run again, or repair the file", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A folder that was recorded with another model or tokenizer.
    #[error(
        "{} was recorded with another {what}:\n  there: {recorded}\n  here:  {here}\n\
         what one model does says nothing of another; record it again with this model",
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
    /// A neuron whose layer a recording leaves out.
    #[error(
        "{} has nothing of neuron {neuron}: of the layers, {layers:?} alone were recorded; record it without \
         --layers, or with that layer",
        path.display()
    )]
    NotRecorded {
        /// The folder.
        path: PathBuf,
        /// The neuron.
        neuron: Neuron,
        /// The recorded layers, ascending.
        layers: Vec<usize>,
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

fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1u64 << 20) as f64
}
