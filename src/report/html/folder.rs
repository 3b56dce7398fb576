//! Reads a run's folder: what it holds by its command, as far as a page shows it.

use std::fs;
use std::path::{Path, PathBuf};

use arrow_array::types::{Float32Type, Float64Type, Int32Type, UInt16Type, UInt32Type};
use arrow_array::{Array, RecordBatch};
use serde::de::DeserializeOwned;

use super::attribute_rate::{RateRow, RateTable};
use super::contents::Contents;
use super::cosines::NeuronCosines;
use super::losses::PromptRow;
use super::ranking::RankRow;
use crate::experiment::Arm;
use crate::io_class::{Class, ClassError};
use crate::report::owned::{PLAN, RUN, damage};
use crate::report::parts::passes_of;
use crate::report::table::{batches, column, nullable_column, text_column};
use crate::report::{ReportError, RunInfo};
use crate::stats::Interval;

/// A run's folder.
pub struct RunFolder {
    pub run: RunInfo,
    /// Of a run that was stopped: how many passes are through, and of how many.
    pub passes: Option<(usize, usize)>,
    pub contents: Contents,
}

impl RunFolder {
    pub fn read(path: &Path) -> Result<RunFolder, ReportError> {
        let mark = |name| -> Result<Option<RunInfo>, ReportError> {
            let path = path.join(name);
            path.is_file().then(|| json(&path)).transpose()
        };
        let no_run = || ReportError::NoRun { path: path.into() };
        let run = match mark(RUN)? {
            Some(run) => run,
            None => mark(PLAN)?.ok_or_else(no_run)?,
        };
        let files = Files {
            folder: path,
            run: &run,
        };
        Ok(RunFolder {
            contents: Contents::read(&files, &run)?,
            passes: (!run.finished).then(|| passes_of(path, &run)),
            run,
        })
    }
}

impl Contents {
    fn read(files: &Files<'_>, run: &RunInfo) -> Result<Contents, ReportError> {
        Ok(match run.command.as_str() {
            "classify" => Contents::Classify {
                classes: files.json("classes.json")?,
                neurons: files.rows("neurons.parquet", neurons)?,
            },
            "ablate" if run.texts.is_empty() => Contents::Facts {
                effects: files.json("effects.json")?,
                rows: files.rows("outcomes.parquet", prompt_rows)?,
            },
            "ablate" => Contents::Text {
                effects: files.json("effects.json")?,
            },
            "sweep" => Contents::Sweep {
                effects: files.json("effects.json")?,
            },
            "record" => Contents::Record {
                activity: files.json("class_activity.json")?,
            },
            "attributes" => Contents::Attributes {
                rates: files.rows("rates.parquet", rates)?,
                effects: files.json("effects.json")?,
            },
            "rank" => Contents::Rank {
                curve: files.json("curve.json")?,
                rows: files.rows("ranking.parquet", rank_rows)?,
            },
            "verify" => Contents::Verify {
                claims: files.json("claims.json")?,
            },
            _ => Contents::Other,
        })
    }
}

/// The files of a folder.
struct Files<'a> {
    folder: &'a Path,
    run: &'a RunInfo,
}

impl Files<'_> {
    /// A file, where it is there; it must be as the run wrote it.
    fn present(&self, name: &str) -> Result<Option<PathBuf>, ReportError> {
        let path = self.folder.join(name);
        if !path.is_file() {
            return Ok(None);
        }
        match damage(self.run, &path) {
            Some(why) => Err(damaged(&path, why)),
            None => Ok(Some(path)),
        }
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ReportError> {
        self.present(name)?.map(|path| json(&path)).transpose()
    }

    /// What `add` makes of the rows of a table, batch by batch.
    fn rows<T: Default>(
        &self,
        name: &str,
        add: fn(&mut T, &RecordBatch) -> Result<(), String>,
    ) -> Result<Option<T>, ReportError> {
        let Some(path) = self.present(name)? else {
            return Ok(None);
        };
        let mut rows = T::default();
        for batch in batches(&path).map_err(|why| damaged(&path, why))? {
            let batch = batch.map_err(|why| damaged(&path, why))?;
            add(&mut rows, &batch).map_err(|why| damaged(&path, why))?;
        }
        Ok(Some(rows))
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

fn neurons(neurons: &mut Vec<NeuronCosines>, batch: &RecordBatch) -> Result<(), String> {
    let layer = column::<UInt16Type>(batch, "layer")?;
    let gate_out = column::<Float32Type>(batch, "cos_gate_out")?;
    let in_out = column::<Float32Type>(batch, "cos_in_out")?;
    let class = text_column(batch, "class")?;
    for row in 0..batch.num_rows() {
        let named: Result<Class, ClassError> = class.value(row).parse();
        neurons.push(NeuronCosines {
            layer: layer.value(row).into(),
            gate_out: gate_out.value(row),
            in_out: in_out.value(row),
            class: named.map_err(|why| why.to_string())?,
        });
    }
    Ok(())
}

fn prompt_rows(rows: &mut Vec<PromptRow>, batch: &RecordBatch) -> Result<(), String> {
    let (prompt, class) = (
        text_column(batch, "prompt_id")?,
        text_column(batch, "class")?,
    );
    let (arms, top) = (text_column(batch, "arm")?, text_column(batch, "top_token")?);
    let logprob = column::<Float64Type>(batch, "target_logprob")?;
    for row in 0..batch.num_rows() {
        rows.push(PromptRow {
            prompt: prompt.value(row).to_string(),
            class: class.value(row).to_string(),
            arm: arm(arms.value(row))?,
            target_logprob: logprob.value(row),
            top_token: top.value(row).to_string(),
        });
    }
    Ok(())
}

fn rates(table: &mut RateTable, batch: &RecordBatch) -> Result<(), String> {
    let (prompt, class) = (
        text_column(batch, "prompt_id")?,
        text_column(batch, "class")?,
    );
    let arms = text_column(batch, "arm")?;
    let layer = column::<UInt16Type>(batch, "layer")?;
    let draw = column::<UInt32Type>(batch, "draw")?;
    let rate = nullable_column::<Float64Type>(batch, "rate")?;
    for row in 0..batch.num_rows() {
        table.add(RateRow {
            prompt: prompt.value(row),
            class: class.value(row),
            arm: arm(arms.value(row))?,
            draw: draw.value(row),
            layer: layer.value(row).into(),
            rate: rate.is_valid(row).then(|| rate.value(row)),
        });
    }
    Ok(())
}

/// The neurons that were ablated alone.
fn rank_rows(rows: &mut Vec<RankRow>, batch: &RecordBatch) -> Result<(), String> {
    let layer = column::<UInt16Type>(batch, "layer")?;
    let neuron = column::<UInt32Type>(batch, "neuron")?;
    let estimate = column::<Float64Type>(batch, "estimate")?;
    let estimate_rank = column::<UInt32Type>(batch, "estimate_rank")?;
    let exact = nullable_column::<Float64Type>(batch, "exact")?;
    let low = nullable_column::<Float64Type>(batch, "exact_low")?;
    let high = nullable_column::<Float64Type>(batch, "exact_high")?;
    let exact_rank = nullable_column::<UInt32Type>(batch, "exact_rank")?;
    let facts_lost = nullable_column::<Int32Type>(batch, "facts_lost")?;
    let alone = (0..batch.num_rows()).filter(|row| exact.is_valid(*row));
    let whole = |row| {
        exact_rank.is_valid(row)
            && facts_lost.is_valid(row)
            && low.is_valid(row) == high.is_valid(row)
    };
    if let Some(row) = alone.clone().find(|row| !whole(*row)) {
        return Err(format!(
            "row {row} lacks a rank, an interval or the facts lost"
        ));
    }
    rows.extend(alone.map(|row| RankRow {
        layer: layer.value(row).into(),
        neuron: neuron.value(row) as usize,
        estimate: estimate.value(row),
        estimate_rank: estimate_rank.value(row) as usize,
        exact: exact.value(row),
        interval: low.is_valid(row).then(|| Interval {
            low: low.value(row),
            high: high.value(row),
        }),
        exact_rank: exact_rank.value(row) as usize,
        facts_lost: facts_lost.value(row),
    }));
    Ok(())
}

fn arm(name: &str) -> Result<Arm, String> {
    let arms = [Arm::Clean, Arm::Class, Arm::Baseline];
    let named = arms.into_iter().find(|arm| arm.as_str() == name);
    named.ok_or_else(|| format!("no arm is called {name}"))
}
