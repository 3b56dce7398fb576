//! Neighbouring layers.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::ExperimentError;

/// Neighbouring layers, from `first` to `last`, both included and counted from 0; serialised as `[first, last]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(from = "[usize; 2]", into = "[usize; 2]")]
pub struct LayerWindow {
    /// The first layer.
    pub first: usize,
    /// The last layer; the first one again in a window of one.
    pub last: usize,
}

impl LayerWindow {
    /// One layer.
    pub fn single(layer: usize) -> Self {
        let (first, last) = (layer, layer);
        Self { first, last }
    }

    /// The layers as a range, the end excluded.
    pub fn layers(self) -> Range<usize> {
        self.first..self.last + 1
    }

    /// As a table has it: `3` or `3–5`.
    pub fn short(self) -> String {
        let LayerWindow { first, last } = self;
        if first == last {
            first.to_string()
        } else {
            format!("{first}–{last}")
        }
    }
}

impl fmt::Display for LayerWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LayerWindow { first, last } = *self;
        if first == last {
            write!(f, "layer {first}")
        } else {
            write!(f, "layers {first} to {last}")
        }
    }
}

impl From<LayerWindow> for [usize; 2] {
    fn from(LayerWindow { first, last }: LayerWindow) -> Self {
        [first, last]
    }
}

impl From<[usize; 2]> for LayerWindow {
    fn from([first, last]: [usize; 2]) -> Self {
        LayerWindow { first, last }
    }
}

/// The windows of `width` layers that lie in `layers`, each `stride` layers after the one before.
///
/// # Errors
/// [`ExperimentError::WideWindow`] where not one has room.
pub fn layer_windows(
    layers: Range<usize>,
    width: usize,
    stride: usize,
) -> Result<Vec<LayerWindow>, ExperimentError> {
    if width > layers.len() {
        return Err(ExperimentError::WideWindow { width, layers });
    }
    let firsts = (layers.start..=layers.end - width).step_by(stride);
    Ok(firsts
        .map(|first| LayerWindow {
            first,
            last: first + width - 1,
        })
        .collect())
}
