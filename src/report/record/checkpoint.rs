//! What of a recording is saved: finished stretches of its tables, and the state of the recording at their end.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::owned::{self, PARTS};
use super::super::run_info::OutputFile;
use super::super::sealed::{open, seal};
use super::super::table::TableWriter;
use super::{OutDir, ReportError};
use crate::experiment::record::Recording;

/// The state; whole parts end like this.
const STATE: &str = "gatelens-state.part";

/// What is saved.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// Stretches of tables, in order.
    stretches: Vec<Stretch>,
    /// How many checkpoints there were.
    number: usize,
    /// Seconds that the run took until here.
    pub earlier_s: f64,
}

/// Some rows of a table.
#[derive(Serialize, Deserialize)]
struct Stretch {
    /// The table's name.
    table: String,
    file: OutputFile,
}

impl Checkpoint {
    /// What a run that was ended saved in `out`, and the state, which `recording` takes up; none where it saved nothing.
    ///
    /// # Errors
    /// [`ReportError::Resume`] for a file that is not as it was written, or missing.
    pub fn read(out: &OutDir, recording: &mut Recording<'_>) -> Result<Option<Self>, ReportError> {
        let path = out.parts().join(STATE);
        let other = || unreadable(&path, "it is not as it was written");
        let file = match fs::read(&path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|why| unreadable(&path, why))?,
        };
        let bytes = open("recording", "run", &file).ok_or_else(other)?;
        let end = bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or_else(other)?;
        let (line, state) = (&bytes[..end], &bytes[end + 1..]);
        let saved: Self = serde_json::from_slice(line).map_err(|why| unreadable(&path, why))?;
        for Stretch { file, .. } in &saved.stretches {
            let path = out.parts().join(&file.name);
            let found = owned::list(&out.parts(), &file.name);
            if found.map_err(|why| unreadable(&path, why))? != *file {
                return Err(unreadable(&path, "it is not as it was written"));
            }
        }
        let taken_up = recording.resume(state);
        taken_up.map_err(|why| unreadable(&path, why))?;
        Ok(Some(saved))
    }

    /// The name of the stretch of a table that comes next.
    pub fn next(&self, table: &str) -> String {
        format!("gatelens-{:05}-{table}", self.number)
    }

    /// Adds stretches that were closed, with whether they have rows, and saves the state at their end.
    pub fn save(
        &mut self,
        out: &OutDir,
        closed: Vec<(&'static str, bool)>,
        recording: &mut Recording<'_>,
        wall_s: f64,
    ) -> Result<(), ReportError> {
        let parts = out.parts();
        for (table, has_rows) in closed {
            let name = self.next(table);
            let path = parts.join(&name);
            let failed = |why| ReportError::Write {
                path: path.clone(),
                why,
            };
            if has_rows {
                let synced = File::open(&path).and_then(|file| file.sync_data());
                synced.map_err(failed)?;
                self.stretches.push(Stretch {
                    table: table.to_string(),
                    file: owned::list(&parts, &name).map_err(failed)?,
                });
            } else {
                fs::remove_file(&path).map_err(failed)?;
            }
        }
        self.number += 1;
        self.earlier_s = wall_s;
        let line = serde_json::to_vec(self).map_err(|why| ReportError::Encode {
            name: STATE,
            why: why.to_string(),
        })?;
        let bytes = [&line, b"\n".as_slice(), &recording.to_bytes()].concat();
        out.put(
            &Path::new(PARTS).join(STATE),
            &seal("recording", "run", &bytes),
        )
    }

    /// Makes the whole table of its stretches, where finished files are collected. The stretches stay.
    pub fn join<T: Serialize + DeserializeOwned>(
        &self,
        out: &OutDir,
        table: &'static str,
    ) -> Result<(), ReportError> {
        let stretches = self
            .stretches
            .iter()
            .filter(|stretch| stretch.table == table);
        let stretches: Vec<PathBuf> = stretches.map(|s| out.parts().join(&s.file.name)).collect();
        let to = out.work().join(table);
        if let [only] = stretches.as_slice() {
            return link(only, &to);
        }
        let mut whole = TableWriter::<T>::create(&out.work(), table, table)?;
        for stretch in &stretches {
            whole.copy_from(stretch)?;
        }
        whole.close().map(|_| ())
    }
}

/// The same file under another name, without its bytes where the file system can do that.
pub(super) fn link(from: &Path, to: &Path) -> Result<(), ReportError> {
    let linked = fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(|_| ()));
    linked.map_err(|why| ReportError::Write {
        path: to.to_path_buf(),
        why,
    })
}

fn unreadable(path: &Path, why: impl ToString) -> ReportError {
    ReportError::Resume {
        path: path.to_owned(),
        why: why.to_string(),
    }
}
