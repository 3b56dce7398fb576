//! How much neurons write: |post|·‖w_out‖, the length of what a neuron adds to the residual where `post` is its value.
//!
//! A class and random neurons of its layers may differ in that by a factor, and one that writes more costs more, whatever
//! else it does. So a plan can have draws that write as much, and every plan says how much more its classes write. At the
//! first position a few neurons write more than all others together, and the first position is no place of the text: it is
//! counted by itself.

use rayon::prelude::*;

use super::ExperimentError;
use super::plan::{AblationPlan, MeasuredOver, Treatment, Written};
use super::reference::run_clean;
use super::run::Run;
use crate::engine::{Engine, Progress};
use crate::hooks::{Condition, HookPoint, Neuron, NeuronSet, Observer, ReadError, Site, SiteRows};
use crate::io_class::{Match, Matching, NeuronNumbers, NeuronRow, NeuronTable, matched_draws};
use crate::stats::mean;
use crate::tokens::{Positions, TokenBatch};

/// Neurons that one thread works on at a time.
const BLOCK: usize = 64;

/// Sums |post| of some neurons over weighted rows of a batch, clean, in the rows' order: passes that follow each other give
/// the sums of one.
pub(super) struct PostSums<'a> {
    neurons: &'a NeuronSet,
    /// Rows of the batch with their weights.
    rows: Vec<(usize, f64)>,
    sums: &'a mut [Vec<f64>], // [n_layers][neurons of the set there]
}

impl<'a> PostSums<'a> {
    pub fn new(
        neurons: &'a NeuronSet,
        rows: impl Iterator<Item = (usize, f64)>,
        sums: &'a mut [Vec<f64>],
    ) -> Self {
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
        let neurons = self.neurons.layer(layer).par_chunks(BLOCK);
        let blocks = self.sums[layer].par_chunks_mut(BLOCK).zip(neurons);
        blocks.for_each(|(sums, neurons)| {
            for &(row, weight) in &self.rows {
                let post = &seen.rows[row * seen.width..][..seen.width];
                for (sum, &neuron) in sums.iter_mut().zip(neurons) {
                    *sum += weight * f64::from(post[neuron as usize].abs());
                }
            }
        });
        Ok(())
    }
}

/// What every neuron of a model writes on some prompts or texts, in the unit of the residual.
#[derive(Clone, Debug)]
pub struct Contributions {
    /// Mean over all tokens but the first of each prompt or stretch of text; nothing where there are none.
    pub beyond_first: NeuronNumbers,
    /// Mean over the first tokens.
    pub at_first: NeuronNumbers,
    /// Over what.
    pub over: MeasuredOver,
}

impl Contributions {
    /// Measures them in a clean pass of its own; ‖w_out‖ is that of `table`. Sums are in f64 and go token by token, so that
    /// the split into passes does not change them.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn measure(
        engine: &Engine<'_>,
        batch: &TokenBatch,
        table: &NeuronTable,
        progress: &dyn Progress,
    ) -> Result<Self, ExperimentError> {
        let widths = || table.layers.iter().map(Vec::len);
        let all = NeuronSet::from_layers(widths().map(|n| (0..n as u32).collect()).collect());
        let zeros: Vec<Vec<f64>> = widths().map(|n| vec![0.0; n]).collect();
        let (mut beyond, mut first) = (zeros.clone(), zeros);
        let sequences = batch.sequences().len();
        let what = format!("{sequences} stretches, clean, for contributions");
        let passes = run_clean(engine, batch, &what, progress, |part| {
            let mask = part.mask(Positions::NotFirst);
            let rows = |is_beyond: bool| {
                let rows = mask.iter().enumerate();
                rows.filter_map(move |(row, at)| (*at == is_beyond).then_some((row, 1.0)))
            };
            let mut beyond = PostSums::new(&all, rows(true), &mut beyond);
            let mut first = PostSums::new(&all, rows(false), &mut first);
            let observers: &mut [&mut dyn Observer] = &mut [&mut beyond, &mut first];
            Ok(engine.run(part, &[Condition::Clean], observers, None, progress)?)
        })?;
        let tokens = batch.tokens() - sequences;
        Ok(Self {
            beyond_first: mean_contributions(beyond, tokens, table),
            at_first: mean_contributions(first, sequences, table),
            over: MeasuredOver {
                sequences,
                tokens,
                passes,
            },
        })
    }

    fn ratio(&self, treatment: &Treatment) -> Option<f64> {
        let sum = |set: &NeuronSet| {
            let of = |n: Neuron| Some(self.beyond_first.layer(n.layer)?[n.index]);
            set.iter().map(of).sum::<Option<f64>>()
        };
        let draws: Option<Vec<f64>> = treatment.baseline.iter().map(sum).collect();
        let draws = mean(&draws?).filter(|draws| *draws > 0.0);
        Some(sum(&treatment.neurons)? / draws?)
    }
}

fn mean_contributions(sums: Vec<Vec<f64>>, tokens: usize, table: &NeuronTable) -> NeuronNumbers {
    let of_layer = |(sums, rows): (Vec<f64>, &Vec<NeuronRow>)| -> Vec<f64> {
        let sums = sums.into_iter().zip(rows);
        let means = sums.map(|(sum, row)| sum / tokens as f64 * f64::from(row.norm_out));
        means.filter(|_| tokens > 0).collect()
    };
    NeuronNumbers::new(sums.into_iter().zip(&table.layers).map(of_layer).collect())
}

impl AblationPlan {
    /// Measures what all neurons write on `batch`, clean, and notes it of each treatment. Where draws are matched by
    /// contribution, those that the plan has are placeholders until now, and are drawn again: as many, by the plan's seed.
    /// A shard whose draws do not depend on it has no need of it and leaves it out.
    ///
    /// # Errors
    /// Those of the engine; [`ExperimentError::NoTokens`] where there is nothing to match by; those of [`matched_draws`].
    pub fn weigh(
        &mut self,
        (run, engine): (&Run<'_>, &Engine<'_>),
        batch: &TokenBatch,
        (table, matching): (&NeuronTable, Match),
    ) -> Result<(), ExperimentError> {
        // Too little memory for one edit beside the clean run shows before anything runs.
        engine.tokens_per_pass(batch, self.len().min(2))?;
        let redraws = matching == Match::LayerContribution;
        if run.is_shard() && !redraws {
            return Ok(());
        }
        let found = Contributions::measure(engine, batch, table, run.progress())?;
        if redraws && found.over.tokens == 0 {
            return Err(ExperimentError::NoTokens);
        }
        for treatment in &mut self.treatments {
            let draws = treatment.baseline.len();
            if redraws && draws > 0 {
                let by = Matching::LayerAnd(&found.beyond_first);
                let drawn = matched_draws(table, &treatment.neurons, draws, self.seed, by)?;
                treatment.baseline = drawn.sets;
            }
            treatment.written = Some(Written {
                ratio: found.ratio(treatment),
                over: found.over,
            });
        }
        Ok(())
    }
}
