//! `rerun`: a finished run made again, and its files compared.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::json;
use tempfile::TempDir;

use super::given;
use super::rerun_input::check_model;
use super::terminal::{print_json, without_results};
use crate::report::{
    Compared, Difference, Differences, RunInfo, check_inputs, compare_runs, own_arguments, without,
};

/// Make a finished run again, and say whether it gives the same
///
/// Takes the folder of any run that has a run.json: of classify, ablate, sweep, record, rank, attributes, verify or export,
/// also where it was made in shards and merged, or was stopped and resumed; it is made again in one piece. First the model's
/// files, prompts, texts and all other files that the command line names are checked by the sha256 in run.json: a file that is
/// gone or not the same is an error before any weight is read. Then the same command runs with the same settings, and the
/// files of both runs are compared: tables column by column, JSON value by value, other files by their bytes, and the
/// counts in run.json. Pictures, pages and notes (svg, html, md) and the figures of `report` are made of these and are not compared. Where anything
/// differs, the exit code is 1, and the largest absolute difference of each file is named with its place.
///
/// Another version of gatelens, device, precision or number of threads may change the last bits; it is a warning. Relative
/// paths of the command line begin in the folder where the run was started. A model of the Hugging Face hub is looked up again by
/// its name, with the environment of today (HF_HOME and others); what decides is the sha256 of its files.
#[derive(Args)]
pub struct Rerun {
    /// The folder of the finished run; nothing in it is changed.
    dir: PathBuf,
    /// Keep the files of the rerun in this folder [default: a temporary folder, which is removed].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Compute with another number of threads than the run did.
    #[arg(long, value_name = "N")]
    threads: Option<String>,
    /// Compute on another device than the run did: cpu, cuda:N or metal.
    #[arg(long)]
    device: Option<String>,
    /// Compute in another precision than the run did: f32, bf16 or f16.
    #[arg(long)]
    dtype: Option<String>,
    /// Print JSON for a machine instead of lines.
    #[arg(long)]
    json: bool,
}

impl Rerun {
    /// `run_command` runs a command line: that of the earlier run.
    pub(super) fn run(
        self,
        run_command: impl FnOnce(Vec<OsString>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let dir = std::path::absolute(&self.dir)?;
        let recorded = RunInfo::of_finished(&dir)?;
        let directory = recorded.directory.as_ref().with_context(|| {
            format!(
                "cannot run {} again: its run.json does not say in which folder the command was given and which files it read, \
                 since an earlier version of gatelens wrote it; run its command once with this version:\n  {}",
                self.dir.display(),
                recorded.command_line()
            )
        })?;
        let place = Place::of(self.out.as_deref())?;
        let mut words = self.changed(own_arguments(&recorded.arguments));
        words.extend(["--out".to_string(), in_words(&place.folder)?]);
        match directory.is_dir() {
            true => std::env::set_current_dir(directory)?,
            false => notice!(
                "warning: {} is gone, where the run was started and relative paths of its command line begin",
                directory.display()
            ),
        }
        self.check_input(&recorded)?;
        let version = env!("CARGO_PKG_VERSION");
        if recorded.version != version {
            notice!("{}", other("gatelens", &recorded.version, version));
        }
        given::set_arguments(words.clone());
        let line = std::iter::once("gatelens".to_string()).chain(words);
        let done = without_results(|| run_command(line.map(OsString::from).collect()));
        place.explain(done)?;
        let again = RunInfo::of_finished(&place.folder)?;
        let warnings = warnings(&recorded, &again);
        // That of the version, where there is one, is the first and is said already.
        for warning in warnings
            .iter()
            .skip(usize::from(recorded.version != version))
        {
            notice!("{warning}");
        }
        let files = compare_runs((&dir, &recorded), (&place.folder, &again));
        self.print(&recorded, &files, &warnings)?;
        place.say(self.json);
        let differing = files.iter().filter(|file| !file.differences.is_empty());
        let differing: Vec<&str> = differing.map(|file| file.name.as_str()).collect();
        anyhow::ensure!(
            differing.is_empty(),
            "the rerun did not give the same as {}: {}",
            self.dir.display(),
            differing.join(", ")
        );
        Ok(())
    }

    /// Checks all that the run read. On threads of its own: how many the run has is for its command to say.
    fn check_input(&self, recorded: &RunInfo) -> anyhow::Result<()> {
        let threads = rayon::ThreadPoolBuilder::new().build()?;
        threads.install(|| {
            check_inputs(&self.dir, recorded)?;
            check_model(&self.dir, recorded)
        })
    }

    /// The command line with what is asked to be otherwise.
    fn changed(&self, arguments: Vec<String>) -> Vec<String> {
        let asked = [
            ("--threads", &self.threads),
            ("--device", &self.device),
            ("--dtype", &self.dtype),
        ];
        let asked = asked
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)));
        asked.fold(arguments, |arguments, (name, value)| {
            let mut arguments = without(&arguments, &[], &[name]);
            arguments.extend([name.to_string(), value]);
            arguments
        })
    }

    fn print(
        &self,
        recorded: &RunInfo,
        files: &[Compared],
        warnings: &[String],
    ) -> anyhow::Result<()> {
        let is_same = files.iter().all(|file| file.differences.is_empty());
        if self.json {
            let (command, folder) = (recorded.command_line(), &self.dir);
            return print_json(&json!({
                "same": is_same,
                "folder": folder,
                "command": command,
                "warnings": warnings,
                "files": files,
            }));
        }
        outln!("{}\n", recorded.command_line());
        let compared = files.iter().filter(|file| file.compared);
        for file in compared {
            match file.differences.is_empty() {
                true => outln!("{}: the same to the last bit", file.name),
                false => print_differences(file),
            }
        }
        let left_out = files.iter().filter(|file| !file.compared);
        let left_out: Vec<&str> = left_out.map(|file| file.name.as_str()).collect();
        if !left_out.is_empty() {
            outln!("not compared: {}", left_out.join(", "));
        }
        if is_same {
            outln!("\nthe same: the rerun gave what {} has", self.dir.display());
        }
        Ok(())
    }
}

fn print_differences(file: &Compared) {
    let Differences {
        values,
        largest,
        first_other,
        lacks,
        lacks_more,
    } = &file.differences;
    outln!("{}: NOT the same", file.name);
    let values_in_words = |difference: &Difference| {
        let Difference {
            recorded, again, ..
        } = difference;
        format!("{recorded} in the recorded run, {again} in the rerun")
    };
    if *values > 0 {
        outln!("  values that differ: {values}");
    }
    if let Some(largest) = largest {
        let size = largest.size.unwrap_or(f64::NAN);
        let values = values_in_words(largest);
        outln!(
            "  largest difference: {size:.6e} at {}: {values}",
            largest.place
        );
    }
    if let Some(other) = first_other {
        outln!(
            "  not a difference of numbers: {}: {}",
            other.place,
            values_in_words(other)
        );
    }
    for what in lacks {
        outln!("  {what}");
    }
    if *lacks_more > 0 {
        outln!("  and {lacks_more} more of this kind");
    }
}

/// What may change the last bits, or is another run altogether, each in a line.
fn warnings(recorded: &RunInfo, again: &RunInfo) -> Vec<String> {
    let mut warnings = Vec::new();
    let threads = [recorded, again].map(|run| run.threads.map_or(String::new(), |n| n.to_string()));
    let pairs = [
        ("gatelens", &recorded.version, &again.version),
        ("the precision", &recorded.dtype, &again.dtype),
        ("the device", &recorded.device, &again.device),
        ("the number of threads", &threads[0], &threads[1]),
    ];
    for (what, then, now) in pairs {
        if then != now {
            warnings.push(other(what, then, now));
        }
    }
    let said = ["version", "dtype", "device", "--dtype", "--device"];
    let is_said = |line: &String| said.iter().any(|name| line.split(':').next() == Some(name));
    let others = again
        .differences(recorded)
        .into_iter()
        .filter(|line| !is_said(line));
    warnings.extend(others.map(|line| format!("warning: the rerun is another run, by its {line}")));
    warnings
}

fn other(what: &str, then: &str, now: &str) -> String {
    format!(
        "warning: {what} was {then} in the recorded run, and is {now} in the rerun; numbers may differ"
    )
}

/// Where the rerun's files go.
struct Place {
    folder: PathBuf,
    /// What is removed afterwards, where nobody asked for the files.
    temporary: Option<TempDir>,
}

impl Place {
    fn of(out: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(out) = out {
            return Ok(Self {
                folder: std::path::absolute(out)?,
                temporary: None,
            });
        }
        let temporary = tempfile::Builder::new().prefix("gatelens-rerun-").tempdir();
        let temporary = temporary
            .context("cannot make a temporary folder for the rerun; name one: --out DIR")?;
        Ok(Self {
            folder: temporary.path().join("run"),
            temporary: Some(temporary),
        })
    }

    /// The error of a rerun that did not come to its end.
    fn explain(&self, done: anyhow::Result<()>) -> anyhow::Result<()> {
        done.context(match self.temporary {
            None => "the rerun did not come to its end",
            Some(_) => {
                "the rerun did not come to its end, and its temporary folder is removed (that of --out DIR is kept, and can \
                 be gone on with)"
            }
        })
    }

    fn say(&self, json: bool) {
        if self.temporary.is_none() && !json {
            outln!("files of the rerun in {}", self.folder.display());
        }
    }
}

/// A path as a word of a command line that run.json can hold.
fn in_words(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str();
    let text =
        text.with_context(|| format!("{} is not UTF-8; choose another --out", path.display()))?;
    Ok(text.to_string())
}
