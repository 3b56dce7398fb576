//! Writes the Parquet tables of a recording.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::super::ReportError;
use super::super::owned::link;
use super::super::table::TableWriter;
use super::rows::{TokensRow, TopTokensRow};
use super::text::{CharCounter, context_of};
use crate::experiment::record::{
    ActivationsRow, LayerRows, MlpReader, RecordInput, RecordedRows, Recording, strongest,
};
use crate::hooks::ReadError;
use crate::io_class::NeuronTable;
use crate::tokens::Tokenizer;

const TOKENS: &str = "tokens.parquet";
pub(super) const ACTIVATIONS: &str = "activations.parquet";
pub(in super::super) const SUMMARY: &str = "summary.parquet";
pub(in super::super) const TOP_TOKENS: &str = "top_tokens.parquet";

/// Of `activations.parquet`, measured on SmolLM2-135M; gate, up and post are 12 of them and do not compress.
pub(super) const BYTES_PER_ACTIVATION: u64 = 16;

/// `tokens.parquet`: a row per recorded token, in the order of the input.
pub(super) fn tokens_table(
    folder: &Path,
    input: &RecordInput,
    tokenizer: &Tokenizer,
) -> Result<(), ReportError> {
    let mut table = TableWriter::create(&folder.join(TOKENS), TOKENS)?;
    let mut counter = CharCounter::default();
    for row in input.all_recorded() {
        let sequence = input.sequence(row.sequence);
        let unit = &input.units[row.unit];
        let span = sequence.span(row.position);
        let chars = span.map(|range| counter.chars(row.unit, &unit.text, &range));
        let token_id = sequence.ids[row.position];
        table.push(&TokensRow {
            prompt_id: unit.id.clone(),
            position: row.position as u32,
            token_id,
            token: tokenizer.token_text(token_id),
            char_start: chars.map(|(start, _)| start),
            char_end: chars.map(|(_, end)| end),
            role: row.role,
            window: input.origin(row.sequence).window as u32,
            first: row.is_first(),
        })?;
    }
    table.close().map(drop)
}

/// `activations.parquet` of a pass: the strongest neurons of each recorded token in each layer.
pub(super) struct ActivationsWriter<'a> {
    table: TableWriter<ActivationsRow>,
    classes: &'a NeuronTable,
    top: usize,
}

impl<'a> ActivationsWriter<'a> {
    pub fn create(path: &Path, classes: &'a NeuronTable, top: usize) -> Result<Self, ReportError> {
        Ok(Self {
            table: TableWriter::create(path, ACTIVATIONS)?,
            classes,
            top,
        })
    }

    /// Writes the end of the file; whether it has rows.
    pub fn close(self) -> Result<bool, ReportError> {
        self.table.close_if_any().map(|file| file.is_some())
    }
}

/// The whole table, from those of the passes.
pub(super) fn join_activations(passes: &[PathBuf], folder: &Path) -> Result<(), ReportError> {
    if let [only] = passes {
        let path = folder.join(ACTIVATIONS);
        return link(only, &path).map_err(|why| ReportError::Write { path, why });
    }
    let mut whole = TableWriter::<ActivationsRow>::create(&folder.join(ACTIVATIONS), ACTIVATIONS)?;
    passes.iter().try_for_each(|path| whole.copy_from(path))?;
    whole.close().map(drop)
}

impl MlpReader for ActivationsWriter<'_> {
    fn read(&mut self, rows: &LayerRows<'_>, recorded: &RecordedRows) -> Result<(), ReadError> {
        let classes = &self.classes.layers[rows.layer];
        let found = strongest(rows, recorded, classes, self.top);
        Ok(self.table.write(&found)?)
    }
}

/// `summary.parquet`: a row per neuron of the recorded layers.
pub(super) fn summary_table(
    folder: &Path,
    recording: &Recording<'_>,
    classes: &NeuronTable,
) -> Result<(), ReportError> {
    let mut table = TableWriter::create(&folder.join(SUMMARY), SUMMARY)?;
    for layer in recording.summary.layers() {
        table.extend(recording.summary.rows(layer, &classes.layers[layer]))?;
    }
    table.close().map(drop)
}

/// `top_tokens.parquet`: the strongest tokens of each neuron, with their context.
pub(super) fn top_tokens_table(
    folder: &Path,
    recording: &Recording<'_>,
    input: &RecordInput,
    tokenizer: &Tokenizer,
) -> Result<(), ReportError> {
    let mut table = TableWriter::create(&folder.join(TOP_TOKENS), TOP_TOKENS)?;
    let row = |layer: usize, neuron: usize, rank: usize, (value, row): (f32, u64)| {
        let (sequence, position) = input.place(row);
        TopTokensRow {
            layer: layer as u16,
            neuron: neuron as u32,
            rank: rank as u32 + 1,
            value,
            row,
            prompt_id: input.units[input.origin(sequence).unit].id.clone(),
            position: position as u32,
            token: tokenizer.token_text(input.sequence(sequence).ids[position]),
            context: context_of(input, row, tokenizer),
        }
    };
    for layer in recording.summary.layers() {
        let neurons: Vec<_> = recording.summary.top(layer).enumerate().collect();
        let rows = neurons.par_iter().flat_map_iter(|(neuron, top)| {
            let ranked = top.iter().enumerate();
            ranked.map(|(rank, strong)| row(layer, *neuron, rank, strong))
        });
        table.extend(rows.collect::<Vec<_>>())?;
    }
    table.close().map(drop)
}
