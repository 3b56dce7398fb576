//! How the layers of a `config.json` attend: scale and windows.

use super::config::{AttentionSpec, Notes};
use super::config_keys::{ATTENTION_SCALAR, N_LAYERS, PARTIAL_ROTARY, WINDOW, WINDOW_PATTERN};
use super::error::ModelError;
use super::family::Family;
use super::hf_rope::{self, GLOBAL, LOCAL};
use super::kinds::{AttentionScale, Projections, Windows};
use super::object::Object;

pub(super) fn scale(top: &Object, family: &Family, head_dim: usize) -> Result<f64, ModelError> {
    let scalar = match family.attention_scale {
        AttentionScale::HeadDim => head_dim as f64,
        AttentionScale::QueryPreAttnScalar { .. } => top.needed_number(&ATTENTION_SCALAR)?,
    };
    Ok(scalar.powf(-0.5))
}

pub(super) fn layers(
    top: &Object,
    family: &Family,
    head_dim: usize,
    notes: &mut Notes,
) -> Result<Vec<AttentionSpec>, ModelError> {
    // Each layer has an entry in memory before the tensors are looked at: its key is bounded.
    let n_layers = top.needed_count(&N_LAYERS)?;
    let width = rotated_width(top, family, head_dim)?;
    let global = AttentionSpec {
        rope: hf_rope::read(top, GLOBAL, family, width, notes)?,
        window: None,
    };
    let window = window(top, family, notes)?;
    let windowed = windowed_layers(top, family, window, n_layers)?;
    if !windowed.contains(&true) {
        return Ok(vec![global; n_layers]);
    }
    let local = AttentionSpec {
        rope: hf_rope::read(top, LOCAL, family, width, notes)?,
        window: Some(top.need(WINDOW.json, window)?),
    };
    Ok(AttentionSpec::by_layer(&windowed, global, local))
}

/// The window's width, where there is one.
fn window(top: &Object, family: &Family, notes: &mut Notes) -> Result<Option<usize>, ModelError> {
    let is_there = top.has(WINDOW.json);
    Ok(match family.windows {
        Windows::Never => None,
        Windows::FromLayer if top.flag("use_sliding_window")? != Some(true) => None,
        Windows::EveryLayer {
            default: Some(default),
        } if !is_there => {
            notes.assumed.push(top.absent(WINDOW.json, default));
            Some(default)
        }
        _ => top.count(&WINDOW)?,
    })
}

/// Which layers attend through a window: by `layer_types` where the file has them, else by the family's rule.
fn windowed_layers(
    top: &Object,
    family: &Family,
    window: Option<usize>,
    n_layers: usize,
) -> Result<Vec<bool>, ModelError> {
    let key = "layer_types";
    let Some(types) = top.texts(key)? else {
        return windowed_by_rule(top, family, window, n_layers);
    };
    if types.len() != n_layers {
        let count = format!("{} entries", types.len());
        return Err(top.refused(key, count, &format!("{n_layers} entries")));
    }
    let accepted = match (family.windows, window) {
        (Windows::Never, _) | (Windows::EveryLayer { .. }, None) => vec![GLOBAL],
        // transformers does not look at the types of such a family.
        (Windows::EveryLayer { .. }, Some(_)) => vec![LOCAL],
        _ => vec![GLOBAL, LOCAL],
    };
    let windowed = types
        .iter()
        .map(|kind| match accepted.contains(&kind.as_str()) {
            true => Ok(kind == LOCAL),
            false => Err(top.refused(key, kind, &accepted.join(", "))),
        });
    windowed.collect()
}

fn windowed_by_rule(
    top: &Object,
    family: &Family,
    window: Option<usize>,
    n_layers: usize,
) -> Result<Vec<bool>, ModelError> {
    let (first, last) = match (family.windows, window) {
        (Windows::FromLayer, Some(_)) => {
            let key = "max_window_layers";
            (top.need(key, top.whole(key, 0..=usize::MAX)?)?, n_layers)
        }
        (Windows::EveryLayer { .. }, Some(_)) => (0, n_layers),
        (Windows::AllButEvery(n), _) => {
            let pattern = top.count(&WINDOW_PATTERN)?.unwrap_or(n);
            // Only Gemma 3 reads the key in transformers; the others have their rule.
            if pattern != n && family.local_rope_theta.is_none() {
                return Err(top.refused(WINDOW_PATTERN.json, pattern, &n.to_string()));
            }
            return Ok((1..=n_layers).map(|l| !l.is_multiple_of(pattern)).collect());
        }
        _ => (0, 0),
    };
    Ok((0..n_layers).map(|l| (first..last).contains(&l)).collect())
}

/// How many dimensions of a head are rotated; Phi-4-mini turns three quarters of them.
fn rotated_width(top: &Object, family: &Family, head_dim: usize) -> Result<usize, ModelError> {
    let mut share = top.number(&PARTIAL_ROTARY)?;
    if let Some(rope) = top.object("rope_parameters")? {
        share = rope.number(&PARTIAL_ROTARY)?.or(share);
    }
    let share = share.unwrap_or(1.0);
    let width = (head_dim as f64 * share) as usize;
    if share != 1.0 && family.projections != Projections::Fused {
        return Err(top.refused(PARTIAL_ROTARY.json, share, "1"));
    }
    if width == 0 || !width.is_multiple_of(2) {
        let accepted = format!("a share of {head_dim}, the width of a head, that is even");
        return Err(top.refused(PARTIAL_ROTARY.json, share, &accepted));
    }
    Ok(width)
}
