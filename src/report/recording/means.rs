//! The means of `post` that a recording has, for the modes mean and mean-sign.

use arrow_array::types::{Float64Type, UInt64Type};
use arrow_array::{Array, PrimitiveArray, RecordBatch};

use super::super::ReportError;
use super::super::table::{column, nullable_column};
use super::RecordedFolder;
use super::table::{Coverage, Neurons};
use crate::hooks::{NeuronMean, NeuronMeans, RawCase};

impl RecordedFolder {
    /// The means of `summary.parquet` for a model of this shape, and how many tokens they are over (the
    /// most of any neuron). A mean over no token is absent.
    ///
    /// # Errors
    /// [`ReportError::Recording`] for a file that is missing, lacks a column, or names another model's neurons.
    pub fn means(&self, n_layers: usize, d_mlp: usize) -> Result<(NeuronMeans, u64), ReportError> {
        let (mut means, mut most) = (NeuronMeans::absent(n_layers, d_mlp), 0);
        let mut coverage = Coverage::new(n_layers, d_mlp);
        let summary = self.summary()?;
        summary.read(|batch| {
            let rows = Rows::of(batch)?;
            for row in 0..batch.num_rows() {
                let neuron = rows.neurons.at(row);
                most = most.max(rows.tokens.value(row));
                coverage.add(neuron)?;
                means
                    .set(neuron, rows.mean(row)?)
                    .ok_or_else(|| format!("this model has no neuron {neuron}"))?;
            }
            Ok(())
        })?;
        self.check_coverage(&coverage)?;
        Ok((means, most))
    }
}

/// The columns of some rows of `summary.parquet`.
struct Rows<'a> {
    neurons: Neurons<'a>,
    tokens: &'a PrimitiveArray<UInt64Type>,
    mean: &'a PrimitiveArray<Float64Type>,
    by_sign: Vec<(
        &'a PrimitiveArray<UInt64Type>,
        &'a PrimitiveArray<Float64Type>,
    )>,
}

impl<'a> Rows<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, String> {
        let by_sign = RawCase::ALL.into_iter().map(|case| {
            let case = case.suffix();
            Ok((
                column(batch, &format!("count_{case}"))?,
                nullable_column(batch, &format!("mean_post_{case}"))?,
            ))
        });
        Ok(Self {
            neurons: Neurons::of(batch)?,
            tokens: column(batch, "tokens")?,
            mean: nullable_column(batch, "mean_post")?,
            by_sign: by_sign.collect::<Result<_, String>>()?,
        })
    }

    fn mean(&self, row: usize) -> Result<NeuronMean, String> {
        let mean = |counts: &PrimitiveArray<UInt64Type>, means: &PrimitiveArray<Float64Type>| {
            let mean = means.is_valid(row).then(|| means.value(row) as f32);
            match (counts.value(row), mean.filter(|mean| mean.is_finite())) {
                (0, _) => Ok(None),
                (_, Some(mean)) => Ok(Some(mean)),
                (tokens, None) => {
                    let neuron = self.neurons.at(row);
                    Err(format!(
                        "neuron {neuron} has {tokens} tokens and no mean over them"
                    ))
                }
            }
        };
        let mut by_sign = [None; RawCase::ALL.len()];
        for (found, (counts, means)) in by_sign.iter_mut().zip(&self.by_sign) {
            *found = mean(counts, means)?;
        }
        Ok(NeuronMean {
            overall: mean(self.tokens, self.mean)?,
            by_sign,
        })
    }
}
