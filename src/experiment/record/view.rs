//! The class view: how often, how strongly and to what effect the neurons of a class fire, against matched
//! random neurons of the same layers.
//!
//! Every figure is a ratio: a sum over tokens and neurons, by the number of both. Units (prompts or
//! documents) differ in length, so the ratio R = Σsᵢ / Σtᵢ is no mean over units; its linearised values
//! zᵢ = R + (sᵢ - R·tᵢ)·U/T are: their mean is R, and their spread is that of R (Cochran 1977, "Sampling
//! Techniques", chapter 6). These go into the contrast of a class with its draws, over
//! clusters of units.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::activity::{ClassActivity, QUANTITIES, Sums};
use super::class_sets::slots_of;
use super::input::Role;
use crate::experiment::effects::adjust_all;
use crate::experiment::{Estimate, ExperimentError, Treatment};
use crate::stats::{
    Clusters, StatsSettings, Table, contrast, mean, permutation_floor, permutation_p, sample_sd,
};

/// What a class is measured by; a mean over its neurons and the recorded tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Share with gate > 0.
    Frequency,
    /// |post|.
    MeanAbsPost,
    /// |post| times the length of w_out, as folded: the length of what the neuron writes.
    Contribution,
}

impl Quantity {
    /// In the order of the sums.
    pub const ALL: [Quantity; QUANTITIES] = [
        Quantity::Frequency,
        Quantity::MeanAbsPost,
        Quantity::Contribution,
    ];
}

/// Over which tokens and layers a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All recorded tokens and layers.
    All,
    /// The tokens of one role that are first of their prompt or window, or those that are not.
    Role(Role, bool),
    /// One layer.
    Layer(usize),
}

/// Means of the two arms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Levels {
    /// Of the class.
    pub class: f64,
    /// Mean of the draws; absent without draws.
    pub baseline: Option<f64>,
}

/// One class, quantity and scope; an entry of `class_activity.json`. Over several layers, those of which the class has
/// every neuron count in neither arm, unless it has no baseline at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Activity {
    /// The class.
    pub class: String,
    /// What is measured.
    pub quantity: Quantity,
    /// The role, or `all`.
    #[serde(serialize_with = "role_name", deserialize_with = "role_named")]
    pub role: Option<Role>,
    /// Whether these tokens of the role are the first of their prompt or window; absent over all roles.
    #[serde(default)]
    pub first: Option<bool>,
    /// The layer; absent over all layers.
    pub layer: Option<usize>,
    /// Neurons of the class here.
    pub neurons: usize,
    /// Neurons of a draw; fewer where the class fills more than half of a layer.
    pub baseline_neurons: usize,
    /// Draws.
    pub draws: usize,
    /// Tokens.
    pub tokens: u64,
    /// Units, prompts or documents, that have such tokens.
    pub units: usize,
    /// Clusters that they form, over which the interval is: relations where the prompts have them, or documents.
    #[serde(default)]
    pub clusters: usize,
    /// The figures.
    pub means: Levels,
    /// The class against its draws. Interval and p are absent by layer, with one unit, and where nothing varies.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// Standard deviation over the draws.
    pub sd_draws: Option<f64>,
}

impl Activity {
    /// Over what this figure is.
    pub fn scope(&self) -> Scope {
        match (self.role, self.layer) {
            (_, Some(layer)) => Scope::Layer(layer),
            (Some(role), None) => Scope::Role(role, self.first.unwrap_or(role == Role::First)),
            (None, None) => Scope::All,
        }
    }
}

fn role_name<S: Serializer>(role: &Option<Role>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(role.map_or("all", Role::as_str))
}

fn role_named<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Role>, D::Error> {
    let name = String::deserialize(from)?;
    if name == "all" {
        return Ok(None);
    }
    let role = name.parse().map(Some);
    role.map_err(|_| serde::de::Error::custom(format!("no role is called {name}")))
}

/// The figures of every class, in the order of the classes: over everything, by role, by layer.
///
/// # Errors
/// Values that are not finite, which a run in half precision may give.
pub fn class_view(
    activity: &ClassActivity<'_>,
    settings: &StatsSettings,
) -> Result<Vec<Activity>, ExperimentError> {
    let roles = Role::PLACES.map(|(role, first)| Scope::Role(role, first));
    let mut view = Vec::new();
    let mut slot = 0;
    for (class, treatment) in activity.sets.treatments().iter().enumerate() {
        let of_class = OfClass {
            activity,
            treatment,
            slots: slot..slot + slots_of(treatment),
            neurons: activity.sets.compared_neurons(class),
        };
        for scope in [Scope::All].into_iter().chain(roles) {
            view.extend(of_class.estimates(scope, settings)?);
        }
        let layers = 0..treatment.neurons.n_layers();
        view.extend(layers.flat_map(|layer| of_class.in_layer(layer)));
        slot = of_class.slots.end;
    }
    let primary = view
        .iter_mut()
        .filter(|a| a.scope() == Scope::All && a.quantity == Quantity::Frequency);
    adjust_all(primary.map(|activity| &mut activity.estimate));
    Ok(view)
}

/// A unit, or a block of them, that has tokens of a scope.
struct Unit {
    cluster: usize,
    tokens: u64,
    /// By arm.
    sums: Vec<Sums>,
}

struct OfClass<'a> {
    activity: &'a ClassActivity<'a>,
    treatment: &'a Treatment,
    slots: std::ops::Range<usize>,
    neurons: f64,
}

impl OfClass<'_> {
    /// The three quantities over one scope; none where it has no token.
    fn estimates(
        &self,
        scope: Scope,
        settings: &StatsSettings,
    ) -> Result<Vec<Activity>, ExperimentError> {
        let units = self.units(scope);
        let tokens: u64 = units.iter().map(|unit| unit.tokens).sum();
        if tokens == 0 {
            return Ok(Vec::new());
        }
        let clusters = Clusters::of(units.iter().map(|unit| unit.cluster));
        let mut estimates = Vec::new();
        for (at, quantity) in Quantity::ALL.into_iter().enumerate() {
            let arms = (0..self.slots.len()).map(|slot| self.linearised(&units, slot, at));
            let mut arms: Vec<Vec<f64>> = arms.collect();
            let class = arms.remove(0);
            let table = Table {
                class: &class,
                draws: &arms,
                clusters: &clusters,
            };
            let against = (!arms.is_empty()).then(|| contrast(table, settings));
            let against = against.transpose()?;
            let level = mean(&class).unwrap_or(f64::NAN);
            estimates.push(Activity {
                units: units.len(),
                clusters: clusters.count(),
                means: Levels {
                    class: level,
                    baseline: against.map(|against| level - against.estimate),
                },
                estimate: against.map(Estimate::from).unwrap_or_default(),
                sd_draws: against.and_then(|against| against.sd_draws),
                ..self.blank(quantity, scope, tokens)
            });
        }
        Ok(estimates)
    }

    /// The units with such tokens.
    fn units(&self, scope: Scope) -> Vec<Unit> {
        let is_in = |place: (Role, bool)| match scope {
            Scope::Role(role, first) => place == (role, first),
            _ => true,
        };
        let slots = self.activity.sets.slots();
        let unit = |(block, &cluster): (usize, &usize)| {
            let mut unit = Unit {
                cluster,
                tokens: 0,
                sums: vec![Sums::default(); self.slots.len()],
            };
            for place in (0..Role::PLACES.len()).filter(|place| is_in(Role::PLACES[*place])) {
                let cell = ClassActivity::cell(block, place);
                unit.tokens += self.activity.tokens[cell];
                let here = &self.activity.by_block[cell * slots..][self.slots.clone()];
                for (sum, here) in unit.sums.iter_mut().zip(here) {
                    super::activity::add(sum, *here);
                }
            }
            unit
        };
        let units = self.activity.clusters().iter().enumerate().map(unit);
        units.filter(|unit| unit.tokens > 0).collect()
    }

    /// zᵢ of one arm (see the module).
    fn linearised(&self, units: &[Unit], slot: usize, quantity: usize) -> Vec<f64> {
        let sum = |unit: &Unit| unit.sums[slot][quantity] / self.neurons;
        let tokens: u64 = units.iter().map(|unit| unit.tokens).sum();
        let tokens = tokens as f64;
        let ratio = units.iter().map(sum).sum::<f64>() / tokens;
        let scale = units.len() as f64 / tokens;
        let z = |unit: &Unit| ratio + (sum(unit) - ratio * unit.tokens as f64) * scale;
        units.iter().map(z).collect()
    }

    fn in_layer(&self, layer: usize) -> Vec<Activity> {
        let tokens: u64 = self.activity.tokens.iter().sum();
        let neurons = self.treatment.neurons.layer(layer).len();
        let drawn = self.treatment.baseline.first();
        let drawn = drawn.map_or(0, |draw| draw.layer(layer).len());
        if neurons == 0 || tokens == 0 {
            return Vec::new();
        }
        let slots = self.activity.sets.slots();
        let here = &self.activity.by_layer[layer * slots..][self.slots.clone()];
        let scope = Scope::Layer(layer);
        let level = |at: usize, sums: &Sums, of: usize| sums[at] / (of as f64 * tokens as f64);
        let quantities = Quantity::ALL.into_iter().enumerate();
        let figures = quantities.map(|(at, quantity)| {
            let class = level(at, &here[0], neurons);
            let draws = here[1..].iter().filter(|_| drawn > 0);
            let draws: Vec<f64> = draws.map(|sums| level(at, sums, drawn)).collect();
            let baseline = mean(&draws);
            Activity {
                neurons,
                baseline_neurons: drawn,
                means: Levels { class, baseline },
                estimate: Estimate {
                    difference_to_baseline: baseline.map(|baseline| class - baseline),
                    permutation_p: permutation_p(class, &draws),
                    permutation_floor: baseline.map(|_| permutation_floor(draws.len())),
                    ..Estimate::default()
                },
                sd_draws: sample_sd(&draws),
                ..self.blank(quantity, scope, tokens)
            }
        });
        figures.collect()
    }

    /// An entry without figures.
    fn blank(&self, quantity: Quantity, scope: Scope, tokens: u64) -> Activity {
        let (role, first, layer) = match scope {
            Scope::All => (None, None, None),
            Scope::Role(role, first) => (Some(role), Some(first), None),
            Scope::Layer(layer) => (None, None, Some(layer)),
        };
        let baseline = &self.treatment.baseline;
        Activity {
            class: self.treatment.class.clone(),
            quantity,
            role,
            first,
            layer,
            neurons: self.treatment.neurons.len(),
            baseline_neurons: baseline.first().map_or(0, |draw| draw.len()),
            draws: baseline.len(),
            tokens,
            units: self.activity.clusters().len(),
            clusters: 0,
            means: Levels {
                class: f64::NAN,
                baseline: None,
            },
            estimate: Estimate::default(),
            sd_draws: None,
        }
    }
}
