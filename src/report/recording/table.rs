//! Reading the Parquet tables of a recording. Rows are of a neuron each, named by the columns layer and neuron.

use std::fs::File;
use std::path::PathBuf;

use arrow_array::types::{UInt16Type, UInt32Type};
use arrow_array::{PrimitiveArray, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection};

use super::super::ReportError;
use super::super::table::column;
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
        let file = File::open(&self.path).map_err(|why| failed(why.to_string()))?;
        let table = ParquetRecordBatchReaderBuilder::try_new(file);
        let mut table = table.map_err(|why| failed(why.to_string()))?;
        table = match part {
            Part::Everything => table,
            Part::Columns(names) => {
                let columns = ProjectionMask::columns(table.parquet_schema(), names);
                table.with_projection(columns)
            }
            Part::Rows(rows) => table.with_row_selection(rows),
        };
        for batch in table.build().map_err(|why| failed(why.to_string()))? {
            let batch = batch.map_err(|why| failed(why.to_string()))?;
            each(&batch).map_err(failed)?;
        }
        Ok(())
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
