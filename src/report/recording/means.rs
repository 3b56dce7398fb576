//! The means of `post` that a recording has, for the modes mean and mean-sign.

use arrow_array::types::{Float64Type, UInt64Type};
use arrow_array::{Array, PrimitiveArray, RecordBatch};

use super::super::ReportError;
use super::super::table::column;
use super::RecordedFolder;
use super::table::Neurons;
use crate::hooks::{NeuronMean, NeuronMeans, RawCase};

impl RecordedFolder {
    /// The means of `summary.parquet` for a model of this shape, and how many tokens they are over (the
    /// most of any neuron). A mean over no token is absent.
    ///
    /// # Errors
    /// [`ReportError::Recording`] for a file that is missing, lacks a column, or names another model's neurons.
    pub fn means(&self, n_layers: usize, d_mlp: usize) -> Result<(NeuronMeans, u64), ReportError> {
        let (mut means, mut most) = (NeuronMeans::absent(n_layers, d_mlp), 0);
        self.summary().read(|batch| {
            let rows = Rows::of(batch)?;
            for row in 0..batch.num_rows() {
                let neuron = rows.neurons.at(row);
                most = most.max(rows.tokens.value(row));
                means
                    .set(neuron, rows.mean(row))
                    .ok_or_else(|| format!("this model has no neuron {neuron}"))?;
            }
            Ok(())
        })?;
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
                column(batch, &format!("mean_post_{case}"))?,
            ))
        });
        Ok(Self {
            neurons: Neurons::of(batch)?,
            tokens: column(batch, "tokens")?,
            mean: column(batch, "mean_post")?,
            by_sign: by_sign.collect::<Result<_, String>>()?,
        })
    }

    fn mean(&self, row: usize) -> NeuronMean {
        let mean = |counts: &PrimitiveArray<UInt64Type>, means: &PrimitiveArray<Float64Type>| {
            let seen = counts.value(row) > 0 && means.is_valid(row);
            seen.then(|| means.value(row) as f32)
                .filter(|mean| mean.is_finite())
        };
        NeuronMean {
            overall: mean(self.tokens, self.mean),
            by_sign: std::array::from_fn(|case| mean(self.by_sign[case].0, self.by_sign[case].1)),
        }
    }
}
