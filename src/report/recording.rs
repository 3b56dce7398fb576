//! What a run may take from a folder that `record` wrote.

use std::path::{Path, PathBuf};

use arrow_array::types::{Float64Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array, PrimitiveArray, RecordBatch};
use serde::Deserialize;

use super::ReportError;
use super::table::{batches, column};
use crate::hooks::{Neuron, NeuronMean, NeuronMeans, RawCase};

/// A folder that `record` wrote.
pub struct RecordedFolder {
    path: PathBuf,
    model: Vec<ModelFile>,
    tokenizer_sha256: String,
}

/// What is read of `run.json`.
#[derive(Deserialize)]
struct RunJson {
    model: ModelJson,
    tokenizer_sha256: String,
    /// Runs that cannot be stopped halfway do not say.
    finished: Option<bool>,
}

#[derive(Deserialize)]
struct ModelJson {
    files: Vec<ModelFile>,
}

#[derive(Deserialize)]
struct ModelFile {
    path: PathBuf,
    sha256: String,
}

const RUN: &str = "run.json";
const SUMMARY: &str = "summary.parquet";

impl RecordedFolder {
    /// Reads the folder's `run.json`.
    ///
    /// # Errors
    /// [`ReportError::Recording`] where that is missing, not of a recording, or of one that is not finished.
    pub fn open(path: &Path) -> Result<RecordedFolder, ReportError> {
        let file = path.join(RUN);
        let text = std::fs::read(&file).map_err(|why| damaged(&file, why))?;
        let run: RunJson = serde_json::from_slice(&text).map_err(|why| damaged(&file, why))?;
        if run.finished == Some(false) {
            let why = "the recording was stopped; go on with it (--resume) first";
            return Err(damaged(&file, why));
        }
        Ok(RecordedFolder {
            path: path.to_owned(),
            model: run.model.files,
            tokenizer_sha256: run.tokenizer_sha256,
        })
    }

    /// Checks that the model's files (with their hashes) and the tokenizer are those of the recording.
    ///
    /// # Errors
    /// [`ReportError::OtherModel`], with both sides.
    pub fn check(
        &self,
        model: &[(PathBuf, String)],
        tokenizer_sha256: &str,
    ) -> Result<(), ReportError> {
        let other = |what, recorded, here| ReportError::OtherModel {
            path: self.path.clone(),
            what,
            recorded,
            here,
        };
        let recorded = self.model.iter().map(|file| &file.sha256);
        if !recorded.eq(model.iter().map(|(_, sha256)| sha256)) {
            let there = self.model.iter().map(|file| (&file.path, &file.sha256));
            let here = model.iter().map(|(path, sha256)| (path, sha256));
            return Err(other("model", hashes(there), hashes(here)));
        }
        if self.tokenizer_sha256 != tokenizer_sha256 {
            let (there, here) = (&self.tokenizer_sha256, tokenizer_sha256);
            let sha256 = |hash: &str| format!("sha256 {hash}");
            return Err(other("tokenizer", sha256(there), sha256(here)));
        }
        Ok(())
    }

    /// The means of `summary.parquet` for a model of this shape, and how many tokens they are over (the
    /// most of any neuron). A mean over no token is absent.
    ///
    /// # Errors
    /// [`ReportError::Recording`] for a file that is missing, lacks a column, or names another model's neurons.
    pub fn means(&self, n_layers: usize, d_mlp: usize) -> Result<(NeuronMeans, u64), ReportError> {
        let path = self.path.join(SUMMARY);
        let reader = batches(&path).map_err(|why| damaged(&path, why))?;
        let (mut means, mut most) = (NeuronMeans::absent(n_layers, d_mlp), 0);
        for batch in reader {
            let batch = batch.map_err(|why| damaged(&path, why))?;
            let rows = Rows::of(&batch).map_err(|why| damaged(&path, why))?;
            for row in 0..batch.num_rows() {
                let neuron = rows.neuron(row);
                most = most.max(rows.tokens.value(row));
                means
                    .set(neuron, rows.mean(row))
                    .ok_or_else(|| damaged(&path, format!("this model has no neuron {neuron}")))?;
            }
        }
        Ok((means, most))
    }
}

/// The columns of some rows of `summary.parquet`.
struct Rows<'a> {
    layer: &'a PrimitiveArray<UInt16Type>,
    neuron: &'a PrimitiveArray<UInt32Type>,
    tokens: &'a PrimitiveArray<UInt64Type>,
    mean: &'a PrimitiveArray<Float64Type>,
    by_sign: Vec<(
        &'a PrimitiveArray<UInt64Type>,
        &'a PrimitiveArray<Float64Type>,
    )>,
}

impl<'a> Rows<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, String> {
        let by_sign = RawCase::ALL.into_iter().map(|case| {
            let case = case.suffix();
            Ok((
                column(batch, &format!("count_{case}"))?,
                column(batch, &format!("mean_post_{case}"))?,
            ))
        });
        Ok(Self {
            layer: column(batch, "layer")?,
            neuron: column(batch, "neuron")?,
            tokens: column(batch, "tokens")?,
            mean: column(batch, "mean_post")?,
            by_sign: by_sign.collect::<Result<_, String>>()?,
        })
    }

    fn neuron(&self, row: usize) -> Neuron {
        Neuron {
            layer: self.layer.value(row) as usize,
            index: self.neuron.value(row) as usize,
        }
    }

    fn mean(&self, row: usize) -> NeuronMean {
        let mean = |counts: &PrimitiveArray<UInt64Type>, means: &PrimitiveArray<Float64Type>| {
            let seen = counts.value(row) > 0 && means.is_valid(row);
            seen.then(|| means.value(row) as f32)
                .filter(|mean| mean.is_finite())
        };
        NeuronMean {
            overall: mean(self.tokens, self.mean),
            by_sign: std::array::from_fn(|case| mean(self.by_sign[case].0, self.by_sign[case].1)),
        }
    }
}

fn hashes<'a>(files: impl Iterator<Item = (&'a PathBuf, &'a String)>) -> String {
    let files = files.map(|(path, sha256)| format!("{} (sha256 {sha256})", path.display()));
    files.collect::<Vec<_>>().join(", ")
}

fn damaged(path: &Path, why: impl ToString) -> ReportError {
    ReportError::Recording {
        path: path.to_owned(),
        why: why.to_string(),
    }
}
