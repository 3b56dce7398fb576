//! Columns of a Parquet file, read batch by batch.

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrowPrimitiveType, PrimitiveArray, RecordBatch, StringArray};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::guard::guarded;

/// The rows of a Parquet file, batch by batch; or why it cannot be read.
pub(super) fn batches(path: &Path) -> Result<Batches, String> {
    let file = File::open(path).map_err(|why| why.to_string())?;
    let reader = reading(|| {
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(file).map_err(|why| why.to_string())?;
        builder.build().map_err(|why| why.to_string())
    });
    Ok(Batches(reader?))
}

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
pub(super) fn reading<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
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
