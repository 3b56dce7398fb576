//! Reads a run's folder: what it holds by its command, and the blocks that show it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::block::Block;
use super::{activity, claims, classes, cosines, effects, losses, ranking, rates, sweep};
use crate::io_class::PUBLISHED_THRESHOLD;
use crate::report::owned::{PLAN, RUN, damage};
use crate::report::rows::RankingRow;
use crate::report::table::read_table;
use crate::report::{Claims, ReportError, RunInfo};

type Blocks = Result<Vec<Block>, ReportError>;

/// The files of a run's folder.
pub struct Folder<'a> {
    path: &'a Path,
    pub run: RunInfo,
}

impl<'a> Folder<'a> {
    pub fn open(path: &'a Path) -> Result<Folder<'a>, ReportError> {
        let mut marks = [RUN, PLAN].into_iter().map(|name| path.join(name));
        let mark = marks.find(|mark| mark.is_file());
        let run = json(&mark.ok_or_else(|| ReportError::NoRun { path: path.into() })?)?;
        Ok(Folder { path, run })
    }

    /// The same of a run that is finished.
    ///
    /// # Errors
    /// [`ReportError::NotFinished`] for another; those of [`Folder::open`].
    pub fn finished(path: &'a Path) -> Result<Folder<'a>, ReportError> {
        let opened = Folder::open(path)?;
        if !opened.run.finished {
            return Err(ReportError::NotFinished {
                path: path.to_path_buf(),
                resume: opened.run.resume_line(),
            });
        }
        Ok(opened)
    }

    /// What there is to show, in order; what cannot be shown is said in its place.
    pub fn blocks(&self) -> Blocks {
        let run = &self.run;
        let effects = || {
            self.json("effects.json", |effects: Vec<_>| {
                effects::blocks(&effects, "")
            })
        };
        let blocks = match run.command.as_str() {
            "classify" => {
                let threshold = run.threshold().unwrap_or(PUBLISHED_THRESHOLD);
                let dots = |rows: Vec<_>| Ok(vec![cosines::dots(&rows, threshold)]);
                let by_layer = self.json("classes.json", |classes| classes::figures(&classes))?;
                [by_layer, self.rows("neurons.parquet", dots)?].concat()
            }
            "ablate" if run.texts.is_empty() => {
                let losses = |rows: Vec<_>| match run.finished {
                    true => Ok(vec![losses::facts(&rows)]),
                    // Of a stopped run some draws are missing, prompt by prompt others.
                    false => Ok(Vec::new()),
                };
                let lost = self.rows("outcomes.parquet", losses)?;
                [effects()?, lost].concat()
            }
            "ablate" => effects()?,
            "sweep" => self.json("effects.json", |cells: Vec<_>| {
                vec![sweep::heat_map(&cells, run)]
            })?,
            "record" => self.json("class_activity.json", |view: Vec<_>| {
                activity::blocks(&view, run)
            })?,
            "attributes" => {
                self.json("effects.json", |rates: Vec<_>| rates::blocks(&rates, run))?
            }
            "rank" => {
                let neurons = |rows: Vec<RankingRow>| {
                    let path = self.path.join("ranking.parquet");
                    let ranked = rows
                        .iter()
                        .map(RankingRow::ranked)
                        .collect::<Option<Vec<_>>>();
                    let why = "a row lacks a rank, an interval or the facts lost";
                    let ranked = ranked.ok_or_else(|| damaged(&path, why))?;
                    Ok(vec![ranking::neurons(&ranked, run)])
                };
                let curve = self.json("curve.json", |curve: Vec<_>| {
                    vec![ranking::curve(&curve, run)]
                })?;
                [curve, self.rows("ranking.parquet", neurons)?].concat()
            }
            "verify" => self.json("claims.json", |found: Claims| {
                vec![claims::verdicts(&found.claims)]
            })?,
            other => vec![Block::lacking(&format!(
                "This version of gatelens has no picture for what `{other}` writes; the files of the folder hold the results."
            ))],
        };
        Ok(blocks)
    }

    /// A file, where it is there; it must be as the run wrote it.
    fn present(&self, name: &str) -> Result<Option<PathBuf>, ReportError> {
        let path = self.path.join(name);
        if !path.is_file() {
            return Ok(None);
        }
        match damage(&self.run, &path) {
            Some(why) => Err(damaged(&path, why)),
            None => Ok(Some(path)),
        }
    }

    /// What `show` makes of a JSON file.
    fn json<T: DeserializeOwned>(&self, name: &str, show: impl FnOnce(T) -> Vec<Block>) -> Blocks {
        match self.present(name)? {
            Some(path) => Ok(show(json(&path)?)),
            None => Ok(self.lacking(name)),
        }
    }

    /// What `show` makes of the rows of a table.
    fn rows<T: DeserializeOwned>(&self, name: &str, show: impl FnOnce(Vec<T>) -> Blocks) -> Blocks {
        match self.present(name)? {
            Some(path) => show(read_table(&path)?),
            None => Ok(self.lacking(name)),
        }
    }

    fn lacking(&self, file: &str) -> Vec<Block> {
        let why = if self.run.finished {
            "was it removed?"
        } else {
            "it is written when the run is finished."
        };
        vec![Block::lacking(&format!(
            "Not shown: what {file} holds. The folder has no {file}; {why}"
        ))]
    }
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T, ReportError> {
    let text = fs::read(path).map_err(|why| damaged(path, why))?;
    serde_json::from_slice(&text).map_err(|why| damaged(path, why))
}

fn damaged(path: &Path, why: impl ToString) -> ReportError {
    ReportError::Damaged {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_folder_lacks_is_said() {
        for (command, finished, files) in [
            ("classify", true, &["classes.json", "neurons.parquet"][..]),
            ("ablate", true, &["effects.json", "outcomes.parquet"]),
            ("sweep", false, &["effects.json"]),
            ("record", false, &["class_activity.json"]),
            ("attributes", false, &["effects.json"]),
            ("rank", false, &["curve.json", "ranking.parquet"]),
            ("verify", true, &["claims.json"]),
            ("dance", true, &["`dance`"]),
        ] {
            let run = serde_json::json!({
                "command": command, "arguments": [command], "version": "0",
                "model": {"id": "m", "family": "llama", "files": []}, "dtype": "f32", "device": "cpu", "fold": "pre",
                "finished": finished, "wall_s": 1.0,
            });
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(RUN), run.to_string()).unwrap();
            let blocks = Folder::open(dir.path()).unwrap().blocks().unwrap();
            assert_eq!(blocks.len(), files.len(), "{command}");
            for (block, file) in blocks.iter().zip(files) {
                let Block::Lacking(what) = block else {
                    panic!("{command}")
                };
                assert!(what.contains(file), "{what}");
                assert_eq!(
                    what.contains("when the run is finished"),
                    !finished,
                    "{what}"
                );
            }
        }
    }
}
