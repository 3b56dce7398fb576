//! `outcomes_text.parquet`: a row per position of a text and condition, written pass by pass.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, UInt32Array};

use super::ReportError;
use super::table::{Column, TableWriter, strings};
use crate::experiment::TokenOutcome;
use crate::prompts::Document;
use crate::tokens::Tokenizer;

const NAME: &str = "outcomes_text.parquet";

/// The table while it is written.
pub struct TextOutcomes<'a> {
    documents: Vec<&'a Document>,
    tokenizer: &'a Tokenizer,
    writer: TableWriter<File>,
}

impl<'a> TextOutcomes<'a> {
    /// An empty table over these documents, in a new file of `folder`.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn create(
        folder: &Path,
        documents: Vec<&'a Document>,
        tokenizer: &'a Tokenizer,
    ) -> Result<Self, ReportError> {
        Ok(Self {
            documents,
            tokenizer,
            writer: TableWriter::create(folder, NAME, NAME)?,
        })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// Rows that cannot be encoded or written.
    pub fn push(&mut self, rows: &[TokenOutcome<'_>]) -> Result<(), ReportError> {
        self.writer.write(self.columns(rows))
    }

    fn columns(&self, rows: &[TokenOutcome<'_>]) -> Vec<Column> {
        let uints = |value: fn(&TokenOutcome<'_>) -> u32| -> ArrayRef {
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(value)))
        };
        let floats = |value: fn(&TokenOutcome<'_>) -> f64| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(rows.iter().map(value)))
        };
        let id = |row: &TokenOutcome<'_>| self.documents[row.document].id.as_str();
        let token = |row: &TokenOutcome<'_>| self.tokenizer.token_text(row.token);
        let columns = vec![
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
        ];
        let columns = columns.into_iter();
        columns
            .map(|(name, values)| Column::required(name, values))
            .collect()
    }

    /// Writes the end of the file.
    ///
    /// # Errors
    /// A table without rows, or one that cannot be written.
    pub fn close(self) -> Result<(), ReportError> {
        self.writer.close().map(|_| ())
    }
}
