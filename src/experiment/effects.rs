//! Outcomes to estimates: for each class, metric and subset of prompts, the edited model against
//! the clean one and against the matched random draws (docs/statistics.md).

use serde::{Deserialize, Serialize};

use super::ExperimentError;
use super::effect_path::EffectPath;
use super::metric::Metric;
use super::outcome::PromptSubset;
use super::plan::{AblationPlan, FirstOrderSums, Treatment};
use super::window::LayerWindow;
use crate::stats::{
    Clusters, Contrast, Interval, StatsSettings, Table, contrast, holm_present, mean,
};

/// Means over the prompts, in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ArmMeans {
    /// Of the unedited model.
    pub clean: f64,
    /// Of the model with the class edited.
    pub class: f64,
    /// The mean over the baseline draws; null without draws.
    pub baseline: Option<f64>,
}

/// A class against its matched random draws, in the unit of what is compared: the same in `effects.json` and
/// `class_activity.json`. What the data cannot give is null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Estimate {
    /// Class minus the mean of the draws.
    pub difference_to_baseline: Option<f64>,
    /// 95 % interval of the class minus one fresh random set, over units and draws.
    pub baseline_ci: Option<Interval>,
    /// 95 % interval of the class minus the average over all random sets.
    #[serde(default)]
    pub average_set_ci: Option<Interval>,
    /// p of the difference to the baseline, two-sided, by Student's t; nothing is decided by it.
    pub p: Option<f64>,
    /// The p that decides, Holm-adjusted over the run's primary tests: of the rank among the draws, where there are any. Null
    /// for what is described and no primary test.
    pub p_adjusted: Option<f64>,
    /// Two-sided p of the rank among the draws.
    pub permutation_p: Option<f64>,
    /// The smallest permutation p that this number of draws can give.
    pub permutation_floor: Option<f64>,
}

impl From<Contrast> for Estimate {
    fn from(contrast: Contrast) -> Self {
        Self {
            difference_to_baseline: Some(contrast.estimate),
            baseline_ci: contrast.interval,
            average_set_ci: contrast.average_interval,
            p: contrast.p,
            p_adjusted: None,
            permutation_p: contrast.permutation_p,
            permutation_floor: Some(contrast.permutation_floor),
        }
    }
}

impl Estimate {
    /// The p that decides: of the rank, where something was drawn.
    pub fn deciding_p(&self) -> Option<f64> {
        self.permutation_p.or(self.p)
    }
}

/// Adjusts the p that decide, of the primary tests of a run.
pub(super) fn adjust_all<'e>(primary: impl IntoIterator<Item = &'e mut Estimate>) {
    let estimates: Vec<&mut Estimate> = primary.into_iter().collect();
    let raw: Vec<Option<f64>> = estimates.iter().map(|e| e.deciding_p()).collect();
    for (estimate, adjusted) in estimates.into_iter().zip(holm_present(&raw)) {
        estimate.p_adjusted = adjusted;
    }
}

/// One class, mode, metric, subset and path; an entry of `effects.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Effect {
    /// First and last layer of the window that this is about, both from 0 and included; absent where it is about no window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<LayerWindow>,
    /// Name of the class or neuron file.
    pub class: String,
    /// What the neurons' values became: `zero`, `mean`, `multiply=0.5` and so on, as on the command line.
    pub mode: String,
    /// By which way the edit reaches the logits.
    #[serde(default)]
    pub path: EffectPath,
    /// The control that this is of, such as `random-weights`; absent of a result about the model itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
    /// The number per prompt that is compared.
    pub metric: Metric,
    /// Which prompts the means are over.
    pub subset: PromptSubset,
    /// Number of prompts, or of documents of a text.
    pub prompts: usize,
    /// Number of clusters that the prompts form, over which the intervals are: relations where the prompts have them, documents, or
    /// subjects.
    #[serde(default)]
    pub clusters: usize,
    /// Number of neurons of the class.
    pub neurons: usize,
    /// Number of neurons of a baseline draw; fewer than `neurons` where the class fills more than half of a layer.
    pub baseline_neurons: usize,
    /// Number of baseline draws, matched random sets.
    pub draws: usize,
    /// What the class's neurons write together (mean |post|·‖w_out‖ of the clean model, first positions left out) over
    /// the mean of the draws; null where that was not measured.
    #[serde(default)]
    pub contribution_ratio: Option<f64>,
    /// What switching off the class's neurons and those of its draws changes of a text's mean next-token log-probability, to
    /// first order, nats per token; absent but where draws are matched by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_order: Option<FirstOrderSums>,
    /// Means over the prompts: clean, the class edited, the draws edited.
    pub means: ArmMeans,
    /// The mean of each draw over the prompts, in the order of the draws; empty without draws.
    #[serde(default)]
    pub draw_means: Vec<f64>,
    /// Class minus clean, mean over prompts, in the metric's unit.
    pub difference_to_clean: f64,
    /// 95 % interval of the difference to clean over clusters of prompts, by Student's t; null where the data cannot give one.
    pub clean_ci: Option<Interval>,
    /// The class against its draws.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// The difference to the baseline in units of its spread where the class is no more than a random set; null where the
    /// data cannot give it.
    pub standardised_effect: Option<f64>,
    /// The differences to clean and to the baseline where every cluster counts alike; absent where each prompt is a cluster of
    /// its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters_alike: Option<Differences>,
    /// The differences to clean and to the baseline relation by relation; absent but of the primary metric on prompts that have
    /// relations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_relation: Vec<RelationEffect>,
}

/// What editing a class changes, in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Differences {
    /// Class minus clean.
    pub difference_to_clean: f64,
    /// Class minus the mean of the draws; null without draws.
    pub difference_to_baseline: Option<f64>,
}

/// What a class does to the facts of one relation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RelationEffect {
    /// The relation; empty for prompts that have none.
    pub relation: String,
    /// Number of its prompts.
    pub prompts: usize,
    /// Means over them.
    #[serde(flatten)]
    pub differences: Differences,
}

impl Effect {
    /// What tables call it: the class, with the path where that is not the total one.
    pub fn name(&self) -> String {
        match self.path {
            EffectPath::Total => self.class.clone(),
            path => format!("{}, {path}", self.class),
        }
    }

    /// How many top-1 answers the class loses, net of those gained, and the mean draw; of
    /// [`Metric::TOP1`].
    pub fn answers_lost(&self) -> (f64, Option<f64>) {
        let lost = |arm: f64| (self.means.clean - arm) * self.prompts as f64;
        (lost(self.means.class), self.means.baseline.map(lost))
    }
}

/// Adjusts the p of the primary effects of a run, Holm's family, one test a class: those of this metric on `subset`, by the
/// path that stands first.
pub(super) fn adjust<'e>(
    effects: impl IntoIterator<Item = &'e mut Effect>,
    primary: &Metric,
    subset: PromptSubset,
) {
    let mut path = None;
    let primary = effects.into_iter().filter(|e| {
        e.metric == *primary && e.subset == subset && *path.get_or_insert(e.path) == e.path
    });
    adjust_all(primary.map(|effect| &mut effect.estimate));
}

/// A number per unit, prompt or document, in the same order in every arm.
#[derive(Clone, Debug, Default)]
pub(super) struct Arms {
    pub clean: Vec<f64>,
    pub class: Vec<f64>,
    pub draws: Vec<Vec<f64>>,
    /// Which units belong together.
    pub clusters: Clusters,
}

impl Arms {
    /// This measurement minus another of the same sets and units.
    pub fn minus(&self, other: &Arms) -> Arms {
        let draws = self.draws.iter().zip(&other.draws);
        Arms {
            clean: minus(&self.clean, &other.clean),
            class: minus(&self.class, &other.class),
            draws: draws.map(|(a, b)| minus(a, b)).collect(),
            clusters: self.clusters.clone(),
        }
    }

    /// What each set changed: every arm minus clean.
    pub fn changes(&self) -> Arms {
        let change = |values: &Vec<f64>| minus(values, &self.clean);
        Arms {
            clean: change(&self.clean),
            class: change(&self.class),
            draws: self.draws.iter().map(change).collect(),
            clusters: self.clusters.clone(),
        }
    }

    /// The class beside its draws.
    pub fn table(&self) -> Table<'_> {
        Table {
            class: &self.class,
            draws: &self.draws,
            clusters: &self.clusters,
        }
    }

    /// Of each unit, the class minus clean and minus the mean of the draws.
    fn differences(&self) -> (Vec<f64>, Option<Vec<f64>>) {
        let pairs = self.class.iter().zip(&self.clean);
        let to_clean = pairs.map(|(class, clean)| class - clean).collect();
        let of_draws = |unit: usize| {
            let draws: Vec<f64> = self.draws.iter().map(|draw| draw[unit]).collect();
            Some(self.class[unit] - mean(&draws)?)
        };
        (to_clean, (0..self.class.len()).map(of_draws).collect())
    }

    /// The differences where every cluster counts alike.
    fn clusters_alike(&self) -> Option<Differences> {
        if self.clusters.count() == self.clusters.units() {
            return None;
        }
        let (to_clean, to_draws) = self.differences();
        let alike = |values: Vec<f64>| self.clusters.mean_of_clusters(&values);
        Some(Differences {
            difference_to_clean: alike(to_clean)?,
            difference_to_baseline: to_draws.and_then(alike),
        })
    }

    /// The differences cluster by cluster; `relations` are their names.
    pub fn by_relation(&self, relations: Vec<String>) -> Vec<RelationEffect> {
        if relations.len() != self.clusters.count() {
            return Vec::new(); // all of one relation
        }
        let (to_clean, to_draws) = self.differences();
        let to_clean = self.clusters.means(&to_clean);
        let to_draws = to_draws.map(|values| self.clusters.means(&values));
        let of_cluster = |(cluster, relation)| RelationEffect {
            relation,
            prompts: self.clusters.size(cluster),
            differences: Differences {
                difference_to_clean: to_clean[cluster],
                difference_to_baseline: to_draws.as_ref().map(|means| means[cluster]),
            },
        };
        relations.into_iter().enumerate().map(of_cluster).collect()
    }

    /// The comparison of the class with clean and with the draws.
    pub fn effect(
        self,
        treatment: &Treatment,
        (mode, path): (String, EffectPath),
        metric: Metric,
        subset: PromptSubset,
        settings: &StatsSettings,
    ) -> Result<Effect, ExperimentError> {
        let (to_clean, _) = self.differences();
        let against_clean = self.clusters.mean(&to_clean, settings.level);
        let against_draws = (!self.draws.is_empty())
            .then(|| contrast(self.table(), settings))
            .transpose()?;
        let clusters_alike = self.clusters_alike();
        let Arms {
            clean,
            class,
            draws,
            clusters,
        } = self;
        let draws_mean = mean(&draws.concat());
        Ok(Effect {
            layers: treatment.layers,
            class: treatment.class.clone(),
            mode,
            path,
            control: None,
            metric,
            subset,
            prompts: class.len(),
            clusters: clusters.count(),
            neurons: treatment.neurons.len(),
            baseline_neurons: treatment.baseline.first().map_or(0, |set| set.len()),
            draws: draws.len(),
            contribution_ratio: treatment.written.as_ref().and_then(|w| w.ratio),
            first_order: treatment.first_order.map(|found| found.sums),
            means: ArmMeans {
                clean: mean(&clean).unwrap_or(f64::NAN),
                class: mean(&class).unwrap_or(f64::NAN),
                baseline: draws_mean,
            },
            draw_means: draws.iter().filter_map(|draw| mean(draw)).collect(),
            difference_to_clean: mean(&to_clean).unwrap_or(f64::NAN),
            clean_ci: against_clean.map(|mean| mean.interval),
            estimate: against_draws.map(Estimate::from).unwrap_or_default(),
            standardised_effect: against_draws.and_then(|c| c.standardised),
            clusters_alike,
            by_relation: Vec::new(),
        })
    }
}

impl AblationPlan {
    /// What is compared of a treatment: by each path, and where there are two, what the total effect has beside the direct one.
    /// `arms` gives those of a comparison, counted over treatments and in each over paths.
    pub(super) fn by_path(
        &self,
        treatment: usize,
        arms: impl Fn(usize) -> Arms,
    ) -> Vec<(EffectPath, Arms)> {
        let first = treatment * self.paths.len();
        let of_paths = self.paths.iter().zip(first..);
        let mut compared: Vec<(EffectPath, Arms)> = of_paths
            .map(|(path, comparison)| (EffectPath::from(*path), arms(comparison)))
            .collect();
        if let [(_, total), (_, direct)] = &compared[..] {
            let indirect = total.minus(direct);
            compared.push((EffectPath::Indirect, indirect));
        }
        compared
    }
}

/// Value by value.
pub(super) fn minus(values: &[f64], from: &[f64]) -> Vec<f64> {
    values.iter().zip(from).map(|(a, b)| a - b).collect()
}
