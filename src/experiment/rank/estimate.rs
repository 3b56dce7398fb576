//! The estimate that needs no ablation: how much a neuron writes where the target is scored.

use super::super::ExperimentError;
use super::super::passes::{InVain, Passes, Whole};
use super::Lab;
use crate::engine::EngineError;
use crate::hooks::{Condition, HookPoint, NeuronSet, Observer, ReadError, Site, SiteRows};
use crate::tokens::TokenBatch;

/// Sums |post| of some neurons over the rows that targets are scored at, each prompt's rows weighing 1 together.
struct PostSums<'a> {
    neurons: &'a NeuronSet,
    /// Rows of the batch with their weights.
    rows: Vec<(usize, f64)>,
    sums: &'a mut [Vec<f64>], // [n_layers][neurons of the set there]
}

impl<'a> PostSums<'a> {
    fn new(batch: &TokenBatch, neurons: &'a NeuronSet, sums: &'a mut [Vec<f64>]) -> Self {
        let rows = (0..batch.sequences().len()).flat_map(|i| {
            let rows = batch.target_rows(i);
            let weight = 1.0 / rows.len() as f64;
            rows.map(move |row| (row, weight))
        });
        Self {
            neurons,
            rows: rows.collect(),
            sums,
        }
    }
}

impl Observer for PostSums<'_> {
    fn wants(&self, point: HookPoint) -> bool {
        let of_set = |layer: usize| !self.neurons.layer(layer).is_empty();
        point.site == Site::Post && point.layer.is_some_and(of_set)
    }

    fn observe(&mut self, seen: &SiteRows<'_>) -> Result<(), ReadError> {
        let Some(layer) = seen.point.layer else {
            return Ok(());
        };
        let neurons = self.neurons.layer(layer);
        for &(row, weight) in &self.rows {
            let post = &seen.rows[row * seen.width..][..seen.width];
            for (sum, &neuron) in self.sums[layer].iter_mut().zip(neurons) {
                *sum += weight * f64::from(post[neuron as usize].abs());
            }
        }
        Ok(())
    }
}

impl Lab<'_> {
    /// The estimate of every neuron of the plan, in the set's order, with the passes that it took.
    ///
    /// ```text
    /// estimate(n) = ‖w_out(n)‖ · mean over prompts of (mean over the prompt's target rows of |post(n)|)
    /// ```
    ///
    /// A neuron adds post·w_out to the residual, so this is the length of what its zero ablation takes away there. It
    /// knows nothing of the direction, of later layers, or of earlier tokens.
    pub(super) fn estimates(
        &self,
        batch: &TokenBatch,
    ) -> Result<(Vec<f64>, usize), ExperimentError> {
        let (engine, neurons) = (self.engine, &self.plan.neurons);
        let whole = Whole {
            engine,
            batch,
            conditions: &[Condition::Clean],
            in_vain: InVain::Refused,
            unit: "prompts",
            progress: self.progress,
        };
        let layers = 0..neurons.n_layers();
        let mut sums: Vec<Vec<f64>> = layers.map(|l| vec![0.0; neurons.layer(l).len()]).collect();
        let mut passes = Passes::plan(&whole)?;
        passes.run(&whole, &mut |part| {
            let observer = &mut PostSums::new(part.batch, neurons, &mut sums);
            let (batch, conditions) = (part.batch, part.conditions);
            Ok(engine.run(batch, conditions, &mut [observer], None, self.progress)?)
        })?;
        if !passes.finished() {
            return Err(EngineError::Stopped.into());
        }
        let prompts = batch.sequences().len() as f64;
        let sums = sums.concat().into_iter().zip(&self.plan.norms);
        let estimates = sums.map(|(sum, norm)| sum / prompts * norm);
        Ok((estimates.collect(), passes.len()))
    }
}
