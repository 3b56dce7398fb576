//! `outcomes_text.parquet`: a row per position of a text and condition, encoded pass by pass.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, UInt32Array};
use parquet::arrow::ArrowWriter;

use super::ReportError;
use super::parquet::{properties, strings};
use crate::experiment::TokenOutcome;
use crate::prompts::Document;
use crate::tokens::Tokenizer;

const NAME: &str = "outcomes_text.parquet";

/// The table while it is written.
pub struct TextOutcomes<'a> {
    documents: Vec<&'a Document>,
    tokenizer: &'a Tokenizer,
    writer: Option<ArrowWriter<Vec<u8>>>,
}

impl<'a> TextOutcomes<'a> {
    /// An empty table over these documents.
    pub fn new(documents: Vec<&'a Document>, tokenizer: &'a Tokenizer) -> Self {
        Self {
            documents,
            tokenizer,
            writer: None,
        }
    }

    /// Appends rows.
    ///
    /// # Errors
    /// Rows that cannot be encoded.
    pub fn push(&mut self, rows: &[TokenOutcome<'_>]) -> Result<(), ReportError> {
        let batch = RecordBatch::try_from_iter(self.columns(rows)).map_err(failed)?;
        if self.writer.is_none() {
            let writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties()));
            self.writer = Some(writer.map_err(failed)?);
        }
        match &mut self.writer {
            Some(writer) => writer.write(&batch).map_err(failed),
            None => Ok(()),
        }
    }

    fn columns(&self, rows: &[TokenOutcome<'_>]) -> Vec<(&'static str, ArrayRef)> {
        let uints = |value: fn(&TokenOutcome<'_>) -> u32| -> ArrayRef {
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(value)))
        };
        let floats = |value: fn(&TokenOutcome<'_>) -> f64| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(rows.iter().map(value)))
        };
        let id = |row: &TokenOutcome<'_>| self.documents[row.document].id.as_str();
        let token = |row: &TokenOutcome<'_>| self.tokenizer.token_text(row.token);
        vec![
            ("document_id", strings(rows.iter().map(id))),
            ("window", uints(|row| row.window as u32)),
            ("position", uints(|row| row.position as u32)),
            ("next_token_id", uints(|row| row.token)),
            ("next_token", strings(rows.iter().map(token))),
            ("class", strings(rows.iter().map(|row| row.class))),
            ("arm", strings(rows.iter().map(|row| row.arm.as_str()))),
            ("draw", uints(|row| row.draw)),
            ("mode", strings(rows.iter().map(|row| row.mode))),
            ("neurons", uints(|row| row.neurons)),
            ("loss", floats(|row| row.score.loss_nats)),
            ("entropy", floats(|row| row.score.entropy_nats)),
            ("rank", uints(|row| row.score.rank)),
            ("log_scale", floats(|row| row.score.log_scale)),
        ]
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// A table without rows, or one that cannot be encoded.
    pub fn finish(self) -> Result<Vec<u8>, ReportError> {
        let writer = self.writer.ok_or_else(|| failed("it has no rows"))?;
        writer.into_inner().map_err(failed)
    }
}

fn failed(why: impl ToString) -> ReportError {
    let why = why.to_string();
    ReportError::Encode { name: NAME, why }
}
