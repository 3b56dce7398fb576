//! Tables of the Hugging Face hub: Parquet files with the columns of one of the formats.

use std::fs::File;
use std::path::Path;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::super::error::Place;
use super::Placed;

/// How a Parquet file begins.
const MAGIC: &[u8] = b"PAR1";

/// Whether these are the bytes of such a file.
pub fn is_parquet(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Its rows, each an object by the names of its columns.
///
/// # Errors
/// In words: a damaged file, or types that have no place in a record.
pub fn rows(path: &Path) -> Result<Vec<Placed>, String> {
    let file = File::open(path).map_err(|why| why.to_string())?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file);
    let reader = reader
        .and_then(|builder| builder.build())
        .map_err(|why| why.to_string())?;
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|why| why.to_string())?;
        let objects: Vec<Value> =
            serde_arrow::from_record_batch(&batch).map_err(|why| why.to_string())?;
        rows.extend(objects);
    }
    let rows = rows.into_iter().enumerate();
    Ok(rows
        .map(|(row, object)| (Place::Item(row), Ok(object)))
        .collect())
}
