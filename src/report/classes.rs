//! `classes.json`: counts per layer, totals and medians, chance levels, and what the published table says.

use serde::{Deserialize, Serialize};

use super::ReportError;
use crate::io_class::{ChanceLevels, ClassCounts, Comparison, Descent, NeuronTable};

/// The contents of `classes.json`: the input-output classes of a model's neurons.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Classes {
    /// The threshold on the cosines, between 0 and 1.
    pub threshold: f32,
    /// Which norms were folded into the weights for the cosines.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "crate::io_class::Fold"))]
    fold: String,
    /// Layer by layer, the number of neurons of each of the eleven classes.
    pub per_layer: Vec<ClassCounts>,
    /// Layer by layer, the median over its neurons of the cosine of w_in and w_out.
    pub median_cos_in_out: Vec<f32>,
    /// The number of neurons of each class in the whole model.
    pub totals: ClassCounts,
    /// Where cosines lie by chance, and how many neurons lie beyond.
    #[serde(skip_deserializing)]
    #[cfg_attr(test, schemars(with = "ChanceLevels"))]
    chance: Option<ChanceLevels>,
    /// How it compares with the published table; absent where there is none for this model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<Comparison>,
    /// How it goes beside the table of the published model that it descends from; absent where none is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descends_from: Option<Descent>,
}

/// The bytes of `classes.json` (format: docs/files.md).
pub fn classes_json(
    table: &NeuronTable,
    chance: &ChanceLevels,
    published: Option<&Comparison>,
    descends_from: Option<&Descent>,
) -> Result<Vec<u8>, ReportError> {
    let classes = Classes {
        threshold: table.threshold,
        fold: table.fold.to_string(),
        per_layer: table.counts_per_layer(),
        median_cos_in_out: table.median_in_out(),
        totals: table.totals(),
        chance: Some(chance.clone()),
        published: published.cloned(),
        descends_from: descends_from.cloned(),
    };
    serde_json::to_vec_pretty(&classes).map_err(|error| ReportError::Encode {
        name: "classes.json",
        why: error.to_string(),
    })
}
