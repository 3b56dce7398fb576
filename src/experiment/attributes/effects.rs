//! Rates to estimates: for each class the mean rate over some layers, and the rate after every single layer; of each also
//! what is left beyond the rate with other subjects' texts.

use std::ops::Range;

use serde::Serialize;

use super::{Attributes, RateSettings, Share, Shares};
use crate::experiment::effect_path::EffectPath;
use crate::experiment::effects::{Arms, Effect, adjust};
use crate::experiment::metric::{Metric, of_subjects};
use crate::experiment::plan::AblationPlan;
use crate::experiment::{Cell, ExperimentError, LayerWindow};
use crate::stats::{Clusters, StatsSettings, mean};

/// The published mean is over layers 5 to 28 of 32 (arXiv 2505.17936): so many at the beginning do not count ...
const FIRST_OF_32: usize = 5;
/// ... nor so many at the end.
const LAST_OF_32: usize = 3;

/// The layers that the mean is over where nobody chose any: those at the depths of layers 5 to 28 of 32. Of n layers,
/// 5n/32 are left out at the beginning and 3n/32 at the end, both rounded.
pub fn default_layers(n_layers: usize) -> Range<usize> {
    let rounded = |of_32: usize| (of_32 * n_layers + 16) / 32;
    rounded(FIRST_OF_32)..n_layers - rounded(LAST_OF_32)
}

/// Whether a p was adjusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Adjustment {
    /// It was, by Holm, over the run's tests of the mean over layers.
    Holm,
    /// It was not: a single layer is there to be looked at, and no test of the run's family.
    None,
}

/// So many of its standard errors a clean rate must be above that with other subjects' texts. Below, the residual says
/// nothing of the subject that ablation could take away.
const ERRORS: f64 = 3.0;

/// Whether a clean excess, with its standard error, leaves something to lose.
pub fn is_there(clean_excess: f64, error: Option<f64>) -> bool {
    clean_excess > 0.0 && error.is_some_and(|error| clean_excess >= ERRORS * error)
}

/// An entry of the `effects.json` of `attributes`. Rates and their differences are fractions, 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AttributeEffect {
    /// The layer, from 0; null in the mean over several.
    pub layer: Option<usize>,
    /// Which tokens the rates are over.
    #[serde(flatten)]
    pub settings: RateSettings,
    /// Number of prompts that are left out in all arms, since in one of them they have no rate after any of these layers.
    pub left_out: usize,
    /// Standard error of the clean mean, over subjects; null of one prompt.
    pub clean_error: Option<f64>,
    /// Whether p was adjusted.
    pub adjustment: Adjustment,
    /// The effect.
    #[serde(flatten)]
    pub effect: Effect,
}

/// What was compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttributeEffects {
    /// Class by class, and of each the rate before its excess: the mean over layers, then layer by layer. Without other
    /// subjects' texts there is no excess.
    pub effects: Vec<AttributeEffect>,
    /// Classes and layers for which every prompt is left out.
    pub absent: Vec<Cell>,
}

/// The effects of a plan in its order of classes, with the mean over `layers`.
///
/// A prompt's value in the mean is that over the layers where it has a rate. Holm runs over the means alone.
///
/// # Errors
/// Those of the statistics.
pub fn attribute_effects(
    found: &Attributes,
    plan: &AblationPlan,
    settings: RateSettings,
    layers: LayerWindow,
    statistics: &StatsSettings,
) -> Result<AttributeEffects, ExperimentError> {
    let mut all = AttributeEffects {
        effects: Vec::new(),
        absent: Vec::new(),
    };
    let single = (0..found.n_layers()).map(|layer| (Some(layer), LayerWindow::single(layer)));
    let scopes: Vec<_> = std::iter::once((None, layers)).chain(single).collect();
    let treatments = plan.treatments.iter().enumerate();
    for (at, treatment) in treatments {
        let each = of_subjects().flat_map(|metric| scopes.iter().map(move |scope| (metric, scope)));
        for ((metric, of), &(layer, layers)) in each {
            let rates = found.arms((at, at), layers, of);
            if rates.arms.class.is_empty() {
                let class = treatment.class.clone();
                let cell = (*metric == Metric::ATTRIBUTE_RATE).then_some(Cell { class, layers });
                all.absent.extend(cell);
                continue;
            }
            let (left_out, clean_error) = (rates.left_out, rates.clean_error);
            let mode = plan.mode.to_string();
            let effect = rates.arms.effect(
                treatment,
                (mode, EffectPath::Total),
                *metric,
                plan.subset,
                statistics,
            )?;
            all.effects.push(AttributeEffect {
                layer,
                settings,
                left_out,
                clean_error,
                adjustment: if layer.is_none() && *metric == Metric::ATTRIBUTE_EXCESS {
                    Adjustment::Holm
                } else {
                    Adjustment::None
                },
                effect: Effect {
                    layers: Some(layers),
                    ..effect
                },
            });
        }
    }
    let tested = all.effects.iter_mut();
    let tested = tested.filter(|effect| effect.adjustment == Adjustment::Holm);
    adjust(
        tested.map(|effect| &mut effect.effect),
        &Metric::ATTRIBUTE_EXCESS,
        plan.subset,
    );
    Ok(all)
}

/// The mean rates of the prompts that have one in every arm.
pub(in crate::experiment) struct RateArms {
    pub arms: Arms,
    /// How many have not.
    pub left_out: usize,
    /// Standard error of the clean mean, over subjects; absent of one prompt.
    pub clean_error: Option<f64>,
}

impl Attributes {
    fn n_layers(&self) -> usize {
        let shares = self.shares.first();
        let first = shares.and_then(|shares| shares.values().next());
        first.map_or(0, Vec::len)
    }

    /// A metric of number `treatment` of the plan's treatments, with the draws of number `with_draws`.
    pub(in crate::experiment) fn arms(
        &self,
        (treatment, with_draws): (usize, usize),
        layers: LayerWindow,
        of: fn(Share) -> Option<f64>,
    ) -> RateArms {
        let rates = |condition: usize| mean_rates(&self.shares[condition], layers, of);
        let draws = self.conditions.draws(with_draws).map(rates);
        let class = rates(self.conditions.class(treatment));
        self.complete(rates(0), [class].into_iter().chain(draws))
    }

    /// The same of the clean model alone.
    pub(in crate::experiment) fn clean(
        &self,
        layers: LayerWindow,
        of: fn(Share) -> Option<f64>,
    ) -> RateArms {
        self.complete(mean_rates(&self.shares[0], layers, of), [])
    }

    /// The prompts that have a rate in every arm: clean, then the class, then its draws.
    fn complete(
        &self,
        clean: Vec<Option<f64>>,
        edited: impl IntoIterator<Item = Vec<Option<f64>>>,
    ) -> RateArms {
        let edited: Vec<_> = edited.into_iter().collect();
        let everywhere = |prompt: &usize| {
            let mut arms = std::iter::once(&clean).chain(&edited);
            arms.all(|rates| rates[*prompt].is_some())
        };
        let complete: Vec<usize> = (0..clean.len()).filter(everywhere).collect();
        let values = |rates: &Vec<Option<f64>>| -> Vec<f64> {
            complete
                .iter()
                .filter_map(|&prompt| rates[prompt])
                .collect()
        };
        // Prompts about one subject share its text.
        let texts: Vec<usize> = self.shares[0].keys().map(|&p| self.texts[p]).collect();
        let mut edited = edited.iter().map(values);
        let arms = Arms {
            clean: values(&clean),
            class: edited.next().unwrap_or_default(),
            draws: edited.collect(),
            clusters: Clusters::of(complete.iter().map(|&at| texts[at])),
        };
        RateArms {
            clean_error: arms.clusters.standard_error(&arms.clean),
            arms,
            left_out: clean.len() - complete.len(),
        }
    }
}

/// By prompt in their order, the mean over those of the layers after which there is a value; absent without any.
fn mean_rates(
    shares: &Shares,
    layers: LayerWindow,
    of: fn(Share) -> Option<f64>,
) -> Vec<Option<f64>> {
    let of_prompt = |shares: &Vec<Share>| {
        let shares = shares[layers.layers()].iter().copied();
        let rates: Vec<f64> = shares.filter_map(of).collect();
        mean(&rates)
    };
    shares.values().map(of_prompt).collect()
}

#[cfg(test)]
mod tests;
