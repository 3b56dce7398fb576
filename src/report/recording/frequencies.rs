//! How often neurons fired in a recording, for random sets that fire as often.

use arrow_array::Array;
use arrow_array::types::{Float64Type, UInt64Type};

use super::super::ReportError;
use super::super::table::{column, nullable_column};
use super::RecordedFolder;
use super::table::{Coverage, Neurons};
use crate::io_class::FiringFrequencies;

impl RecordedFolder {
    /// The frequencies of `summary.parquet` for a model of this shape, and how many tokens they are over (the most
    /// of any neuron).
    ///
    /// # Errors
    /// [`ReportError::Recording`] for a file that is missing, lacks a column or a neuron of a recorded layer, names
    /// another model's neurons, or has something else than a share.
    pub fn frequencies(
        &self,
        n_layers: usize,
        d_mlp: usize,
    ) -> Result<(FiringFrequencies, u64), ReportError> {
        let (mut layers, mut most) = (vec![Vec::new(); n_layers], 0);
        let mut coverage = Coverage::new(n_layers, d_mlp);
        let summary = self.summary()?;
        summary.read(|batch| {
            let neurons = Neurons::of(batch)?;
            let tokens = column::<UInt64Type>(batch, "tokens")?;
            let frequencies = nullable_column::<Float64Type>(batch, "frequency")?;
            for row in 0..batch.num_rows() {
                let neuron = neurons.at(row);
                most = most.max(tokens.value(row));
                let share = frequencies.is_valid(row).then(|| frequencies.value(row));
                let share = share.filter(|share| (0.0..=1.0).contains(share));
                let share = share.ok_or_else(|| format!("neuron {neuron} has no frequency"))?;
                coverage.add(neuron)?;
                let layer: &mut Vec<f64> = &mut layers[neuron.layer];
                layer.resize(d_mlp, f64::NAN);
                layer[neuron.index] = share;
            }
            Ok(())
        })?;
        self.check_coverage(&coverage)?;
        Ok((FiringFrequencies::new(layers), most))
    }
}
