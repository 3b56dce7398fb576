//! Parquet tables. One struct is a table: its fields are the columns, in their order, under the names that serde gives
//! them; `Option` fields may be null, and enums without data are text. Names and types are a contract with other
//! programs.

use std::fs::File;
use std::io::Write;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef, Schema};
use parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use rayon::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_arrow::ArrayBuilder;
use serde_arrow::schema::{SchemaLike, TracingOptions};

use super::ReportError;
use crate::guard::guarded;

/// Rows that are held in memory before they are written: a few MiB, and still large for readers.
const ROW_GROUP: usize = 1 << 18;

/// Rows that are encoded at once.
const CHUNK: usize = 1 << 13;

/// The columns of the table of `T`.
///
/// # Errors
/// [`ReportError::Encode`] for a type that is no row.
pub fn schema_of<T: DeserializeOwned>() -> Result<Schema, ReportError> {
    let options = TracingOptions::default()
        .strings_as_large_utf8(false)
        .enums_without_data_as_strings(true);
    let fields = Vec::<FieldRef>::from_type::<T>(options).map_err(|why| ReportError::Encode {
        name: std::any::type_name::<T>(),
        why: why.to_string(),
    })?;
    let fields = fields.iter().map(|field| match field.data_type() {
        DataType::Dictionary(_, text) => {
            Field::new(field.name(), text.as_ref().clone(), field.is_nullable())
        }
        other => Field::new(field.name(), other.clone(), field.is_nullable()),
    });
    Ok(Schema::new(fields.collect::<Vec<_>>()))
}

/// Writes the rows of one table as they come.
pub struct TableWriter<T, W: Write + Send = File> {
    name: &'static str,
    schema: Arc<Schema>,
    rows: ArrayBuilder,
    /// Rows that wait to be encoded.
    waiting: usize,
    is_empty: bool,
    writer: ArrowWriter<W>,
    of: PhantomData<fn(&T)>,
}

impl<T: Serialize + DeserializeOwned, W: Write + Send> TableWriter<T, W> {
    /// A table that goes to `to`. `name` is what errors call it.
    ///
    /// # Errors
    /// [`ReportError::Encode`] for a type that is no row, or where `to` does not take the first bytes.
    pub fn new(name: &'static str, to: W) -> Result<Self, ReportError> {
        let schema = Arc::new(schema_of::<T>()?);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .build();
        Ok(Self {
            rows: ArrayBuilder::from_arrow(schema.fields()).map_err(|why| failed(name, why))?,
            writer: ArrowWriter::try_new(to, schema.clone(), Some(properties))
                .map_err(|why| failed(name, why))?,
            name,
            schema,
            waiting: 0,
            is_empty: true,
            of: PhantomData,
        })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`ReportError::Encode`] for a row that cannot be written; the table is of no use then.
    pub fn push(&mut self, row: &T) -> Result<(), ReportError> {
        self.rows.push(row).map_err(|why| failed(self.name, why))?;
        self.waiting += 1;
        match self.waiting {
            CHUNK => self.flush(),
            _ => Ok(()),
        }
    }

    /// Adds rows.
    ///
    /// # Errors
    /// As [`TableWriter::push`].
    pub fn extend(&mut self, rows: impl IntoIterator<Item = T>) -> Result<(), ReportError> {
        rows.into_iter().try_for_each(|row| self.push(&row))
    }

    /// Adds many rows, made into columns side by side: beside the Parquet encoder that costs nothing then.
    ///
    /// # Errors
    /// As [`TableWriter::push`].
    pub fn write(&mut self, rows: &[T]) -> Result<(), ReportError>
    where
        T: Sync,
    {
        if self.waiting > 0 {
            self.flush()?;
        }
        let fields = self.schema.fields();
        let batches = rows.par_chunks(CHUNK);
        let batches = batches.map(|rows| serde_arrow::to_record_batch(fields, &rows));
        let batches: Vec<RecordBatch> = batches
            .collect::<Result<_, _>>()
            .map_err(|why| failed(self.name, why))?;
        batches.iter().try_for_each(|batch| self.write_batch(batch))
    }

    fn flush(&mut self) -> Result<(), ReportError> {
        let batch = self.rows.to_record_batch();
        let batch = batch.map_err(|why| failed(self.name, why))?;
        self.waiting = 0;
        self.write_batch(&batch)
    }

    fn write_batch(&mut self, batch: &RecordBatch) -> Result<(), ReportError> {
        self.is_empty &= batch.num_rows() == 0;
        let written = self.writer.write(batch);
        written.map_err(|why| failed(self.name, why))
    }

    /// Writes what is held back and the end of the file.
    ///
    /// # Errors
    /// [`ReportError::Encode`] for a table without rows, or what could not be written.
    pub fn close(self) -> Result<W, ReportError> {
        let name = self.name;
        self.close_if_any()?
            .ok_or_else(|| failed(name, "it has no rows"))
    }

    /// The same for a table that may have no rows, which gives no file.
    ///
    /// # Errors
    /// [`ReportError::Encode`] for what could not be written.
    pub fn close_if_any(mut self) -> Result<Option<W>, ReportError> {
        if self.waiting > 0 {
            self.flush()?;
        }
        if self.is_empty {
            return Ok(None);
        }
        let whole = self.writer.into_inner();
        whole.map(Some).map_err(|why| failed(self.name, why))
    }
}

impl<T: Serialize + DeserializeOwned> TableWriter<T> {
    /// The table `name` in a new file.
    ///
    /// # Errors
    /// A file that cannot be made, or a type that is no row.
    pub fn create(path: &Path, name: &'static str) -> Result<Self, ReportError> {
        let file = File::create(path).map_err(|why| ReportError::Write {
            path: path.to_path_buf(),
            why,
        })?;
        Self::new(name, file)
    }

    /// Takes over the rows of another file of this table.
    ///
    /// # Errors
    /// [`ReportError::Resume`] for a file that cannot be read; what could not be written.
    pub fn copy_from(&mut self, path: &Path) -> Result<(), ReportError> {
        let unreadable = |why: String| ReportError::Resume {
            path: path.to_owned(),
            why,
        };
        for batch in Batches::open(path, schema_of::<T>()?, |table| table).map_err(unreadable)? {
            self.write_batch(&batch.map_err(unreadable)?)?;
        }
        Ok(())
    }
}

/// Refuses rows of a unit, a prompt or a document, that is not among the `of` that are there.
pub(super) fn check_numbers(
    name: &'static str,
    mut units: impl Iterator<Item = usize>,
    of: usize,
) -> Result<(), ReportError> {
    match units.find(|unit| *unit >= of) {
        None => Ok(()),
        Some(unit) => Err(ReportError::Encode {
            name,
            why: format!("a row is of unit number {unit}, and there are {of}"),
        }),
    }
}

/// The bytes of a whole table.
///
/// # Errors
/// [`ReportError::Encode`] for a table without rows, or one that cannot be encoded.
pub fn table_bytes<T: Serialize + DeserializeOwned>(
    name: &'static str,
    rows: impl IntoIterator<Item = T>,
) -> Result<Vec<u8>, ReportError> {
    let mut table = TableWriter::new(name, Vec::new())?;
    table.extend(rows)?;
    table.close()
}

/// Writes a whole table to a new file.
///
/// # Errors
/// [`ReportError::Write`] for a file that cannot be made, [`ReportError::Encode`] for a table without rows, or one that
/// cannot be encoded.
pub fn write_table<T: Serialize + DeserializeOwned>(
    path: &Path,
    rows: impl IntoIterator<Item = T>,
) -> Result<(), ReportError> {
    let mut table = TableWriter::create(path, std::any::type_name::<T>())?;
    table.extend(rows)?;
    table.close().map(drop)
}

/// The rows of a file. Columns that `T` has no field for are not read.
///
/// # Errors
/// [`ReportError::Damaged`] for a file that cannot be read or lacks a column, with its name.
pub fn read_table<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, ReportError> {
    let damaged = |why: String| ReportError::Damaged {
        path: path.to_owned(),
        why,
    };
    let mut rows = Vec::new();
    for some in read_rows::<T>(path).map_err(damaged)? {
        rows.extend(some.map_err(damaged)?);
    }
    Ok(rows)
}

/// The rows of a file, some at a time; or why it cannot be read.
pub(super) fn read_rows<T: DeserializeOwned>(
    path: &Path,
) -> Result<impl Iterator<Item = Result<Vec<T>, String>>, String> {
    read_chosen(path, |table| table)
}

/// The same of those that `choose` sets.
pub(super) fn read_chosen<T: DeserializeOwned>(
    path: &Path,
    choose: impl FnOnce(Builder) -> Builder,
) -> Result<impl Iterator<Item = Result<Vec<T>, String>>, String> {
    let schema = schema_of::<T>().map_err(|why| why.to_string())?;
    let batches = Batches::open(path, schema, choose)?;
    Ok(batches.map(|batch| rows_of(&batch?)))
}

/// The rows of a file for which what `K` says of them is wanted. The others' places are skipped, not their contents read.
pub(super) fn read_where<K: DeserializeOwned, T: DeserializeOwned>(
    path: &Path,
    mut is_wanted: impl FnMut(K) -> bool,
) -> Result<Vec<T>, String> {
    let (mut wanted, mut end) = (Vec::new(), 0);
    for keys in read_rows::<K>(path)? {
        for key in keys? {
            wanted.extend(is_wanted(key).then_some(end..end + 1));
            end += 1;
        }
    }
    let wanted = RowSelection::from_consecutive_ranges(wanted.into_iter(), end);
    let rows = read_chosen(path, |file| file.with_row_selection(wanted))?;
    let rows: Vec<Vec<T>> = rows.collect::<Result<_, _>>()?;
    Ok(rows.into_iter().flatten().collect())
}

fn rows_of<T: DeserializeOwned>(batch: &RecordBatch) -> Result<Vec<T>, String> {
    serde_arrow::from_record_batch(batch).map_err(|why| why.to_string())
}

/// Calls what reads a file; a panic of the library below, on bytes that it did not expect, is an error of the file.
fn reading<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    guarded(read).unwrap_or_else(|why| Err(format!("it is damaged ({why})")))
}

/// All columns of a file; or why it cannot be read.
pub(super) fn read_batches(path: &Path) -> Result<Vec<RecordBatch>, String> {
    let file = File::open(path).map_err(|why| why.to_string())?;
    reading(|| {
        let reader = Builder::try_new(file).and_then(|file| file.build());
        let reader = reader.map_err(|why| why.to_string())?;
        reader
            .collect::<Result<_, _>>()
            .map_err(|why| why.to_string())
    })
}

pub(super) type Builder = ParquetRecordBatchReaderBuilder<File>;

/// The columns of a file that were asked for, batch by batch.
struct Batches {
    reader: ParquetRecordBatchReader,
    schema: Schema,
}

impl Batches {
    fn open(
        path: &Path,
        schema: Schema,
        choose: impl FnOnce(Builder) -> Builder,
    ) -> Result<Self, String> {
        let file = File::open(path).map_err(|why| why.to_string())?;
        let reader = reading(|| {
            let file = Builder::try_new(file).map_err(|why| why.to_string())?;
            for wanted in schema.fields() {
                check_column(wanted, file.schema())?;
            }
            let names = schema.fields().iter().map(|column| column.name().as_str());
            let wanted = ProjectionMask::columns(file.parquet_schema(), names);
            let file = choose(file.with_projection(wanted));
            file.build().map_err(|why| why.to_string())
        })?;
        Ok(Self { reader, schema })
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, String> {
        let batch = reading(|| {
            self.reader
                .next()
                .transpose()
                .map_err(|why| why.to_string())
        })?;
        if let Some(batch) = &batch {
            let required = self
                .schema
                .fields()
                .iter()
                .filter(|column| !column.is_nullable());
            for column in required {
                check_present(column.name(), batch)?;
            }
        }
        Ok(batch)
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

fn check_column(wanted: &Field, there: &Schema) -> Result<(), String> {
    let (name, kind) = (wanted.name(), wanted.data_type());
    match there.field_with_name(name) {
        Ok(found) if found.data_type() == kind => Ok(()),
        Ok(found) => {
            let found = found.data_type();
            Err(format!("its column {name} is of type {found}, not {kind}"))
        }
        Err(_) => Err(format!("it has no column {name} of type {kind}")),
    }
}

fn check_present(name: &str, batch: &RecordBatch) -> Result<(), String> {
    let column = batch.column_by_name(name);
    match column.map_or(0, |column| column.null_count()) {
        0 => Ok(()),
        n => Err(format!("{n} values of its column {name} are absent")),
    }
}

fn failed(name: &'static str, why: impl ToString) -> ReportError {
    ReportError::Encode {
        name,
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests;
