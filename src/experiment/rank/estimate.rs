//! The estimates that need no ablation: how much a neuron writes where the target is scored, or what a gradient makes of it.

use super::super::ExperimentError;
use super::super::contribution::PostSums;
use super::super::forecast::Step;
use super::super::outcome::PromptSubset;
use super::super::stage::{Measure, Measured, Pass, Stage};
use super::attribution::{Along, Attributions, FirstOrder, SumRow};
use super::{RankBy, RankPlan, Ranker};
use crate::engine::Engine;
use crate::hooks::{Neuron, NeuronSet, Path};
use crate::tokens::TokenBatch;

/// The rows that targets are scored at, each prompt's weighing 1 together.
fn target_rows(batch: &TokenBatch) -> impl Iterator<Item = (usize, f64)> {
    (0..batch.sequences().len()).flat_map(|i| {
        let rows = batch.target_rows(i);
        let weight = 1.0 / rows.len() as f64;
        rows.map(move |row| (row, weight))
    })
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

/// What the neurons of a plan are ordered by.
pub(super) struct Estimates {
    /// In the set's order.
    pub of_neurons: Vec<f64>,
    /// The class and its draws together, where the estimate is an effect.
    pub first_order: Option<FirstOrder>,
    /// Passes that it took.
    pub passes: usize,
}

impl RankPlan {
    /// The gradients that the estimate is made of; none where it needs none.
    fn along(&self) -> Option<Along> {
        match self.settings.by {
            RankBy::Output => None,
            RankBy::Direct => Some(Along::Plain(Path::Direct)),
            RankBy::Gradient => Some(Along::Plain(Path::Total)),
            RankBy::Integrated => Some(Along::ToEdited(self.settings.steps)),
        }
    }

    /// What the estimates take.
    pub(super) fn estimates_step(
        &self,
        engine: &Engine<'_>,
        batch: &TokenBatch,
    ) -> Result<Step, ExperimentError> {
        let stage = Stage::clean(engine, batch);
        let step = match self.along() {
            None => Step::of(&stage, &PostSizes(&self.neurons), 0)?,
            Some(along) => {
                let edit = &self.edit(&self.ablation.mode, String::new(), &[]);
                let sets = vec![&self.neurons];
                Step::of(&stage, &Attributions { sets, edit, along }, 0)?
            }
        };
        Ok(Step {
            what: format!("{}, for the estimates", step.what),
            ..step
        }
        .of_known(PromptSubset::Known))
    }
}

impl Ranker<'_, '_> {
    /// The estimate of every neuron of the plan. It decides which neurons are ablated, so every shard makes it.
    ///
    /// ```text
    /// output:   ‖w_out(n)‖ · mean over prompts of (mean over the prompt's target rows of |post(n)|)
    /// direct,
    /// gradient,
    /// integrated: mean over prompts of the sum over tokens of d log p(target) / d post(n) · (edited post(n) − post(n))
    /// ```
    ///
    /// A neuron adds post·w_out to the residual, so the first is the length of what its zero ablation takes away there. It
    /// knows nothing of the direction, of later layers, or of earlier tokens. The others are the change that the
    /// neuron's edit alone would make, to first order.
    pub(super) fn estimates(&mut self, batch: &TokenBatch) -> Result<Estimates, ExperimentError> {
        let stage = Stage::clean(self.engine, batch);
        let plan = self.plan;
        let mut sums = vec![0.0; plan.neurons()];
        let mut add = |rows: Vec<SumRow>| {
            for row in rows {
                let sum = sums.get_mut(row.neuron as usize);
                *sum.ok_or(ExperimentError::OtherRun)? += row.sum;
            }
            Ok(())
        };
        let along = plan.along();
        let (ran, first_order) = match along {
            None => {
                let mut measure = PostSizes(&plan.neurons);
                let ran = self.run.measure(&stage, &mut measure, &mut add)?;
                (ran, None)
            }
            Some(along) => {
                let sets: Vec<&NeuronSet> = plan.sets().collect();
                let all: Vec<Neuron> = sets.iter().flat_map(|set| set.iter()).collect();
                let edit = &self.edit("all neurons".to_string(), &all);
                let mut of_sets = Vec::new();
                let mut measure = Attributions {
                    sets: sets.clone(),
                    edit,
                    along,
                };
                let ran = self
                    .run
                    .measure(&stage, &mut measure, &mut |(neurons, sets)| {
                        of_sets.extend(sets);
                        add(neurons)
                    })?;
                let statistics = &plan.settings.statistics;
                let first_order = FirstOrder::new(&of_sets, sets.len(), batch, statistics)?;
                (ran, Some(first_order))
            }
        };
        let prompts = batch.sequences().len() as f64;
        let unit = |norm: &f64| if along.is_none() { *norm } else { 1.0 };
        let sums = sums.into_iter().zip(&plan.norms);
        Ok(Estimates {
            of_neurons: sums.map(|(sum, norm)| sum / prompts * unit(norm)).collect(),
            first_order,
            passes: ran.complete()?.passes,
        })
    }
}
