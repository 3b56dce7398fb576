//! Parquet tables. Their column names and types are a contract with other programs.

use std::sync::Arc;

use arrow_array::builder::BooleanBuilder;
use arrow_array::{Array, ArrayRef, Float32Array, Float64Array, UInt16Array, UInt32Array};

use super::ReportError;
use super::table::{Column, TableWriter, strings};
use crate::experiment::{LayerWindow, Outcome};
use crate::io_class::{NeuronRow, NeuronTable};
use crate::prompts::Prompt;
use crate::tokens::Tokenizer;

/// `neurons.parquet`: a row per neuron.
pub fn neurons_parquet(table: &NeuronTable) -> Result<Vec<u8>, ReportError> {
    let rows = || {
        let layers = table.layers.iter().enumerate();
        layers.flat_map(|(l, rows)| rows.iter().enumerate().map(move |(n, row)| (l, n, row)))
    };
    let floats = |value: fn(&NeuronRow) -> f32| -> ArrayRef {
        Arc::new(Float32Array::from_iter_values(
            rows().map(|(_, _, row)| value(row)),
        ))
    };
    let class = rows().map(|(_, _, row)| row.class.as_str());
    let columns: Vec<(&'static str, ArrayRef)> = vec![
        (
            "layer",
            Arc::new(UInt16Array::from_iter_values(
                rows().map(|(l, _, _)| l as u16),
            )),
        ),
        (
            "neuron",
            Arc::new(UInt32Array::from_iter_values(
                rows().map(|(_, n, _)| n as u32),
            )),
        ),
        ("cos_gate_in", floats(|row| row.cosines.gate_in)),
        ("cos_gate_out", floats(|row| row.cosines.gate_out)),
        ("cos_in_out", floats(|row| row.cosines.in_out)),
        ("norm_gate", floats(|row| row.norm_gate)),
        ("norm_in", floats(|row| row.norm_in)),
        ("norm_out", floats(|row| row.norm_out)),
        ("class", strings(class)),
    ];
    encode("neurons.parquet", columns)
}

/// `outcomes.parquet`: a row per prompt and condition, with the layers of the edit where it is one of a window; `prompts`
/// and `tokenizer` give the ids and the text of the top tokens.
///
/// # Errors
/// [`ReportError::Encode`], also for an outcome of a prompt that is not among `prompts`.
pub fn outcomes_parquet(
    outcomes: &[Outcome],
    prompts: &[Prompt],
    tokenizer: &Tokenizer,
) -> Result<Vec<u8>, ReportError> {
    const NAME: &str = "outcomes.parquet";
    if let Some(outcome) = outcomes.iter().find(|o| o.prompt >= prompts.len()) {
        let why = format!("there is no prompt number {}", outcome.prompt);
        return Err(ReportError::Encode { name: NAME, why });
    }
    let mut columns = outcome_columns(outcomes, prompts, tokenizer);
    if outcomes.iter().any(|outcome| outcome.layers.is_some()) {
        let layers = |value: fn(LayerWindow) -> usize| -> ArrayRef {
            let layers = outcomes.iter().map(|outcome| outcome.layers.map(value));
            Arc::new(UInt16Array::from_iter(
                layers.map(|layer| layer.map(|layer| layer as u16)),
            ))
        };
        columns.push(("first_layer", layers(|window| window.first)));
        columns.push(("last_layer", layers(|window| window.last)));
    }
    encode(NAME, columns)
}

fn outcome_columns(
    outcomes: &[Outcome],
    prompts: &[Prompt],
    tokenizer: &Tokenizer,
) -> Vec<(&'static str, ArrayRef)> {
    let uints = |value: fn(&Outcome) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(outcomes.iter().map(value)))
    };
    let floats = |value: fn(&Outcome) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(outcomes.iter().map(value)))
    };
    let mut known = BooleanBuilder::new();
    known.append_slice(&outcomes.iter().map(|o| o.known).collect::<Vec<_>>());
    vec![
        (
            "prompt_id",
            strings(outcomes.iter().map(|o| prompts[o.prompt].id.as_str())),
        ),
        ("class", strings(outcomes.iter().map(|o| o.class.as_str()))),
        ("arm", strings(outcomes.iter().map(|o| o.arm.as_str()))),
        ("draw", uints(|o| o.draw)),
        ("mode", strings(outcomes.iter().map(|o| o.mode.as_str()))),
        ("neurons", uints(|o| o.neurons)),
        ("target_logprob", floats(|o| o.score.target_logprob)),
        ("first_logprob", floats(|o| o.score.first_logprob)),
        ("first_rank", uints(|o| o.score.first_rank)),
        ("known", Arc::new(known.finish())),
        ("entropy", floats(|o| o.score.entropy_nats)),
        ("kl", floats(|o| o.score.kl_nats)),
        (
            "top_token",
            strings(
                outcomes
                    .iter()
                    .map(|o| tokenizer.token_text(o.score.top_token)),
            ),
        ),
        ("top_token_id", uints(|o| o.score.top_token)),
    ]
}

fn encode(
    name: &'static str,
    columns: Vec<(&'static str, ArrayRef)>,
) -> Result<Vec<u8>, ReportError> {
    let columns = columns.into_iter();
    let columns = columns.map(|(name, values)| match values.null_count() {
        0 => Column::required(name, values),
        _ => Column::optional(name, values),
    });
    let mut table = TableWriter::new(name, Vec::new());
    table.write(columns.collect())?;
    table.close()
}
