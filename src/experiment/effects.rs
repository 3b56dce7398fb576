//! Outcomes to estimates: for each class, metric and subset of prompts, the edited model against
//! the clean one and against the matched random draws (DESIGN of the statistics in `stats`).

use serde::{Deserialize, Serialize};

use super::ExperimentError;
use super::metric::Metric;
use super::outcome::PromptSubset;
use super::plan::Treatment;
use super::window::LayerWindow;
use crate::stats::{
    BootstrapSettings, Contrast, Interval, bootstrap_mean, contrast, holm_present, mean,
};

/// Means over the prompts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmMeans {
    /// The unedited model.
    pub clean: f64,
    /// The class edited.
    pub class: f64,
    /// The mean over the baseline draws; absent without draws.
    pub baseline: Option<f64>,
}

/// A class against its matched random draws: the same in `effects.json` and `class_activity.json`. What the data cannot
/// give is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Class minus the mean of the draws.
    pub difference_to_baseline: Option<f64>,
    /// 95 % interval, over units and draws.
    pub baseline_ci: Option<Interval>,
    /// p of the difference to the baseline, two-sided.
    pub p: Option<f64>,
    /// The same, Holm-adjusted over all tests of the run.
    pub p_adjusted: Option<f64>,
    /// Two-sided permutation p among the draws.
    pub permutation_p: Option<f64>,
    /// The smallest permutation p that this number of draws can give.
    pub permutation_floor: Option<f64>,
}

impl From<Contrast> for Estimate {
    fn from(contrast: Contrast) -> Self {
        Self {
            difference_to_baseline: Some(contrast.estimate),
            baseline_ci: contrast.interval,
            p: contrast.p,
            p_adjusted: None,
            permutation_p: contrast.permutation_p,
            permutation_floor: Some(contrast.permutation_floor),
        }
    }
}

/// Adjusts the p of all tests of a run.
pub(super) fn adjust_all<'e>(estimates: impl IntoIterator<Item = &'e mut Estimate>) {
    let estimates: Vec<&mut Estimate> = estimates.into_iter().collect();
    let raw: Vec<Option<f64>> = estimates.iter().map(|estimate| estimate.p).collect();
    for (estimate, adjusted) in estimates.into_iter().zip(holm_present(&raw)) {
        estimate.p_adjusted = adjusted;
    }
}

/// One class, mode, metric and subset; an entry of `effects.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The window of layers that this is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<LayerWindow>,
    /// Name of the class or neuron file.
    pub class: String,
    /// The edit's mode.
    pub mode: String,
    /// What is compared.
    pub metric: Metric,
    /// Over which prompts.
    pub subset: PromptSubset,
    /// Number of prompts.
    pub prompts: usize,
    /// Neurons of the class.
    pub neurons: usize,
    /// Neurons of a baseline draw; fewer than `neurons` where the class fills more than half of a layer.
    pub baseline_neurons: usize,
    /// Baseline draws.
    pub draws: usize,
    /// What the class's neurons write together (mean |post|·‖w_out‖ of the clean model, first positions left out) over
    /// the mean of the draws; absent where that was not measured.
    #[serde(default)]
    pub contribution_ratio: Option<f64>,
    /// Means per arm.
    pub means: ArmMeans,
    /// The mean of each draw over the prompts, in the order of the draws; empty without draws.
    #[serde(default)]
    pub draw_means: Vec<f64>,
    /// Class minus clean, mean over prompts.
    pub difference_to_clean: f64,
    /// 95 % percentile bootstrap interval over prompts.
    pub clean_ci: Option<Interval>,
    /// The class against its draws.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// Difference to the baseline in units of its spread under the null.
    pub standardised_effect: Option<f64>,
}

impl Effect {
    /// How many top-1 answers the class loses, net of those gained, and the mean draw; of
    /// [`Metric::TOP1`].
    pub fn answers_lost(&self) -> (f64, Option<f64>) {
        let lost = |arm: f64| (self.means.clean - arm) * self.prompts as f64;
        (lost(self.means.class), self.means.baseline.map(lost))
    }
}

/// Adjusts the p of all effects of a run.
pub(super) fn adjust<'e>(effects: impl IntoIterator<Item = &'e mut Effect>) {
    adjust_all(effects.into_iter().map(|effect| &mut effect.estimate));
}

/// A number per unit, prompt or document, in the same order in every arm.
#[derive(Clone, Debug)]
pub(super) struct Arms {
    pub clean: Vec<f64>,
    pub class: Vec<f64>,
    pub draws: Vec<Vec<f64>>,
}

impl Arms {
    /// The comparison of the class with clean and with the draws.
    pub fn effect(
        self,
        treatment: &Treatment,
        mode: String,
        metric: Metric,
        subset: PromptSubset,
        settings: &BootstrapSettings,
    ) -> Result<Effect, ExperimentError> {
        let Arms {
            clean,
            class,
            draws,
        } = self;
        let to_clean: Vec<f64> = class
            .iter()
            .zip(&clean)
            .map(|(class, clean)| class - clean)
            .collect();
        let against_clean = bootstrap_mean(&to_clean, settings);
        let against_draws = (!draws.is_empty())
            .then(|| contrast(&class, &draws, settings))
            .transpose()?;
        let draws_mean = mean(&draws.concat());
        Ok(Effect {
            layers: treatment.layers,
            class: treatment.class.clone(),
            mode,
            metric,
            subset,
            prompts: class.len(),
            neurons: treatment.neurons.len(),
            baseline_neurons: treatment.baseline.first().map_or(0, |set| set.len()),
            draws: draws.len(),
            contribution_ratio: treatment.written.as_ref().and_then(|w| w.ratio),
            means: ArmMeans {
                clean: mean(&clean).unwrap_or(f64::NAN),
                class: mean(&class).unwrap_or(f64::NAN),
                baseline: draws_mean,
            },
            draw_means: draws.iter().filter_map(|draw| mean(draw)).collect(),
            difference_to_clean: mean(&to_clean).unwrap_or(f64::NAN),
            clean_ci: against_clean.map(|bootstrap| bootstrap.interval),
            estimate: against_draws.map(Estimate::from).unwrap_or_default(),
            standardised_effect: against_draws.and_then(|c| c.standardised),
        })
    }
}
