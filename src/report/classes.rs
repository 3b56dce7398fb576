//! `classes.json`: counts per layer, totals and medians.

use serde::Serialize;

use super::ReportError;
use crate::io_class::NeuronTable;

/// The bytes of `classes.json` (format: DESIGN of the files in the README).
pub fn classes_json(table: &NeuronTable) -> Result<Vec<u8>, ReportError> {
    #[derive(Serialize)]
    struct Classes<L, T> {
        threshold: f32,
        fold: String,
        per_layer: L,
        median_cos_in_out: Vec<f32>,
        totals: T,
    }
    let classes = Classes {
        threshold: table.threshold,
        fold: table.fold.to_string(),
        per_layer: table.counts_per_layer(),
        median_cos_in_out: table.median_in_out(),
        totals: table.totals(),
    };
    serde_json::to_vec_pretty(&classes).map_err(|error| ReportError::Encode {
        name: "classes.json",
        why: error.to_string(),
    })
}
