//! The files of a recording. What a token's neurons did is written while the engine runs, each pass into files of its
//! own, which are joined at the end; the tables of neurons and of tokens are made then.

mod dense;
pub(super) mod rows;
mod tables;
mod text;

pub use dense::DensePlan;
pub use text::context_of;
pub(super) use text::split_context;

use std::fs;
use std::path::PathBuf;

use dense::DenseWriter;
use tables::{
    ACTIVATIONS, ActivationsWriter, join_activations, summary_table, tokens_table, top_tokens_table,
};
pub(super) use tables::{SUMMARY, TOP_TOKENS};

use super::owned::name_of_pass;
use super::{OutDir, ReportError};
use crate::experiment::record::{
    MlpReader, Readers, RecordInput, RecordSink, RecordedRows, Recording,
};
use crate::hooks::{Observer, ReadError};
use crate::io_class::NeuronTable;
use crate::tokens::Tokenizer;

/// Writes the files of a recording.
pub struct RecordFiles<'a> {
    out: &'a OutDir,
    table: &'a NeuronTable,
    top: usize,
    dense: Option<&'a DensePlan>,
    /// The number of the open pass.
    pass: usize,
    activations: Option<ActivationsWriter<'a>>,
    tensors: Option<DenseWriter>,
}

impl<'a> RecordFiles<'a> {
    /// With `top` strongest neurons per token and layer (none: no file of them), and the tensors of `dense`.
    pub fn new(
        out: &'a OutDir,
        table: &'a NeuronTable,
        top: usize,
        dense: Option<&'a DensePlan>,
    ) -> Self {
        Self {
            out,
            table,
            top,
            dense,
            pass: 0,
            activations: None,
            tensors: None,
        }
    }

    /// Writes all that goes to the folder when the run is finished, but for the class view.
    ///
    /// # Errors
    /// A file that cannot be written; the parts of the passes stay.
    pub fn finish(
        &self,
        recording: &Recording<'_>,
        input: &RecordInput,
        tokenizer: &Tokenizer,
    ) -> Result<(), ReportError> {
        let work = self.out.work();
        tokens_table(&work, input, tokenizer)?;
        if self.top > 0 {
            join_activations(&self.parts(ACTIVATIONS)?, &work)?;
        }
        if let Some(plan) = self.dense {
            plan.join(&self.parts(dense::NAME)?, &work)?;
        }
        summary_table(&work, recording, self.table)?;
        top_tokens_table(&work, recording, input, tokenizer)
    }

    /// What the passes wrote of a file, in order.
    fn parts(&self, name: &str) -> Result<Vec<PathBuf>, ReportError> {
        let parts = self.out.parts();
        let files = super::out_dir::visible(&parts).map_err(|why| ReportError::Write {
            path: parts.clone(),
            why,
        })?;
        let numbered = files.into_iter().filter_map(|file| {
            let pass = file.strip_suffix(name)?.strip_suffix('-')?;
            Some((pass.parse::<usize>().ok()?, parts.join(file)))
        });
        let mut numbered: Vec<(usize, PathBuf)> = numbered.collect();
        numbered.sort();
        Ok(numbered.into_iter().map(|(_, path)| path).collect())
    }
}

impl RecordSink for RecordFiles<'_> {
    fn begin(&mut self, pass: usize, recorded: &RecordedRows) -> Result<Readers<'_>, ReadError> {
        self.pass = pass;
        let path = |name| self.out.parts().join(part_name(pass, name));
        let activations = || ActivationsWriter::create(&path(ACTIVATIONS), self.table, self.top);
        let activations = (self.top > 0).then(activations).transpose()?;
        let tensors = self
            .dense
            .map(|plan| DenseWriter::create(path(dense::NAME), plan, recorded));
        self.activations = activations;
        self.tensors = tensors.transpose()?;
        let layers = self.activations.iter_mut();
        let sites = self.tensors.iter_mut();
        Ok(Readers {
            layers: layers.map(|writer| writer as &mut dyn MlpReader).collect(),
            sites: sites.map(|writer| writer as &mut dyn Observer).collect(),
        })
    }

    fn end(&mut self) -> Result<Vec<String>, ReadError> {
        let mut written = Vec::new();
        if let Some(activations) = self.activations.take() {
            let name = part_name(self.pass, ACTIVATIONS);
            if activations.close()? {
                written.push(name);
            } else {
                fs::remove_file(self.out.parts().join(name))?;
            }
        }
        if self.tensors.take().is_some() {
            written.push(part_name(self.pass, dense::NAME));
        }
        Ok(written)
    }
}

fn part_name(pass: usize, name: &str) -> String {
    name_of_pass(pass, &format!("-{name}"))
}

/// The bytes that the files of a whole recording take, as far as they are known beforehand: the tensors to the
/// byte, an activation as it was measured on real models.
pub fn expected_bytes(rows: u64, layers: usize, top: usize, dense: Option<&DensePlan>) -> u64 {
    let activations = rows * layers as u64 * top as u64 * tables::BYTES_PER_ACTIVATION;
    activations + dense.map_or(0, DensePlan::bytes)
}
