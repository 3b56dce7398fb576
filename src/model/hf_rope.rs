//! The rotation that a `config.json` asks for, in both dialects.

use std::str::FromStr;

use super::config_keys::*;
use super::error::ModelError;
use super::family::Family;
use super::kinds::Projections;
use super::object::{Object, shown};
use super::reading::Reading;
use super::rope::{RopeScaling, RopeSpec};

pub(super) const GLOBAL: &str = "full_attention";
pub(super) const LOCAL: &str = "sliding_attention";

/// Keys that every kind of rotation may have.
const COMMON_KEYS: &str = "rope_type, type, rope_theta, partial_rotary_factor";

/// Keys of the kinds that are computed. One that stands beside a kind that does not use it is a warning; any other key
/// is refused, for it belongs to a rotation that is not computed.
const SCALING_KEYS: &str = "attention_factor, factor, high_freq_factor, long_factor, low_freq_factor, \
    original_max_position_embeddings, short_factor";

fn is_among(key: &str, keys: &str) -> bool {
    keys.split(", ").any(|known| known == key)
}

/// The kinds of rotation that are computed.
#[derive(Clone, Copy, PartialEq, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
enum Kind {
    Default,
    Linear,
    Llama3,
    /// `su` is what Phi-3's first configs called it.
    #[strum(serialize = "longrope", serialize = "su")]
    LongRope,
}

impl Kind {
    /// Which of [`SCALING_KEYS`] it uses.
    fn keys(self) -> &'static str {
        match self {
            Kind::Default => "",
            Kind::Linear => "factor",
            Kind::Llama3 => {
                "factor, low_freq_factor, high_freq_factor, original_max_position_embeddings"
            }
            Kind::LongRope => {
                "attention_factor, factor, long_factor, short_factor, original_max_position_embeddings"
            }
        }
    }
}

/// The rotation of one layer type, from whichever dialect the file speaks.
pub(super) fn read(
    reading: &mut Reading,
    layer_type: &'static str,
    width: usize,
) -> Result<RopeSpec, ModelError> {
    let (top, family) = (&reading.keys, reading.family);
    let entry = entry(top, layer_type, family)?;
    let outside = match family.local_rope_theta.filter(|_| layer_type == LOCAL) {
        Some(default) => Some(top.number(&LOCAL_ROPE_BASE)?.unwrap_or(default)),
        None => top.number(&ROPE_BASE)?,
    };
    let inside = entry.as_ref().map(|entry| entry.number(&ROPE_BASE));
    let theta = match (
        inside.transpose()?.flatten().or(outside),
        family.default_rope_theta,
    ) {
        (None, Some(default)) => {
            reading.assume(ROPE_BASE.json, default);
            default
        }
        (theta, _) => top.need("rope_theta (or rope_parameters)", theta)?,
    };
    let scaling = entry.map(|entry| scaling(reading, &entry, width));
    Ok(RopeSpec {
        theta,
        width,
        scaling: scaling.unwrap_or(Ok(RopeScaling::None))?,
    })
}

/// The object that says how to rotate: `rope_parameters`, by layer type or for all, or `rope_scaling`,
/// which in Gemma 3 is meant for global layers alone.
fn entry(top: &Object, layer_type: &str, family: &Family) -> Result<Option<Object>, ModelError> {
    let old = top.object("rope_scaling")?;
    let Some(parameters) = top.object("rope_parameters")? else {
        let everywhere = layer_type == GLOBAL || family.local_rope_theta.is_none();
        return Ok(old.filter(|_| everywhere));
    };
    if old.is_some() {
        let accepted = "one of the two dialects";
        return Err(top.refused("rope_scaling", "beside rope_parameters", accepted));
    }
    if ![GLOBAL, LOCAL].iter().any(|kind| parameters.has(kind)) {
        return Ok(Some(parameters));
    }
    if let Some(key) = parameters.keys().find(|key| ![GLOBAL, LOCAL].contains(key)) {
        let found = parameters.value(key).map_or("null".to_string(), shown);
        let accepted = "no such key beside those of the layer types";
        return Err(parameters.refused(key, found, accepted));
    }
    parameters
        .need(layer_type, parameters.object(layer_type)?)
        .map(Some)
}

fn scaling(reading: &mut Reading, entry: &Object, width: usize) -> Result<RopeScaling, ModelError> {
    let kind = kind(entry, reading.family)?;
    check_keys(reading, entry, kind)?;
    let top = &reading.keys;
    match kind {
        Kind::Default => Ok(RopeScaling::None),
        Kind::Linear => Ok(RopeScaling::Linear {
            factor: entry.needed_number(&ROPE_FACTOR)?,
        }),
        Kind::Llama3 => {
            let low_freq_factor = entry.needed_number(&LOW_FREQ_FACTOR)?;
            let high_freq_factor = entry.needed_number(&HIGH_FREQ_FACTOR)?;
            if high_freq_factor <= low_freq_factor {
                let accepted = format!("above low_freq_factor, {low_freq_factor}");
                return Err(entry.refused(HIGH_FREQ_FACTOR.json, high_freq_factor, &accepted));
            }
            Ok(RopeScaling::Llama3 {
                factor: entry.needed_number(&ROPE_FACTOR)?,
                low_freq_factor,
                high_freq_factor,
                original_max_positions: match top.number(&ORIGINAL_POSITIONS)? {
                    Some(outer) => outer,
                    None => entry.needed_number(&ORIGINAL_POSITIONS)?,
                },
            })
        }
        Kind::LongRope => longrope(top, entry, width),
    }
}

/// LongRoPE's short factors, which transformers uses for inputs up to the original length.
fn longrope(top: &Object, entry: &Object, width: usize) -> Result<RopeScaling, ModelError> {
    let key = "short_factor";
    let factors = entry.need(key, entry.numbers(key)?)?;
    if factors.len() != width / 2 {
        let found = format!("{} numbers", factors.len());
        return Err(entry.refused(key, found, &format!("{} numbers", width / 2)));
    }
    let factors: Vec<f32> = factors.into_iter().map(|factor| factor as f32).collect();
    entry.check_factors(key, &factors)?;
    let key = ORIGINAL_POSITIONS.json;
    let original = top.need(key, original_positions(top)?)?;
    if original < 2 {
        return Err(top.refused(key, original, "from 2 on"));
    }
    let (original, longest) = (original as f64, top.needed_count(&MAX_POSITIONS)? as f64);
    let stretch = entry.number(&ROPE_FACTOR)?;
    let stretch = stretch.unwrap_or(longest / original).max(1.0);
    let given = entry.number(&AMPLITUDE)?;
    Ok(RopeScaling::Factors {
        factors,
        amplitude: given.unwrap_or((1.0 + stretch.ln() / original.ln()).sqrt()),
    })
}

/// What a file says of rotations, in either dialect.
fn ropes(top: &Object) -> Result<impl Iterator<Item = Object>, ModelError> {
    let [newer, older] = ["rope_parameters", "rope_scaling"].map(|key| top.object(key));
    Ok(newer?.into_iter().chain(older?))
}

/// The length of the first training of a model with LongRoPE; transformers lets the outer key win.
fn original_positions(top: &Object) -> Result<Option<usize>, ModelError> {
    let mut found = top.count(&ORIGINAL_POSITIONS)?;
    for rope in ropes(top)? {
        if found.is_none() {
            found = rope.count(&ORIGINAL_POSITIONS)?;
        }
    }
    Ok(found)
}

/// The longest input. Beyond the original length LongRoPE would rotate with its long factors, which are not
/// computed here.
pub(super) fn max_positions(top: &Object) -> Result<usize, ModelError> {
    let longest = top.needed_count(&MAX_POSITIONS)?;
    if ropes(top)?.any(|rope| rope.value("short_factor").is_some()) {
        return Ok(original_positions(top)?.unwrap_or(longest));
    }
    Ok(longest)
}

/// The kind that an object names, by the newer key or the older one, which must not disagree.
fn kind(entry: &Object, family: &Family) -> Result<Kind, ModelError> {
    // Phi-3 has no other scaling in transformers.
    let accepted = match family.projections {
        Projections::Fused => "default, longrope",
        Projections::Separate => "default, linear, llama3, longrope",
    };
    let named = |key| {
        let Some(name) = entry.text(key)? else {
            return Ok(None);
        };
        let known = Kind::from_str(&name).ok();
        let known = known.filter(|_| name == "su" || is_among(&name, accepted));
        let refused = || entry.refused(key, &name, accepted);
        known.map(Some).ok_or_else(refused)
    };
    match (named("rope_type")?, named("type")?) {
        (Some(newer), Some(older)) if newer != older => {
            let name = entry.text("type")?.unwrap_or_default();
            Err(entry.refused("type", name, "that of rope_type"))
        }
        (Some(kind), _) | (None, Some(kind)) => Ok(kind),
        (None, None) => {
            let mut scaling_keys = SCALING_KEYS.split(", ");
            match scaling_keys.find(|key| entry.value(key).is_some()) {
                // transformers would take the default, and a person meant something else.
                Some(key) => entry.need(&format!("rope_type, beside {key}"), None),
                None => Ok(Kind::Default),
            }
        }
    }
}

/// Refuses keys of rotations that are not computed; warns of those that this kind does not use.
fn check_keys(reading: &mut Reading, entry: &Object, kind: Kind) -> Result<(), ModelError> {
    for (key, value) in entry.values() {
        if is_among(key, COMMON_KEYS) || is_among(key, kind.keys()) {
            continue;
        }
        if !is_among(key, SCALING_KEYS) {
            let accepted = format!("the keys {COMMON_KEYS}, {SCALING_KEYS}");
            return Err(entry.refused(key, shown(value), &accepted));
        }
        let path = entry.path(key);
        let warning =
            format!("config.json: {path} has no effect beside this rope_type, as in transformers");
        if !reading.warnings.contains(&warning) {
            reading.warnings.push(warning);
        }
    }
    Ok(())
}
