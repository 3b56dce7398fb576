//! The files of a recording. Tokens and activations are written while the engine runs, in stretches: at each
//! checkpoint the open one is closed, and what the recording knows is saved beside it, so that a run that is ended goes
//! on from there. At the end the stretches are joined. Dense tensors are written at their places from the start; what
//! stands behind the last checkpoint is written again.

mod checkpoint;
mod dense;
pub(super) mod rows;
mod tables;
mod text;

pub use dense::DensePlan;
pub use text::context_of;
pub(super) use text::split_context;

use checkpoint::Checkpoint;
use dense::DenseWriter;
use rows::TokensRow;
use tables::{ActivationsWriter, TokensWriter, summary_table, top_tokens_table};

use super::{OutDir, Placed, ReportError, RunInfo};
use crate::experiment::record::{
    ActivationsRow, Activity, LayerReader, Pass, RecordInput, Recording,
};
use crate::hooks::Observer;
use crate::io_class::NeuronTable;
use crate::tokens::Tokenizer;

const TOKENS: &str = "tokens.parquet";
const ACTIVATIONS: &str = "activations.parquet";
pub(super) const SUMMARY: &str = "summary.parquet";
pub(super) const TOP_TOKENS: &str = "top_tokens.parquet";

/// The open files of a recording.
pub struct RecordFiles<'a> {
    out: &'a OutDir,
    input: &'a RecordInput,
    table: &'a NeuronTable,
    tokenizer: &'a Tokenizer,
    top: usize,
    /// What is saved.
    saved: Checkpoint,
    /// The open stretch; none before its first pass.
    tokens: Option<TokensWriter<'a>>,
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
    /// `dense`. Where the run is resumed, `out` holds what was recorded before, and `recording` takes it up.
    ///
    /// # Errors
    /// A file that cannot be made, or an earlier one that cannot be gone on with.
    pub fn open(
        out: &'a OutDir,
        input: &'a RecordInput,
        table: &'a NeuronTable,
        tokenizer: &'a Tokenizer,
        (top, dense): (usize, Option<&DensePlan>),
        (start, recording): (Start, &mut Recording<'_>),
    ) -> Result<Self, ReportError> {
        let saved = match start {
            Start::Anew => None,
            Start::Resumed => Checkpoint::read(out, recording)?,
        };
        // Tensors may be larger than the rest of the disk: they stay where they are, and rows are only added.
        let dense = dense.map(|plan| match &saved {
            None => DenseWriter::create(&out.parts(), plan),
            Some(_) => DenseWriter::open(&out.parts(), plan),
        });
        Ok(Self {
            dense: dense.transpose()?,
            out,
            input,
            table,
            tokenizer,
            top,
            saved: saved.unwrap_or_default(),
            tokens: None,
            activations: None,
        })
    }

    /// Seconds that the run took before it was ended.
    pub fn earlier_s(&self) -> f64 {
        self.saved.earlier_s
    }

    /// Those who read along in the pass that comes.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn readers(&mut self, pass: &Pass) -> Result<Readers<'_>, ReportError> {
        if self.tokens.is_none() {
            let name = |name| self.saved.next(name);
            let parts = self.out.parts();
            let tokens = TokensWriter::create(&parts, &name(TOKENS), self.input, self.tokenizer);
            self.tokens = Some(tokens?);
            let activations =
                || ActivationsWriter::create(&parts, &name(ACTIVATIONS), self.table, self.top);
            self.activations = (self.top > 0).then(activations).transpose()?;
        }
        let activations = self.activations.iter_mut();
        let dense = self.dense.iter_mut();
        Ok(Readers {
            layers: activations
                .map(|writer| writer as &mut dyn LayerReader)
                .collect(),
            sites: dense
                .map(|writer| {
                    writer.begin(pass);
                    writer as &mut dyn Observer
                })
                .collect(),
        })
    }

    /// Writes the tokens of a pass that has run.
    ///
    /// # Errors
    /// What could not be written in or since the pass.
    pub fn end_pass(&mut self, pass: &Pass) -> Result<(), ReportError> {
        if let Some(dense) = &mut self.dense {
            dense.check()?;
        }
        match &mut self.tokens {
            Some(tokens) => tokens.write(pass),
            None => Ok(()),
        }
    }

    /// Saves what was recorded so far: a run that is ended later goes on from here. `wall_s`: seconds that it took.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn checkpoint(
        &mut self,
        recording: &mut Recording<'_>,
        wall_s: f64,
    ) -> Result<(), ReportError> {
        let mut closed = Vec::new();
        if let Some(tokens) = self.tokens.take() {
            closed.push((TOKENS, tokens.close()?));
        }
        if let Some(activations) = self.activations.take() {
            closed.push((ACTIVATIONS, activations.close()?));
        }
        if let Some(dense) = &mut self.dense {
            dense.sync()?;
        }
        self.saved.save(self.out, closed, recording, wall_s)
    }

    /// Writes the rest and moves all files to their places.
    ///
    /// # Errors
    /// A file that cannot be written; what was recorded is saved then, where there is room.
    pub fn finish(
        mut self,
        recording: &mut Recording<'_>,
        view: &[Activity],
        info: &RunInfo,
    ) -> Result<Placed, ReportError> {
        self.checkpoint(recording, info.wall_s)?;
        let work = self.out.work();
        self.saved.join::<TokensRow>(self.out, TOKENS)?;
        if self.top > 0 {
            self.saved.join::<ActivationsRow>(self.out, ACTIVATIONS)?;
        }
        summary_table(&work, recording, self.table)?;
        top_tokens_table(&work, recording, self.input, self.tokenizer)?;
        let view = serde_json::to_vec_pretty(view).map_err(|error| ReportError::Encode {
            name: "class_activity.json",
            why: error.to_string(),
        })?;
        if let Some(dense) = self.dense {
            dense.close(&work)?;
        }
        self.out.commit(&[("class_activity.json", view)], info)
    }
}

/// The bytes that the files of a whole recording take, as far as they are known beforehand: the tensors to the
/// byte, an activation as it was measured on real models.
pub fn expected_bytes(rows: u64, layers: usize, top: usize, dense: Option<&DensePlan>) -> u64 {
    let activations = rows * layers as u64 * top as u64 * tables::BYTES_PER_ACTIVATION;
    activations + dense.map_or(0, DensePlan::bytes)
}
