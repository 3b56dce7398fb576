//! What a recording has of one neuron.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::super::ReportError;
use super::super::record::rows::TopTokensRow;
use super::super::record::{SUMMARY, TOP_TOKENS, split_context};
use super::super::table::read_where;
use super::{RecordedFolder, damaged};
use crate::experiment::FiringStatistics;
use crate::experiment::record::SummaryRow;
use crate::hooks::Neuron;

/// What a recording has of one neuron.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedNeuron {
    /// Over all recorded tokens.
    pub statistics: FiringStatistics,
    /// The strongest tokens, strongest first; at most [`TOP_TOKENS`](crate::experiment::record::TOP_TOKENS).
    pub strongest: Vec<TopTokensRow>,
}

/// The columns that say which neuron a row is of.
#[derive(Deserialize)]
struct Key {
    layer: u16,
    neuron: u32,
}

impl Key {
    fn is(&self, neuron: Neuron) -> bool {
        (self.layer as usize, self.neuron as usize) == (neuron.layer, neuron.index)
    }
}

impl RecordedFolder {
    /// What `summary.parquet` and `top_tokens.parquet` have of a neuron.
    ///
    /// # Errors
    /// [`ReportError::NotRecorded`] where its layer was not recorded; [`ReportError::Recording`] for a file that is
    /// missing or lacks a column, and for a recording without tokens.
    pub fn neuron(&self, neuron: Neuron) -> Result<RecordedNeuron, ReportError> {
        let (path, mut layers) = (self.table(SUMMARY)?, BTreeSet::new());
        let rows = read_where(&path, |key: Key| {
            layers.insert(key.layer.into());
            key.is(neuron)
        });
        let rows: Vec<SummaryRow> = rows.map_err(|why| damaged(&path, why))?;
        let row = rows.last().ok_or_else(|| ReportError::NotRecorded {
            path: self.path.clone(),
            neuron,
            layers: layers.into_iter().collect(),
        })?;
        let no_token = || damaged(&path, format!("{neuron} saw no token"));
        let statistics = FiringStatistics {
            tokens: row.tokens,
            frequency: row.frequency.ok_or_else(no_token)?,
            sign_cases: row.sign_cases(),
        };
        let path = self.table(TOP_TOKENS)?;
        let strongest = read_where(&path, |key: Key| key.is(neuron));
        Ok(RecordedNeuron {
            statistics,
            strongest: strongest.map_err(|why| damaged(&path, why))?,
        })
    }

    /// The text before a token of [`RecordedNeuron::strongest`], its own, and what comes after.
    ///
    /// # Errors
    /// [`ReportError::Recording`] for a context without the token.
    pub fn around<'r>(&self, row: &'r TopTokensRow) -> Result<[&'r str; 3], ReportError> {
        let Some([before, token, after]) = split_context(&row.context, &row.token) else {
            let why = format!("no token in {:?}", row.context);
            return Err(damaged(&self.path.join(TOP_TOKENS), why));
        };
        // A token that is part of a character has no text of its own.
        let token = if token.is_empty() { &row.token } else { token };
        Ok([before, token, after])
    }
}
