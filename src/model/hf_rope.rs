//! The rotation that a `config.json` asks for, in both dialects.

use serde_json::Value;

use super::ModelError;
use super::config_check::LONGEST_INPUT;
use super::family::Family;
use super::hf_config::{FILE, HfConfig, Notes, need, out_of_range, unsupported};
use super::hf_object::Object;
use super::kinds::Projections;
use super::rope::{RopeScaling, RopeSpec};

pub(super) const GLOBAL: &str = "full_attention";
pub(super) const LOCAL: &str = "sliding_attention";

/// Keys that every kind of rotation may have.
const COMMON_KEYS: &[&str] = &["rope_type", "type", "rope_theta", "partial_rotary_factor"];

/// Keys of the kinds that are computed. One that stands beside a kind that does not use it is a warning; any other key
/// is refused, for it belongs to a rotation that is not computed.
const SCALING_KEYS: &[&str] = &[
    "attention_factor",
    "factor",
    "high_freq_factor",
    "long_factor",
    "low_freq_factor",
    "original_max_position_embeddings",
    "short_factor",
];

/// The kinds of rotation that are computed.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Default,
    Linear,
    Llama3,
    LongRope,
}

impl Kind {
    fn by_name(name: &str) -> Option<Kind> {
        match name {
            "default" => Some(Kind::Default),
            "linear" => Some(Kind::Linear),
            "llama3" => Some(Kind::Llama3),
            // `su` is what Phi-3's first configs called it.
            "longrope" | "su" => Some(Kind::LongRope),
            _ => None,
        }
    }

    /// Which of [`SCALING_KEYS`] it uses.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Kind::Default => &[],
            Kind::Linear => &["factor"],
            Kind::Llama3 => &[
                "factor",
                "low_freq_factor",
                "high_freq_factor",
                "original_max_position_embeddings",
            ],
            Kind::LongRope => &[
                "attention_factor",
                "factor",
                "long_factor",
                "short_factor",
                "original_max_position_embeddings",
            ],
        }
    }

    /// The names that a family may give; Phi-3 has no other scaling in transformers.
    fn accepted(family: &Family) -> &'static str {
        match family.projections {
            Projections::Fused => "default, longrope",
            Projections::Separate => "default, linear, llama3, longrope",
        }
    }
}

impl HfConfig {
    /// The rotation of one layer type, from whichever dialect the file speaks.
    pub(super) fn rope(
        &self,
        layer_type: &'static str,
        family: &'static Family,
        width: usize,
        notes: &mut Notes,
    ) -> Result<RopeSpec, ModelError> {
        let entry = self.rope_entry(layer_type, family)?;
        let theta = match &entry {
            Some(entry) => entry.number("rope_theta")?,
            None => None,
        };
        let local_theta = (layer_type == LOCAL)
            .then_some(family.local_rope_theta)
            .flatten();
        let theta = theta.or(match local_theta {
            Some(default) => Some(self.rope_local_base_freq.unwrap_or(default)),
            None => self.rope_theta,
        });
        let theta = match (theta, family.default_rope_theta) {
            (None, Some(default)) => {
                notes.assumed.push(format!(
                    "config.json has no rope_theta: {default}, as in transformers"
                ));
                default
            }
            (theta, _) => need(theta, "rope_theta (or rope_parameters)", family)?,
        };
        Ok(RopeSpec {
            theta,
            width,
            scaling: match &entry {
                Some(entry) => self.scaling(entry, family, width, notes)?,
                None => RopeScaling::None,
            },
        })
    }

    /// The object that says how to rotate: `rope_parameters`, by layer type or for all, or `rope_scaling`,
    /// which in Gemma 3 is meant for global layers alone.
    fn rope_entry(
        &self,
        layer_type: &str,
        family: &'static Family,
    ) -> Result<Option<Object>, ModelError> {
        let old = self.rope_scaling.as_ref();
        let Some(parameters) = &self.rope_parameters else {
            let everywhere = layer_type == GLOBAL || family.local_rope_theta.is_none();
            return Ok(old.filter(|_| everywhere).cloned());
        };
        if old.is_some() {
            let accepted = "one of the two dialects";
            return Err(unsupported(
                "rope_scaling",
                "beside rope_parameters",
                accepted,
            ));
        }
        if ![GLOBAL, LOCAL].iter().any(|kind| parameters.has(kind)) {
            return Ok(Some(parameters.clone()));
        }
        let beside = parameters.keys().find(|key| ![GLOBAL, LOCAL].contains(key));
        if let Some(key) = beside {
            let value = parameters.value(key).unwrap_or(&Value::Null);
            let accepted = "no such key beside those of the layer types";
            return Err(parameters.refused(key, value, accepted));
        }
        let key = format!("rope_parameters.{layer_type}");
        need(parameters.object(layer_type)?, &key, family).map(Some)
    }

    fn scaling(
        &self,
        entry: &Object,
        family: &'static Family,
        width: usize,
        notes: &mut Notes,
    ) -> Result<RopeScaling, ModelError> {
        let kind = kind(entry, family)?;
        check_keys(entry, kind, notes)?;
        let number = |key: &str| needed(entry.number(key)?, entry, key, family);
        match kind {
            Kind::Default => Ok(RopeScaling::None),
            Kind::Linear => Ok(RopeScaling::Linear {
                factor: number("factor")?,
            }),
            Kind::Llama3 => Ok(RopeScaling::Llama3 {
                factor: number("factor")?,
                low_freq_factor: number("low_freq_factor")?,
                high_freq_factor: number("high_freq_factor")?,
                original_max_positions: match self.original_max_position_embeddings {
                    Some(outer) => outer as f64,
                    None => number("original_max_position_embeddings")?,
                },
            }),
            Kind::LongRope => self.longrope(entry, family, width),
        }
    }

    /// LongRoPE's short factors, which transformers uses for inputs up to the original length.
    fn longrope(
        &self,
        entry: &Object,
        family: &'static Family,
        width: usize,
    ) -> Result<RopeScaling, ModelError> {
        let key = "short_factor";
        let factors = needed(entry.numbers(key)?, entry, key, family)?;
        if factors.len() != width / 2 {
            let found = format!("{} numbers", factors.len());
            let expected = format!("{} numbers", width / 2);
            return Err(unsupported(&entry.path(key), &found, &expected));
        }
        let key = "original_max_position_embeddings";
        let original = need(self.original_positions()?, key, family)?;
        if !(2..=LONGEST_INPUT).contains(&original) {
            return Err(out_of_range(
                key,
                original,
                &format!("2 to {LONGEST_INPUT}"),
            ));
        }
        // The longest input is the original length here, so this one is checked nowhere else.
        let key = "max_position_embeddings";
        let longest = need(self.max_position_embeddings, key, family)?;
        if !(1..=LONGEST_INPUT).contains(&longest) {
            return Err(out_of_range(key, longest, &format!("1 to {LONGEST_INPUT}")));
        }
        let (original, longest) = (original as f64, longest as f64);
        let stretch = entry.number("factor")?;
        let stretch = stretch.unwrap_or(longest / original).max(1.0);
        let given = entry.number("attention_factor")?;
        Ok(RopeScaling::Factors {
            factors: factors.into_iter().map(|factor| factor as f32).collect(),
            amplitude: given.unwrap_or((1.0 + stretch.ln() / original.ln()).sqrt()),
        })
    }

    /// The length of the first training of a model with LongRoPE; transformers lets the outer key win.
    fn original_positions(&self) -> Result<Option<usize>, ModelError> {
        let key = "original_max_position_embeddings";
        let mut found = self.original_max_position_embeddings;
        for rope in [&self.rope_parameters, &self.rope_scaling] {
            if let (None, Some(rope)) = (found, rope) {
                found = rope.count(key)?;
            }
        }
        Ok(found)
    }

    /// The longest input. Beyond the original length LongRoPE would rotate with its long factors, which are not
    /// computed here.
    pub(super) fn max_positions(&self, family: &'static Family) -> Result<usize, ModelError> {
        let max = need(
            self.max_position_embeddings,
            "max_position_embeddings",
            family,
        )?;
        let is_longrope = [&self.rope_parameters, &self.rope_scaling]
            .into_iter()
            .flatten()
            .any(|rope| rope.value("short_factor").is_some());
        Ok(match self.original_positions()? {
            Some(original) if is_longrope => original,
            _ => max,
        })
    }
}

/// The kind that an object names, by the newer key or the older one, which must not disagree.
fn kind(entry: &Object, family: &Family) -> Result<Kind, ModelError> {
    let accepted = Kind::accepted(family);
    let mut kinds = Vec::new();
    for key in ["rope_type", "type"] {
        if let Some(name) = entry.text(key)? {
            let known = Kind::by_name(&name).filter(|kind| {
                accepted.contains("linear") || matches!(kind, Kind::Default | Kind::LongRope)
            });
            let kind = known.ok_or_else(|| unsupported(&entry.path(key), &name, accepted))?;
            kinds.push((kind, name));
        }
    }
    match &kinds[..] {
        [(newer, _), (older, name)] if newer != older => {
            Err(unsupported(&entry.path("type"), name, "that of rope_type"))
        }
        [(kind, _), ..] => Ok(*kind),
        [] => match SCALING_KEYS.iter().find(|key| entry.value(key).is_some()) {
            // transformers would take the default, and a person meant something else.
            Some(key) => Err(ModelError::MissingKey {
                file: FILE,
                key: format!("{}, beside {key},", entry.path("rope_type")),
                family: family.name,
            }),
            None => Ok(Kind::Default),
        },
    }
}

/// Refuses keys of rotations that are not computed; warns of those that this kind does not use.
fn check_keys(entry: &Object, kind: Kind, notes: &mut Notes) -> Result<(), ModelError> {
    for key in entry.keys() {
        let Some(value) = entry.value(key) else {
            continue;
        };
        if COMMON_KEYS.contains(&key) || kind.keys().contains(&key) {
            continue;
        }
        if !SCALING_KEYS.contains(&key) {
            let known = [COMMON_KEYS, SCALING_KEYS].concat().join(", ");
            return Err(entry.refused(key, value, &format!("the keys {known}")));
        }
        let warning = format!(
            "config.json: {} has no effect beside this rope_type, as in transformers",
            entry.path(key)
        );
        if !notes.warnings.contains(&warning) {
            notes.warnings.push(warning);
        }
    }
    Ok(())
}

fn needed<T>(
    value: Option<T>,
    entry: &Object,
    key: &str,
    family: &'static Family,
) -> Result<T, ModelError> {
    need(value, &entry.path(key), family)
}
