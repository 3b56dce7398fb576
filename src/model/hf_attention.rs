//! How the layers of a `config.json` attend: scale and windows.

use super::config::AttentionSpec;
use super::config_keys::{ATTENTION_SCALAR, PARTIAL_ROTARY, WINDOW, WINDOW_PATTERN};
use super::error::ModelError;
use super::hf_rope::{self, GLOBAL, LOCAL};
use super::kinds::{AttentionScale, Projections, Windows};
use super::reading::{Reading, Shapes};

pub(super) fn scale(reading: &Reading, head_dim: usize) -> Result<f64, ModelError> {
    let scalar = match reading.family.attention_scale {
        AttentionScale::HeadDim => head_dim as f64,
        AttentionScale::QueryPreAttnScalar { .. } => {
            reading.keys.needed_number(&ATTENTION_SCALAR)?
        }
    };
    Ok(scalar.powf(-0.5))
}

pub(super) fn layers(
    reading: &mut Reading,
    shapes: &Shapes,
) -> Result<Vec<AttentionSpec>, ModelError> {
    let width = rotated_width(reading, shapes.head_dim)?;
    let global = AttentionSpec {
        rope: hf_rope::read(reading, GLOBAL, width)?,
        window: None,
    };
    let window = window(reading)?;
    let windowed = windowed_layers(reading, window, shapes.n_layers)?;
    if !windowed.contains(&true) {
        return Ok(vec![global; shapes.n_layers]);
    }
    let local = AttentionSpec {
        rope: hf_rope::read(reading, LOCAL, width)?,
        window: Some(reading.keys.need(WINDOW.json, window)?),
    };
    Ok(AttentionSpec::by_layer(&windowed, global, local))
}

/// The window's width, where there is one.
fn window(reading: &mut Reading) -> Result<Option<usize>, ModelError> {
    let keys = &reading.keys;
    match reading.family.windows {
        Windows::Never => Ok(None),
        Windows::FromLayer if keys.flag("use_sliding_window")? != Some(true) => Ok(None),
        Windows::EveryLayer { default } if !keys.has(WINDOW.json) => {
            if let Some(default) = default {
                reading.assume(WINDOW.json, default);
            }
            Ok(default)
        }
        _ => keys.count(&WINDOW),
    }
}

/// Which layers attend through a window: by `layer_types` where the file has them, else by the family's rule.
fn windowed_layers(
    reading: &Reading,
    window: Option<usize>,
    n_layers: usize,
) -> Result<Vec<bool>, ModelError> {
    let (keys, key) = (&reading.keys, "layer_types");
    let Some(types) = keys.texts(key)? else {
        return windowed_by_rule(reading, window, n_layers);
    };
    if types.len() != n_layers {
        let count = format!("{} entries", types.len());
        return Err(keys.refused(key, count, &format!("{n_layers} entries")));
    }
    let accepted: &[&str] = match (reading.family.windows, window) {
        (Windows::Never, _) | (Windows::EveryLayer { .. }, None) => &[GLOBAL],
        // transformers does not look at the types of such a family.
        (Windows::EveryLayer { .. }, Some(_)) => &[LOCAL],
        _ => &[GLOBAL, LOCAL],
    };
    let other = types.iter().find(|kind| !accepted.contains(&kind.as_str()));
    if let Some(other) = other {
        return Err(keys.refused(key, other, &accepted.join(", ")));
    }
    Ok(types.iter().map(|kind| kind == LOCAL).collect())
}

fn windowed_by_rule(
    reading: &Reading,
    window: Option<usize>,
    n_layers: usize,
) -> Result<Vec<bool>, ModelError> {
    let keys = &reading.keys;
    let first = match (reading.family.windows, window) {
        (Windows::FromLayer, Some(_)) => {
            let key = "max_window_layers";
            keys.need(key, keys.whole(key, 0..=usize::MAX)?)?
        }
        (Windows::EveryLayer { .. }, Some(_)) => 0,
        (Windows::AllButEvery(n), _) => {
            let pattern = keys.count(&WINDOW_PATTERN)?.unwrap_or(n);
            // Only Gemma 3 reads the key in transformers; the others have their rule.
            if pattern != n && reading.family.local_rope_theta.is_none() {
                return Err(keys.refused(WINDOW_PATTERN.json, pattern, &n.to_string()));
            }
            return Ok(Windows::all_but_every(pattern, n_layers));
        }
        _ => n_layers,
    };
    Ok((0..n_layers).map(|l| l >= first).collect())
}

/// How many dimensions of a head are rotated; Phi-4-mini turns three quarters of them.
fn rotated_width(reading: &Reading, head_dim: usize) -> Result<usize, ModelError> {
    let keys = &reading.keys;
    let mut share = keys.number(&PARTIAL_ROTARY)?;
    if let Some(rope) = keys.object("rope_parameters")? {
        share = rope.number(&PARTIAL_ROTARY)?.or(share);
    }
    let share = share.unwrap_or(1.0);
    let width = (head_dim as f64 * share) as usize;
    if share != 1.0 && reading.family.projections != Projections::Fused {
        return Err(keys.refused(PARTIAL_ROTARY.json, share, "1"));
    }
    if width == 0 || !width.is_multiple_of(2) {
        let accepted = format!("a share of {head_dim}, the width of a head, that is even");
        return Err(keys.refused(PARTIAL_ROTARY.json, share, &accepted));
    }
    Ok(width)
}
