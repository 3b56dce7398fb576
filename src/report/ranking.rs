//! `ranking.parquet`: a row per neuron of a ranked set.

use arrow_array::{Float64Array, Int32Array, UInt16Array, UInt32Array};

use super::ReportError;
use super::table::{Column, TableWriter, values};
use crate::experiment::rank::{Exact, RankedNeuron};

const NAME: &str = "ranking.parquet";

/// The bytes of `ranking.parquet`, in the order of the estimates. What exact ablation gave is null for neurons that were
/// not ablated alone.
pub fn ranking_parquet(neurons: &[RankedNeuron]) -> Result<Vec<u8>, ReportError> {
    let exact = || neurons.iter().map(|ranked| ranked.exact);
    let floats = |value: fn(Exact) -> Option<f64>| {
        values::<Float64Array, _>(exact().map(|exact| exact.and_then(value)))
    };
    let rank = exact().map(|exact| exact.map(|exact| exact.rank as u32));
    let lost = exact().map(|exact| exact.map(|exact| exact.cost.facts_lost as i32));
    let columns = vec![
        Column::required(
            "layer",
            values::<UInt16Array, _>(neurons.iter().map(|n| Some(n.neuron.layer as u16))),
        ),
        Column::required(
            "neuron",
            values::<UInt32Array, _>(neurons.iter().map(|n| Some(n.neuron.index as u32))),
        ),
        Column::required(
            "estimate",
            values::<Float64Array, _>(neurons.iter().map(|n| Some(n.estimate))),
        ),
        Column::required(
            "estimate_rank",
            values::<UInt32Array, _>(neurons.iter().map(|n| Some(n.estimate_rank as u32))),
        ),
        Column::optional("exact", floats(|exact| Some(exact.cost.effect))),
        Column::optional(
            "exact_low",
            floats(|exact| exact.cost.interval.map(|i| i.low)),
        ),
        Column::optional(
            "exact_high",
            floats(|exact| exact.cost.interval.map(|i| i.high)),
        ),
        Column::optional("exact_rank", values::<UInt32Array, _>(rank)),
        Column::optional("facts_lost", values::<Int32Array, _>(lost)),
    ];
    let mut table = TableWriter::new(NAME, Vec::new());
    table.write(columns)?;
    table.close()
}
