//! What finished passes gave, in `parts/`: a run goes on with those that are whole.
//!
//! ```text
//! parts/00012.parquet               the rows of pass 12
//! parts/00012-1.parquet             a second table of it, where it has one
//! parts/00012-activations.parquet   what was written while it ran (record)
//! parts/00012.part                  the sha256 of these, of which run they are, what the edits changed; written last
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use arrow_array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use super::owned::{self, PARTS, name_of_pass};
use super::run_info::{OutputFile, RunInfo};
use super::sealed::{open, seal};
use super::table::read_batches;
use super::{OutDir, ReportError};
use crate::experiment::{Part, PartStore, Shard, StagePlan, StoreError};
use crate::hooks::EditCount;

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

/// What stands beside the files of a pass.
#[derive(Debug, Serialize, Deserialize)]
struct PartMark {
    /// The tables, and what was written while the pass ran.
    files: Vec<OutputFile>,
    /// How many of them are tables; these come first.
    tables: usize,
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

fn table_name(pass: usize, table: usize) -> String {
    match table {
        0 => name_of_pass(pass, ".parquet"),
        n => name_of_pass(pass, &format!("-{n}.parquet")),
    }
}

fn mark_path(folder: &Path, pass: usize) -> PathBuf {
    folder.join(PARTS).join(name_of_pass(pass, ".part"))
}

/// What stands beside the files of a pass of `run`, where all are whole.
fn mark_of(folder: &Path, pass: usize, run: &str) -> io::Result<Option<PartMark>> {
    let absent_or = |why: io::Error| match why.kind() {
        io::ErrorKind::NotFound => Ok(None),
        _ => Err(why),
    };
    let file = match fs::read(mark_path(folder, pass)) {
        Ok(file) => file,
        Err(why) => return absent_or(why),
    };
    let kind = format!("part {pass}");
    let mark = open(&kind, run, &file).and_then(|bytes| serde_json::from_slice(bytes).ok());
    let Some(mark): Option<PartMark> = mark else {
        return Ok(None);
    };
    for listed in &mark.files {
        match owned::list(&folder.join(PARTS), &listed.name) {
            Ok(found) if found == *listed => {}
            Ok(_) => return Ok(None),
            Err(why) => return absent_or(why),
        }
    }
    Ok(Some(mark))
}

/// The files of a pass of `run` with their sha256, where they are there and whole.
///
/// # Errors
/// Where they cannot be read.
pub(super) fn files_of(
    folder: &Path,
    pass: usize,
    run: &str,
) -> io::Result<Option<Vec<OutputFile>>> {
    Ok(mark_of(folder, pass, run)?.map(|mark| mark.files))
}

/// Takes over the part of a pass, which has these files, from another folder of the same run.
pub(super) fn copy_part(
    from: &Path,
    to: &OutDir,
    pass: usize,
    files: &[OutputFile],
) -> Result<(), ReportError> {
    for file in files {
        let from = from.join(PARTS).join(&file.name);
        to.copy(&from, &Path::new(PARTS).join(&file.name))?;
    }
    to.copy(&mark_path(from, pass), &mark_path(Path::new(""), pass))
}

/// How many passes of the run in a folder are through, and how many were planned so far.
pub(super) fn passes_of(folder: &Path, plan: &RunInfo) -> (usize, usize) {
    let there = |pass: &usize| mark_path(folder, *pass).is_file();
    let all = plan.passes().count();
    ((0..all).filter(there).count(), all)
}

fn encode(table: &[RecordBatch]) -> Result<Vec<u8>, StoreError> {
    let schema = table.first().ok_or("a part without a table")?.schema();
    let snappy = WriterProperties::builder().set_compression(Compression::SNAPPY);
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(snappy.build()))?;
    for rows in table {
        writer.write(rows)?;
    }
    Ok(writer.into_inner()?)
}

impl PartStore for Parts<'_> {
    fn shard(&self) -> Option<Shard> {
        self.plan.unfinished.shard
    }

    fn planned(&mut self, stage: usize) -> Result<Option<StagePlan>, StoreError> {
        Ok(self.plan.unfinished.stages.get(stage).cloned())
    }

    fn plan(&mut self, stage: usize, planned: &StagePlan) -> Result<(), StoreError> {
        let stages = &mut self.plan.unfinished.stages;
        stages.truncate(stage);
        stages.push(planned.clone());
        Ok(self.out.put_plan(&self.plan)?)
    }

    fn has(&self, pass: usize) -> bool {
        mark_path(self.out.folder(), pass).is_file()
    }

    fn load(&mut self, pass: usize) -> Result<Option<Part>, StoreError> {
        let folder = self.out.folder();
        let unreadable = |name: &str, why: String| ReportError::Resume {
            path: folder.join(PARTS).join(name),
            why,
        };
        let mark = mark_of(folder, pass, &self.run);
        let mark = mark.map_err(|why| unreadable(&name_of_pass(pass, ".part"), why.to_string()))?;
        let Some(mark) = mark else {
            return Ok(None); // not there, or not whole: the pass is run again
        };
        let mut names: Vec<String> = mark.files.into_iter().map(|file| file.name).collect();
        let files = names.split_off(mark.tables.min(names.len()));
        let tables = names.iter().map(|name| {
            let rows = read_batches(&folder.join(PARTS).join(name));
            rows.map_err(|why| unreadable(name, why))
        });
        self.earlier_s = self.earlier_s.max(mark.wall_s);
        Ok(Some(Part {
            edits: mark.edits,
            tables: tables.collect::<Result<_, _>>()?,
            files,
        }))
    }

    fn save(&mut self, pass: usize, part: Part) -> Result<(), StoreError> {
        let parts = self.out.parts();
        let tables = part.tables.len();
        let mut names: Vec<String> = (0..tables).map(|table| table_name(pass, table)).collect();
        for (name, table) in names.iter().zip(part.tables) {
            self.out
                .put(&Path::new(PARTS).join(name), &encode(&table)?)?;
        }
        for name in &part.files {
            File::open(parts.join(name))?.sync_data()?;
        }
        names.extend(part.files);
        let files = names.iter().map(|name| owned::list(&parts, name));
        let mark = PartMark {
            files: files.collect::<io::Result<_>>()?,
            tables,
            edits: part.edits,
            wall_s: self.wall_s(),
        };
        let kind = format!("part {pass}");
        let mark = seal(&kind, &self.run, &serde_json::to_vec(&mark)?);
        Ok(self.out.put(&mark_path(Path::new(""), pass), &mark)?)
    }
}
