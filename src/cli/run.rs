//! A run of an ablation on its way to its folder: whole, or stopped and to be gone on with.

use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use super::resume::{Place, stopped};
use super::stop::Stop;
use super::treatments::Ready;
use crate::experiment::Passes;
use crate::report::{OutDir, RESUME, RunInfo, Staging};

/// A file's name and bytes.
type File = (&'static str, Vec<u8>);

/// What a run knows besides its plan.
pub struct Run {
    pub place: Place,
    pub ready: Ready,
    /// `run.json` but for the counts, where there is a folder.
    info: Option<RunInfo>,
    start: Instant,
}

impl Run {
    /// Checks that a stopped run, where this one is to go on with it, is the same. `info` makes `run.json`.
    pub fn new(
        place: Place,
        ready: Ready,
        start: Instant,
        info: impl FnOnce(&Ready) -> anyhow::Result<RunInfo>,
    ) -> anyhow::Result<Self> {
        let info = place.out.as_ref().map(|_| info(&ready)).transpose()?;
        if let Some(info) = &info {
            place.check(info)?;
        }
        Ok(Self {
            place,
            ready,
            info,
            start,
        })
    }

    /// Hears Ctrl-C from now on.
    pub fn stop(&self) -> std::io::Result<Stop> {
        self.place
            .stop("stopping; the passes that are through are kept")
    }

    /// A folder for files that are written while the run goes on, where there is one.
    pub fn stage(&self) -> anyhow::Result<Option<Staging>> {
        let out = self.place.out.as_ref();
        Ok(out.map(OutDir::stage).transpose()?)
    }

    /// Writes the files of a finished run beside those in `staging`, where there is a folder.
    pub fn finish(
        &self,
        staging: Option<Staging>,
        files: Vec<File>,
        counts: Value,
    ) -> anyhow::Result<()> {
        self.commit(staging, files, counts, true)
    }

    /// Writes the files of a run that was stopped after some of its `passes`, and returns the error that says so.
    pub fn leave(
        &self,
        staging: Option<Staging>,
        mut files: Vec<File>,
        counts: Value,
        passes: &Passes,
    ) -> anyhow::Result<anyhow::Error> {
        files.push((RESUME, serde_json::to_vec(passes)?));
        self.commit(staging, files, counts, false)?;
        let what = format!("{} of {} passes", passes.done(), passes.len());
        let folder = self.place.out.as_ref().map_or(Path::new(""), OutDir::path);
        Ok(stopped(&what, folder))
    }

    fn commit(
        &self,
        staging: Option<Staging>,
        mut files: Vec<File>,
        counts: Value,
        finished: bool,
    ) -> anyhow::Result<()> {
        let (Some(out), Some(staging), Some(info)) = (&self.place.out, staging, &self.info) else {
            return Ok(());
        };
        let info = RunInfo {
            finished,
            counts,
            wall_s: self.start.elapsed().as_secs_f64() + self.place.wall_s(),
            ..info.clone()
        };
        files.push(("run.json", info.to_json()?));
        Ok(out.commit(staging, &files)?)
    }

    /// Says where the files are.
    pub fn print_place(&self) {
        if let Some(out) = &self.place.out {
            outln!("files in {}", out.path().display());
        }
    }
}
