//! The rows of all layers, and what is counted over them.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{
    Class, ClassError, Cosines, Fold, MlpWeights, NeuronRow, check_threshold, classify_layer,
};
use crate::hooks::ReferenceSigns;
use crate::model::{Checkpoint, Mlp};

/// Neurons per class; all eleven classes are there, in the published order, those without neurons with 0.
pub type ClassCounts = BTreeMap<Class, usize>;

/// Every neuron of a model with its class, and the settings that the classes were made with.
#[derive(Clone, Debug, PartialEq)]
pub struct NeuronTable {
    /// Which norm gains were folded into the weights.
    pub fold: Fold,
    /// Threshold on the cosines.
    pub threshold: f32,
    /// Rows by layer and neuron: `layers[l][n]` is neuron `l.n`.
    pub layers: Vec<Vec<NeuronRow>>,
}

impl NeuronTable {
    /// Classifies every neuron of a checkpoint, reading one layer's MLP while the one before is worked on.
    ///
    /// # Errors
    /// A threshold outside 0 to 1, before anything is read; a tensor that cannot be read or has no finite values.
    pub fn classify(
        checkpoint: &Checkpoint,
        fold: Fold,
        threshold: f32,
    ) -> Result<Self, ClassError> {
        check_threshold(threshold)?;
        let mlps = Mlp::all(checkpoint)?.enumerate();
        let layers =
            mlps.map(|(l, mlp)| classify_layer(l, &MlpWeights::from(&mlp?), fold, threshold));
        let layers = layers.collect::<Result<_, _>>()?;
        Ok(Self {
            fold,
            threshold,
            layers,
        })
    }

    /// How many neurons of each class every layer has.
    pub fn counts_per_layer(&self) -> Vec<ClassCounts> {
        self.layers.iter().map(count).collect()
    }

    /// How many neurons of each class the model has.
    pub fn totals(&self) -> ClassCounts {
        count(self.layers.iter().flatten())
    }

    /// The same labels, cosines included, on other neurons: shuffled over all layers. Lengths and signs stay. A control in
    /// which no class is anything but a random set.
    pub fn with_shuffled_labels(&self, seed: u64) -> Self {
        let mut labels: Vec<(Class, Cosines)> = self
            .layers
            .iter()
            .flatten()
            .map(|row| (row.class, row.cosines))
            .collect();
        labels.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let mut table = self.clone();
        for (row, (class, cosines)) in table.layers.iter_mut().flatten().zip(labels) {
            (row.class, row.cosines) = (class, cosines);
        }
        table
    }

    /// The sign of every neuron, for reading others "in reference sign" (arXiv 2505.17936).
    pub fn signs(&self) -> ReferenceSigns {
        let of_layer = |layer: &Vec<NeuronRow>| layer.iter().map(|row| row.sign).collect();
        ReferenceSigns::new(self.layers.iter().map(of_layer).collect())
    }

    /// The median of cos(w_in, w_out) in every layer; of an even number of neurons the mean of the two in the middle.
    ///
    /// Not a number for a layer without neurons, which [`super::classify_layer`] never makes.
    pub fn median_in_out(&self) -> Vec<f32> {
        let of_layer =
            |layer: &Vec<NeuronRow>| median(layer.iter().map(|row| row.cosines.in_out).collect());
        self.layers.iter().map(of_layer).collect()
    }
}

/// Neurons per class among `rows`.
pub(super) fn count<'a>(rows: impl IntoIterator<Item = &'a NeuronRow>) -> ClassCounts {
    let mut counts: ClassCounts = Class::ALL.into_iter().map(|class| (class, 0)).collect();
    for row in rows {
        *counts.entry(row.class).or_default() += 1;
    }
    counts
}

fn median(mut values: Vec<f32>) -> f32 {
    if values.is_empty() {
        return f32::NAN;
    }
    let middle = values.len() / 2;
    let is_odd = values.len() % 2 == 1;
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
    let lower = below.iter().copied().max_by(f32::total_cmp);
    match lower {
        Some(lower) if !is_odd => (lower + upper) / 2.0,
        _ => upper,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{row, table};
    use super::*;

    #[test]
    fn counts_hold_all_classes_in_order() {
        use Class::*;
        let table = table(&[
            vec![Depletion, OrthogonalOutput, Depletion],
            vec![Enrichment],
        ]);
        let counts = table.counts_per_layer();
        assert_eq!(counts.len(), 2);
        assert_eq!((counts[0][&Depletion], counts[1][&Depletion]), (2, 0));
        assert!(counts[0].keys().copied().eq(Class::ALL));
        let totals: Vec<usize> = table.totals().into_values().collect();
        assert_eq!(totals, [1, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0]);
        let json = serde_json::to_string(&counts[1]).unwrap();
        assert!(
            json.starts_with(r#"{"enrichment":1,"atypical-enrichment":0,"#),
            "{json}"
        );
    }

    #[test]
    fn shuffled_labels_are_the_same_ones_elsewhere() {
        use Class::*;
        let table = table(&[vec![Depletion; 50], vec![OrthogonalOutput; 50]]);
        let shuffled = table.with_shuffled_labels(1);
        assert_eq!(shuffled.totals(), table.totals());
        let first = shuffled.counts_per_layer()[0][&Depletion];
        assert!((15..35).contains(&first), "{first}");
        assert_eq!(shuffled, table.with_shuffled_labels(1));
        assert_ne!(shuffled, table.with_shuffled_labels(2));
    }

    #[test]
    fn medians_of_odd_and_even_layers() {
        let layer = |values: &[f32]| -> Vec<NeuronRow> {
            values
                .iter()
                .map(|&c| row(Class::OrthogonalOutput, c, 1.0))
                .collect()
        };
        let layers = vec![
            layer(&[0.5, -0.25, 0.25]),
            layer(&[0.75, -1.0, 0.5, 0.25]),
            layer(&[-0.5]),
            layer(&[]),
        ];
        let table = NeuronTable {
            fold: Fold::Pre,
            threshold: 0.5,
            layers,
        };
        let medians = table.median_in_out();
        assert_eq!(medians[..3], [0.25, 0.375, -0.5]);
        assert!(medians[3].is_nan());
    }
}
