//! Which neurons: one neuron's name, and sets of them.
//!
//! A neuron is `layer.neuron`, both counted from 0. A [`NeuronSet`] is what a class, a file or a random
//! draw becomes before anything is edited. It knows names only: weights, classes and what an edit does
//! to a neuron live elsewhere.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// So many bad lines of a neuron file are printed; the error holds them all.
const PRINTED_LINES: usize = 50;

/// One MLP neuron, `layer.neuron` (DESIGN 2); `"3.17"` is neuron 17 of layer 3.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Neuron {
    /// Layer, from 0.
    pub layer: usize,
    /// Row of `gate_proj` and `up_proj`, column of `down_proj`, from 0.
    pub index: usize,
}

impl fmt::Display for Neuron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.layer, self.index)
    }
}

impl FromStr for Neuron {
    type Err = NeuronError;

    /// Reads `layer.neuron`: two whole numbers with a dot between them and nothing else.
    fn from_str(text: &str) -> Result<Self, NeuronError> {
        let malformed = || NeuronError::Malformed {
            text: text.to_owned(),
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

/// One bad line of a neuron file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
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
    #[error("no neuron {neuron} in this model: {}", allowed(*n_layers, *d_mlp))]
    OutOfRange {
        /// The neuron asked for.
        neuron: Neuron,
        /// Layers of the model.
        n_layers: usize,
        /// Neurons per layer.
        d_mlp: usize,
    },
    /// Lines of a neuron file that cannot be used, all of them.
    #[error("{source_name}: {} cannot be used\n{}", plural(lines.len()), listed(lines))]
    BadLines {
        /// The file, or whatever the text came from.
        source_name: String,
        /// Every bad line, in order.
        lines: Vec<BadLine>,
    },
    /// A neuron file that names no neuron.
    #[error("{source_name} names no neuron: write one layer.neuron per line, for example 3.17")]
    NoNeurons {
        /// The file, or whatever the text came from.
        source_name: String,
    },
    /// The file could not be read.
    #[error("cannot read the neuron file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

fn allowed(n_layers: usize, d_mlp: usize) -> String {
    let last = |n: usize| n.saturating_sub(1);
    format!(
        "layers go from 0 to {}, neurons from 0 to {}",
        last(n_layers),
        last(d_mlp)
    )
}

fn plural(lines: usize) -> String {
    if lines == 1 {
        "1 line".to_owned()
    } else {
        format!("{lines} lines")
    }
}

fn listed(lines: &[BadLine]) -> String {
    let shown = lines.iter().take(PRINTED_LINES);
    let mut text: Vec<String> = shown
        .map(|bad| format!("  line {}: {}", bad.line, bad.problem))
        .collect();
    if lines.len() > PRINTED_LINES {
        text.push(format!("  and {} more", lines.len() - PRINTED_LINES));
    }
    text.join("\n")
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
    /// [`NeuronError::Read`] when the file cannot be read, otherwise as [`NeuronSet::parse`].
    pub fn read(path: &Path, n_layers: usize, d_mlp: usize) -> Result<Self, NeuronError> {
        let text = std::fs::read_to_string(path).map_err(|source| NeuronError::Read {
            path: path.to_owned(),
            source,
        })?;
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
        for (number, line) in (1..).zip(text.lines()) {
            match parse_line(line, n_layers, d_mlp) {
                Ok(found) => neurons.extend(found),
                Err(error) => {
                    bad_lines.push(BadLine {
                        line: number,
                        problem: error.to_string(),
                    });
                }
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
        let keep = |(layer, indices): (usize, &Vec<u32>)| {
            if layers.contains(&layer) {
                indices.clone()
            } else {
                Vec::new()
            }
        };
        NeuronSet {
            layers: self.layers.iter().enumerate().map(keep).collect(),
        }
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
mod tests {
    use super::*;

    fn neuron(layer: usize, index: usize) -> Neuron {
        Neuron { layer, index }
    }

    fn set(neurons: &[(usize, usize)]) -> NeuronSet {
        NeuronSet::from_neurons(4, 10, neurons.iter().map(|&(l, n)| neuron(l, n))).unwrap()
    }

    #[test]
    fn a_name_reads_back_as_it_is_written() {
        assert_eq!("3.17".parse::<Neuron>().unwrap(), neuron(3, 17));
        assert_eq!("3.170".parse::<Neuron>().unwrap(), neuron(3, 170));
        assert_eq!(neuron(3, 17).to_string(), "3.17");
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for text in [
            "", ".", "3", "3.", ".4", "3.4.5", "+3.4", "-3.4", "a.b", "3,4", "3. 4",
        ] {
            let message = text.parse::<Neuron>().unwrap_err().to_string();
            assert!(
                message.contains(&format!("`{text}`")) && message.contains("3.17"),
                "{message}"
            );
        }
        assert!("3.99999999999999999999999".parse::<Neuron>().is_err());
    }

    #[test]
    fn a_set_is_sorted_and_unique() {
        let set = set(&[(2, 9), (0, 5), (2, 1), (2, 9)]);
        assert_eq!(set.layer(2), [1, 9]);
        assert!(set.layer(1).is_empty() && set.layer(99).is_empty());
        assert_eq!((set.len(), set.n_layers(), set.is_empty()), (3, 4, false));
        let names: Vec<String> = set.iter().map(|n| n.to_string()).collect();
        assert_eq!(names, ["0.5", "2.1", "2.9"]);
    }

    #[test]
    fn membership() {
        let some = set(&[(2, 9), (3, 5)]);
        assert!(some.contains(neuron(2, 9)) && !some.contains(neuron(2, 8)));
        assert!(!some.contains(neuron(9, 9)) && !some.contains(neuron(2, usize::MAX)));
        assert!(NeuronSet::empty(4).is_empty());
    }

    #[test]
    fn restricting_layers_keeps_the_depth() {
        let some = set(&[(0, 1), (2, 9), (3, 5)]);
        assert_eq!(some.restrict_layers(1..3), set(&[(2, 9)]));
        assert_eq!(some.restrict_layers(1..2), NeuronSet::empty(4));
        assert_eq!(some.restrict_layers(0..99), some);
    }

    #[test]
    fn out_of_range_names_the_culprit_and_the_ranges() {
        for culprit in [neuron(4, 0), neuron(0, 10), neuron(0, 1 << 40)] {
            let error = NeuronSet::from_neurons(4, 10, [neuron(1, 1), culprit]).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(&culprit.to_string()), "{message}");
            assert!(
                message.contains("0 to 3") && message.contains("0 to 9"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_file_may_have_comments_and_blank_lines() {
        let text = "# enrichment, by hand\n\n3.7   # loud\r\n  0.2\n3.7\n";
        assert_eq!(
            NeuronSet::parse(text, "x", 4, 10).unwrap(),
            set(&[(0, 2), (3, 7)])
        );
    }

    #[test]
    fn all_bad_lines_are_reported_at_once() {
        let error =
            NeuronSet::parse("1.1\nseven\n# fine\n4.0\n2.5 2.6\n", "set.txt", 4, 10).unwrap_err();
        let message = error.to_string();
        let NeuronError::BadLines { lines, .. } = error else {
            panic!("{message}")
        };
        assert_eq!(
            lines.iter().map(|bad| bad.line).collect::<Vec<_>>(),
            [2, 4, 5]
        );
        assert!(
            message.starts_with("set.txt: 3 lines cannot be used\n  line 2: `seven`"),
            "{message}"
        );
        assert!(
            message.contains("line 4: no neuron 4.0 in this model: layers go from 0 to 3"),
            "{message}"
        );
    }

    #[test]
    fn a_long_list_of_bad_lines_is_cut_in_print_only() {
        let error = NeuronSet::parse(&"x\n".repeat(60), "set.txt", 4, 10).unwrap_err();
        assert!(error.to_string().ends_with("and 10 more"));
        assert!(matches!(error, NeuronError::BadLines { lines, .. } if lines.len() == 60));
    }

    #[test]
    fn a_file_that_names_nothing_is_an_error() {
        let error = NeuronSet::parse("# nothing\n\n", "set.txt", 4, 10).unwrap_err();
        assert!(matches!(error, NeuronError::NoNeurons { .. }));
    }

    #[test]
    fn files_are_read_and_missing_files_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.txt");
        std::fs::write(&path, "1.2\n").unwrap();
        assert_eq!(NeuronSet::read(&path, 4, 10).unwrap(), set(&[(1, 2)]));
        let missing = folder.path().join("missing.txt");
        let message = NeuronSet::read(&missing, 4, 10).unwrap_err().to_string();
        assert!(message.contains("missing.txt"), "{message}");
    }
}
