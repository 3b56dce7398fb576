//! The rotations, from the keys `*.rope.*` and the factors among the tensors.

use crate::model::config_keys::*;
use crate::model::error::ModelError;
use crate::model::family::Family;
use crate::model::kinds::{EmbeddingScale, Projections};
use crate::model::other_tensors::without_place;
use crate::model::rope::{RopeScaling, RopeSpec};
use crate::model::store::TensorStore;
use crate::model::tensors::{LLAMA3_FACTORS, LONGROPE_LONG, LONGROPE_SHORT, ROPE_TENSORS};

use super::metadata::{Metadata, unsupported};

const WIDTH: &str = "rope.dimension_count";
const LOCAL_WIDTH: &str = "rope.dimension_count_swa";
const TYPE: &str = "rope.scaling.type";

/// llama.cpp's base where a file has none, as those of Gemma 1 and 2.
const DEFAULT_BASE: f64 = 10_000.0;

/// The longest input; with LongRoPE, the longest for which the short factors hold.
pub(super) fn max_positions(metadata: &Metadata, store: &TensorStore) -> Result<usize, ModelError> {
    let length = metadata.keys.needed_count(&MAX_POSITIONS)?;
    let first = metadata.keys.count(&ORIGINAL_POSITIONS)?;
    Ok(match store.has(LONGROPE_SHORT) {
        true => first.unwrap_or(length),
        false => length,
    })
}

/// The rotation of layers without a window.
pub(super) fn global(
    metadata: &mut Metadata,
    head_dim: usize,
    store: &TensorStore,
) -> Result<RopeSpec, ModelError> {
    let width = width(metadata, head_dim)?;
    let factors = factors(metadata, store, width)?;
    let factor = linear_factor(metadata, factors.is_some())?.unwrap_or(1.0);
    let amplitude = metadata.keys.number(&AMPLITUDE)?.unwrap_or(1.0);
    let scaling = scaling(width, factors, factor, amplitude);
    if let RopeScaling::Factors { factors, .. } = &scaling {
        metadata.keys.check_factors("rope_factors", factors)?;
    }
    Ok(RopeSpec {
        theta: metadata.number_or(&ROPE_BASE, DEFAULT_BASE)?,
        width,
        scaling,
    })
}

/// The rotation of layers with a window: the same, unless they have a base of their own; then nothing is scaled but
/// the amplitude, which llama.cpp has in all layers.
pub(super) fn local(
    metadata: &mut Metadata,
    global: &RopeSpec,
    window: Option<usize>,
) -> Result<RopeSpec, ModelError> {
    let keys = &metadata.keys;
    let base = keys.number(&LOCAL_ROPE_BASE)?;
    if let Some(width) = keys.whole(LOCAL_WIDTH, 0..=LONGEST_INPUT)?
        && width != global.width
    {
        let accepted = format!("{}, as in all layers", global.width);
        return Err(keys.refused(LOCAL_WIDTH, width, &accepted));
    }
    let family = metadata.family;
    match (base, family.local_rope_theta) {
        (None, Some(default)) if window.is_some() => {
            metadata.assume(LOCAL_ROPE_BASE.gguf, default);
            Ok(unscaled(global, default))
        }
        (Some(base), Some(_)) => Ok(unscaled(global, base)),
        (Some(base), None) if is_gemma(family) => Ok(RopeSpec {
            theta: base,
            ..global.clone()
        }),
        (Some(base), None) if base != global.theta => {
            let accepted = format!("{}, as in all layers, or no such key", global.theta);
            Err(keys.refused(LOCAL_ROPE_BASE.gguf, base, &accepted))
        }
        _ => Ok(global.clone()),
    }
}

fn unscaled(global: &RopeSpec, theta: f64) -> RopeSpec {
    RopeSpec {
        theta,
        width: global.width,
        scaling: scaling(global.width, None, 1.0, global.amplitude()),
    }
}

fn is_gemma(family: &Family) -> bool {
    family.embedding_scale == EmbeddingScale::SqrtDModel
}

/// How many dimensions of a head are rotated: all of them, but that Gemma's and Phi's may be fewer.
fn width(metadata: &Metadata, head_dim: usize) -> Result<usize, ModelError> {
    let width = metadata.keys.whole(WIDTH, 0..=LONGEST_INPUT)?;
    let width = width.unwrap_or(head_dim);
    let family = metadata.family;
    let partial = is_gemma(family) || family.projections == Projections::Fused;
    let (least, accepted) = match partial {
        true => (2, format!("an even number from 2 to {head_dim}")),
        false => (
            head_dim,
            format!("{head_dim}, the width of a head, if that is even"),
        ),
    };
    match (least..=head_dim).contains(&width) && width.is_multiple_of(2) {
        true => Ok(width),
        false => Err(metadata.keys.refused(WIDTH, width, &accepted)),
    }
}

/// The number that all wavelengths are multiplied by. llama.cpp takes a factor without a type for linear, knows it by
/// an older name too, takes 0 for none, and heeds no factor where the type is `none`.
fn linear_factor(metadata: &mut Metadata, has_factors: bool) -> Result<Option<f64>, ModelError> {
    let keys = &metadata.keys;
    let [(key, factor), (old_key, old)] = [
        (
            keys.path(ROPE_FACTOR.gguf),
            keys.number_but_zero(&ROPE_FACTOR)?,
        ),
        (
            keys.path(OLD_ROPE_FACTOR.gguf),
            keys.number_but_zero(&OLD_ROPE_FACTOR)?,
        ),
    ];
    let unused = |key: &str, factor: f64, why: String| {
        format!("{key} = {factor} is not used: {why}, as in llama.cpp")
    };
    if let (Some(factor), Some(old)) = (factor, old)
        && factor != old
    {
        let warning = unused(&old_key, old, format!("{key} = {factor} counts"));
        metadata.notes.warnings.push(warning);
    }
    let key = if factor.is_some() { key } else { old_key };
    let factor = factor.or(old);
    match keys.text(TYPE)?.as_deref() {
        Some("none") => {
            if let Some(factor) = factor.filter(|factor| *factor != 1.0) {
                let why = format!("{} is none", keys.path(TYPE));
                metadata.notes.warnings.push(unused(&key, factor, why));
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
    metadata: &Metadata,
    store: &TensorStore,
    width: usize,
) -> Result<Option<Vec<f32>>, ModelError> {
    let longrope = metadata.keys.text(TYPE)?.as_deref() == Some("longrope");
    let read: &[&str] = match metadata.family.gguf_arch {
        "llama" if longrope => &[LONGROPE_SHORT, LONGROPE_LONG],
        "llama" => &[LLAMA3_FACTORS],
        "phi3" => &[LONGROPE_SHORT, LONGROPE_LONG],
        _ => &[],
    };
    let unread = |name: &&&str| store.has(name) && !read.contains(*name);
    if let Some(unread) = ROPE_TENSORS.iter().find(unread) {
        return Err(without_place(metadata.family, vec![unread.to_string()]));
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
