//! Which neurons: one neuron's name, and sets of them.
//!
//! A neuron is `layer.neuron`, both counted from 0. A [`NeuronSet`] is what a class, a file or a random
//! draw becomes before anything is edited. It knows names only: weights, classes and what an edit does
//! to a neuron live elsewhere.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use crate::model::Config;
use crate::prompts::{Place, Problem, Unreadable, content, list, read_text};

/// One MLP neuron, `layer.neuron`; `"3.17"` is neuron 17 of layer 3.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Neuron {
    /// Layer, from 0.
    pub layer: usize,
    /// Row of `gate_proj` and `up_proj`, column of `down_proj`, from 0.
    pub index: usize,
}

impl Neuron {
    /// Neuron `index` of layer `layer`.
    pub const fn new(layer: usize, index: usize) -> Self {
        Self { layer, index }
    }
}

impl fmt::Display for Neuron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.layer, self.index)
    }
}

/// As many characters of what is no neuron as a message shows.
const SHOWN_CHARS: usize = 80;

impl FromStr for Neuron {
    type Err = NeuronError;

    /// Reads `layer.neuron`: two whole numbers with a dot between them and nothing else.
    fn from_str(text: &str) -> Result<Self, NeuronError> {
        let malformed = || NeuronError::Malformed {
            text: text.chars().take(SHOWN_CHARS).collect(),
        };
        let (layer, index) = text.split_once('.').ok_or_else(malformed)?;
        Ok(Neuron {
            layer: whole_number(layer).ok_or_else(malformed)?,
            index: whole_number(index).ok_or_else(malformed)?,
        })
    }
}

/// Digits only: `usize::from_str` alone would also take `+3`.
fn whole_number(text: &str) -> Option<usize> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Why a neuron or a set of neurons could not be read.
#[derive(Debug, thiserror::Error)]
pub enum NeuronError {
    /// The text is not `layer.neuron`.
    #[error("`{text}` is not a neuron: write layer.neuron, both counted from 0, for example 3.17")]
    Malformed {
        /// The text as given.
        text: String,
    },
    /// The model has no such neuron.
    #[error(
        "no neuron {neuron} in this model: layers go from 0 to {}, neurons from 0 to {}",
        n_layers.saturating_sub(1),
        d_mlp.saturating_sub(1)
    )]
    OutOfRange {
        /// The neuron asked for.
        neuron: Neuron,
        /// Layers of the model.
        n_layers: usize,
        /// Neurons per layer.
        d_mlp: usize,
    },
    /// Lines of a neuron file that cannot be used, all of them.
    #[error("{source_name}: {} line{} cannot be used\n{}", lines.len(), if lines.len() == 1 { "" } else { "s" }, list(lines))]
    BadLines {
        /// The file, or whatever the text came from.
        source_name: String,
        /// Every bad line, in order.
        lines: Vec<Problem>,
    },
    /// A neuron file that names no neuron.
    #[error("{source_name} names no neuron: write one layer.neuron per line, for example 3.17")]
    NoNeurons {
        /// The file, or whatever the text came from.
        source_name: String,
    },
    /// The file could not be read, or is not text.
    #[error(transparent)]
    File(#[from] Unreadable),
}

/// A set of neurons: per layer sorted indices, each once.
///
/// It has one list for every layer of the model, so that sets of models of different depth do not compare equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeuronSet {
    layers: Vec<Vec<u32>>, // length n_layers
}

impl NeuronSet {
    /// No neuron of a model with `n_layers` layers.
    pub fn empty(n_layers: usize) -> Self {
        NeuronSet {
            layers: vec![Vec::new(); n_layers],
        }
    }

    /// The given neurons of a model, as [`NeuronSet::from_neurons`].
    ///
    /// # Errors
    /// Those of [`NeuronSet::from_neurons`].
    pub fn new(
        model: &Config,
        neurons: impl IntoIterator<Item = Neuron>,
    ) -> Result<Self, NeuronError> {
        Self::from_neurons(model.n_layers(), model.d_mlp, neurons)
    }

    /// The given neurons, in any order; a neuron given twice counts once.
    ///
    /// # Errors
    /// [`NeuronError::OutOfRange`] for the first neuron that a model of `n_layers` layers with `d_mlp` neurons
    /// each does not have.
    pub fn from_neurons(
        n_layers: usize,
        d_mlp: usize,
        neurons: impl IntoIterator<Item = Neuron>,
    ) -> Result<Self, NeuronError> {
        let mut layers = vec![Vec::new(); n_layers];
        for neuron in neurons {
            let index = checked_index(neuron, n_layers, d_mlp)?;
            layers[neuron.layer].push(index);
        }
        Ok(Self::from_layers(layers))
    }

    /// Indices per layer, in any order, already known to be in range.
    pub(crate) fn from_layers(mut layers: Vec<Vec<u32>>) -> Self {
        for layer in &mut layers {
            layer.sort_unstable();
            layer.dedup();
        }
        NeuronSet { layers }
    }

    /// Reads a neuron file: one `layer.neuron` per line, `#` starts a comment, blank lines are skipped.
    ///
    /// # Errors
    /// [`NeuronError::File`] when the file cannot be read, otherwise as [`NeuronSet::parse`].
    pub fn read(path: &Path, n_layers: usize, d_mlp: usize) -> Result<Self, NeuronError> {
        let text = read_text(path, "neuron", "")?;
        Self::parse(&text, &path.display().to_string(), n_layers, d_mlp)
    }

    /// Reads the text of a neuron file; `source_name` stands in front of the errors.
    ///
    /// # Errors
    /// [`NeuronError::BadLines`] with every malformed or out-of-range line, [`NeuronError::NoNeurons`] when
    /// only comments are left: an edit of nothing would look like a null result.
    pub fn parse(
        text: &str,
        source_name: &str,
        n_layers: usize,
        d_mlp: usize,
    ) -> Result<Self, NeuronError> {
        let mut neurons = Vec::new();
        let mut bad_lines = Vec::new();
        for (number, line) in (1..).zip(content(text).lines()) {
            match parse_line(line, n_layers, d_mlp) {
                Ok(found) => neurons.extend(found),
                Err(error) => bad_lines.push(Problem {
                    place: Place::Line(number),
                    id: None,
                    what: error.to_string(),
                }),
            }
        }
        let source_name = source_name.to_owned();
        if !bad_lines.is_empty() {
            return Err(NeuronError::BadLines {
                source_name,
                lines: bad_lines,
            });
        }
        if neurons.is_empty() {
            return Err(NeuronError::NoNeurons { source_name });
        }
        Self::from_neurons(n_layers, d_mlp, neurons)
    }

    /// The neurons of layer `layer`, sorted; empty for a layer that the set does not have.
    pub fn layer(&self, layer: usize) -> &[u32] {
        self.layers.get(layer).map_or(&[], Vec::as_slice)
    }

    /// How many layers the model has (not: how many of them the set touches).
    pub fn n_layers(&self) -> usize {
        self.layers.len()
    }

    /// How many neurons.
    pub fn len(&self) -> usize {
        self.layers.iter().map(Vec::len).sum()
    }

    /// The largest index of a neuron in its layer.
    pub fn widest(&self) -> Option<usize> {
        let last = self.layers.iter().filter_map(|layer| layer.last());
        last.max().map(|index| *index as usize)
    }

    /// Whether there is no neuron at all.
    pub fn is_empty(&self) -> bool {
        self.layers.iter().all(Vec::is_empty)
    }

    /// All neurons, by layer and index.
    pub fn iter(&self) -> impl Iterator<Item = Neuron> + '_ {
        self.layers.iter().enumerate().flat_map(|(layer, indices)| {
            indices.iter().map(move |&index| Neuron {
                layer,
                index: index as usize,
            })
        })
    }

    /// Whether the neuron is in the set.
    pub fn contains(&self, neuron: Neuron) -> bool {
        u32::try_from(neuron.index)
            .is_ok_and(|index| self.layer(neuron.layer).binary_search(&index).is_ok())
    }

    /// The same set without the neurons outside `layers` (end excluded); the model keeps its depth.
    pub fn restrict_layers(&self, layers: Range<usize>) -> Self {
        let mut kept = self.clone();
        for (layer, indices) in kept.layers.iter_mut().enumerate() {
            if !layers.contains(&layer) {
                indices.clear();
            }
        }
        kept
    }
}

fn parse_line(line: &str, n_layers: usize, d_mlp: usize) -> Result<Option<Neuron>, NeuronError> {
    let content = line.split('#').next().unwrap_or_default().trim();
    if content.is_empty() {
        return Ok(None);
    }
    let neuron: Neuron = content.parse()?;
    checked_index(neuron, n_layers, d_mlp)?;
    Ok(Some(neuron))
}

fn checked_index(neuron: Neuron, n_layers: usize, d_mlp: usize) -> Result<u32, NeuronError> {
    let in_range = neuron.layer < n_layers && neuron.index < d_mlp;
    let index = u32::try_from(neuron.index).ok().filter(|_| in_range);
    index.ok_or(NeuronError::OutOfRange {
        neuron,
        n_layers,
        d_mlp,
    })
}

#[cfg(test)]
mod tests;
