//! `classes.json`: counts per layer, totals and medians, chance levels, and what the published table says.

use serde::{Deserialize, Serialize};

use super::ReportError;
use crate::io_class::{ChanceLevels, ClassCounts, Comparison, Descent, NeuronTable};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Classes {
    pub threshold: f32,
    #[serde(default)]
    fold: String,
    pub per_layer: Vec<ClassCounts>,
    pub median_cos_in_out: Vec<f32>,
    pub totals: ClassCounts,
    #[serde(skip_deserializing)]
    chance: Option<ChanceLevels>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<Comparison>,
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
