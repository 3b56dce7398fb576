//! The estimate that needs no ablation: how much a neuron writes where the target is scored.

use serde::{Deserialize, Serialize};

use super::super::ExperimentError;
use super::super::contribution::PostSums;
use super::super::part::Sharing;
use super::super::stage::{Measure, Measured, NullEdits, Pass, Stage};
use super::Ranker;
use crate::hooks::{Condition, NeuronSet};
use crate::tokens::TokenBatch;

/// The rows that targets are scored at, each prompt's weighing 1 together.
fn target_rows(batch: &TokenBatch) -> impl Iterator<Item = (usize, f64)> {
    (0..batch.sequences().len()).flat_map(|i| {
        let rows = batch.target_rows(i);
        let weight = 1.0 / rows.len() as f64;
        rows.map(move |row| (row, weight))
    })
}

/// A neuron's sum over the prompts of a pass, as a part keeps it.
#[derive(Serialize, Deserialize)]
struct SumRow {
    /// Its place in the set.
    neuron: u32,
    sum: f64,
}

/// Measures the sums of a set.
struct PostSizes<'a>(&'a NeuronSet);

impl Measure for PostSizes<'_> {
    type Found = Vec<SumRow>;

    fn measure(&mut self, pass: &Pass<'_>) -> Result<Measured<Vec<SumRow>>, ExperimentError> {
        let layers = 0..self.0.n_layers();
        let mut sums: Vec<Vec<f64>> = layers.map(|l| vec![0.0; self.0.layer(l).len()]).collect();
        let mut observer = PostSums::new(self.0, target_rows(pass.batch), &mut sums);
        let edits = pass.run(&mut [&mut observer], None)?;
        let rows = (0..).zip(sums.concat());
        let rows = rows.map(|(neuron, sum)| SumRow { neuron, sum });
        Ok(Measured::new(edits, rows.collect()))
    }
}

impl Ranker<'_, '_> {
    /// The estimate of every neuron of the plan, in the set's order, with the passes that it took.
    ///
    /// ```text
    /// estimate(n) = ‖w_out(n)‖ · mean over prompts of (mean over the prompt's target rows of |post(n)|)
    /// ```
    ///
    /// A neuron adds post·w_out to the residual, so this is the length of what its zero ablation takes away there. It
    /// knows nothing of the direction, of later layers, or of earlier tokens. It decides which neurons are ablated, so
    /// every shard makes it.
    pub(super) fn estimates(
        &mut self,
        batch: &TokenBatch,
    ) -> Result<(Vec<f64>, usize), ExperimentError> {
        let stage = Stage {
            engine: self.engine,
            batch,
            unit: "prompts",
            conditions: &[Condition::Clean],
            sharing: Sharing::Everywhere,
            null_edits: NullEdits::Refused,
        };
        let mut sums = vec![0.0; self.plan.neurons()];
        let mut measure = PostSizes(&self.plan.neurons);
        let ran = self.run.measure(&stage, &mut measure, &mut |rows| {
            for row in rows {
                let sum = sums.get_mut(row.neuron as usize);
                *sum.ok_or(ExperimentError::OtherRun)? += row.sum;
            }
            Ok(())
        })?;
        let prompts = batch.sequences().len() as f64;
        let sums = sums.into_iter().zip(&self.plan.norms);
        let estimates = sums.map(|(sum, norm)| sum / prompts * norm);
        Ok((estimates.collect(), ran.complete()?.passes))
    }
}
