//! What `summary.parquet` has of every neuron: the means of `post` for the modes mean and mean-sign, and how often
//! neurons fired, for random sets that fire as often.

use std::ops::Range;

use super::super::ReportError;
use super::super::record::SUMMARY;
use super::super::table::read_rows;
use super::coverage::Coverage;
use super::{RecordedFolder, damaged};
use crate::experiment::record::SummaryRow;
use crate::hooks::{Neuron, NeuronMean, NeuronMeans};
use crate::io_class::NeuronNumbers;

impl RecordedFolder {
    /// The means of a model of this shape, and how many tokens they are over (the most of any neuron). A mean over no
    /// token is absent.
    ///
    /// # Errors
    /// [`ReportError::Recording`] for a file that is missing, lacks a column or a neuron of a recorded layer, or names
    /// another model's neurons.
    pub fn means(&self, n_layers: usize, d_mlp: usize) -> Result<(NeuronMeans, u64), ReportError> {
        let mut means = NeuronMeans::absent(n_layers, d_mlp);
        let tokens = self.each_neuron(n_layers, d_mlp, |neuron, row| {
            let mut by_sign = [None; 4];
            for (mean, case) in by_sign.iter_mut().zip(row.sign_cases()) {
                *mean = mean_over(neuron, case.tokens, case.mean_post)?;
            }
            let overall = mean_over(neuron, row.tokens, row.mean_post)?;
            let set = means.set(neuron, NeuronMean { overall, by_sign });
            set.ok_or_else(|| format!("this model has no neuron {neuron}"))
        })?;
        Ok((means, tokens))
    }

    /// The firing frequencies of a model of this shape, and how many tokens they are over (the most of any neuron).
    ///
    /// # Errors
    /// As [`RecordedFolder::means`], and for something else than a share.
    pub fn frequencies(
        &self,
        n_layers: usize,
        d_mlp: usize,
    ) -> Result<(NeuronNumbers, u64), ReportError> {
        let mut layers = vec![Vec::new(); n_layers];
        let tokens = self.each_neuron(n_layers, d_mlp, |neuron, row| {
            let share = row.frequency.filter(|share| (0.0..=1.0).contains(share));
            let share = share.ok_or_else(|| format!("neuron {neuron} has no frequency"))?;
            let layer: &mut Vec<f64> = &mut layers[neuron.layer];
            layer.resize(d_mlp, f64::NAN);
            layer[neuron.index] = share;
            Ok(())
        })?;
        Ok((NeuronNumbers::new(layers), tokens))
    }

    /// Calls `take` with every row; all neurons of the recorded layers must be there once, and none that a model of this
    /// shape does not have. Returns the most tokens of any.
    fn each_neuron(
        &self,
        n_layers: usize,
        d_mlp: usize,
        mut take: impl FnMut(Neuron, &SummaryRow) -> Result<(), String>,
    ) -> Result<u64, ReportError> {
        let path = self.table(SUMMARY)?;
        let mut read = || {
            let (mut most, mut coverage) = (0, Coverage::new(n_layers, d_mlp));
            for rows in read_rows::<SummaryRow>(&path)? {
                for row in rows? {
                    coverage.add(row.neuron())?;
                    most = most.max(row.tokens);
                    take(row.neuron(), &row)?;
                }
            }
            coverage.check(self.layers()?.as_ref())?;
            Ok(most)
        };
        read().map_err(|why: String| damaged(&path, why))
    }

    /// The recorded layers; absent where the recording does not say.
    fn layers(&self) -> Result<Option<Range<usize>>, String> {
        let layers: Option<[usize; 2]> = serde_json::from_value(self.run.counts["layers"].clone())
            .map_err(|why| why.to_string())?;
        Ok(layers.map(|[first, end]| first..end))
    }
}

fn mean_over(neuron: Neuron, tokens: u64, mean: Option<f64>) -> Result<Option<f32>, String> {
    let mean = mean.map(|mean| mean as f32).filter(|mean| mean.is_finite());
    match mean {
        _ if tokens == 0 => Ok(None),
        Some(mean) => Ok(Some(mean)),
        None => Err(format!(
            "neuron {neuron} has {tokens} tokens and no mean over them"
        )),
    }
}
