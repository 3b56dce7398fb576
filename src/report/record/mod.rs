//! The files of a recording. Tokens, activations and dense tensors are written while the engine runs, in a
//! staging folder; the rest when it ends or is stopped.

mod dense;
mod tables;
mod text;

pub use dense::DensePlan;
pub use text::context_of;
pub(super) use text::split_context;

use std::fs;
use std::path::Path;

use dense::DenseWriter;
use tables::{ActivationsWriter, TokensWriter, summary_table, top_tokens_table};

use super::{OutDir, ReportError, RunInfo, Staging};
use crate::experiment::record::{Activity, LayerReader, Pass, RecordInput, Recording};
use crate::hooks::Observer;
use crate::io_class::NeuronTable;
use crate::tokens::Tokenizer;

/// What a stopped recording goes on from; gone when it is finished.
const STATE: &str = "resume.bin";

/// The open files of a recording.
pub struct RecordFiles<'a> {
    out: &'a OutDir,
    staging: Staging,
    input: &'a RecordInput,
    table: &'a NeuronTable,
    tokenizer: &'a Tokenizer,
    tokens: TokensWriter<'a>,
    activations: Option<ActivationsWriter<'a>>,
    dense: Option<DenseWriter>,
}

/// Those who read along while a pass runs.
pub struct Readers<'r> {
    /// Of whole layers.
    pub layers: Vec<&'r mut dyn LayerReader>,
    /// Of single sites.
    pub sites: Vec<&'r mut dyn Observer>,
}

/// Where a recording begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the first token.
    Anew,
    /// Behind what the folder holds.
    Resumed,
}

impl<'a> RecordFiles<'a> {
    /// Opens the files: with `top` strongest neurons per token and layer (none: no file of them), and the tensors of
    /// `dense`. Where the run is resumed, `out` holds what was recorded before.
    ///
    /// # Errors
    /// A file that cannot be made, or an earlier one that cannot be gone on with.
    pub fn open(
        out: &'a OutDir,
        input: &'a RecordInput,
        table: &'a NeuronTable,
        tokenizer: &'a Tokenizer,
        (top, dense): (usize, Option<&DensePlan>),
        start: Start,
    ) -> Result<Self, ReportError> {
        let staging = out.stage()?;
        let mut tokens = TokensWriter::create(staging.path(), input, tokenizer)?;
        let activations = (top > 0).then(|| ActivationsWriter::create(staging.path(), table, top));
        let mut activations = activations.transpose()?;
        if start == Start::Resumed {
            tokens.copy_from(out.path())?;
            if let Some(activations) = &mut activations {
                activations.copy_from(out.path())?;
            }
        }
        // Tensors may be larger than the rest of the disk: they stay where they are, and rows are only added.
        let dense = dense.map(|plan| match start {
            Start::Anew => DenseWriter::create(staging.path(), plan),
            Start::Resumed => DenseWriter::open(out.path(), plan),
        });
        Ok(Self {
            dense: dense.transpose()?,
            out,
            staging,
            input,
            table,
            tokenizer,
            tokens,
            activations,
        })
    }

    /// Those who read along in the pass that comes.
    pub fn readers(&mut self, pass: &Pass) -> Readers<'_> {
        let activations = self.activations.iter_mut();
        let dense = self.dense.iter_mut();
        Readers {
            layers: activations
                .map(|writer| writer as &mut dyn LayerReader)
                .collect(),
            sites: dense
                .map(|writer| {
                    writer.begin(pass);
                    writer as &mut dyn Observer
                })
                .collect(),
        }
    }

    /// Writes the tokens of a pass that has run.
    ///
    /// # Errors
    /// What could not be written in or since the pass.
    pub fn end_pass(&mut self, pass: &Pass) -> Result<(), ReportError> {
        if let Some(dense) = &mut self.dense {
            dense.check()?;
        }
        self.tokens.write(pass)
    }

    /// Writes the rest and moves all files to their folder. `info` says whether the run is finished.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn finish(
        self,
        recording: &mut Recording<'_>,
        view: &[Activity],
        info: &RunInfo,
    ) -> Result<(), ReportError> {
        let folder = self.staging.path();
        self.tokens.close()?;
        if let Some(activations) = self.activations {
            activations.close()?;
        }
        summary_table(folder, recording, self.table)?;
        top_tokens_table(folder, recording, self.input, self.tokenizer)?;
        let view = serde_json::to_vec_pretty(view).map_err(|error| ReportError::Encode {
            name: "class_activity.json",
            why: error.to_string(),
        })?;
        let mut files = vec![("class_activity.json", view)];
        if !info.finished {
            files.push((STATE, recording.to_bytes()));
        }
        files.push(("run.json", info.to_json()?));
        if let Some(dense) = self.dense {
            dense.close(folder, info.finished)?;
        }
        self.out.commit(self.staging, &files)
    }
}

/// The state that a stopped recording left.
///
/// # Errors
/// [`ReportError::Resume`] where it cannot be read.
pub fn saved_state(folder: &Path) -> Result<Vec<u8>, ReportError> {
    let path = folder.join(STATE);
    fs::read(&path).map_err(|error| ReportError::Resume {
        path,
        why: error.to_string(),
    })
}

/// The bytes that the files of a whole recording take, as far as they are known beforehand: the tensors to the
/// byte, an activation as it was measured on real models.
pub fn expected_bytes(rows: u64, layers: usize, top: usize, dense: Option<&DensePlan>) -> u64 {
    let activations = rows * layers as u64 * top as u64 * tables::BYTES_PER_ACTIVATION;
    activations + dense.map_or(0, DensePlan::bytes)
}
