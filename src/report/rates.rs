//! `rates.parquet`: a row per prompt, condition and layer, encoded condition by condition.

use arrow_array::{Float64Array, UInt16Array, UInt32Array};

use super::ReportError;
use super::table::{Column, TableWriter, strings, values};
use crate::experiment::attributes::{Attributes, RateRow};
use crate::prompts::Prompt;

/// The bytes of `rates.parquet`. `prompts` give the ids and the subjects.
///
/// # Errors
/// A table without rows, or one that cannot be encoded.
pub fn rates_parquet(found: &Attributes, prompts: &[Prompt]) -> Result<Vec<u8>, ReportError> {
    let mut table = TableWriter::new("rates.parquet", Vec::new());
    for rows in found.rows() {
        table.write(columns(&rows, prompts))?;
    }
    table.close()
}

fn columns(rows: &[RateRow<'_>], prompts: &[Prompt]) -> Vec<Column> {
    let uints =
        |value: fn(&RateRow<'_>) -> u32| values::<UInt32Array, _>(rows.iter().map(value).map(Some));
    let prompt = |row: &RateRow<'_>| &prompts[row.prompt];
    let required = [
        ("prompt_id", strings(rows.iter().map(|row| &prompt(row).id))),
        (
            "subject",
            strings(rows.iter().map(|row| &prompt(row).subject)),
        ),
        (
            "layer",
            values::<UInt16Array, _>(rows.iter().map(|row| Some(row.layer as u16))),
        ),
        ("class", strings(rows.iter().map(|row| row.class))),
        ("arm", strings(rows.iter().map(|row| row.arm.as_str()))),
        ("draw", uints(|row| row.draw)),
        ("mode", strings(rows.iter().map(|row| row.mode))),
        ("neurons", uints(|row| row.neurons)),
        ("kept", uints(|row| row.share.kept)),
        ("hits", uints(|row| row.share.hits)),
    ];
    let rates = values::<Float64Array, _>(rows.iter().map(|row| row.share.rate()));
    let required = required.into_iter();
    required
        .map(|(name, values)| Column::required(name, values))
        .chain([Column::optional("rate", rates)])
        .collect()
}
