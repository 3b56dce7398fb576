//! What finished passes gave, in `parts/`: a run goes on with those that are whole.
//!
//! ```text
//! parts/00012.parquet   the rows of pass 12
//! parts/00012.part      the sha256 of these, of which run they are, what the edits changed; written last
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use arrow_array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use super::owned::{PARTS, sha256_file};
use super::run_info::RunInfo;
use super::sealed::{open, seal};
use super::table::read_batches;
use super::{OutDir, ReportError};
use crate::experiment::{Part, PartStore, Shard, StagePlan, StoreError};
use crate::hooks::EditCount;
use crate::prompts::sha256_hex;

/// The parts of a run.
pub struct Parts<'o> {
    out: &'o OutDir,
    start: Instant,
    plan: RunInfo,
    /// Of what makes the run the same; no part belongs to another one.
    run: String,
    /// Seconds that the run took before it was ended, as far as its parts say.
    earlier_s: f64,
}

/// What stands beside the rows of a pass.
#[derive(Debug, Serialize, Deserialize)]
struct PartMark {
    /// Of the file with the rows.
    sha256: String,
    edits: Vec<EditCount>,
    /// Seconds that the run had taken then.
    wall_s: f64,
}

impl<'o> Parts<'o> {
    /// The parts of the run that `out` holds, or is to hold; `info` is what `run.json` will say of it.
    pub fn new(out: &'o OutDir, info: &RunInfo, start: Instant) -> Self {
        let plan = out.unfinished().unwrap_or_else(|| info.clone());
        Self {
            run: plan.identity(),
            plan,
            out,
            start,
            earlier_s: 0.0,
        }
    }

    /// Seconds of the run, those before it was ended among them.
    pub fn wall_s(&self) -> f64 {
        self.earlier_s + self.start.elapsed().as_secs_f64()
    }
}

/// The folder's path of a file of a pass.
fn path_of(folder: &Path, pass: usize, ending: &str) -> PathBuf {
    folder.join(PARTS).join(format!("{pass:05}.{ending}"))
}

/// Whether a file in `parts` is one of a pass.
pub(super) fn is_of_pass(name: &str) -> bool {
    let number = name
        .strip_suffix(".parquet")
        .or_else(|| name.strip_suffix(".part"));
    number.is_some_and(|number| number.len() >= 5 && number.bytes().all(|b| b.is_ascii_digit()))
}

/// What stands beside the rows of a pass of `run`, where both are whole.
fn mark_of(folder: &Path, pass: usize, run: &str) -> io::Result<Option<PartMark>> {
    let absent_or = |why: io::Error| match why.kind() {
        io::ErrorKind::NotFound => Ok(None),
        _ => Err(why),
    };
    let file = match fs::read(path_of(folder, pass, "part")) {
        Ok(file) => file,
        Err(why) => return absent_or(why),
    };
    let kind = format!("part {pass}");
    let mark = open(&kind, run, &file).and_then(|bytes| serde_json::from_slice(bytes).ok());
    let Some(mark): Option<PartMark> = mark else {
        return Ok(None);
    };
    match sha256_file(&path_of(folder, pass, "parquet")) {
        Ok(found) => Ok((found == mark.sha256).then_some(mark)),
        Err(why) => absent_or(why),
    }
}

/// The sha256 of the rows of a pass of `run`, where they are there and whole.
///
/// # Errors
/// Where they cannot be read.
pub(super) fn rows_sha256(folder: &Path, pass: usize, run: &str) -> io::Result<Option<String>> {
    Ok(mark_of(folder, pass, run)?.map(|mark| mark.sha256))
}

/// Takes over the part of a pass from another folder of the same run.
pub(super) fn copy_part(from: &Path, to: &OutDir, pass: usize) -> Result<(), ReportError> {
    for ending in ["parquet", "part"] {
        let path = path_of(from, pass, ending);
        let bytes = fs::read(&path).map_err(|why| ReportError::Resume {
            path: path.clone(),
            why: why.to_string(),
        })?;
        to.put(&path_of(Path::new(""), pass, ending), &bytes)?;
    }
    Ok(())
}

/// How many passes of the run in a folder are through, and how many were planned so far.
pub(super) fn passes_of(folder: &Path, plan: &RunInfo) -> (usize, usize) {
    let there = |pass: &usize| path_of(folder, *pass, "part").is_file();
    let all = plan.passes().count();
    ((0..all).filter(there).count(), all)
}

fn encode(rows: &RecordBatch) -> Result<Vec<u8>, parquet::errors::ParquetError> {
    let snappy = WriterProperties::builder().set_compression(Compression::SNAPPY);
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(snappy.build()))?;
    writer.write(rows)?;
    writer.into_inner()
}

impl PartStore for Parts<'_> {
    fn shard(&self) -> Option<Shard> {
        self.plan.shard
    }

    fn planned(&mut self, stage: usize) -> Result<Option<StagePlan>, StoreError> {
        Ok(self.plan.stages.get(stage).cloned())
    }

    fn plan(&mut self, stage: usize, planned: &StagePlan) -> Result<(), StoreError> {
        self.plan.stages.truncate(stage);
        self.plan.stages.push(planned.clone());
        Ok(self.out.put_plan(&self.plan)?)
    }

    fn has(&self, pass: usize) -> bool {
        path_of(self.out.folder(), pass, "part").is_file()
    }

    fn load(&mut self, pass: usize) -> Result<Option<Part>, StoreError> {
        let folder = self.out.folder();
        let path = path_of(folder, pass, "parquet");
        let unreadable = |why: String| ReportError::Resume {
            path: path.clone(),
            why,
        };
        let mark = mark_of(folder, pass, &self.run).map_err(|why| unreadable(why.to_string()))?;
        let Some(mark) = mark else {
            return Ok(None); // not there, or not whole: the pass is run again
        };
        let rows = read_batches(&path).map_err(unreadable)?;
        self.earlier_s = self.earlier_s.max(mark.wall_s);
        Ok(Some(Part {
            edits: mark.edits,
            rows,
        }))
    }

    fn save(&mut self, pass: usize, part: &Part) -> Result<(), StoreError> {
        let rows = part.rows.first().ok_or("a part without a table")?;
        let rows = encode(rows)?;
        let mark = PartMark {
            sha256: sha256_hex(&rows),
            edits: part.edits.clone(),
            wall_s: self.wall_s(),
        };
        let inside = Path::new("");
        self.out.put(&path_of(inside, pass, "parquet"), &rows)?;
        let mark = seal(
            &format!("part {pass}"),
            &self.run,
            &serde_json::to_vec(&mark)?,
        );
        Ok(self.out.put(&path_of(inside, pass, "part"), &mark)?)
    }
}
