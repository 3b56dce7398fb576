//! What can go wrong with the files of a run.

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
    /// A page for the folder of a run that was stopped, where it would be in the way of going on.
    #[error(
        "the run in {} is not finished, and takes no file from elsewhere; name a file for the page of what is there: --out FILE",
        path.display()
    )]
    PageOfUnfinished {
        /// The folder.
        path: PathBuf,
    },
    /// Figures or tables of a run that was stopped.
    #[error(
        "the run in {} is not finished, and figures and tables are made of finished runs alone; go on with it: {resume}",
        path.display()
    )]
    NotFinished {
        /// The folder.
        path: PathBuf,
        /// The command line that goes on with it.
        resume: String,
    },
    /// A run that has no figure, or no table.
    #[error("there is no {what} to make of {}: {why}", path.display())]
    NothingToShow {
        /// The folder.
        path: PathBuf,
        /// Figure or table.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// Something else is where a figure would be.
    #[error(
        "{} is there already, and is not what would be written; move it away, or choose another --out",
        path.display()
    )]
    InTheWay {
        /// The file or folder.
        path: PathBuf,
    },
    /// The folder holds a run that was stopped by a version that kept it in another way.
    #[error(
        "{} holds a run that an earlier version of gatelens was stopped in, which this one cannot go on with; choose \
         another --out, or replace it with --force",
        path.display()
    )]
    OldUnfinished {
        /// The folder.
        path: PathBuf,
    },
    /// Another run works in the folder.
    #[error(
        "another run of gatelens{} writes to {}; wait for its end, or choose another --out",
        pid.map_or(String::new(), |pid| format!(" (process {pid})")), path.display()
    )]
    Busy {
        /// The folder.
        path: PathBuf,
        /// The other run's process, where it could be read.
        pid: Option<u32>,
    },
    /// The folder is a link that leads nowhere.
    #[error(
        "{} is a link to {}, which does not exist; make that folder, or choose another --out",
        path.display(), target.display()
    )]
    DanglingLink {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A file of the run that is to be replaced is not as the run wrote it.
    #[error(
        "{} was changed since the run in {} wrote it, and would be lost; move it away, or choose another --out",
        path.join(name).display(), path.display()
    )]
    Changed {
        /// The folder.
        path: PathBuf,
        /// The file's name.
        name: String,
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
    /// Shards that do not belong together.
    #[error("cannot join {}: {why}", path.display())]
    Merge {
        /// The folder.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A run that cannot be made again.
    #[error("cannot run {} again: {why}", path.display())]
    Rerun {
        /// The folder.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
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
    #[error("{} exists and is not a run folder of gatelens ({why}); choose another --out", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What in it says so.
        why: String,
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
    /// A folder that was recorded in another way than it is used.
    #[error(
        "{} was recorded with another {what} than this run has:\n  there: {recorded}\n  here:  {here}\n\
         activations differ with it; record it again with {here}, or run with {recorded}",
        path.display()
    )]
    OtherSettings {
        /// The folder.
        path: PathBuf,
        /// The setting.
        what: &'static str,
        /// In the folder's `run.json`.
        recorded: String,
        /// In this run.
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
