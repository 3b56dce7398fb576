//! The rows of a run's tables, as far as a page shows them.

use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int32Type, UInt16Type, UInt32Type,
};
use arrow_array::{Array, PrimitiveArray, RecordBatch};

use super::classes::NeuronCosines;
use super::losses::PromptRow;
use crate::experiment::Arm;
use crate::experiment::rank::{Cost, Exact, RankedNeuron};
use crate::hooks::Neuron;
use crate::io_class::ClassError;
use crate::report::table::{column, nullable_column, text_column};
use crate::stats::Interval;

pub fn cosines(batch: &RecordBatch, rows: &mut Vec<NeuronCosines>) -> Result<(), String> {
    let layer = column::<UInt16Type>(batch, "layer")?;
    let gate_out = column::<Float32Type>(batch, "cos_gate_out")?;
    let in_out = column::<Float32Type>(batch, "cos_in_out")?;
    let class = text_column(batch, "class")?;
    for row in 0..batch.num_rows() {
        rows.push(NeuronCosines {
            layer: layer.value(row).into(),
            gate_out: gate_out.value(row),
            in_out: in_out.value(row),
            class: class
                .value(row)
                .parse()
                .map_err(|why: ClassError| why.to_string())?,
        });
    }
    Ok(())
}

pub fn prompts(batch: &RecordBatch, rows: &mut Vec<PromptRow>) -> Result<(), String> {
    let names = ["prompt_id", "class", "arm", "top_token"].map(|name| text_column(batch, name));
    let [prompt, class, arm, top] = names;
    let (prompt, class, arm, top) = (prompt?, class?, arm?, top?);
    let logprob = column::<Float64Type>(batch, "target_logprob")?;
    for row in 0..batch.num_rows() {
        let arms = [Arm::Clean, Arm::Class, Arm::Baseline].into_iter();
        let named = arms.clone().find(|named| named.as_str() == arm.value(row));
        rows.push(PromptRow {
            prompt: prompt.value(row).to_string(),
            class: class.value(row).to_string(),
            arm: named.ok_or_else(|| format!("no arm is called {}", arm.value(row)))?,
            target_logprob: logprob.value(row),
            top_token: top.value(row).to_string(),
        });
    }
    Ok(())
}

pub fn ranked(batch: &RecordBatch, rows: &mut Vec<RankedNeuron>) -> Result<(), String> {
    let layer = column::<UInt16Type>(batch, "layer")?;
    let neuron = column::<UInt32Type>(batch, "neuron")?;
    let estimate = column::<Float64Type>(batch, "estimate")?;
    let estimate_rank = column::<UInt32Type>(batch, "estimate_rank")?;
    let [exact, low, high] = ["exact", "exact_low", "exact_high"]
        .map(|name| nullable_column::<Float64Type>(batch, name));
    let (exact, low, high) = (exact?, low?, high?);
    let exact_rank = nullable_column::<UInt32Type>(batch, "exact_rank")?;
    let facts_lost = nullable_column::<Int32Type>(batch, "facts_lost")?;
    for row in 0..batch.num_rows() {
        let lacks = || format!("row {row} lacks a rank, an interval or the facts lost");
        let interval = match (value(low, row), value(high, row)) {
            (Some(low), Some(high)) => Some(Interval { low, high }),
            (None, None) => None,
            _ => return Err(lacks()),
        };
        let alone = |effect| {
            let facts_lost = usize::try_from(value(facts_lost, row)?).ok()?;
            let cost = Cost {
                effect,
                interval,
                facts_lost,
            };
            Some(Exact {
                cost,
                rank: value(exact_rank, row)? as usize,
            })
        };
        let exact = value(exact, row).map(|effect| alone(effect).ok_or_else(lacks));
        rows.push(RankedNeuron {
            neuron: Neuron {
                layer: layer.value(row).into(),
                index: neuron.value(row) as usize,
            },
            estimate: estimate.value(row),
            estimate_rank: estimate_rank.value(row) as usize,
            exact: exact.transpose()?,
        });
    }
    Ok(())
}

fn value<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    column.is_valid(row).then(|| column.value(row))
}
