//! Rates to estimates: for each class the mean rate over some layers, and the rate after every single layer.

use std::ops::Range;

use serde::Serialize;

use super::{Attributes, RateSettings, Share, Shares};
use crate::experiment::effects::{Arms, Effect, adjust};
use crate::experiment::metric::Metric;
use crate::experiment::outcome::PromptSubset;
use crate::experiment::plan::AblationPlan;
use crate::experiment::{Cell, ExperimentError, LayerWindow};
use crate::stats::{BootstrapSettings, Clusters, mean};

/// The published mean is over layers 5 to 28 of 32 (PAPER 2): so many at the beginning do not count ...
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
#[serde(rename_all = "lowercase")]
pub enum Adjustment {
    /// By Holm, over the run's tests of the mean over layers.
    Holm,
    /// It was not: a single layer is there to be looked at, and no test of the run's family.
    None,
}

/// An entry of `effects.json`. Rates and their differences are fractions, 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttributeEffect {
    /// The layer; absent in the mean over several.
    pub layer: Option<usize>,
    /// Which tokens the rates are over.
    #[serde(flatten)]
    pub settings: RateSettings,
    /// Prompts that are left out in all arms, since in one of them they have no rate after any of these layers.
    pub left_out: usize,
    /// Whether `p` was adjusted.
    pub adjustment: Adjustment,
    /// The effect.
    #[serde(flatten)]
    pub effect: Effect,
}

/// What was compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttributeEffects {
    /// Class by class: the mean over layers, then layer by layer.
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
    bootstrap: &BootstrapSettings,
) -> Result<AttributeEffects, ExperimentError> {
    let mut all = AttributeEffects {
        effects: Vec::new(),
        absent: Vec::new(),
    };
    let single = (0..found.n_layers()).map(|layer| (Some(layer), LayerWindow::single(layer)));
    let scopes: Vec<_> = std::iter::once((None, layers)).chain(single).collect();
    for (at, treatment) in plan.treatments.iter().enumerate() {
        for &(layer, layers) in &scopes {
            let (arms, left_out) = found.arms(at, at, layers);
            if arms.class.is_empty() {
                all.absent.push(Cell {
                    class: treatment.class.clone(),
                    layers,
                });
                continue;
            }
            let (mode, metric) = (plan.mode.to_string(), Metric::ATTRIBUTE_RATE);
            let effect = arms.effect(treatment, mode, metric, PromptSubset::All, bootstrap)?;
            all.effects.push(AttributeEffect {
                layer,
                settings,
                left_out,
                adjustment: match layer {
                    None => Adjustment::Holm,
                    Some(_) => Adjustment::None,
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
    adjust(tested.map(|effect| &mut effect.effect), PromptSubset::All);
    Ok(all)
}

impl Attributes {
    fn n_layers(&self) -> usize {
        let shares = self.shares.first();
        shares.and_then(|shares| shares.first()).map_or(0, Vec::len)
    }

    /// The mean rates of the prompts that have one in every arm, and how many have not: number `treatment` of the plan's
    /// treatments with the draws of number `with_draws`.
    pub(in crate::experiment) fn arms(
        &self,
        treatment: usize,
        with_draws: usize,
        layers: LayerWindow,
    ) -> (Arms, usize) {
        let rates = |condition: usize| mean_rates(&self.shares[condition], layers);
        let (class, draws) = (
            self.conditions.class(treatment),
            self.conditions.draws(with_draws),
        );
        let (clean, class) = (rates(0), rates(class));
        let draws: Vec<_> = draws.map(rates).collect();
        let arms = || [&clean, &class].into_iter().chain(&draws);
        let everywhere = |prompt: &usize| arms().all(|rates| rates[*prompt].is_some());
        let complete: Vec<usize> = (0..clean.len()).filter(everywhere).collect();
        let values = |rates: &Vec<Option<f64>>| -> Vec<f64> {
            complete
                .iter()
                .filter_map(|&prompt| rates[prompt])
                .collect()
        };
        let arms = Arms {
            clean: values(&clean),
            class: values(&class),
            draws: draws.iter().map(values).collect(),
            clusters: Clusters::of(complete.iter().map(|prompt| self.clusters[*prompt])),
        };
        (arms, clean.len() - complete.len())
    }
}

/// By prompt, the mean over those of the layers after which there is a rate; absent without any.
fn mean_rates(shares: &Shares, layers: LayerWindow) -> Vec<Option<f64>> {
    let of_prompt = |shares: &Vec<Share>| {
        let shares = shares[layers.layers()].iter().copied();
        let rates: Vec<f64> = shares.filter_map(Share::rate).collect();
        mean(&rates)
    };
    shares.iter().map(of_prompt).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Lens;
    use crate::experiment::attributes::FilterOrder;
    use crate::experiment::plan::Treatment;
    use crate::hooks::{EditCount, Mode, NeuronSet, SignCase, SignConvention};
    use crate::tokens::Positions;

    #[test]
    fn the_default_layers_are_the_published_ones_and_at_their_depths() {
        let layers = |n| default_layers(n);
        assert_eq!(layers(32), 5..29);
        // 30: 4.7 and 2.8 are left out; 18: 2.8 and 1.7; 16: 2.5 and 1.5.
        assert_eq!([layers(30), layers(18), layers(16)], [5..27, 3..16, 3..14]);
        assert!((1..200).all(|n| !layers(n).is_empty()));
    }

    fn share(hits: u32, kept: u32) -> Share {
        Share { kept, hits }
    }

    fn plan() -> AblationPlan {
        AblationPlan {
            treatments: vec![Treatment {
                class: "c".to_string(),
                layers: None,
                neurons: NeuronSet::empty(3),
                baseline: vec![NeuronSet::empty(3); 2],
                shortfall: vec![],
                written: None,
            }],
            mode: Mode::Zero,
            positions: Positions::All,
            when: SignCase::default(),
            signs: SignConvention::Raw,
            subset: PromptSubset::All,
            seed: 0,
        }
    }

    /// Shares by condition (clean, class, two draws), prompt and layer.
    fn effects(shares: [Vec<Vec<Share>>; 4]) -> AttributeEffects {
        let found = Attributes {
            conditions: plan().conditions(&Mode::Zero),
            clusters: (0..shares[0].len()).collect(),
            shares: shares.to_vec(),
            changed: EditCount::default(),
            reference: None,
            passes: 1,
        };
        let settings = RateSettings {
            filter_order: FilterOrder::TopFirst,
            top: std::num::NonZeroUsize::MIN,
            lens: Lens::Raw,
        };
        let layers = LayerWindow { first: 1, last: 2 };
        let bootstrap = BootstrapSettings::default();
        attribute_effects(&found, &plan(), settings, layers, &bootstrap).unwrap()
    }

    /// Three prompts, three layers.
    fn example() -> [Vec<Vec<Share>>; 4] {
        let full = |a, b, c| vec![share(a, 10), share(b, 10), share(c, 10)];
        [
            vec![full(1, 6, 8), full(0, 2, 4), full(9, 9, 9)],
            // The second prompt has no rate after layer 1, the third none after layers 1 and 2.
            vec![
                full(1, 4, 6),
                vec![share(0, 10), share(0, 0), share(1, 10)],
                vec![share(5, 10), share(0, 0), share(0, 0)],
            ],
            vec![full(2, 6, 8), full(2, 3, 3), full(9, 9, 9)],
            vec![full(2, 5, 7), full(2, 1, 3), full(9, 9, 9)],
        ]
    }

    #[test]
    fn means_over_layers_by_hand_and_prompts_without_a_rate_are_left_out() {
        let found = effects(example());
        assert_eq!(found.effects.len(), 4, "the mean and three layers");
        let mean = &found.effects[0];
        assert_eq!(
            (mean.layer, mean.effect.layers.unwrap().layers()),
            (None, 1..3)
        );
        assert_eq!((mean.left_out, mean.effect.prompts), (1, 2));
        let close = |found: f64, expected: f64| {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}")
        };
        // clean (.7, .3); class (.5, .1); draws (.7, .3) and (.6, .2)
        close(mean.effect.means.clean, 0.5);
        close(mean.effect.means.class, 0.3);
        close(mean.effect.means.baseline.unwrap(), 0.45);
        close(mean.effect.difference_to_clean, -0.2);
        close(mean.effect.estimate.difference_to_baseline.unwrap(), -0.15);
        let left_out: Vec<_> = found
            .effects
            .iter()
            .map(|e| (e.layer, e.left_out))
            .collect();
        assert_eq!(
            left_out,
            [(None, 1), (Some(0), 0), (Some(1), 2), (Some(2), 1)]
        );
        let first = &found.effects[1].effect;
        close(first.means.clean, 1.0 / 3.0);
        close(first.means.class, 0.2);
        assert!(found.absent.is_empty());
    }

    #[test]
    fn holm_runs_over_the_means_alone() {
        let found = effects(example());
        let (mean, layers) = found.effects.split_first().unwrap();
        assert_eq!(mean.adjustment, Adjustment::Holm);
        assert!(mean.effect.estimate.p.is_some());
        let estimate = mean.effect.estimate;
        assert_eq!(estimate.p_adjusted, estimate.permutation_p, "one test");
        for layer in layers {
            assert_eq!(layer.adjustment, Adjustment::None);
            assert_eq!(layer.effect.estimate.p_adjusted, None);
        }
        assert!(layers[0].effect.estimate.baseline_ci.is_some());
    }

    #[test]
    fn where_no_prompt_is_left_there_is_no_effect() {
        let mut shares = example();
        for prompt in &mut shares[2] {
            prompt[2] = share(0, 0);
        }
        let found = effects(shares);
        let absent = LayerWindow { first: 2, last: 2 };
        assert_eq!(found.absent[0].layers, absent);
        assert!(
            found
                .effects
                .iter()
                .all(|e| e.effect.layers != Some(absent))
        );
    }
}
