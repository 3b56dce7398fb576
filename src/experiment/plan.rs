//! From neuron sets to conditions: each class beside its baseline draws.

use super::evidence::Versus;
use super::outcome::{Arm, PromptSubset};
use crate::hooks::{Condition, Edit, Mode, NeuronSet, SignCase, SignConvention};
use crate::io_class::{MatchedDraws, Shortfall};
use crate::tokens::Positions;

/// One class, or one file of neurons, with its baseline.
#[derive(Clone, Debug)]
pub struct Treatment {
    /// The class's name, or the neuron file's stem.
    pub class: String,
    /// The neurons themselves.
    pub neurons: NeuronSet,
    /// Matched random sets.
    pub baseline: Vec<NeuronSet>,
    /// Layers where the baseline is smaller than the class.
    pub shortfall: Vec<Shortfall>,
}

impl Treatment {
    /// A set with its draws.
    pub fn new(class: String, neurons: NeuronSet, draws: MatchedDraws) -> Self {
        Self {
            class,
            neurons,
            baseline: draws.sets,
            shortfall: draws.shortfall,
        }
    }
}

/// What is edited how, on which prompts.
#[derive(Clone, Debug)]
pub struct AblationPlan {
    /// The classes.
    pub treatments: Vec<Treatment>,
    /// What becomes of an edited value.
    pub mode: Mode,
    /// At which tokens.
    pub positions: Positions,
    /// In which sign case.
    pub when: SignCase,
    /// The convention of signs.
    pub signs: SignConvention,
    /// On which prompts.
    pub subset: PromptSubset,
    /// Of the choice of donors, where values are resampled.
    pub seed: u64,
}

/// A condition with the columns that name it in `outcomes.parquet`.
pub(super) struct PlannedCondition {
    pub class: String,
    pub arm: Arm,
    pub draw: u32,
    pub mode: String,
    pub neurons: u32,
    pub condition: Condition,
}

impl PlannedCondition {
    /// The plain model.
    pub(super) fn clean() -> Self {
        Self {
            class: String::new(),
            arm: Arm::Clean,
            draw: 0,
            mode: String::new(),
            neurons: 0,
            condition: Condition::Clean,
        }
    }
}

impl AblationPlan {
    /// Number of conditions, the clean one included.
    pub fn len(&self) -> usize {
        1 + self
            .treatments
            .iter()
            .map(|t| 1 + t.baseline.len())
            .sum::<usize>()
    }

    /// Whether nothing is edited.
    pub fn is_empty(&self) -> bool {
        self.treatments.is_empty()
    }

    /// What the classes are compared with.
    pub fn versus(&self) -> Versus {
        let mut draws = self.treatments.iter().map(|t| t.baseline.len());
        match draws.any(|draws| draws > 0) {
            true => Versus::Baseline,
            false => Versus::Clean,
        }
    }

    /// Every neuron that is edited in some condition, of a model with `n_layers` layers.
    pub fn neurons(&self, n_layers: usize) -> NeuronSet {
        let sets = || {
            let treatments = self.treatments.iter();
            treatments.flat_map(|t| std::iter::once(&t.neurons).chain(&t.baseline))
        };
        let layer = |l| sets().flat_map(|set| set.layer(l)).copied().collect();
        NeuronSet::from_layers((0..n_layers).map(layer).collect())
    }

    /// All conditions with the plan's mode, now that it has its values; the clean one first.
    pub(super) fn conditions(&self, mode: &Mode) -> Vec<PlannedCondition> {
        let mut planned = vec![PlannedCondition::clean()];
        for treatment in &self.treatments {
            planned.push(self.edit(treatment, Arm::Class, 0, &treatment.neurons, mode));
            for (draw, set) in treatment.baseline.iter().enumerate() {
                planned.push(self.edit(treatment, Arm::Baseline, draw as u32, set, mode));
            }
        }
        planned
    }

    fn edit(
        &self,
        treatment: &Treatment,
        arm: Arm,
        draw: u32,
        neurons: &NeuronSet,
        mode: &Mode,
    ) -> PlannedCondition {
        let label = match arm {
            Arm::Baseline => format!("{}, baseline draw {draw}", treatment.class),
            _ => treatment.class.clone(),
        };
        PlannedCondition {
            class: treatment.class.clone(),
            arm,
            draw,
            mode: mode.to_string(),
            neurons: neurons.len() as u32,
            condition: self.edit_of(label, neurons.clone(), mode),
        }
    }

    /// The plan's edit of any neurons.
    pub(super) fn edit_of(&self, label: String, neurons: NeuronSet, mode: &Mode) -> Condition {
        Condition::Edited(Edit {
            label,
            neurons,
            mode: mode.clone(),
            positions: self.positions,
            when: self.when,
            signs: self.signs.clone(),
        })
    }
}
