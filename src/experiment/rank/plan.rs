//! What is ranked, and how.

use std::num::NonZeroUsize;

use super::super::ExperimentError;
use super::super::contribution::MatchedBy;
use super::super::forecast::Step;
use super::super::plan::AblationPlan;
use super::super::run::Run;
use super::by::RankBy;
use super::halves::Evaluation;
use crate::engine::Engine;
use crate::hooks::{Edit, Mode, Neuron, NeuronSet, Path};
use crate::io_class::{ClassError, Match, output_norms};
use crate::model::Checkpoint;
use crate::stats::StatsSettings;
use crate::tokens::TokenBatch;

/// How a set is ranked.
#[derive(Clone, Debug)]
pub struct RankSettings {
    /// Neurons that are ablated alone: the first by the estimate.
    pub top: NonZeroUsize,
    /// What orders neurons before any is ablated.
    pub by: RankBy,
    /// Gradients between the edited values and those of the plain run, where they are integrated.
    pub steps: NonZeroUsize,
    /// Random orders.
    pub draws: usize,
    /// On which prompts the curve is measured.
    pub evaluation: Evaluation,
    /// How intervals are found; its seed is also that of the halves and of the random orders.
    pub statistics: StatsSettings,
}

/// What is ranked, and how it is edited.
pub struct RankPlan {
    pub(super) ablation: AblationPlan,
    pub(super) settings: RankSettings,
    pub(super) neurons: NeuronSet,
    pub(super) norms: Vec<f64>, // in the order of `neurons`
}

impl RankPlan {
    /// Ranks the neurons of all treatments of `ablation` together, edited as it says. The baselines are what the set's first-order
    /// effect is compared with, where the estimate is one; the subset of prompts does not matter. Reads the lengths of
    /// w_out.
    ///
    /// # Errors
    /// [`ClassError::EmptySet`] without neurons, and those of [`output_norms`].
    pub fn new(
        checkpoint: &Checkpoint,
        ablation: AblationPlan,
        settings: RankSettings,
    ) -> Result<Self, ExperimentError> {
        let sets = ablation.treatments.iter().map(|t| t.neurons.iter());
        let neurons: Vec<Neuron> = sets.flatten().collect();
        let neurons = set(checkpoint.config().n_layers(), &neurons);
        if neurons.is_empty() {
            return Err(ClassError::EmptySet.into());
        }
        Ok(Self {
            norms: output_norms(checkpoint, &neurons)?,
            ablation,
            settings,
            neurons,
        })
    }

    /// Draws the random sets again, as many, where they are to write as much as the set does on `batch`; what the other matchings
    /// share with it is known before.
    ///
    /// # Errors
    /// As [`AblationPlan::weigh`].
    pub fn weigh(
        &mut self,
        run: (&Run<'_>, &Engine<'_>),
        batch: &TokenBatch,
        by: MatchedBy<'_>,
    ) -> Result<(), ExperimentError> {
        match by.matching {
            Match::LayerContribution => self.ablation.weigh(run, batch, by),
            _ => Ok(()),
        }
    }

    /// What that takes.
    ///
    /// # Errors
    /// As [`AblationPlan::weigh_steps`].
    pub fn weigh_steps(
        &self,
        engine: &Engine<'_>,
        batch: &TokenBatch,
        by: MatchedBy<'_>,
    ) -> Result<Vec<Step>, ExperimentError> {
        match by.matching {
            Match::LayerContribution => self.ablation.weigh_steps(engine, batch, by),
            _ => Ok(Vec::new()),
        }
    }

    /// The ranked set, then the random sets that its sum is compared with.
    pub(super) fn sets(&self) -> impl Iterator<Item = &NeuronSet> {
        let draws = self.ablation.treatments.iter().flat_map(|t| &t.baseline);
        std::iter::once(&self.neurons).chain(draws)
    }

    /// The plan's edit of some neurons, with a mode that has its values.
    pub(super) fn edit(&self, mode: &Mode, label: String, neurons: &[Neuron]) -> Edit {
        let neurons = set(self.neurons.n_layers(), neurons);
        self.ablation.edit_of(label, neurons, (mode, Path::Total))
    }

    /// Neurons that are ranked.
    pub fn neurons(&self) -> usize {
        self.neurons.len()
    }

    /// Neurons that are ablated alone.
    pub fn alone(&self) -> usize {
        self.settings.top.get().min(self.neurons.len())
    }
}

/// The set of some neurons of a model with `n_layers` layers.
pub(super) fn set(n_layers: usize, neurons: &[Neuron]) -> NeuronSet {
    let mut layers = vec![Vec::new(); n_layers];
    for neuron in neurons {
        layers[neuron.layer].push(neuron.index as u32);
    }
    NeuronSet::from_layers(layers)
}
