//! `outcomes_text.parquet`: a row per position of a text and condition, written pass by pass.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ReportError;
use super::table::{TableWriter, check_numbers};
use crate::experiment::{Arm, TokenOutcome};
use crate::prompts::Document;
use crate::tokens::Tokenizer;

const NAME: &str = "outcomes_text.parquet";

/// A row of `outcomes_text.parquet`: a position of a text under a condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextOutcomesRow {
    /// The document's id.
    pub document_id: String,
    /// Window of the document, from 0.
    pub window: u32,
    /// Position in the window from which the next token is predicted, BOS included.
    pub position: u32,
    /// Id of the token that follows.
    pub next_token_id: u32,
    /// Its text.
    pub next_token: String,
    /// Name of the class or neuron file; empty for clean.
    pub class: String,
    /// clean, class, or baseline (a matched random set).
    pub arm: Arm,
    /// Which baseline draw, from 0; 0 in the other arms.
    pub draw: u32,
    /// The edit's mode; empty for clean.
    pub mode: String,
    /// How many neurons were edited.
    pub neurons: u32,
    /// Minus the log-probability of the token that follows, nats.
    pub loss: f64,
    /// Entropy of the prediction, nats.
    pub entropy: f64,
    /// Rank of the token that follows, 1 is best.
    pub rank: u32,
    /// Natural log of what the final norm divides the residual by.
    pub log_scale: f64,
    /// By which way the change reaches the logits: total, direct, direct-frozen-norm; empty for clean.
    pub path: String,
}

/// The table while it is written.
pub struct TextOutcomes<'a> {
    documents: Vec<&'a Document>,
    tokenizer: &'a Tokenizer,
    table: TableWriter<TextOutcomesRow>,
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
            table: TableWriter::create(&folder.join(NAME), NAME)?,
        })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// Rows that cannot be encoded or written, or of a document that is not there.
    pub fn push(&mut self, rows: &[TokenOutcome<'_>]) -> Result<(), ReportError> {
        let (documents, tokenizer) = (&self.documents, self.tokenizer);
        check_numbers(NAME, rows.iter().map(|row| row.document), documents.len())?;
        self.table.extend(rows.iter().map(|row| TextOutcomesRow {
            document_id: documents[row.document].id.clone(),
            window: row.window as u32,
            position: row.position as u32,
            next_token_id: row.token,
            next_token: tokenizer.token_text(row.token),
            class: row.condition.class.clone(),
            arm: row.condition.arm,
            draw: row.condition.draw,
            mode: row.condition.mode.clone(),
            neurons: row.condition.neurons,
            loss: row.score.loss_nats,
            entropy: row.score.entropy_nats,
            rank: row.score.rank,
            log_scale: row.score.log_scale,
            path: row.condition.path.clone(),
        }))
    }

    /// Writes the end of the file.
    ///
    /// # Errors
    /// A table without rows, or one that cannot be written.
    pub fn close(self) -> Result<(), ReportError> {
        self.table.close().map(drop)
    }
}
