//! The Parquet tables of a recording.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use arrow_array::{
    ArrayRef, Float32Array, Float64Array, Int8Array, UInt16Array, UInt32Array, UInt64Array,
};
use rayon::prelude::*;

use super::super::ReportError;
use super::super::table::{Column, TableWriter, strings, values};
use super::text::{CharCounter, context_of};
use super::{ACTIVATIONS, TOKENS};
use crate::experiment::record::{
    CaseSummary, LayerReader, LayerRows, NeuronSummary, Pass, PassRow, ReadError, RecordInput,
    Recording, StrongNeuron, strongest,
};
use crate::io_class::{NeuronRow, NeuronTable};
use crate::tokens::Tokenizer;

/// Of `activations.parquet`, measured on SmolLM2-135M; gate, up and post are 12 of them and do not compress.
pub(super) const BYTES_PER_ACTIVATION: u64 = 16;

/// `tokens.parquet`: a row per recorded token, in the order of the input.
pub(super) struct TokensWriter<'a> {
    table: TableWriter<File>,
    input: &'a RecordInput,
    tokenizer: &'a Tokenizer,
    texts: HashMap<u32, String>,
    counter: CharCounter,
}

impl<'a> TokensWriter<'a> {
    pub fn create(
        folder: &Path,
        file: String,
        input: &'a RecordInput,
        tokenizer: &'a Tokenizer,
    ) -> Result<Self, ReportError> {
        Ok(Self {
            table: TableWriter::create(folder, TOKENS, &file)?,
            input,
            tokenizer,
            texts: HashMap::new(),
            counter: CharCounter::default(),
        })
    }

    pub fn write(&mut self, pass: &Pass) -> Result<(), ReportError> {
        if pass.rows.is_empty() {
            return Ok(());
        }
        let rows = &pass.rows;
        let input = self.input;
        let id = |row: &PassRow| input.sequences()[row.sequence].ids[row.position];
        for row in rows {
            let token = self.texts.entry(id(row));
            token.or_insert_with(|| self.tokenizer.token_text(id(row)));
        }
        let place = |row: &PassRow| {
            let range = input.sequences()[row.sequence].span(row.position)?;
            Some(
                self.counter
                    .chars(row.unit, &input.units[row.unit].text, &range),
            )
        };
        let places: Vec<Option<(u32, u32)>> = rows.iter().map(place).collect();
        let end = |end: fn((u32, u32)) -> u32| -> ArrayRef {
            values::<UInt32Array, _>(places.iter().map(|place| place.map(end)))
        };
        let window = |row: &PassRow| input.origin(row.sequence).window as u32;
        let uints = |value: &dyn Fn(&PassRow) -> u32| -> ArrayRef {
            values::<UInt32Array, _>(rows.iter().map(|row| Some(value(row))))
        };
        self.table.write(vec![
            Column::required(
                "prompt_id",
                strings(rows.iter().map(|row| &input.units[row.unit].id)),
            ),
            Column::required("position", uints(&|row| row.position as u32)),
            Column::required("token_id", uints(&id)),
            Column::required(
                "token",
                strings(rows.iter().map(|row| &self.texts[&id(row)])),
            ),
            Column::optional("char_start", end(|(start, _)| start)),
            Column::optional("char_end", end(|(_, end)| end)),
            Column::required("role", strings(rows.iter().map(|row| row.role.as_str()))),
            Column::required("window", uints(&window)),
        ])
    }

    /// Writes the end of the file; whether it has rows.
    pub fn close(self) -> Result<bool, ReportError> {
        self.table.close_if_any().map(|file| file.is_some())
    }
}

/// `activations.parquet`: the strongest neurons of each recorded token in each layer.
pub(super) struct ActivationsWriter<'a> {
    table: TableWriter<File>,
    classes: &'a NeuronTable,
    top: usize,
}

impl<'a> ActivationsWriter<'a> {
    pub fn create(
        folder: &Path,
        file: String,
        classes: &'a NeuronTable,
        top: usize,
    ) -> Result<Self, ReportError> {
        Ok(Self {
            table: TableWriter::create(folder, ACTIVATIONS, &file)?,
            classes,
            top,
        })
    }

    /// Writes the end of the file; whether it has rows.
    pub fn close(self) -> Result<bool, ReportError> {
        self.table.close_if_any().map(|file| file.is_some())
    }
}

impl LayerReader for ActivationsWriter<'_> {
    fn read(&mut self, rows: &LayerRows<'_>, pass: &Pass) -> Result<(), ReadError> {
        let found = strongest(rows, pass, self.top);
        if found.is_empty() {
            return Ok(());
        }
        let classes = &self.classes.layers[rows.layer];
        let class = |strong: &StrongNeuron| classes[strong.neuron as usize].class.as_str();
        let floats = |value: fn(&StrongNeuron) -> f32| -> ArrayRef {
            values::<Float32Array, _>(found.iter().map(|strong| Some(value(strong))))
        };
        let layer = found.iter().map(|_| Some(rows.layer as u16));
        self.table.write(vec![
            Column::required(
                "row",
                values::<UInt64Array, _>(found.iter().map(|strong| Some(strong.row))),
            ),
            Column::required("layer", values::<UInt16Array, _>(layer)),
            Column::required(
                "neuron",
                values::<UInt32Array, _>(found.iter().map(|strong| Some(strong.neuron))),
            ),
            Column::required("gate", floats(|strong| strong.gate)),
            Column::required("up", floats(|strong| strong.up)),
            Column::required("post", floats(|strong| strong.post)),
            Column::required("class", strings(found.iter().map(class))),
        ])?;
        Ok(())
    }
}

/// The sign cases of `summary.parquet`: gate plus or minus, up plus or minus, by name of count, mean and largest.
const CASES: [[&str; 3]; 4] = [
    ["count_gp_up", "mean_post_gp_up", "max_abs_post_gp_up"],
    ["count_gp_um", "mean_post_gp_um", "max_abs_post_gp_um"],
    ["count_gm_up", "mean_post_gm_up", "max_abs_post_gm_up"],
    ["count_gm_um", "mean_post_gm_um", "max_abs_post_gm_um"],
];

/// `summary.parquet`: a row per neuron of the recorded layers.
pub(super) fn summary_table(
    folder: &Path,
    recording: &Recording<'_>,
    classes: &NeuronTable,
) -> Result<(), ReportError> {
    let mut table = TableWriter::create(folder, "summary.parquet", "summary.parquet")?;
    for layer in recording.summary.layers() {
        let neurons: Vec<NeuronSummary<'_>> = recording.summary.neurons(layer).collect();
        table.write(summary_columns(layer, &neurons, &classes.layers[layer]))?;
    }
    table.close().map(|_| ())
}

fn summary_columns(layer: usize, neurons: &[NeuronSummary<'_>], rows: &[NeuronRow]) -> Vec<Column> {
    let doubles = |value: &dyn Fn(&NeuronSummary<'_>) -> Option<f64>| -> ArrayRef {
        values::<Float64Array, _>(neurons.iter().map(value))
    };
    let frequency =
        |n: &NeuronSummary<'_>| (n.tokens > 0).then(|| n.fired as f64 / n.tokens as f64);
    let layers = neurons.iter().map(|_| Some(layer as u16));
    let tokens = neurons.iter().map(|n| Some(n.tokens));
    let largest = neurons.iter().map(|n| Some(n.max_abs_post));
    let mut columns = vec![
        Column::required("layer", values::<UInt16Array, _>(layers)),
        Column::required(
            "neuron",
            values::<UInt32Array, _>((0..neurons.len() as u32).map(Some)),
        ),
        Column::required("class", strings(rows.iter().map(|row| row.class.as_str()))),
        Column::required(
            "sign",
            values::<Int8Array, _>(rows.iter().map(|row| Some(row.sign))),
        ),
        Column::required("tokens", values::<UInt64Array, _>(tokens)),
        Column::optional("frequency", doubles(&frequency)),
        Column::optional("mean_post", doubles(&|n| n.mean_post)),
        Column::optional("var_post", doubles(&|n| n.var_post)),
        Column::required("max_abs_post", values::<Float32Array, _>(largest)),
    ];
    for (case, [count, mean, max_abs]) in CASES.into_iter().enumerate() {
        let cases = || {
            neurons
                .iter()
                .map(move |n| -> &CaseSummary { &n.cases[case] })
        };
        let counts = cases().map(|case| Some(case.count));
        let largest = cases().map(|case| case.max_abs_post);
        columns.extend([
            Column::required(count, values::<UInt64Array, _>(counts)),
            Column::optional(mean, doubles(&|n| n.cases[case].mean_post)),
            Column::optional(max_abs, values::<Float32Array, _>(largest)),
        ]);
    }
    columns
}

/// A line of `top_tokens.parquet`.
struct TopToken {
    neuron: u32,
    rank: u32,
    value: f32,
    row: u64,
}

/// `top_tokens.parquet`: the strongest tokens of each neuron, with their context.
pub(super) fn top_tokens_table(
    folder: &Path,
    recording: &Recording<'_>,
    input: &RecordInput,
    tokenizer: &Tokenizer,
) -> Result<(), ReportError> {
    let mut table = TableWriter::create(folder, "top_tokens.parquet", "top_tokens.parquet")?;
    for layer in recording.summary.layers() {
        let neurons = recording.summary.neurons(layer).enumerate();
        let lines = neurons.flat_map(|(neuron, summary)| {
            let ranked = summary.top.iter().enumerate();
            ranked.map(move |(rank, (value, row))| TopToken {
                neuron: neuron as u32,
                rank: rank as u32 + 1,
                value,
                row,
            })
        });
        table.write(top_columns(
            layer,
            &lines.collect::<Vec<_>>(),
            input,
            tokenizer,
        ))?;
    }
    table.close().map(|_| ())
}

fn top_columns(
    layer: usize,
    lines: &[TopToken],
    input: &RecordInput,
    tokenizer: &Tokenizer,
) -> Vec<Column> {
    let places: Vec<(usize, usize)> = lines.iter().map(|line| input.place(line.row)).collect();
    let contexts = lines
        .par_iter()
        .map(|line| context_of(input, line.row, tokenizer));
    let contexts: Vec<String> = contexts.collect();
    let id = |&(sequence, _): &(usize, usize)| &input.units[input.origin(sequence).unit].id;
    let token = |&(sequence, position): &(usize, usize)| input.sequences()[sequence].ids[position];
    let mut texts: HashMap<u32, String> = HashMap::new();
    for place in &places {
        texts
            .entry(token(place))
            .or_insert_with(|| tokenizer.token_text(token(place)));
    }
    let position = places.iter().map(|(_, position)| Some(*position as u32));
    vec![
        Column::required(
            "layer",
            values::<UInt16Array, _>(lines.iter().map(|_| Some(layer as u16))),
        ),
        Column::required(
            "neuron",
            values::<UInt32Array, _>(lines.iter().map(|l| Some(l.neuron))),
        ),
        Column::required(
            "rank",
            values::<UInt32Array, _>(lines.iter().map(|l| Some(l.rank))),
        ),
        Column::required(
            "value",
            values::<Float32Array, _>(lines.iter().map(|l| Some(l.value))),
        ),
        Column::required(
            "row",
            values::<UInt64Array, _>(lines.iter().map(|l| Some(l.row))),
        ),
        Column::required("prompt_id", strings(places.iter().map(id))),
        Column::required("position", values::<UInt32Array, _>(position)),
        Column::required(
            "token",
            strings(places.iter().map(|place| &texts[&token(place)])),
        ),
        Column::required("context", strings(contexts.iter())),
    ]
}
