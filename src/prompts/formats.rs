//! Data sets of facts as they are published -> records of this program's own shape, a file each. What comes out is checked like
//! any other record.

mod lre;
mod parquet;
mod popqa;
mod tracing;
mod trex;

use serde_json::Value;

use super::error::Place;
use super::records::records;

pub(super) use parquet::{is_parquet, rows};

/// A record with its place; what is not one is an `Err` in its place.
pub(super) type Placed = (Place, Result<Value, String>);

/// The records of a text in the program's own shapes, whatever the format.
pub(super) fn own_records(text: &str) -> Vec<Placed> {
    if let Some(samples) = lre::samples(text) {
        return samples;
    }
    if let Some(questions) = popqa::questions(text) {
        return questions;
    }
    records(text).into_iter().map(own).collect()
}

/// A record of a table of the hub, or of a line.
pub(super) fn own((place, record): Placed) -> Placed {
    let own = record.and_then(|record| {
        let converted = tracing::convert(&record, place)
            .or_else(|| trex::convert(&record, place))
            .or_else(|| popqa::convert(&record));
        converted.unwrap_or(Ok(record))
    });
    (place, own)
}

/// A field that must be a text, and is not empty.
fn text<'v>(record: &'v Value, field: &str) -> Result<&'v str, String> {
    super::record::text_field(record, field)
}

#[cfg(test)]
mod tests;
