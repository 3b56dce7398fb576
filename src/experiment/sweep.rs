//! The sweep: an ablation by single layers, or by windows of neighbouring layers.
//!
//! Each class in each window is a *cell*, and each cell a treatment of one [`AblationPlan`]. So one run
//! has them all, and shares every layer before a cell's first. A cell's draws are those of the whole
//! class, restricted like it; since a draw is seeded layer by layer, they are also those of
//! an ablation of that window alone.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::effects::Effect;
use super::metric::Metric;
use super::plan::{AblationPlan, Treatment};
use super::window::LayerWindow;
use crate::hooks::NeuronSet;

/// A class in a window of layers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// The class's name, or the neuron file's stem.
    pub class: String,
    /// Where its neurons are edited.
    pub layers: LayerWindow,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.class, self.layers)
    }
}

/// An ablation plan by cells.
#[derive(Clone, Debug)]
pub struct SweepPlan {
    /// A treatment per cell, named by it; window by window, in each the classes in their order.
    pub ablation: AblationPlan,
    /// The windows, in order.
    pub windows: Vec<LayerWindow>,
    /// The classes, in order.
    pub classes: Vec<String>,
    /// The cells of the treatments, in the same order.
    pub cells: Vec<Cell>,
    /// Cells without neurons, which have no treatment.
    pub absent: Vec<Cell>,
}

impl SweepPlan {
    /// Every class of `whole` in every window. Where nothing is left of the draws (the class holds the whole of
    /// the window's layers), the treatment has none.
    pub fn new(mut whole: AblationPlan, windows: &[LayerWindow]) -> SweepPlan {
        let classes = std::mem::take(&mut whole.treatments);
        let mut plan = SweepPlan {
            ablation: whole,
            windows: windows.to_vec(),
            classes: classes.iter().map(|t| t.class.clone()).collect(),
            cells: Vec::new(),
            absent: Vec::new(),
        };
        for &layers in windows {
            for class in &classes {
                plan.add(class, layers);
            }
        }
        plan
    }

    fn add(&mut self, class: &Treatment, layers: LayerWindow) {
        let cell = Cell {
            class: class.class.clone(),
            layers,
        };
        let treatment = restrict(class, &cell);
        if treatment.neurons.is_empty() {
            self.absent.push(cell);
        } else {
            self.ablation.treatments.push(treatment);
            self.cells.push(cell);
        }
    }

    /// What tables and pictures show: the effects on a metric, over the prompts that were asked for, by class and window.
    pub fn by_cell<'e>(
        &self,
        effects: &'e [Effect],
        metric: Metric,
    ) -> HashMap<(&'e str, LayerWindow), &'e Effect> {
        let shown = effects
            .iter()
            .filter(|e| e.metric == metric && e.subset == self.ablation.subset);
        shown
            .filter_map(|e| Some(((e.class.as_str(), e.layers?), e)))
            .collect()
    }
}

fn restrict(class: &Treatment, cell: &Cell) -> Treatment {
    let layers = cell.layers.layers();
    let within = |set: &NeuronSet| set.restrict_layers(layers.clone());
    let mut baseline: Vec<NeuronSet> = class.baseline.iter().map(within).collect();
    baseline.retain(|set| !set.is_empty()); // all draws are empty, or none is
    let shortfall = class.shortfall.iter().copied();
    Treatment {
        class: class.class.clone(),
        layers: Some(cell.layers),
        neurons: within(&class.neurons),
        baseline,
        shortfall: shortfall.filter(|s| layers.contains(&s.layer)).collect(),
        written: None,
        first_order: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PromptSubset, layer_windows};
    use super::*;
    use crate::hooks::{Mode, Neuron};
    use crate::io_class::Shortfall;

    fn set(neurons: &[(usize, usize)]) -> NeuronSet {
        let neurons = neurons
            .iter()
            .map(|&(layer, index)| Neuron { layer, index });
        NeuronSet::from_neurons(5, 9, neurons).unwrap()
    }

    fn plan() -> AblationPlan {
        let treatment = |class: &str, neurons, baseline| Treatment {
            layers: None,
            class: class.to_string(),
            neurons,
            baseline: vec![baseline],
            shortfall: vec![Shortfall {
                layer: 1,
                class: 9,
                available: 0,
            }],
            written: None,
            first_order: None,
        };
        AblationPlan {
            subset: PromptSubset::All,
            ..AblationPlan::new(
                vec![
                    treatment("a", set(&[(0, 1), (1, 2), (4, 3)]), set(&[(0, 5), (4, 6)])),
                    treatment("b", set(&[(3, 3)]), set(&[(3, 4)])),
                ],
                Mode::Zero,
            )
        }
    }

    #[test]
    fn windows_slide_and_end_within_the_layers() {
        let spans = |layers, width, stride| {
            let windows = layer_windows(layers, width, stride).unwrap();
            windows
                .iter()
                .map(|w| (w.first, w.last))
                .collect::<Vec<_>>()
        };
        assert_eq!(spans(0..3, 1, 1), [(0, 0), (1, 1), (2, 2)]);
        assert_eq!(spans(2..6, 3, 1), [(2, 4), (3, 5)]);
        assert_eq!(spans(0..7, 2, 3), [(0, 1), (3, 4)]);
        assert_eq!(spans(1..3, 2, 9), [(1, 2)]);
        let error = layer_windows(3..5, 3, 1).unwrap_err().to_string();
        assert!(
            error.contains("3 layers") && error.contains("3..5"),
            "{error}"
        );
    }

    #[test]
    fn a_cell_is_the_class_in_its_window() {
        let sweep = SweepPlan::new(plan(), &layer_windows(0..5, 2, 2).unwrap());
        let names: Vec<_> = sweep.cells.iter().map(Cell::to_string).collect();
        assert_eq!(names, ["a, layers 0 to 1", "b, layers 2 to 3"]);
        let absent: Vec<_> = sweep.absent.iter().map(Cell::to_string).collect();
        assert_eq!(absent, ["b, layers 0 to 1", "a, layers 2 to 3"]);
        let first = &sweep.ablation.treatments[0];
        assert_eq!(
            (first.class.as_str(), first.layers),
            ("a", Some(sweep.windows[0]))
        );
        assert_eq!(first.neurons, set(&[(0, 1), (1, 2)]));
        assert_eq!(first.baseline, [set(&[(0, 5)])]);
        assert_eq!(
            (
                first.shortfall.len(),
                sweep.ablation.treatments[1].shortfall.len()
            ),
            (1, 0)
        );
    }

    #[test]
    fn a_class_that_fills_its_layer_has_no_baseline_there() {
        let sweep = SweepPlan::new(plan(), &layer_windows(0..5, 1, 1).unwrap());
        assert_eq!(sweep.cells[1].to_string(), "a, layer 1");
        let full = &sweep.ablation.treatments[1];
        assert!(full.baseline.is_empty() && full.shortfall.len() == 1);
        assert_eq!(sweep.ablation.treatments[0].baseline.len(), 1);
    }
}
