//! Reading the Parquet tables of a recording. Rows are of a neuron each, named by the columns layer and neuron.

use std::ops::Range;
use std::path::PathBuf;

use arrow_array::types::{UInt16Type, UInt32Type};
use arrow_array::{PrimitiveArray, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::RowSelection;

use super::super::ReportError;
use super::super::table::{batches_of, column};
use super::damaged;
use crate::hooks::Neuron;

/// A table of a recording.
pub(super) struct Table {
    path: PathBuf,
}

/// What is read of a table.
enum Part {
    Everything,
    Columns([&'static str; 2]),
    Rows(RowSelection),
}

const LAYER: &str = "layer";
const NEURON: &str = "neuron";

impl Table {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Calls `each` with the rows, batch by batch. What it returns as an error is what is wrong with the file.
    pub fn read(
        &self,
        each: impl FnMut(&RecordBatch) -> Result<(), String>,
    ) -> Result<(), ReportError> {
        self.read_part(Part::Everything, each)
    }

    /// The same with the rows of one neuron alone. The others' places are skipped, not their contents read: contexts
    /// are most of a file.
    pub fn read_neuron(
        &self,
        neuron: Neuron,
        each: impl FnMut(&RecordBatch) -> Result<(), String>,
    ) -> Result<(), ReportError> {
        let (mut rows, mut end) = (Vec::new(), 0);
        self.read_part(Part::Columns([LAYER, NEURON]), |batch| {
            let neurons = Neurons::of(batch)?;
            let here = (0..batch.num_rows()).filter(|row| neurons.at(*row) == neuron);
            rows.extend(here.map(|row| end + row..end + row + 1));
            end += batch.num_rows();
            Ok(())
        })?;
        let rows = RowSelection::from_consecutive_ranges(rows.into_iter(), end);
        self.read_part(Part::Rows(rows), each)
    }

    fn read_part(
        &self,
        part: Part,
        mut each: impl FnMut(&RecordBatch) -> Result<(), String>,
    ) -> Result<(), ReportError> {
        let failed = |why: String| damaged(&self.path, why);
        let rows = batches_of(&self.path, |table| {
            Ok(match part {
                Part::Everything => table,
                Part::Columns(names) => {
                    let columns = ProjectionMask::columns(table.parquet_schema(), names);
                    table.with_projection(columns)
                }
                Part::Rows(rows) => table.with_row_selection(rows),
            })
        });
        for batch in rows.map_err(failed)? {
            each(&batch.map_err(failed)?).map_err(failed)?;
        }
        Ok(())
    }
}

/// Which neurons a table has had a row of.
pub(super) struct Coverage {
    /// By layer; empty for layers without any.
    seen: Vec<Vec<bool>>,
    d_mlp: usize,
}

impl Coverage {
    /// None yet, of a model of this shape.
    pub fn new(n_layers: usize, d_mlp: usize) -> Self {
        let seen = vec![Vec::new(); n_layers];
        Self { seen, d_mlp }
    }

    /// Takes a row; or why it cannot be one of this model's.
    pub fn add(&mut self, neuron: Neuron) -> Result<(), String> {
        let layer = self.seen.get_mut(neuron.layer);
        let layer = layer.filter(|_| neuron.index < self.d_mlp);
        let layer = layer.ok_or_else(|| format!("this model has no neuron {neuron}"))?;
        layer.resize(self.d_mlp, false);
        match std::mem::replace(&mut layer[neuron.index], true) {
            true => Err(format!("it has neuron {neuron} twice")),
            false => Ok(()),
        }
    }

    /// Refuses a table that lacks neurons of a recorded layer; where the layers are not known, of one that it has any
    /// of.
    pub fn check(&self, recorded: Option<&Range<usize>>) -> Result<(), String> {
        let is_recorded = |layer: usize| match recorded {
            Some(layers) => layers.contains(&layer),
            None => !self.seen[layer].is_empty(),
        };
        let mut layers = (0..self.seen.len()).filter(|layer| is_recorded(*layer));
        let lacks = |layer: &usize| {
            let seen = &self.seen[*layer];
            seen.is_empty() || seen.contains(&false)
        };
        match layers.find(lacks) {
            Some(layer) => Err(format!("it lacks neurons of layer {layer}")),
            None => Ok(()),
        }
    }
}

/// Which neurons some rows are of.
pub(super) struct Neurons<'a> {
    layer: &'a PrimitiveArray<UInt16Type>,
    neuron: &'a PrimitiveArray<UInt32Type>,
}

impl<'a> Neurons<'a> {
    pub fn of(batch: &'a RecordBatch) -> Result<Self, String> {
        Ok(Self {
            layer: column(batch, LAYER)?,
            neuron: column(batch, NEURON)?,
        })
    }

    pub fn at(&self, row: usize) -> Neuron {
        Neuron {
            layer: self.layer.value(row) as usize,
            index: self.neuron.value(row) as usize,
        }
    }
}
