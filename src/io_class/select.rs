//! From a class or a union of classes to the set of its neurons.

use std::ops::Range;

use super::table::count;
use super::{ClassError, ClassQuery, NeuronRow, NeuronTable};
use crate::hooks::neurons::NeuronSet;

/// Whether a model of `n_layers` layers has these; for a check before any weight is read.
///
/// # Errors
/// [`ClassError::LayerRange`] for a range that is empty or goes beyond the last layer.
pub fn check_layers(layers: &Range<usize>, n_layers: usize) -> Result<(), ClassError> {
    if layers.start < layers.end && layers.end <= n_layers {
        return Ok(());
    }
    let layers = layers.clone();
    Err(ClassError::LayerRange { layers, n_layers })
}

impl NeuronTable {
    /// The neurons of a class or union, in `layers` (end excluded) or everywhere.
    ///
    /// # Errors
    /// [`ClassError::LayerRange`] when the layers are not those of the model; [`ClassError::EmptyClass`] when nothing
    /// is selected, since an edit of no neuron would look like a null result.
    pub fn select(
        &self,
        query: ClassQuery,
        layers: Option<Range<usize>>,
    ) -> Result<NeuronSet, ClassError> {
        let n_layers = self.layers.len();
        let layers = layers.unwrap_or(0..n_layers);
        check_layers(&layers, n_layers)?;
        let wanted = |(layer, rows): (usize, &Vec<NeuronRow>)| {
            if layers.contains(&layer) {
                members(rows, query)
            } else {
                Vec::new()
            }
        };
        let set = NeuronSet::from_layers(self.layers.iter().enumerate().map(wanted).collect());
        if set.is_empty() {
            Err(self.empty_class(query, layers))
        } else {
            Ok(set)
        }
    }

    fn empty_class(&self, query: ClassQuery, layers: Range<usize>) -> ClassError {
        ClassError::EmptyClass {
            class: query.name(),
            threshold: self.threshold,
            fold: self.fold,
            counts: count(self.layers[layers.clone()].iter().flatten()),
            layers,
        }
    }
}

fn members(rows: &[NeuronRow], query: ClassQuery) -> Vec<u32> {
    let numbered = (0u32..).zip(rows);
    numbered
        .filter(|(_, row)| query.includes(row.class))
        .map(|(index, _)| index)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Class::*;
    use super::super::testing::table;
    use super::*;

    fn small() -> NeuronTable {
        table(&[
            vec![Enrichment, OrthogonalOutput, AtypicalConditionalEnrichment],
            vec![OrthogonalOutput, Depletion, OrthogonalOutput],
            vec![ConditionalEnrichment, ProportionalChange, Enrichment],
        ])
    }

    fn selected(query: ClassQuery, layers: Option<Range<usize>>) -> Vec<String> {
        small()
            .select(query, layers)
            .unwrap()
            .iter()
            .map(|neuron| neuron.to_string())
            .collect()
    }

    #[test]
    fn a_class_and_a_union() {
        assert_eq!(selected(Enrichment.into(), None), ["0.0", "2.2"]);
        assert_eq!(
            selected(ClassQuery::AnyEnrichment, None),
            ["0.0", "0.2", "2.0", "2.2"]
        );
        assert_eq!(selected(ClassQuery::AnyDepletion, None), ["1.1"]);
        assert_eq!(selected(ClassQuery::AnyProportionalChange, None), ["2.1"]);
        assert_eq!(
            small().select(Enrichment.into(), None).unwrap().n_layers(),
            3
        );
    }

    #[test]
    fn a_range_of_layers() {
        assert_eq!(
            selected(ClassQuery::AnyEnrichment, Some(1..3)),
            ["2.0", "2.2"]
        );
        for range in [0..4, 2..2, 3..9] {
            let message = small()
                .select(Enrichment.into(), Some(range))
                .unwrap_err()
                .to_string();
            assert!(message.contains("3 layers"), "{message}");
        }
    }

    #[test]
    fn an_empty_class_is_an_error_that_says_what_there_is() {
        let message = small()
            .select(Enrichment.into(), Some(1..2))
            .unwrap_err()
            .to_string();
        for part in [
            "enrichment",
            "0.5",
            "fold pre",
            "layers 1..2",
            "2 orthogonal-output, 1 depletion",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(!message.contains("proportional"), "{message}");
    }
}
