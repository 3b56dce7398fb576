//! A run on its way to its folder: whole, in shards, or ended before and to be gone on with.

use std::cell::Cell;
use std::time::Instant;

use clap::Args;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::args::OutputArgs;
use super::given;
use super::progress::Meter;
use super::stop::Stop;
use super::table::count;
use crate::engine::EngineError;
use crate::experiment::{ExperimentError, Run, Shard};
use crate::model::Model;
use crate::report::{
    OutDir, Overwrite, Parts, Placed, ReportError, RunInfo, UnfinishedRun, resume_line,
    shard_folder, without,
};

/// Whether a run goes on, and which part of it is run here.
#[derive(Args, Default, Serialize)]
pub struct PartArgs {
    /// Go on with the run that was ended in --out; every other setting must be the same.
    #[arg(long, requires = "out", conflicts_with = "force")]
    pub resume: bool,
    /// Run a share of the passes, for several machines or jobs: I/N are those whose number is I modulo N, I from 0; slurm
    /// takes both from SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT. What each gives is kept in --out, in a folder of
    /// its own; `gatelens merge` joins them. The same command again goes on with a shard that was ended.
    #[arg(long, value_name = "I/N|slurm", requires = "out", conflicts_with = "force", value_parser = parse_shard)]
    #[serde(serialize_with = "as_option")]
    pub shard: Option<Shard>,
}

fn as_option<S: Serializer>(shard: &Option<Shard>, to: S) -> Result<S::Ok, S::Error> {
    shard.map(|shard| shard.to_string()).serialize(to)
}

/// The first number of an array need not be 0, but its numbers must follow one another.
fn parse_shard(text: &str) -> Result<Shard, String> {
    if text != "slurm" {
        return text.parse();
    }
    let number = |name: &str| {
        let value = std::env::var(name)
            .ok()
            .and_then(|value| value.parse::<usize>().ok());
        value.ok_or_else(|| {
            format!("{name} is not set to a number; --shard slurm is for a job of a Slurm array")
        })
    };
    let (id, count) = (
        number("SLURM_ARRAY_TASK_ID")?,
        number("SLURM_ARRAY_TASK_COUNT")?,
    );
    let first = number("SLURM_ARRAY_TASK_MIN").unwrap_or(0);
    let last = number("SLURM_ARRAY_TASK_MAX").unwrap_or(first + count - 1);
    if id < first || last + 1 - first != count {
        return Err(format!(
            "the array has {count} tasks between {first} and {last}; give it numbers without gaps, such as --array=0-{}",
            count - 1
        ));
    }
    Ok(Shard {
        index: id - first,
        count,
    })
}

/// A file's name and bytes.
pub type File = (&'static str, Vec<u8>);

/// A run with the folder that it goes to, if any.
pub struct Job {
    out: Option<OutDir>,
    shard: Option<Shard>,
    /// The run that this one goes on with.
    earlier: Option<RunInfo>,
    /// `run.json` but for the counts.
    info: Option<RunInfo>,
    start: Instant,
    /// Seconds that the passes took, earlier runs' among them; absent where there were none.
    passes_s: Cell<Option<f64>>,
}

/// Where the files of a finished run are, or why they could not be written; said once the results are printed.
#[must_use]
pub struct Written(anyhow::Result<Option<Placed>>);

impl Job {
    /// A run that goes to no folder.
    pub fn without_folder() -> Self {
        Self {
            out: None,
            shard: None,
            earlier: None,
            info: None,
            start: Instant::now(),
            passes_s: Cell::new(None),
        }
    }

    /// Claims the folder before any work is done. Where the run goes on, it may hold one that is not finished.
    pub fn claim(output: &OutputArgs, part: &PartArgs) -> anyhow::Result<Self> {
        let PartArgs { resume, shard } = *part;
        let mut job = Self {
            shard,
            ..Self::without_folder()
        };
        let Some(path) = &output.out else {
            return Ok(job);
        };
        let goes_on = resume || shard.is_some();
        let overwrite = if goes_on {
            Overwrite::Resume
        } else if output.force {
            Overwrite::Replace
        } else {
            Overwrite::Refuse
        };
        anyhow::ensure!(
            shard.is_none() || !path.join("run.json").exists(),
            "{} holds a finished run; name another folder for the shards (--out)",
            path.display()
        );
        let path = shard.map_or_else(|| path.clone(), |shard| shard_folder(path, shard));
        let out = OutDir::claim(&path, overwrite).map_err(|error| match error {
            ReportError::Finished { path } if goes_on => anyhow::anyhow!(
                "the run in {} is finished; there is nothing to resume",
                path.display()
            ),
            error => error.into(),
        })?;
        if goes_on {
            job.earlier = out.unfinished();
        }
        if resume && job.earlier.is_none() {
            notice!("nothing was kept in {}: beginning anew", path.display());
        }
        job.out = Some(out);
        Ok(job)
    }

    /// The folder, where there is one.
    pub fn out(&self) -> Option<&OutDir> {
        self.out.as_ref()
    }

    /// Whether an earlier run is gone on with.
    pub fn goes_on(&self) -> bool {
        self.earlier.is_some()
    }

    /// Says what the run is, and checks that an earlier one, where this one goes on with it, is the same. `info` makes
    /// `run.json` but for the counts; it is asked for where there is a folder.
    pub fn describe(
        &mut self,
        info: impl FnOnce() -> anyhow::Result<RunInfo>,
    ) -> anyhow::Result<()> {
        if self.out.is_none() {
            return Ok(());
        }
        let info = RunInfo {
            unfinished: UnfinishedRun {
                shard: self.shard,
                ..UnfinishedRun::default()
            },
            ..info()?
        };
        let Some(earlier) = &self.earlier else {
            self.info = Some(info);
            return Ok(());
        };
        let differences = info.differences(earlier);
        let (what, way_out) = match self.shard {
            Some(_) => ("a shard", "take another --out"),
            None => ("--resume", "begin anew with --force and without --resume"),
        };
        anyhow::ensure!(
            differences.is_empty(),
            "{what} goes on with the same run only, and this one differs in\n  {}\nuse the settings of the stopped \
             run (plan.json in the folder), or {way_out}",
            differences.join("\n  ")
        );
        self.info = Some(RunInfo {
            arguments: earlier.arguments.clone(),
            directory: earlier.directory.clone(),
            inputs: earlier.inputs.clone(),
            ..info
        });
        Ok(())
    }

    /// Marks the folder as a run that is not finished, where it is not marked yet.
    fn begin(&self) -> anyhow::Result<()> {
        match (&self.out, &self.info, &self.earlier) {
            (Some(out), Some(info), None) => Ok(out.begin(info)?),
            (Some(out), _, Some(_)) => Ok(out.go_on()?),
            _ => Ok(()),
        }
    }

    /// Runs `experiment`, whose parts are kept where there is a folder. Nothing where it was one shard of several. Where it
    /// ends early, the error says what is kept and how to go on.
    pub fn run<T>(
        &self,
        model: &Model,
        experiment: impl FnOnce(&mut Run<'_>) -> Result<T, ExperimentError>,
    ) -> anyhow::Result<Option<T>> {
        // Without a folder nothing would be kept, and Ctrl-C ends the program as usual.
        let stop = match self.out {
            Some(_) => Stop::on_signals("stopping; the passes that are through are kept")?,
            None => Stop::default(),
        };
        let meter = Meter::until(stop);
        let (Some(out), Some(info)) = (&self.out, &self.info) else {
            let found = experiment(&mut Run::new(&meter))?;
            meter.clear();
            model.check_unchanged()?;
            return Ok(Some(found));
        };
        self.begin()?;
        let mut parts = Parts::new(out, info, self.start);
        let mut run = Run::kept(&meter, &mut parts);
        let found = experiment(&mut run);
        let (done, of) = run.passes();
        meter.clear();
        match found {
            Err(ExperimentError::StoppedAfter { done, of }) => {
                let what = format!("{done} of {of} passes");
                Err(stopped(&what, out, self.shard))
            }
            Err(ExperimentError::OtherShards { .. }) | Ok(_) if self.shard.is_some() => {
                model.check_unchanged()?;
                say_shard(self.shard, done, of, out);
                Ok(None)
            }
            Err(
                error @ (ExperimentError::Store(_)
                | ExperimentError::Engine(EngineError::Reader(_))),
            ) => Err(with_parts(error.into(), out, self.shard)),
            Err(error) => Err(error.into()),
            Ok(found) => {
                model.check_unchanged()?;
                self.passes_s.set(Some(parts.wall_s()));
                Ok(Some(found))
            }
        }
    }

    /// Writes the files of a finished run, where there is a folder; they may need what `run.json` says.
    pub fn finish(
        &self,
        files: impl FnOnce(&RunInfo) -> anyhow::Result<Vec<File>>,
        counts: Value,
    ) -> Written {
        let (Some(out), Some(info)) = (&self.out, &self.info) else {
            return Written(Ok(None));
        };
        let info = RunInfo {
            finished: true,
            unfinished: UnfinishedRun::default(),
            counts,
            wall_s: (self.passes_s.get()).unwrap_or_else(|| self.start.elapsed().as_secs_f64()),
            ..info.clone()
        };
        let placed = files(&info).and_then(|files| Ok(out.commit(&files, &info)?));
        Written(
            placed
                .map(Some)
                .map_err(|error| with_parts(error, out, self.shard)),
        )
    }
}

impl Written {
    /// Says where the files are, and where they are not because something is there; `json`: the results were printed for a
    /// machine.
    pub fn say(self, json: bool) -> anyhow::Result<()> {
        let Some(placed) = self.0? else {
            return Ok(());
        };
        let folder = placed.folder.display();
        if let Some(name) = &placed.occupied {
            notice!(
                "warning: {name} appeared in the folder of --out while the run went on. It stays as it is, and the files \
                 of this run are in {folder}"
            );
        }
        if !json {
            outln!("files in {folder}");
        }
        Ok(())
    }
}

fn say_shard(shard: Option<Shard>, done: usize, of: usize, out: &OutDir) {
    let shard = shard.map_or(String::new(), |shard| shard.to_string());
    let own = out
        .unfinished()
        .and_then(|plan| plan.unfinished.own_passes());
    if let Some((0, shared)) = own {
        notice!(
            "shard {shard} has no passes of its own: the run has {} to share, and with more shards than that some have nothing to do. \
             gatelens merge needs this folder all the same",
            count(shared)
        );
    }
    notice!(
        "shard {shard} is through: {done} of {of} passes are kept in {}. When all shards are, join them with gatelens merge",
        out.path().display()
    );
}

/// The error, with where the passes are that are through, if any are kept.
fn with_parts(error: anyhow::Error, out: &OutDir, shard: Option<Shard>) -> anyhow::Error {
    if !out.has_parts() {
        return error;
    }
    let parts = out.path().join("parts");
    anyhow::anyhow!(
        "{error:#}\nthe passes that are through are kept in {}. When this is mended, go on with\n  {}",
        parts.display(),
        how_to_go_on(shard),
    )
}

/// The error of a run that was stopped after `what`, which is kept in `out`: how to go on.
fn stopped(what: &str, out: &OutDir, shard: Option<Shard>) -> anyhow::Error {
    anyhow::anyhow!(
        "stopped after {what}, which are kept in {}. Go on with\n  {}",
        out.path().display(),
        how_to_go_on(shard),
    )
}

/// The command that goes on; `slurm` means something in a job of an array alone, so the shard is named.
fn how_to_go_on(shard: Option<Shard>) -> String {
    let mut arguments = given::arguments();
    if let Some(shard) = shard {
        arguments = without(&arguments, &[], &["--shard"]);
        arguments.push(format!("--shard={shard}"));
    }
    resume_line(&arguments)
}
