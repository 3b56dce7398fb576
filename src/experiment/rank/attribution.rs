//! The estimates that a gradient gives: what the edit of each neuron alone would change, to first order.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::ExperimentError;
use super::super::effects::Estimate;
use super::super::part::PlannedPass;
use super::super::score::of_logprob;
use super::super::stage::{Measure, Measured, Pass, Stage, clusters_of};
use crate::engine::{Engine, LogitGradient, NeuronGradients};
use crate::hooks::{Condition, Donors, Edit, EditCount, Mode, NeuronSet, Path};
use crate::stats::{Interval, StatsSettings, Table, contrast, mean};
use crate::tokens::TokenBatch;

/// A neuron's sum over the prompts of a pass, as a part keeps it.
#[derive(Serialize, Deserialize)]
pub(super) struct SumRow {
    /// Its place in the set.
    pub neuron: u32,
    pub sum: f64,
}

/// A set's sum on a prompt, as a part keeps it.
#[derive(Serialize, Deserialize)]
pub(super) struct SetRow {
    /// 0 for the class, then its draws.
    set: u32,
    prompt: u32,
    sum: f64,
}

/// Measures, of each neuron of a class, the sum over tokens and prompts of gradient · (edited `post` minus `post`), where the
/// gradient is that of the log-probability of the prompt's whole target; and on each prompt the sums of the class and
/// of its draws.
///
/// For zero ablation on the direct path that is, with the minus of taking away, the direct logit attribution
/// post · ⟨w_out ⊙ gain / scale, u_y − Σ_v p_v u_v⟩, u the rows of the unembedding, y the target and p the prediction.
pub(super) struct Attributions<'a> {
    /// The class, then its draws.
    pub sets: Vec<&'a NeuronSet>,
    /// The edit of all their neurons; each one's value in it is that of the neuron edited alone, since all are taken from the
    /// plain run.
    pub edit: &'a Edit,
    pub along: Along,
}

/// Where the gradient is taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum Along {
    /// In the plain run.
    Plain(Path),
    /// At so many places between the edited values and those of the plain run, all neurons of the class together (integrated
    /// gradients, Sundararajan et al. 2017): the sum over neurons is the effect of the whole class, as far as the steps
    /// are small.
    ToEdited(NonZeroUsize),
}

impl Measure for Attributions<'_> {
    type Found = (Vec<SumRow>, Vec<SetRow>);

    fn passes(&self, stage: &Stage<'_>) -> Result<Vec<PlannedPass>, ExperimentError> {
        let number = TargetLogprob::new(stage.batch);
        let tokens = stage
            .engine
            .tokens_per_gradient_pass(stage.batch, &number.rows)?;
        let parts = stage.batch.split(tokens)?;
        let pass = |part: &TokenBatch| PlannedPass {
            conditions: vec![0],
            units: part.sequences().iter().map(|s| s.prompt).collect(),
        };
        Ok(parts.iter().map(pass).collect())
    }

    fn units(&self, engine: &Engine<'_>, _: &[Condition]) -> u64 {
        let runs = match self.along {
            Along::Plain(_) => 1,
            Along::ToEdited(steps) => 1 + steps.get() as u64,
        };
        runs * engine.gradient_units()
    }

    fn measure(&mut self, pass: &Pass<'_>) -> Result<Measured<Self::Found>, ExperimentError> {
        let Pass {
            engine,
            batch,
            progress,
            ..
        } = *pass;
        let mut sums = Sums::new(&self.sets, batch);
        let number = TargetLogprob::new(batch);
        let plain = Condition::Clean;
        match self.along {
            Along::Plain(path) => {
                let mut sink = |seen: &NeuronGradients<'_>| {
                    let edited = self.edited(seen, batch);
                    let moved = edited.iter().zip(seen.post).zip(seen.of_post);
                    let changes = moved.map(|((edited, post), of_post)| {
                        f64::from(*of_post) * f64::from(edited - post)
                    });
                    sums.add(seen.layer, &changes.collect::<Vec<f64>>());
                    Ok(())
                };
                engine.gradients(batch, (&plain, path), &number, &mut sink, progress)?;
            }
            Along::ToEdited(steps) => {
                let mut ends: Vec<[Vec<f32>; 2]> =
                    vec![Default::default(); self.sets[0].n_layers()];
                let mut sink = |seen: &NeuronGradients<'_>| {
                    ends[seen.layer] = [self.edited(seen, batch), seen.post.to_vec()];
                    Ok(())
                };
                let by = (&plain, Path::Direct); // the neurons alone are looked at
                engine.gradients(batch, by, &number, &mut sink, progress)?;
                for step in 0..steps.get() {
                    let share = (step as f32 + 0.5) / steps.get() as f32;
                    let between = self.between(&ends, share, batch);
                    let mut sink = |seen: &NeuronGradients<'_>| {
                        let [edited, post] = &ends[seen.layer];
                        let moved = edited.iter().zip(post).zip(seen.of_post);
                        let changes = moved.map(|((edited, post), of_post)| {
                            f64::from(*of_post) * f64::from(edited - post) / steps.get() as f64
                        });
                        sums.add(seen.layer, &changes.collect::<Vec<f64>>());
                        Ok(())
                    };
                    engine.gradients(
                        batch,
                        (&between, Path::Total),
                        &number,
                        &mut sink,
                        progress,
                    )?;
                }
            }
        }
        let edits = vec![EditCount::default(); pass.conditions.len()];
        Ok(Measured::new(edits, sums.rows()))
    }
}

impl Attributions<'_> {
    /// `post` of every neuron of a layer at every token after the edit, `[tokens, d_mlp]`.
    fn edited(&self, seen: &NeuronGradients<'_>, batch: &TokenBatch) -> Vec<f32> {
        let mut edited = seen.post.to_vec();
        let Some(edit) = self.edit.at_layer(seen.layer) else {
            return edited;
        };
        let edit = edit.over(batch);
        let width = edited.len() / batch.tokens();
        let rows = edited.par_chunks_exact_mut(width).enumerate();
        rows.for_each(|(token, edited)| {
            let row = token * width..(token + 1) * width;
            edit.edit_row(token, &seen.gate[row.clone()], &seen.up[row], edited);
        });
        edited
    }

    /// The class at a `share` of the way from its edited values to the plain ones.
    fn between(&self, ends: &[[Vec<f32>; 2]], share: f32, batch: &TokenBatch) -> Condition {
        let class = self.sets[0];
        let width = ends[0][0].len() / batch.tokens();
        let values = ends.iter().enumerate().map(|(l, [edited, post])| {
            let rows = edited.chunks_exact(width).zip(post.chunks_exact(width));
            let of_row = |(edited, post): (&[f32], &[f32])| {
                let value = |neuron: &u32| {
                    let neuron = *neuron as usize;
                    edited[neuron] + share * (post[neuron] - edited[neuron])
                };
                class.layer(l).iter().map(value).collect::<Vec<f32>>()
            };
            rows.flat_map(of_row).collect()
        });
        let positions = self.edit.positions;
        let donors = Donors::of_own(batch, positions, (class, width), values.collect());
        let mode = Mode::Resample(donors.into());
        Edit::new(class.clone(), mode).at(positions).into()
    }
}

/// Sums over tokens: of each neuron of the class, and of each set on each prompt.
struct Sums<'a> {
    sets: &'a [&'a NeuronSet],
    batch: &'a TokenBatch,
    /// By layer.
    of_neurons: Vec<Vec<f64>>,
    /// By set and place of the prompt.
    of_sets: Vec<Vec<f64>>,
}

impl<'a> Sums<'a> {
    fn new(sets: &'a [&'a NeuronSet], batch: &'a TokenBatch) -> Self {
        let layers = 0..sets[0].n_layers();
        Self {
            sets,
            batch,
            of_neurons: layers.map(|l| vec![0.0; sets[0].layer(l).len()]).collect(),
            of_sets: vec![vec![0.0; batch.sequences().len()]; sets.len()],
        }
    }

    /// Adds what a layer's neurons change, `[tokens, d_mlp]`.
    fn add(&mut self, layer: usize, changes: &[f64]) {
        let width = changes.len() / self.batch.tokens();
        let mut rows = changes.chunks_exact(width);
        for (place, sequence) in self.batch.sequences().iter().enumerate() {
            for changes in rows.by_ref().take(sequence.ids.len()) {
                let of = |neuron: &u32| changes[*neuron as usize];
                for (set, sums) in self.sets.iter().zip(&mut self.of_sets) {
                    sums[place] += set.layer(layer).iter().map(of).sum::<f64>();
                }
                let neurons = self.sets[0].layer(layer).iter();
                let sums = self.of_neurons[layer].iter_mut().zip(neurons);
                sums.for_each(|(sum, neuron)| *sum += of(neuron));
            }
        }
    }

    fn rows(self) -> (Vec<SumRow>, Vec<SetRow>) {
        let neurons = (0..).zip(self.of_neurons.concat());
        let neurons = neurons.map(|(neuron, sum)| SumRow { neuron, sum });
        let sequences = self.batch.sequences();
        let sets = (0..).zip(&self.of_sets).flat_map(|(set, sums)| {
            sums.iter()
                .zip(sequences)
                .map(move |(sum, sequence)| SetRow {
                    set,
                    prompt: sequence.prompt as u32,
                    sum: *sum,
                })
        });
        (neurons.collect(), sets.collect())
    }
}

/// What an edit of a class changes to first order, beside random sets of its layers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FirstOrder {
    /// Sum over the class, mean over the ranking prompts, nats.
    pub class: f64,
    /// Its 95 % interval over clusters of prompts.
    pub class_ci: Option<Interval>,
    /// Mean over the random sets.
    pub baseline: Option<f64>,
    /// How many there are.
    pub draws: usize,
    /// The class against them.
    #[serde(flatten)]
    pub estimate: Estimate,
}

impl FirstOrder {
    /// From all rows of a run over `batch`, of so many sets.
    pub(super) fn new(
        rows: &[SetRow],
        sets: usize,
        batch: &TokenBatch,
        settings: &StatsSettings,
    ) -> Result<Self, ExperimentError> {
        let mut of_sets: Vec<BTreeMap<u32, f64>> = vec![BTreeMap::new(); sets];
        for row in rows {
            let of_set = of_sets.get_mut(row.set as usize);
            let of_set = of_set.ok_or(ExperimentError::OtherRun)?;
            of_set.insert(row.prompt, row.sum);
        }
        let mut of_sets = of_sets.into_iter().map(|set| set.into_values().collect());
        let class: Vec<f64> = of_sets.next().unwrap_or_default();
        let draws: Vec<Vec<f64>> = of_sets.collect();
        let clusters = clusters_of(batch);
        let table = Table {
            class: &class,
            draws: &draws,
            clusters: &clusters,
        };
        let against = (!draws.is_empty()).then(|| contrast(table, settings));
        Ok(Self {
            class: mean(&class).unwrap_or(f64::NAN),
            class_ci: clusters
                .mean(&class, settings.level)
                .map(|mean| mean.interval),
            baseline: mean(&draws.concat()),
            draws: draws.len(),
            estimate: against.transpose()?.map(Estimate::from).unwrap_or_default(),
        })
    }
}

/// The log-probability of every prompt's whole target.
struct TargetLogprob {
    rows: Vec<usize>,
    targets: Vec<u32>,
}

impl TargetLogprob {
    fn new(batch: &TokenBatch) -> Self {
        let sequences = batch.sequences().iter().enumerate();
        let (rows, targets) = sequences
            .flat_map(|(i, sequence)| batch.target_rows(i).zip(sequence.target.iter().copied()))
            .unzip();
        Self { rows, targets }
    }
}

impl LogitGradient for TargetLogprob {
    fn rows(&self) -> &[usize] {
        &self.rows
    }

    fn of_logits(&self, place: usize, logits: &[f32]) -> Vec<f32> {
        of_logprob(self.targets[place], logits)
    }
}
