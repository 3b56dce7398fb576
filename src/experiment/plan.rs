//! From neuron sets to conditions: each class beside its baseline draws.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::corruption::{Corruption, PatchDirection};
use super::evidence::Versus;
use super::metric::Metric;
use super::outcome::{Arm, ConditionRow, PromptSubset};
use super::window::LayerWindow;
use crate::hooks::{Condition, Edit, Mode, Neuron, NeuronSet, Path, SignCase, SignConvention};
use crate::io_class::{MatchedDraws, Shortfall};
use crate::tokens::Positions;

/// One class, or one file of neurons, with its baseline.
#[derive(Clone, Debug)]
pub struct Treatment {
    /// The class's name, or the neuron file's stem.
    pub class: String,
    /// The window of layers that it is restricted to; absent where there is none.
    pub layers: Option<LayerWindow>,
    /// The neurons themselves.
    pub neurons: NeuronSet,
    /// Matched random sets.
    pub baseline: Vec<NeuronSet>,
    /// Layers where the baseline is smaller than the class.
    pub shortfall: Vec<Shortfall>,
    /// What the class and its draws write, where that was measured ([`AblationPlan::weigh`]).
    pub written: Option<Written>,
    /// What they do to a text, to first order, where draws are matched by that.
    pub first_order: Option<FirstOrder>,
}

/// What a class and its draws write.
#[derive(Clone, Debug)]
pub struct Written {
    /// The class's neurons together, over the mean of the draws; absent without draws, or where these write nothing.
    pub ratio: Option<f64>,
    /// Over what.
    pub over: MeasuredOver,
    /// The first-position neurons that the class or a draw holds.
    pub first_position: Vec<FirstPosition>,
}

/// Draws are near their class where the mean of their sums differs from the class's by no more than this share of it.
pub const NEAR: f64 = 0.25;

/// What a class and its draws do to a text, to first order.
#[derive(Clone, Copy, Debug)]
pub struct FirstOrder {
    /// Of all neurons of a set together.
    pub sums: FirstOrderSums,
    /// Over what.
    pub over: MeasuredOver,
}

/// What a class and its draws do to a text, to first order, in nats per token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FirstOrderSums {
    /// Sum over the neurons of the class.
    pub class: f64,
    /// Mean of the sums of its draws; null without draws.
    pub baseline: Option<f64>,
}

impl FirstOrderSums {
    /// Whether the draws are near the class (by [`NEAR`]); true without draws.
    pub fn is_near(&self) -> bool {
        let is_near = |draws: f64| (draws - self.class).abs() <= NEAR * self.class.abs();
        self.baseline.is_none_or(is_near)
    }
}

/// A neuron that writes next to nothing but at the first position, and there more than a thousand others
/// ([`Contributions::first_position`](super::Contributions::first_position)): an edit of it at that position may
/// decide an effect by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstPosition {
    /// Which.
    pub neuron: Neuron,
    /// Whether the class holds it.
    pub in_class: bool,
    /// How many draws do.
    pub draws: usize,
}

/// What contributions, or first-order effects, were measured over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MeasuredOver {
    /// Prompts or stretches of text.
    pub sequences: usize,
    /// Their tokens without the first of each; of text these are the tokens that are predicted.
    pub tokens: usize,
    /// How often the layers were walked through.
    pub passes: usize,
}

impl Treatment {
    /// A set with its draws.
    pub fn new(class: String, neurons: NeuronSet, draws: MatchedDraws) -> Self {
        Self {
            class,
            layers: None,
            neurons,
            baseline: draws.sets,
            shortfall: draws.shortfall,
            written: None,
            first_order: None,
        }
    }

    /// The same neurons without random ones to compare with.
    pub fn alone(&self) -> Self {
        Self {
            baseline: Vec::new(),
            ..self.clone()
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
    /// Of the choice of donors, where values are resampled, and of noise.
    pub seed: u64,
    /// What a fact is paired with where values are patched.
    pub corruption: Corruption,
    /// Which of the two is run.
    pub direction: PatchDirection,
    /// By which ways the change reaches the logits: one, or the total and a direct one.
    pub paths: Vec<Path>,
}

/// The conditions of a plan by their number, 0 the clean one.
pub(super) struct Conditions {
    /// What the engine runs.
    pub run: Vec<Condition>,
    /// What the tables say of them.
    pub rows: Vec<ConditionRow>,
    /// What they say of corrupted runs, unedited.
    pub corrupted: ConditionRow,
    /// Of each treatment by each path, its class and then its draws.
    compared: Vec<Range<usize>>,
}

impl Conditions {
    fn clean() -> Self {
        let unedited = |arm| ConditionRow {
            class: String::new(),
            arm,
            draw: 0,
            mode: String::new(),
            neurons: 0,
            layers: None,
            path: String::new(),
        };
        Self {
            run: vec![Condition::Clean],
            rows: vec![unedited(Arm::Clean)],
            corrupted: unedited(Arm::Corrupted),
            compared: Vec::new(),
        }
    }

    /// The number of the class of a comparison, counted over treatments and in each over paths.
    pub fn class(&self, comparison: usize) -> usize {
        self.compared[comparison].start
    }

    /// The numbers of its draws.
    pub fn draws(&self, comparison: usize) -> Range<usize> {
        let Range { start, end } = self.compared[comparison];
        start + 1..end
    }
}

impl AblationPlan {
    /// `mode` at all positions and in every sign case, on the known prompts, with seed 0 and all that follows from it; the fields
    /// say what else there is.
    pub fn new(treatments: Vec<Treatment>, mode: Mode) -> Self {
        Self {
            treatments,
            mode,
            positions: Positions::All,
            when: SignCase::default(),
            signs: SignConvention::Raw,
            subset: PromptSubset::Known,
            seed: 0,
            corruption: Corruption::default(),
            direction: PatchDirection::default(),
            paths: vec![Path::Total],
        }
    }

    /// Number of conditions, the clean one included.
    pub fn len(&self) -> usize {
        let sets = self.treatments.iter().map(|t| 1 + t.baseline.len());
        1 + self.paths.len() * sets.sum::<usize>()
    }

    /// Whether nothing is edited.
    pub fn is_empty(&self) -> bool {
        self.treatments.is_empty()
    }

    /// The metric of facts that Holm's tests are of; all others are described.
    pub fn primary(&self) -> &'static Metric {
        match (&self.mode, self.corruption) {
            (Mode::Patch(_), Corruption::Counterfactual) => &Metric::LOGIT_DIFF,
            _ => &Metric::TARGET_LOGPROB,
        }
    }

    /// The metric that tells how much of the primary one is recovered, where values are patched.
    pub fn recovered(&self) -> Option<&'static Metric> {
        match (&self.mode, self.corruption) {
            (Mode::Patch(_), Corruption::Counterfactual) => Some(&Metric::RECOVERED),
            (Mode::Patch(_), Corruption::Noise(_)) => Some(&Metric::RECOVERED_LOGPROB),
            _ => None,
        }
    }

    /// What the classes are compared with.
    pub fn versus(&self) -> Versus {
        let mut draws = self.treatments.iter().map(|t| t.baseline.len());
        if draws.any(|draws| draws > 0) {
            Versus::Baseline
        } else {
            Versus::Clean
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

    /// All conditions with the plan's mode, now that it has its values.
    pub(super) fn conditions(&self, mode: &Mode) -> Conditions {
        let mut conditions = Conditions::clean();
        for treatment in &self.treatments {
            for &path in &self.paths {
                let first = conditions.run.len();
                let by = (mode, path);
                self.add(&mut conditions, treatment, Arm::Class, 0, by);
                for draw in 0..treatment.baseline.len() {
                    self.add(&mut conditions, treatment, Arm::Baseline, draw, by);
                }
                conditions.compared.push(first..conditions.run.len());
            }
        }
        conditions
    }

    fn add(
        &self,
        to: &mut Conditions,
        treatment: &Treatment,
        arm: Arm,
        draw: usize,
        (mode, path): (&Mode, Path),
    ) {
        let Treatment { class, layers, .. } = treatment;
        let mut name = match layers {
            Some(layers) => format!("{class}, {layers}"),
            None => class.clone(),
        };
        if path != Path::Total {
            name += &format!(", {path}");
        }
        let (label, neurons) = match arm {
            Arm::Baseline => (
                format!("{name}, baseline draw {draw}"),
                &treatment.baseline[draw],
            ),
            _ => (name, &treatment.neurons),
        };
        to.rows.push(ConditionRow {
            class: class.clone(),
            arm,
            draw: draw as u32,
            mode: mode.to_string(),
            neurons: neurons.len() as u32,
            layers: *layers,
            path: path.to_string(),
        });
        let edit = self.edit_of(label, neurons.clone(), (mode, path));
        to.run.push(edit.into());
    }

    /// The plan's edit of any neurons.
    pub(super) fn edit_of(
        &self,
        label: String,
        neurons: NeuronSet,
        (mode, path): (&Mode, Path),
    ) -> Edit {
        Edit {
            label,
            neurons,
            mode: mode.clone(),
            positions: self.positions,
            when: self.when,
            signs: self.signs.clone(),
            path,
        }
    }
}
