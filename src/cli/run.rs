//! A run of an ablation on its way to its folder: whole, or ended before and to be gone on with.

use std::time::Instant;

use serde_json::Value;

use super::resume::{Place, say_place, stopped, with_parts};
use super::stop::Stop;
use super::treatments::Ready;
use crate::experiment::{ExperimentError, PassStore};
use crate::report::{Parts, Placed, RunInfo};

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

/// Where the files of a finished run are, or why they could not be written; said once the results are printed.
#[must_use]
pub struct Written(anyhow::Result<Option<Placed>>);

impl Run {
    /// Checks that an earlier run, where this one is to go on with it, is the same. `info` makes `run.json`.
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

    /// Runs `experiment` with what keeps its passes, where there is a folder. Where it ends early, the error says what
    /// is kept and how to go on.
    pub fn passes<T>(
        &self,
        experiment: impl FnOnce(Option<&mut dyn PassStore>) -> Result<T, ExperimentError>,
    ) -> anyhow::Result<(T, f64)> {
        let (Some(out), Some(info)) = (&self.place.out, &self.info) else {
            return Ok((experiment(None)?, self.start.elapsed().as_secs_f64()));
        };
        self.place.begin(info)?;
        let mut parts = Parts::new(out, self.start);
        match experiment(Some(&mut parts)) {
            Ok(found) => Ok((found, parts.wall_s())),
            Err(ExperimentError::StoppedAfter { done, of }) => {
                Err(stopped(&format!("{done} of {of} passes"), out.path()))
            }
            Err(error @ ExperimentError::Store(_)) => Err(with_parts(error.into(), out)),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the files of a finished run, where there is a folder.
    pub fn finish(&self, files: Vec<File>, counts: Value, wall_s: f64) -> Written {
        let (Some(out), Some(info)) = (&self.place.out, &self.info) else {
            return Written(Ok(None));
        };
        let info = RunInfo {
            finished: true,
            counts,
            wall_s,
            ..info.clone()
        };
        let placed = out.commit(&files, &info);
        Written(match placed {
            Ok(placed) => Ok(Some(placed)),
            Err(error) => Err(with_parts(error.into(), out)),
        })
    }

    /// Seconds since the start.
    pub fn wall_s(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}

impl Written {
    /// Says where the files are; `json`: the results were printed for a machine.
    pub fn say(self, json: bool) -> anyhow::Result<()> {
        if let Some(placed) = self.0? {
            say_place(&placed, json);
        }
        Ok(())
    }

    /// Files that were committed, where there is a folder.
    pub fn of<E: Into<anyhow::Error>>(placed: Option<Result<Placed, E>>) -> Self {
        Self(placed.transpose().map_err(Into::into))
    }

    /// Files that something went wrong with before they were complete.
    pub fn failed(error: anyhow::Error) -> Self {
        Self(Err(error))
    }
}
