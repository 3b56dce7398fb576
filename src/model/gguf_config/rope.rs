//! The rotations, from the keys `*.rope.*` and the factors among the tensors.

use crate::model::config_keys::*;
use crate::model::error::ModelError;
use crate::model::family::Family;
use crate::model::kinds::{EmbeddingScale, Projections};
use crate::model::object::Object;
use crate::model::other_tensors::without_place;
use crate::model::reading::Reading;
use crate::model::rope::{RopeScaling, RopeSpec};
use crate::model::store::TensorStore;
use crate::model::tensors::{LLAMA3_FACTORS, LONGROPE_LONG, LONGROPE_SHORT, ROPE_TENSORS};

use super::metadata::unsupported;

const WIDTH: &str = "rope.dimension_count";
const LOCAL_WIDTH: &str = "rope.dimension_count_swa";
const TYPE: &str = "rope.scaling.type";

/// llama.cpp's base where a file has none, as those of Gemma 1 and 2.
const DEFAULT_BASE: f64 = 10_000.0;

/// The longest input; with LongRoPE, the longest for which the short factors hold.
pub(super) fn max_positions(keys: &Object, store: &TensorStore) -> Result<usize, ModelError> {
    let length = keys.needed_count(&MAX_POSITIONS)?;
    let first = keys.count(&ORIGINAL_POSITIONS)?;
    let first = first.filter(|_| store.has(LONGROPE_SHORT));
    Ok(first.unwrap_or(length))
}

/// The rotation of layers without a window.
pub(super) fn global(
    reading: &mut Reading,
    head_dim: usize,
    store: &TensorStore,
) -> Result<RopeSpec, ModelError> {
    let width = width(reading, head_dim)?;
    let factors = factors(reading, store, width)?;
    let factor = linear_factor(reading, factors.is_some())?.unwrap_or(1.0);
    let amplitude = reading.keys.number(&AMPLITUDE)?.unwrap_or(1.0);
    let scaling = scaling(width, factors, factor, amplitude);
    if let RopeScaling::Factors { factors, .. } = &scaling {
        reading.keys.check_factors("rope_factors", factors)?;
    }
    Ok(RopeSpec {
        theta: reading.number_or(&ROPE_BASE, DEFAULT_BASE)?,
        width,
        scaling,
    })
}

/// The rotation of layers with a window: the same, unless they have a base of their own; then nothing is scaled but
/// the amplitude, which llama.cpp has in all layers.
pub(super) fn local(
    reading: &mut Reading,
    global: &RopeSpec,
    window: Option<usize>,
) -> Result<RopeSpec, ModelError> {
    let (keys, family) = (&reading.keys, reading.family);
    let base = keys.number(&LOCAL_ROPE_BASE)?;
    let width = keys.length(LOCAL_WIDTH)?;
    if let Some(other) = width.filter(|width| *width != global.width) {
        let accepted = format!("{}, as in all layers", global.width);
        return Err(keys.refused(LOCAL_WIDTH, other, &accepted));
    }
    let unscaled = |theta| RopeSpec {
        theta,
        width: global.width,
        scaling: scaling(global.width, None, 1.0, global.amplitude()),
    };
    match (base, family.local_rope_theta) {
        (None, Some(default)) if window.is_some() => {
            reading.assume(LOCAL_ROPE_BASE.gguf, default);
            Ok(unscaled(default))
        }
        (Some(base), Some(_)) => Ok(unscaled(base)),
        (Some(theta), None) if is_gemma(family) => Ok(RopeSpec {
            theta,
            ..global.clone()
        }),
        (Some(base), None) if base != global.theta => {
            let accepted = format!("{}, as in all layers, or no such key", global.theta);
            Err(keys.refused(LOCAL_ROPE_BASE.gguf, base, &accepted))
        }
        _ => Ok(global.clone()),
    }
}

fn is_gemma(family: &Family) -> bool {
    family.embedding_scale == EmbeddingScale::SqrtDModel
}

/// How many dimensions of a head are rotated: all of them, but that Gemma's and Phi's may be fewer.
fn width(reading: &Reading, head_dim: usize) -> Result<usize, ModelError> {
    let (keys, family) = (&reading.keys, reading.family);
    let width = keys.length(WIDTH)?.unwrap_or(head_dim);
    let may_be_fewer = is_gemma(family) || family.projections == Projections::Fused;
    let least = if may_be_fewer { 2 } else { head_dim };
    if (least..=head_dim).contains(&width) && width.is_multiple_of(2) {
        return Ok(width);
    }
    let accepted = if may_be_fewer {
        format!("an even number from 2 to {head_dim}")
    } else {
        format!("{head_dim}, the width of a head, if that is even")
    };
    Err(keys.refused(WIDTH, width, &accepted))
}

/// The number that all wavelengths are multiplied by. llama.cpp takes a factor without a type for linear, knows it by
/// an older name too, takes 0 for none, and heeds no factor where the type is `none`.
fn linear_factor(reading: &mut Reading, has_factors: bool) -> Result<Option<f64>, ModelError> {
    let keys = &reading.keys;
    let newer = keys.number_if_any(&ROPE_FACTOR)?;
    let older = keys.number_if_any(&OLD_ROPE_FACTOR)?;
    let [key, old_key] = [ROPE_FACTOR, OLD_ROPE_FACTOR].map(|key| keys.path(key.gguf));
    let unused = |key: &str, factor: f64, why: String| {
        format!("{key} = {factor} is not used: {why}, as in llama.cpp")
    };
    if let (Some(newer), Some(older)) = (newer, older)
        && newer != older
    {
        let warning = unused(&old_key, older, format!("{key} = {newer} counts"));
        reading.warnings.push(warning);
    }
    let factor = newer.or(older);
    match keys.text(TYPE)?.as_deref() {
        Some("none") => {
            if let Some(factor) = factor.filter(|factor| *factor != 1.0) {
                let key = if newer.is_some() { key } else { old_key };
                let why = format!("{} is none", keys.path(TYPE));
                reading.warnings.push(unused(&key, factor, why));
            }
            Ok(None)
        }
        None | Some("linear") => Ok(factor),
        // What it does besides stands in the factors among the tensors.
        Some("longrope") if has_factors => Ok(factor),
        Some(other) => Err(keys.refused(
            TYPE,
            other,
            "none, linear, longrope (with the tensors rope_factors_short and rope_factors_long)",
        )),
    }
}

/// A divisor for each frequency, from the tensors: `rope_freqs` in the architecture `llama`, unless its type is
/// `longrope`; the short factors there and in `phi3`.
fn factors(
    reading: &Reading,
    store: &TensorStore,
    width: usize,
) -> Result<Option<Vec<f32>>, ModelError> {
    let longrope = reading.keys.text(TYPE)?.as_deref() == Some("longrope");
    let read: &[&str] = match reading.family.gguf_arch {
        "llama" if longrope => &[LONGROPE_SHORT, LONGROPE_LONG],
        "llama" => &[LLAMA3_FACTORS],
        "phi3" => &[LONGROPE_SHORT, LONGROPE_LONG],
        _ => &[],
    };
    let unread = |name: &&&str| store.has(name) && !read.contains(*name);
    if let Some(unread) = ROPE_TENSORS.iter().find(unread) {
        return Err(without_place(reading.family, vec![unread.to_string()]));
    }
    if !read.iter().any(|name| store.has(name)) {
        return Ok(None);
    }
    for name in read {
        let shape = store.shape(name)?;
        if shape != [width / 2] {
            let found = format!("a tensor of shape {shape:?}");
            let accepted = format!("[{}], one for each rotated pair", width / 2);
            return Err(unsupported(name, found, &accepted));
        }
    }
    Ok(Some(store.read(read[0])?.to_vec1()?))
}

fn scaling(width: usize, factors: Option<Vec<f32>>, factor: f64, amplitude: f64) -> RopeScaling {
    match factors {
        None if amplitude == 1.0 && factor == 1.0 => RopeScaling::None,
        None if amplitude == 1.0 => RopeScaling::Linear { factor },
        factors => {
            let mut factors = factors.unwrap_or_else(|| vec![1.0; width / 2]);
            factors.iter_mut().for_each(|each| *each *= factor as f32);
            RopeScaling::Factors { factors, amplitude }
        }
    }
}
