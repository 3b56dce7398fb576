//! A model beside the published table of the one that it was trained from.
//!
//! Nothing has to agree here, since training moves the weights. What is said is how alike the two go over the layers, and
//! where they are furthest apart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use statrs::statistics::Statistics;

use super::super::{Class, NeuronTable};
use super::comparison::{Difference, largest_by_class, largest_median};
use super::{ModelName, PublishedTables};
use crate::io_class::ClassError;

/// A model's table beside that of the published model that it descends from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Descent {
    /// The published model's Hugging Face id.
    pub model: String,
    /// What says so: an alias, an option, or a name.
    pub told_by: String,
    /// Where the published figures come from.
    pub source: String,
    /// The number of neurons of each class.
    pub classes: BTreeMap<Class, Course<usize>>,
    /// The median of cos(w_in, w_out).
    pub median_cos_in_out: Course<f32>,
}

/// How a figure goes over the layers of both models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Course_of_{T}"))]
pub struct Course<T> {
    /// Pearson's correlation over the layers; absent where the figure is the same in all layers of one of the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation: Option<f64>,
    /// The largest difference, in the first layer that has it.
    pub largest: Difference<T>,
}

impl PublishedTables {
    /// The id of the published model that is called `name`: the whole id or its last part, in any case. It must have
    /// this shape.
    ///
    /// # Errors
    /// [`ClassError::UnknownPublished`] with all ids; [`ClassError::OtherShape`] with both shapes.
    pub fn called(
        &self,
        name: &str,
        layers: usize,
        neurons_per_layer: usize,
    ) -> Result<&str, ClassError> {
        let names = |id: &str| [Some(id), id.rsplit('/').next()].map(|n| n.map(str::to_lowercase));
        let asked = Some(name.to_lowercase());
        let mut models = self.models.iter();
        let unknown = || ClassError::UnknownPublished {
            name: name.to_string(),
            known: self.models.keys().cloned().collect(),
        };
        let (id, table) = models
            .find(|(id, _)| names(id).contains(&asked))
            .ok_or_else(unknown)?;
        if table.shape() != (layers, neurons_per_layer) {
            return Err(ClassError::OtherShape {
                model: id.clone(),
                published: table.shape(),
                found: (layers, neurons_per_layer),
            });
        }
        Ok(id)
    }

    /// The published model whose words one of `names` holds, with others between them or around, and that name: the id,
    /// of this shape, of what a fine-tuned model says in its own name. `None` for the published model itself.
    pub fn parent<'a>(
        &'a self,
        names: &'a [ModelName],
        layers: usize,
        neurons_per_layer: usize,
    ) -> Option<(&'a str, &'a ModelName)> {
        if self.find(names, layers, neurons_per_layer).is_some() {
            return None;
        }
        let shape = (layers, neurons_per_layer);
        let mut pairs = names.iter().flat_map(|name| {
            let models = self
                .models
                .iter()
                .filter(|(_, table)| table.shape() == shape);
            models.map(move |(id, _)| (id.as_str(), name))
        });
        pairs.find(|(id, name)| name.holds(id))
    }

    /// Sets a model's table beside that of `model`; `None` where there is none, or one of another fold, threshold or
    /// number of layers.
    pub fn descent(&self, model: &str, told_by: &str, table: &NeuronTable) -> Option<Descent> {
        let published = self.models.get(model);
        let published = published.filter(|published| published.is_comparable(table))?;
        let counts = published.count_differences(&table.counts_per_layer());
        let medians = published.median_differences(&table.median_in_out());
        let course = |(class, largest)| {
            let of_class = counts.iter().filter(|(of, _)| *of == class);
            let pairs = of_class.map(|(_, d)| [d.published as f64, d.found as f64]);
            let correlation = correlation(&pairs.collect::<Vec<_>>());
            (
                class,
                Course {
                    correlation,
                    largest,
                },
            )
        };
        let pairs = medians
            .iter()
            .map(|d| [d.published, d.found].map(f64::from));
        Some(Descent {
            model: model.to_string(),
            told_by: told_by.to_string(),
            source: self.source.clone(),
            classes: largest_by_class(counts.clone())
                .into_iter()
                .map(course)
                .collect(),
            median_cos_in_out: Course {
                correlation: correlation(&pairs.collect::<Vec<_>>()),
                largest: largest_median(medians)?,
            },
        })
    }
}

/// Pearson's; `None` where one side does not vary.
fn correlation(pairs: &[[f64; 2]]) -> Option<f64> {
    let [a, b] = [0, 1].map(|side| pairs.iter().map(|pair| pair[side]).collect::<Vec<f64>>());
    let varies = |values: &[f64]| values.iter().any(|value| *value != values[0]);
    let is_there = varies(&a) && varies(&b);
    is_there.then(|| (&a).covariance(&b) / ((&a).std_dev() * (&b).std_dev()))
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::row;
    use super::super::{PublishedTable, PublishedTables};
    use super::*;
    use crate::io_class::Fold;
    use Class::{ConditionalEnrichment as Ce, Depletion as D, OrthogonalOutput as Oo};

    fn tables() -> PublishedTables {
        let counts = |ce, oo| [0, 0, ce, 0, 0, 0, oo, 0, 0, 0, 0];
        let table = PublishedTable {
            layers: 3,
            neurons_per_layer: 3,
            class_counts_per_layer: vec![counts(1, 2), counts(2, 1), counts(3, 0)],
            median_cos_in_out_per_layer: vec![0.0, 0.2, 0.7],
        };
        let models = BTreeMap::from([("org/Base-3B-hf".to_string(), table)]);
        PublishedTables {
            source: "a paper".to_string(),
            models,
        }
    }

    #[test]
    fn correlations_and_largest_differences_by_hand() {
        let layers = [
            [(Ce, 0.6), (Ce, 0.7), (Oo, 0.0)],
            [(Oo, 0.1), (Oo, 0.1), (Oo, 0.1)],
            [(Ce, 0.6), (Ce, 0.6), (Ce, 0.6)],
        ];
        let rows = |layer: [(Class, f32); 3]| layer.map(|(c, in_out)| row(c, in_out, 1.0)).to_vec();
        let mut table = NeuronTable {
            fold: Fold::Pre,
            threshold: 0.5,
            layers: layers.map(rows).to_vec(),
        };
        let tables = tables();
        let descent = tables.descent("org/Base-3B-hf", "alias", &table).unwrap();
        let ce = &descent.classes[&Ce];
        // numpy.corrcoef([1, 2, 3], [2, 0, 3]), published and here
        assert!((ce.correlation.unwrap() - 0.32732683535398857).abs() < 1e-12);
        let largest = ce.largest;
        assert_eq!((largest.layer, largest.published, largest.found), (1, 2, 0));
        assert_eq!(descent.classes[&D].correlation, None, "none anywhere");
        let median = &descent.median_cos_in_out;
        // numpy.corrcoef([0, .2, .7], [.6, .1, .6])
        assert!((median.correlation.unwrap() - 0.2401922307076306).abs() < 1e-6);
        assert_eq!((median.largest.layer, median.largest.found), (0, 0.6));
        let json = serde_json::to_value(&descent).unwrap();
        assert_eq!(json["told_by"], "alias");
        assert!(json["classes"]["depletion"].get("correlation").is_none());
        table.fold = Fold::None;
        assert!(tables.descent("org/Base-3B-hf", "alias", &table).is_none());
        assert!(tables.descent("org/other", "alias", &table).is_none());
    }

    #[test]
    fn a_short_name_or_an_id_finds_its_table_and_another_shape_is_refused() {
        let tables = PublishedTables::bundled().unwrap();
        for name in ["qwen2.5-0.5b", "Qwen2.5-0.5B", "qwen/qwen2.5-0.5b"] {
            assert_eq!(tables.called(name, 24, 4864).unwrap(), "Qwen/Qwen2.5-0.5B");
        }
        let text = tables.called("qwen2.5", 24, 4864).unwrap_err().to_string();
        assert!(
            text.contains("`qwen2.5`") && text.contains("01-ai/Yi-6B"),
            "{text}"
        );
        let text = tables.called("yi-6b", 24, 4864).unwrap_err().to_string();
        assert!(
            text.contains("32 layers of 11008") && text.contains("24 layers of 4864"),
            "{text}"
        );
    }

    #[test]
    fn a_name_that_holds_a_published_ones_words_descends_if_the_shape_is_the_same() {
        let tables = PublishedTables::bundled().unwrap();
        let parent = |name: &str, shape: (usize, usize)| {
            let names = [
                ModelName::File("model".to_string()),
                ModelName::File(name.to_string()),
            ];
            let found = tables.parent(&names, shape.0, shape.1);
            found.map(|(id, _)| id.to_string())
        };
        for (name, id) in [
            ("Qwen2.5-Coder-0.5B-Instruct", "Qwen/Qwen2.5-0.5B"),
            ("Llama-3.2-3B-Instruct-Q4_K_M", "meta-llama/Llama-3.2-3B"),
            ("gemma-2-2b-it", "google/gemma-2-2b"),
            ("Mistral-7B-Instruct-v0.1", "mistralai/Mistral-7B-v0.1"),
            ("my-OLMo-1B-hf", "allenai/OLMo-1B-hf"),
            ("Yi-6B-200K", "01-ai/Yi-6B"),
        ] {
            let (layers, d_mlp) = tables.models[id].shape();
            assert_eq!(parent(name, (layers, d_mlp)).as_deref(), Some(id), "{name}");
            assert_eq!(parent(name, (layers, d_mlp + 1)), None, "{name}");
        }
        let llama = tables.models["meta-llama/Llama-3.2-3B"].shape();
        for name in [
            "Llama-3.2-3B",
            "Llama-3.2-1B-Instruct",
            "3B-Llama-3.2",
            "Llama-3B",
            "",
        ] {
            assert_eq!(parent(name, llama), None, "{name}");
        }
        let hub = [ModelName::HubId(
            "someone/llama-3.2-3b-chat@main".to_string(),
        )];
        let found = tables.parent(&hub, llama.0, llama.1);
        assert_eq!(found.unwrap().0, "meta-llama/Llama-3.2-3B");
    }
}
