//! A Parquet table that is written batch by batch.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::ReportError;
use crate::guard::guarded;

/// Rows that are held in memory before they are written: a few MiB, and still large for readers.
const ROW_GROUP: usize = 1 << 18;

/// A column of a batch.
pub(super) struct Column {
    name: &'static str,
    values: ArrayRef,
    may_be_null: bool,
}

impl Column {
    /// A column without absent values.
    pub fn required(name: &'static str, values: ArrayRef) -> Self {
        Self {
            name,
            values,
            may_be_null: false,
        }
    }

    /// A column in which values may be absent, in this batch or another.
    pub fn optional(name: &'static str, values: ArrayRef) -> Self {
        Self {
            may_be_null: true,
            ..Self::required(name, values)
        }
    }
}

/// Values of any array that is made from an iterator.
pub(super) fn values<A, T>(values: impl IntoIterator<Item = T>) -> ArrayRef
where
    A: arrow_array::Array + FromIterator<T> + 'static,
{
    Arc::new(values.into_iter().collect::<A>())
}

/// Text values.
pub(super) fn strings<S: AsRef<str>>(values: impl Iterator<Item = S>) -> ArrayRef {
    let mut builder = StringBuilder::new();
    values.for_each(|value| builder.append_value(value));
    Arc::new(builder.finish())
}

/// The rows of a Parquet file, batch by batch; or why it cannot be read.
pub(super) fn batches(path: &Path) -> Result<Batches, String> {
    batches_of(path, Ok)
}

/// The same of a part that `choose` sets.
pub(super) fn batches_of(
    path: &Path,
    choose: impl FnOnce(Builder) -> Result<Builder, String>,
) -> Result<Batches, String> {
    let file = File::open(path).map_err(|why| why.to_string())?;
    let reader = reading(|| {
        let builder = Builder::try_new(file).map_err(|why| why.to_string())?;
        choose(builder)?.build().map_err(|why| why.to_string())
    });
    Ok(Batches(reader?))
}

pub(super) type Builder = ParquetRecordBatchReaderBuilder<File>;

/// See [`batches`].
pub(super) struct Batches(ParquetRecordBatchReader);

impl Iterator for Batches {
    type Item = Result<RecordBatch, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = reading(|| self.0.next().transpose().map_err(|why| why.to_string()));
        batch.transpose()
    }
}

/// Calls what reads a file; a panic of the library below, on bytes that it did not expect, is an error of the file.
fn reading<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    guarded(read).unwrap_or_else(|why| Err(format!("it is damaged ({why})")))
}

/// A column of numbers of a batch that was read; or why it is not one, or that a value is absent.
pub(super) fn column<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a PrimitiveArray<T>, String> {
    whole(nullable_column(batch, name)?, name)
}

/// The same where values may be absent.
pub(super) fn nullable_column<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a PrimitiveArray<T>, String> {
    let found = batch.column_by_name(name);
    let found = found.and_then(|column| column.as_primitive_opt::<T>());
    found.ok_or_else(|| format!("it has no column {name} of type {}", T::DATA_TYPE))
}

/// A column of text of a batch that was read; or why it is not one, or that a value is absent.
pub(super) fn text_column<'a>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a StringArray, String> {
    let found = batch.column_by_name(name);
    let found = found.and_then(|column| column.as_string_opt::<i32>());
    whole(
        found.ok_or_else(|| format!("it has no column {name} of type Utf8"))?,
        name,
    )
}

fn whole<'a, A: Array>(column: &'a A, name: &str) -> Result<&'a A, String> {
    match column.null_count() {
        0 => Ok(column),
        n => Err(format!("{n} values of its column {name} are absent")),
    }
}

/// Writes batches of one table. The columns of the first are those of all.
pub(super) struct TableWriter<W: Write + Send> {
    name: &'static str,
    state: State<W>,
}

enum State<W: Write + Send> {
    /// Nothing is written yet.
    New(W),
    Open(Box<ArrowWriter<W>>),
    /// An error left it unusable.
    Lost,
}

impl<W: Write + Send> TableWriter<W> {
    /// A table that goes to `to`.
    pub fn new(name: &'static str, to: W) -> Self {
        Self {
            name,
            state: State::New(to),
        }
    }

    /// Adds rows.
    pub fn write(&mut self, columns: Vec<Column>) -> Result<(), ReportError> {
        let columns = columns.into_iter();
        let columns = columns.map(|column| (column.name, column.values, column.may_be_null));
        let batch = RecordBatch::try_from_iter_with_nullable(columns);
        self.write_batch(&batch.map_err(|error| self.failed(error))?)
    }

    fn write_batch(&mut self, batch: &RecordBatch) -> Result<(), ReportError> {
        let mut writer = match std::mem::replace(&mut self.state, State::Lost) {
            State::Open(writer) => writer,
            State::New(to) => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .set_max_row_group_row_count(Some(ROW_GROUP));
                let writer = ArrowWriter::try_new(to, batch.schema(), Some(properties.build()));
                Box::new(writer.map_err(|error| self.failed(error))?)
            }
            State::Lost => return Err(self.failed("an earlier part was not written")),
        };
        writer.write(batch).map_err(|error| self.failed(error))?;
        self.state = State::Open(writer);
        Ok(())
    }

    /// Writes what is held back and the end of the file; a table without rows is an error.
    pub fn close(self) -> Result<W, ReportError> {
        let name = self.name;
        let failed = |why: String| ReportError::Encode { name, why };
        match self.state {
            State::Open(writer) => writer.into_inner().map_err(|e| failed(e.to_string())),
            _ => Err(failed("it has no rows".to_string())),
        }
    }

    /// The same for a table that may have no rows, which gives no file.
    pub fn close_if_any(self) -> Result<Option<W>, ReportError> {
        match self.state {
            State::New(_) => Ok(None),
            _ => self.close().map(Some),
        }
    }

    fn failed(&self, why: impl ToString) -> ReportError {
        ReportError::Encode {
            name: self.name,
            why: why.to_string(),
        }
    }
}

impl TableWriter<File> {
    /// The table `name` in a new file of `folder`.
    pub fn create(folder: &Path, name: &'static str, file: &str) -> Result<Self, ReportError> {
        let path = folder.join(file);
        let file = File::create(&path).map_err(|why| ReportError::Write { path, why })?;
        Ok(Self::new(name, file))
    }

    /// Takes over the rows of another file of this table.
    pub fn copy_from(&mut self, path: &Path) -> Result<(), ReportError> {
        let unreadable = |why: String| ReportError::Resume {
            path: path.to_owned(),
            why,
        };
        for batch in batches(path).map_err(&unreadable)? {
            self.write_batch(&batch.map_err(&unreadable)?)?;
        }
        Ok(())
    }
}
