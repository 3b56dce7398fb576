//! The published class tables of twelve models, and which of them is a model's, or that of the model that it descends from.
//!
//! The figures (`published.json`, with their source) are class counts per layer at threshold 0.5 with the gain of
//! the norm before the MLP folded in, and medians of cos(w_in, w_out) that were read from plots.

mod comparison;
mod descent;
mod model_name;

pub use comparison::{
    COUNT_TOLERANCE, Comparison, Difference, MEDIAN_TOLERANCE, PUBLISHED_THRESHOLD, Verdict,
};
pub use descent::{Course, Descent};
pub use model_name::ModelName;

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Class, ClassError};

/// The tables of all published models.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PublishedTables {
    /// Where the figures come from.
    pub source: String,
    /// By Hugging Face id.
    pub models: BTreeMap<String, PublishedTable>,
}

/// The figures of one model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PublishedTable {
    /// Number of layers.
    pub layers: usize,
    /// d_mlp.
    pub neurons_per_layer: usize,
    /// Neurons by layer and class, classes in the order of [`Class::ALL`].
    pub class_counts_per_layer: Vec<[usize; Class::ALL.len()]>,
    /// Median of cos(w_in, w_out) by layer, to about 1e-3.
    pub median_cos_in_out_per_layer: Vec<f32>,
}

impl PublishedTable {
    fn shape(&self) -> (usize, usize) {
        (self.layers, self.neurons_per_layer)
    }
}

impl PublishedTables {
    /// The figures that gatelens comes with.
    ///
    /// # Errors
    /// [`ClassError::Published`] when they cannot be read, which a test excludes.
    pub fn bundled() -> Result<Self, ClassError> {
        serde_json::from_str(include_str!("published.json"))
            .map_err(|why| ClassError::Published { why })
    }

    /// Whether any model of this shape has a table.
    pub fn has_shape(&self, layers: usize, neurons_per_layer: usize) -> bool {
        let shape = (layers, neurons_per_layer);
        self.models.values().any(|table| table.shape() == shape)
    }

    /// The table of the model that goes by one of `names`, the first that fits; its shape must be the same too.
    pub fn find<'a>(
        &'a self,
        names: &'a [ModelName],
        layers: usize,
        neurons_per_layer: usize,
    ) -> Option<Published<'a>> {
        let shape = (layers, neurons_per_layer);
        let models = || {
            let models = self.models.iter();
            models.filter(|(_, table)| table.shape() == shape)
        };
        let meant = |name: &'a ModelName| models().find(|(id, _)| name.means(id));
        let (name, (model, table)) = names.iter().find_map(|name| Some((name, meant(name)?)))?;
        Some(Published {
            model,
            name,
            source: &self.source,
            table,
        })
    }
}

/// The table of a model, found by one of its names.
#[derive(Copy, Clone, Debug)]
pub struct Published<'a> {
    /// The published model's Hugging Face id.
    pub model: &'a str,
    /// The name that it was found by.
    pub name: &'a ModelName,
    /// Where the figures come from.
    pub source: &'a str,
    /// The figures.
    pub table: &'a PublishedTable,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> PublishedTables {
        PublishedTables::bundled().unwrap()
    }

    #[test]
    fn the_figures_are_whole_and_fit_each_other() {
        let raw: serde_json::Value = serde_json::from_str(include_str!("published.json")).unwrap();
        let order = Class::ALL.map(|class| class.as_str());
        assert_eq!(raw["class_order"], serde_json::json!(order));
        let tables = tables();
        assert!(tables.source.contains("arXiv 2505.17936"));
        assert_eq!(tables.models.len(), 12);
        for (id, table) in &tables.models {
            assert_eq!(table.class_counts_per_layer.len(), table.layers, "{id}");
            assert_eq!(
                table.median_cos_in_out_per_layer.len(),
                table.layers,
                "{id}"
            );
            let medians = &table.median_cos_in_out_per_layer;
            for (l, (counts, median)) in
                table.class_counts_per_layer.iter().zip(medians).enumerate()
            {
                assert_eq!(
                    counts.iter().sum::<usize>(),
                    table.neurons_per_layer,
                    "{id} {l}"
                );
                // The first four classes are those with cos(w_in, w_out) > 0.5, the last four those below -0.5.
                let half = table.neurons_per_layer / 2;
                assert_eq!(
                    counts[..4].iter().sum::<usize>() > half,
                    *median > 0.5,
                    "{id} {l}"
                );
                assert_eq!(
                    counts[7..].iter().sum::<usize>() > half,
                    *median < -0.5,
                    "{id} {l}"
                );
            }
        }
    }

    #[test]
    fn the_shape_must_agree_and_the_first_name_that_fits_counts() {
        let tables = tables();
        let name = |name: &str| ModelName::Folder(name.to_string());
        let names = [name("mine"), name("OLMo-1B"), name("Llama-3.2-1B")];
        let published = tables.find(&names, 16, 8192).unwrap();
        assert_eq!(
            (published.model, published.name),
            ("allenai/OLMo-1B-hf", &names[1])
        );
        assert!(tables.find(&names, 16, 8191).is_none());
        assert!(tables.find(&names, 17, 8192).is_none());
        assert!(tables.has_shape(16, 8192) && !tables.has_shape(30, 1536));
    }
}
