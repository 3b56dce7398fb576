//! The rotations, from the keys `*.rope.*` and the factors among the tensors.

use crate::model::ModelError;
use crate::model::family::Family;
use crate::model::kinds::{EmbeddingScale, Projections};
use crate::model::rope::{RopeScaling, RopeSpec};
use crate::model::store::TensorStore;

use super::metadata::{Metadata, unsupported};

/// Divisors of Llama 3's rope frequencies.
const LLAMA3_FACTORS: &str = "rope_freqs.weight";
/// Divisors of Phi-3's rope frequencies, for inputs up to the length of its first training and beyond.
const LONGROPE_SHORT: &str = "rope_factors_short.weight";
const LONGROPE_LONG: &str = "rope_factors_long.weight";

/// Tensors that belong to the configuration.
pub(crate) const ROPE_TENSORS: &[&str] = &[LLAMA3_FACTORS, LONGROPE_SHORT, LONGROPE_LONG];

const BASE: &str = "rope.freq_base";
const LOCAL_BASE: &str = "rope.freq_base_swa";
const WIDTH: &str = "rope.dimension_count";
const LOCAL_WIDTH: &str = "rope.dimension_count_swa";
const TYPE: &str = "rope.scaling.type";
const FACTOR: &str = "rope.scaling.factor";
/// The older name of the factor.
const OLD_FACTOR: &str = "rope.scale_linear";
const AMPLITUDE: &str = "rope.scaling.attn_factor";
const FIRST_LENGTH: &str = "rope.scaling.original_context_length";

/// llama.cpp's base where a file has none, as those of Gemma 1 and 2.
const DEFAULT_BASE: f64 = 10_000.0;

/// The longest input; with LongRoPE, the longest for which the short factors hold.
pub(super) fn max_positions(metadata: &Metadata, store: &TensorStore) -> Result<usize, ModelError> {
    let length = metadata.count("context_length")?;
    let first = metadata.optional_count(FIRST_LENGTH)?;
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
    let amplitude = match metadata.optional_float(AMPLITUDE)? {
        // A factor of 0 is none; an amplitude of 0 would be one.
        Some(0.0) => return Err(metadata.unsupported(AMPLITUDE, "0", "a finite number above 0")),
        _ => positive(metadata, AMPLITUDE)?.unwrap_or(1.0),
    };
    Ok(RopeSpec {
        theta: metadata.float_or(BASE, DEFAULT_BASE)?,
        width,
        scaling: scaling(width, factors, factor, amplitude),
    })
}

/// The rotation of layers with a window: the same, unless they have a base of their own; then nothing is scaled but
/// the amplitude, which llama.cpp has in all layers.
pub(super) fn local(
    metadata: &mut Metadata,
    global: &RopeSpec,
    window: Option<usize>,
) -> Result<RopeSpec, ModelError> {
    let base = metadata.optional_float(LOCAL_BASE)?;
    if let Some(width) = metadata.optional_number(LOCAL_WIDTH)?
        && width != global.width
    {
        let accepted = format!("{}, as in all layers", global.width);
        return Err(metadata.unsupported(LOCAL_WIDTH, &width.to_string(), &accepted));
    }
    let has_windows = window.is_some();
    let family = metadata.family;
    match (base, family.local_rope_theta) {
        (None, Some(default)) if has_windows => {
            metadata.assume(LOCAL_BASE, default);
            Ok(unscaled(global, default))
        }
        (Some(base), Some(_)) => Ok(unscaled(global, base)),
        (Some(base), None) if is_gemma(family) => Ok(RopeSpec {
            theta: base,
            ..global.clone()
        }),
        (Some(base), None) if base != global.theta => {
            let accepted = format!("{}, as in all layers, or no such key", global.theta);
            Err(metadata.unsupported(LOCAL_BASE, &base.to_string(), &accepted))
        }
        _ => Ok(global.clone()),
    }
}

fn unscaled(global: &RopeSpec, theta: f64) -> RopeSpec {
    let amplitude = match global.scaling {
        RopeScaling::Factors { amplitude, .. } => amplitude,
        _ => 1.0,
    };
    RopeSpec {
        theta,
        width: global.width,
        scaling: scaling(global.width, None, 1.0, amplitude),
    }
}

fn is_gemma(family: &Family) -> bool {
    family.embedding_scale == EmbeddingScale::SqrtDModel
}

/// How many dimensions of a head are rotated: all of them, but that Gemma's and Phi's may be fewer.
fn width(metadata: &Metadata, head_dim: usize) -> Result<usize, ModelError> {
    let width = metadata.optional_number(WIDTH)?.unwrap_or(head_dim);
    let family = metadata.family;
    let partial = is_gemma(family) || family.projections == Projections::Fused;
    let (accepted, fits) = match partial {
        true => (
            format!("an even number from 2 to {head_dim}"),
            (2..=head_dim).contains(&width),
        ),
        false => (
            format!("{head_dim}, the width of a head, if that is even"),
            width == head_dim,
        ),
    };
    match fits && width.is_multiple_of(2) {
        true => Ok(width),
        false => Err(metadata.unsupported(WIDTH, &width.to_string(), &accepted)),
    }
}

/// The number that all wavelengths are multiplied by. llama.cpp takes a factor without a type for linear, knows it by
/// an older name too, takes 0 for none, and heeds no factor where the type is `none`.
fn linear_factor(metadata: &mut Metadata, has_factors: bool) -> Result<Option<f64>, ModelError> {
    let factor = positive(metadata, FACTOR)?;
    let old = positive(metadata, OLD_FACTOR)?;
    if let (Some(factor), Some(old)) = (factor, old)
        && factor != old
    {
        let (new, older) = (metadata.key(FACTOR), metadata.key(OLD_FACTOR));
        let warning =
            format!("{older} = {old} is not used: {new} = {factor} counts, as in llama.cpp");
        metadata.warnings.push(warning);
    }
    let (name, factor) = match factor {
        Some(factor) => (FACTOR, Some(factor)),
        None => (OLD_FACTOR, old),
    };
    match metadata.optional_text(TYPE)? {
        Some("none") => {
            if let Some(factor) = factor.filter(|factor| *factor != 1.0) {
                let (key, kind) = (metadata.key(name), metadata.key(TYPE));
                let warning =
                    format!("{key} = {factor} is not used: {kind} is none, as in llama.cpp");
                metadata.warnings.push(warning);
            }
            Ok(None)
        }
        None | Some("linear") => Ok(factor),
        // What it does besides stands in the factors among the tensors.
        Some("longrope") if has_factors => Ok(factor),
        Some(other) => Err(metadata.unsupported(
            TYPE,
            other,
            "none, linear, longrope (with the tensors rope_factors_short and rope_factors_long)",
        )),
    }
}

/// A number above 0; 0 says that there is none.
fn positive(metadata: &Metadata, name: &str) -> Result<Option<f64>, ModelError> {
    match metadata.optional_float(name)? {
        None | Some(0.0) => Ok(None),
        Some(number) if number.is_finite() && number > 0.0 => Ok(Some(number)),
        Some(number) => {
            Err(metadata.unsupported(name, &number.to_string(), "a finite number above 0"))
        }
    }
}

/// A divisor for each frequency, from the tensors: `rope_freqs` in the architecture `llama`, unless its type is
/// `longrope`; the short factors there and in `phi3`.
fn factors(
    metadata: &Metadata,
    store: &TensorStore,
    width: usize,
) -> Result<Option<Vec<f32>>, ModelError> {
    let longrope = metadata.optional_text(TYPE)? == Some("longrope");
    let read: &[&str] = match metadata.family.gguf_arch {
        "llama" if longrope => &[LONGROPE_SHORT, LONGROPE_LONG],
        "llama" => &[LLAMA3_FACTORS],
        "phi3" => &[LONGROPE_SHORT, LONGROPE_LONG],
        _ => &[],
    };
    let unread = ROPE_TENSORS.iter().filter(|name| store.has(name));
    let unread: Vec<String> = unread
        .filter(|name| !read.contains(name))
        .map(|name| name.to_string())
        .collect();
    if !unread.is_empty() {
        return Err(ModelError::UnknownTensors {
            family: metadata.family.name,
            names: unread,
        });
    }
    if !read.iter().any(|name| store.has(name)) {
        return Ok(None);
    }
    for name in read {
        let shape = store.shape(name)?;
        if shape != [width / 2] {
            let expected = format!("[{}], one for each rotated pair", width / 2);
            return Err(unsupported(
                name,
                &format!("a tensor of shape {shape:?}"),
                &expected,
            ));
        }
    }
    let used = read.first().copied();
    let used = used.map(|name| checked(name, store.read(name)?.to_vec1()?));
    used.transpose()
}

fn checked(name: &str, factors: Vec<f32>) -> Result<Vec<f32>, ModelError> {
    let wrong = factors.iter().find(|f| !(f.is_finite() && **f > 0.0));
    match wrong {
        None => Ok(factors),
        Some(wrong) => Err(unsupported(
            name,
            &wrong.to_string(),
            "finite numbers above 0",
        )),
    }
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
