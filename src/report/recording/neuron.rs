//! What a recording has of one neuron.

use std::collections::BTreeSet;

use arrow_array::types::{Float32Type, Float64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, PrimitiveArray, RecordBatch};

use super::super::ReportError;
use super::super::record::split_context;
use super::super::table::{column, nullable_column, text_column};
use super::RecordedFolder;
use super::table::Neurons;
use crate::experiment::{FiringStatistics, SignCaseSummary};
use crate::hooks::{Neuron, RawCase};

/// What a recording has of one neuron.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedNeuron {
    /// Over all recorded tokens.
    pub statistics: FiringStatistics,
    /// The strongest tokens, strongest first; at most [`TOP_TOKENS`](crate::experiment::record::TOP_TOKENS).
    pub strongest: Vec<RecordedToken>,
}

/// A token where a neuron was strong.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedToken {
    /// Of its prompt or document.
    pub prompt_id: String,
    /// Position in its sequence, BOS included.
    pub position: u32,
    /// `act(gate)·up`.
    pub post: f32,
    /// The text before it.
    pub before: String,
    /// Its own text.
    pub token: String,
    /// The text after it.
    pub after: String,
}

impl RecordedFolder {
    /// What `summary.parquet` and `top_tokens.parquet` have of a neuron.
    ///
    /// # Errors
    /// [`ReportError::NotRecorded`] where its layer was not recorded; [`ReportError::Recording`] for a file that is
    /// missing or lacks a column, and for a recording without tokens.
    pub fn neuron(&self, neuron: Neuron) -> Result<RecordedNeuron, ReportError> {
        let statistics = self.statistics(neuron)?;
        let mut strongest = Vec::new();
        self.top_tokens()?.read_neuron(neuron, |batch| {
            strongest.extend(tokens(batch)?);
            Ok(())
        })?;
        Ok(RecordedNeuron {
            statistics,
            strongest,
        })
    }

    fn statistics(&self, neuron: Neuron) -> Result<FiringStatistics, ReportError> {
        let (mut found, mut layers) = (None, BTreeSet::new());
        self.summary()?.read(|batch| {
            let rows = Rows::of(batch)?;
            for row in 0..batch.num_rows() {
                layers.insert(rows.neurons.at(row).layer);
                if rows.neurons.at(row) == neuron {
                    let statistics = rows.statistics(row);
                    found = Some(statistics.ok_or_else(|| format!("{neuron} saw no token"))?);
                }
            }
            Ok(())
        })?;
        found.ok_or_else(|| ReportError::NotRecorded {
            path: self.path.clone(),
            neuron,
            layers: layers.into_iter().collect(),
        })
    }
}

/// The columns of some rows of `summary.parquet`.
struct Rows<'a> {
    neurons: Neurons<'a>,
    tokens: &'a PrimitiveArray<UInt64Type>,
    frequency: &'a PrimitiveArray<Float64Type>,
    cases: Vec<Case<'a>>,
}

/// The columns of a sign case.
struct Case<'a> {
    case: RawCase,
    count: &'a PrimitiveArray<UInt64Type>,
    mean: &'a PrimitiveArray<Float64Type>,
    max_abs: &'a PrimitiveArray<Float32Type>,
}

impl<'a> Rows<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, String> {
        let cases = RawCase::ALL.into_iter().map(|case| Case::of(batch, case));
        Ok(Self {
            neurons: Neurons::of(batch)?,
            tokens: column(batch, "tokens")?,
            frequency: nullable_column(batch, "frequency")?,
            cases: cases.collect::<Result<_, String>>()?,
        })
    }

    /// Nothing where there were no tokens.
    fn statistics(&self, row: usize) -> Option<FiringStatistics> {
        let frequency = self.frequency.is_valid(row);
        frequency.then(|| FiringStatistics {
            tokens: self.tokens.value(row),
            frequency: self.frequency.value(row),
            sign_cases: std::array::from_fn(|case| self.cases[case].summary(row)),
        })
    }
}

impl<'a> Case<'a> {
    fn of(batch: &'a RecordBatch, case: RawCase) -> Result<Self, String> {
        let suffix = case.suffix();
        Ok(Self {
            case,
            count: column(batch, &format!("count_{suffix}"))?,
            mean: nullable_column(batch, &format!("mean_post_{suffix}"))?,
            max_abs: nullable_column(batch, &format!("max_abs_post_{suffix}"))?,
        })
    }

    fn summary(&self, row: usize) -> SignCaseSummary {
        let (mean, max_abs) = (self.mean, self.max_abs);
        SignCaseSummary {
            case: self.case,
            tokens: self.count.value(row),
            mean_post: mean.is_valid(row).then(|| mean.value(row)),
            strongest_post: max_abs
                .is_valid(row)
                .then(|| max_abs.value(row) * f32::from(self.case.post_sign())),
        }
    }
}

/// Lines of `top_tokens.parquet`.
fn tokens(batch: &RecordBatch) -> Result<Vec<RecordedToken>, String> {
    let position = column::<UInt32Type>(batch, "position")?;
    let value = column::<Float32Type>(batch, "value")?;
    let prompt_id = text_column(batch, "prompt_id")?;
    let token = text_column(batch, "token")?;
    let context = text_column(batch, "context")?;
    let line = |row: usize| {
        let (token, context) = (token.value(row), context.value(row));
        let parts = split_context(context, token);
        let [before, marked, after] = parts.ok_or_else(|| format!("no token in {context:?}"))?;
        Ok(RecordedToken {
            prompt_id: prompt_id.value(row).to_owned(),
            position: position.value(row),
            post: value.value(row),
            before: before.to_owned(),
            // A token that is part of a character has no text of its own.
            token: if marked.is_empty() { token } else { marked }.to_owned(),
            after: after.to_owned(),
        })
    };
    (0..batch.num_rows()).map(line).collect()
}
