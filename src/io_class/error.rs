//! What can go wrong while neurons are classified, selected or drawn.

use std::ops::Range;

use super::{ClassCounts, Fold};
use crate::hooks::neurons::Neuron;
use crate::model::ModelError;

/// An error of the IO-class stage.
#[derive(Debug, thiserror::Error)]
pub enum ClassError {
    /// The checkpoint could not be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The threshold is not strictly between 0 and 1.
    #[error(
        "the threshold must be more than 0 and less than 1, not {threshold}; the published one is 0.5"
    )]
    Threshold {
        /// The threshold asked for.
        threshold: f32,
    },
    /// A tensor does not have the shape that the others ask for.
    #[error("layer {layer}: {tensor} has shape {found:?}, but {expected} is needed")]
    Shape {
        /// Layer of the tensor.
        layer: usize,
        /// Name of the tensor.
        tensor: &'static str,
        /// The shape that is needed, in words.
        expected: String,
        /// The shape that it has.
        found: Vec<usize>,
    },
    /// A weight is infinite or not a number, as stored or after folding.
    #[error(
        "the {tensor} weights of neuron {neuron} are not finite with their norm gain folded in; \
         the file is damaged or was widened wrongly"
    )]
    NotFinite {
        /// The neuron.
        neuron: Neuron,
        /// Name of the tensor.
        tensor: &'static str,
    },
    /// A gain is infinite or not a number.
    #[error(
        "layer {layer}: entry {index} of the gain of the {norm} is not finite; the file is damaged"
    )]
    GainNotFinite {
        /// Layer of the norm.
        layer: usize,
        /// Which norm.
        norm: &'static str,
        /// Dimension of d_model.
        index: usize,
    },
    /// The tensor library failed.
    #[error("layer {layer}: cannot read the MLP weights")]
    Tensor {
        /// Layer of the tensor.
        layer: usize,
        /// What candle said.
        source: candle_core::Error,
    },
    /// The bundled figures of the paper are not what they should be.
    #[error("the published tables that gatelens comes with cannot be read: {why}")]
    Published {
        /// What is wrong.
        why: serde_json::Error,
    },
    /// No published model has that name.
    #[error("no published table is called `{name}`; there are: {}", known.join(", "))]
    UnknownPublished {
        /// The name as given.
        name: String,
        /// The ids of all published models.
        known: Vec<String>,
    },
    /// A published model of another shape.
    #[error(
        "the published table of {model} has {} layers of {} neurons, and this model has {} layers of {}: it cannot descend \
         from it, and their layers cannot be set side by side",
        published.0, published.1, found.0, found.1
    )]
    OtherShape {
        /// The published model.
        model: String,
        /// Its layers and its neurons per layer.
        published: (usize, usize),
        /// Those of the model at hand.
        found: (usize, usize),
    },
    /// The text names no class and no union of classes.
    #[error(
        "unknown class `{name}`{}; accepted: {accepted}",
        did_you_mean(suggestion)
    )]
    UnknownClass {
        /// The text as given.
        name: String,
        /// The nearest accepted name, where one is near.
        suggestion: Option<&'static str>,
        /// All accepted names.
        accepted: String,
    },
    /// The text names no fold.
    #[error("unknown fold `{name}`; accepted: pre, none, pre+post")]
    UnknownFold {
        /// The text as given.
        name: String,
    },
    /// The text names no way of matching.
    #[error(
        "unknown matching `{name}`; accepted: layer, layer+norm, layer+frequency, layer+contribution, layer+effect"
    )]
    UnknownMatch {
        /// The text as given.
        name: String,
    },
    /// Matching by frequency, which weights alone cannot give.
    #[error(
        "matching `layer+frequency` needs how often each neuron fires, which weights do not tell; record that \
         once with the same --model, `gatelens record --text neutral --out runs/neutral`, and give it with \
         --reference runs/neutral"
    )]
    NeedsFrequency,
    /// Matching by contribution, likewise.
    #[error(
        "matching `layer+contribution` needs how much each neuron writes, which weights do not tell; measure it in a \
         clean pass of the prompts first"
    )]
    NeedsContribution,
    /// Matching by first-order effects on text, likewise.
    #[error(
        "matching `layer+effect` needs what switching each neuron off changes of a text, to first order, which weights do \
         not tell; measure it by the gradient on a text first"
    )]
    NeedsEffect,
    /// Matching by frequency in a layer that has none.
    #[error(
        "the class has neurons in layer {layer}, whose firing frequencies were not recorded (those of layers \
         {recorded:?} were); record all layers, or keep to the recorded ones with --layers"
    )]
    LayerNotRecorded {
        /// The layer.
        layer: usize,
        /// The layers that have frequencies, ascending.
        recorded: Vec<usize>,
    },
    /// Frequencies of a layer of another width.
    #[error(
        "layer {layer} has {d_mlp} neurons and {frequencies} numbers to match by: they come from different models"
    )]
    OtherFrequencies {
        /// The layer.
        layer: usize,
        /// Frequencies of the layer.
        frequencies: usize,
        /// Neurons of the layer.
        d_mlp: usize,
    },
    /// The layers asked for are empty or not all in the model.
    #[error(
        "layers {}..{} (end excluded) do not fit a model with {n_layers} layers; give start..end with start < end <= {n_layers}",
        layers.start, layers.end
    )]
    LayerRange {
        /// The layers asked for.
        layers: Range<usize>,
        /// Layers of the model.
        n_layers: usize,
    },
    /// No neuron is in the class.
    #[error(
        "no neuron is {class} at threshold {threshold}, fold {fold}, layers {}..{} (end excluded); \
         there are: {}. Name another class, or change the threshold, the fold or the layers",
        layers.start, layers.end, nonzero(counts)
    )]
    EmptyClass {
        /// The class or union.
        class: &'static str,
        /// Threshold of the table.
        threshold: f32,
        /// Fold of the table.
        fold: Fold,
        /// Layers that were looked at, end excluded.
        layers: Range<usize>,
        /// What these layers hold.
        counts: ClassCounts,
    },
    /// A baseline was asked for a set without neurons.
    #[error("a set without neurons has no random baseline; name at least one neuron")]
    EmptySet,
    /// The set does not belong to the table's model.
    #[error(
        "the neuron set has {set_layers} layers and the table {table_layers}: they come from different models"
    )]
    OtherModel {
        /// Layers of the set.
        set_layers: usize,
        /// Layers of the table.
        table_layers: usize,
    },
    /// A neuron of the set that the table does not have.
    #[error("no neuron {neuron} in this model: layer {} has {d_mlp} neurons", neuron.layer)]
    OutOfRange {
        /// The neuron.
        neuron: Neuron,
        /// Neurons of its layer.
        d_mlp: usize,
    },
    /// The set holds every neuron of every layer that it touches.
    #[error(
        "the set of {neurons} neurons fills all its layers, so that no neuron is left to draw a random \
         baseline from; name fewer neurons, or ask for no draws"
    )]
    NothingOutside {
        /// Size of the set.
        neurons: usize,
    },
}

fn did_you_mean(suggestion: &Option<&'static str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}

fn nonzero(counts: &ClassCounts) -> String {
    let present = counts.iter().filter(|&(_, &count)| count > 0);
    let listed: Vec<String> = present
        .map(|(class, count)| format!("{count} {class}"))
        .collect();
    listed.join(", ")
}
