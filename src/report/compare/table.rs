//! Parquet tables, column by column.

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch, RecordBatchReader};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::Differences;
use crate::guard::guarded;

/// Compares two tables, some rows of both at a time.
pub fn compare(recorded: &Path, again: &Path) -> Result<Differences, String> {
    let (mut one, mut other) = (Rows::open(recorded)?, Rows::open(again)?);
    let mut found = Differences::default();
    let columns = shared_columns(&one, &other, &mut found);
    let mut first_row = 0;
    loop {
        let rows = one.waiting()?.min(other.waiting()?);
        if rows == 0 {
            break;
        }
        let (some, others) = (one.take(rows), other.take(rows));
        for (name, at, at_other) in &columns {
            let pair = (some.column(*at).as_ref(), others.column(*at_other).as_ref());
            compare_column(name, first_row, pair, &mut found);
        }
        first_row += rows;
    }
    let (more, more_again) = (one.rest()?, other.rest()?);
    if more + more_again > 0 {
        found.lack(format!(
            "the recorded run has {} rows, and the rerun {}",
            first_row + more,
            first_row + more_again
        ));
    }
    Ok(found)
}

/// The columns that both have with the same type: name, and number in both.
fn shared_columns(
    one: &Rows<'_>,
    other: &Rows<'_>,
    found: &mut Differences,
) -> Vec<(String, usize, usize)> {
    let (schema, again) = (one.reader.schema(), other.reader.schema());
    let mut shared = Vec::new();
    for (at, column) in schema.fields().iter().enumerate() {
        let name = column.name();
        match again.index_of(name) {
            Err(_) => found.lack(format!("the rerun lacks the column {name}")),
            Ok(at_other) if again.field(at_other).data_type() == column.data_type() => {
                shared.push((name.clone(), at, at_other));
            }
            Ok(at_other) => found.lack(format!(
                "the column {name} is {} in the recorded run, and {} in the rerun",
                column.data_type(),
                again.field(at_other).data_type()
            )),
        }
    }
    for column in again.fields() {
        if schema.index_of(column.name()).is_err() {
            found.lack(format!(
                "the recorded run lacks the column {}",
                column.name()
            ));
        }
    }
    shared
}

fn compare_column(
    name: &str,
    first_row: usize,
    (one, other): (&dyn Array, &dyn Array),
    found: &mut Differences,
) {
    // Bits are compared here, not numbers.
    if one.to_data() == other.to_data() {
        return;
    }
    for row in 0..one.len() {
        if one.slice(row, 1).to_data() == other.slice(row, 1).to_data() {
            continue;
        }
        let numbers = number(one, row).zip(number(other, row));
        found.value(numbers, || {
            let place = format!("column {name}, row {}", first_row + row);
            [place, shown(one, row), shown(other, row)]
        });
    }
}

/// A table that is read in order.
struct Rows<'a> {
    path: &'a Path,
    reader: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
}

impl<'a> Rows<'a> {
    fn open(path: &'a Path) -> Result<Self, String> {
        let reader = reading(path, || {
            let file = File::open(path).map_err(|why| why.to_string())?;
            let file = ParquetRecordBatchReaderBuilder::try_new(file);
            let reader = file.and_then(|file| file.build());
            reader.map_err(|why| why.to_string())
        })?;
        Ok(Self {
            path,
            reader,
            batch: None,
        })
    }

    /// How many rows are read and not taken; none at the end of the table.
    fn waiting(&mut self) -> Result<usize, String> {
        while self
            .batch
            .as_ref()
            .is_none_or(|batch| batch.num_rows() == 0)
        {
            let next = reading(self.path, || {
                let next = self.reader.next().transpose();
                next.map_err(|why| why.to_string())
            })?;
            match next {
                Some(batch) => self.batch = Some(batch),
                None => return Ok(0),
            }
        }
        Ok(self.batch.as_ref().map_or(0, RecordBatch::num_rows))
    }

    /// The next `rows`, of those that wait.
    fn take(&mut self, rows: usize) -> RecordBatch {
        let Some(batch) = self.batch.take() else {
            return RecordBatch::new_empty(self.reader.schema());
        };
        self.batch = Some(batch.slice(rows, batch.num_rows() - rows));
        batch.slice(0, rows)
    }

    /// How many rows are left.
    fn rest(&mut self) -> Result<usize, String> {
        let mut left = 0;
        loop {
            match self.waiting()? {
                0 => return Ok(left),
                rows => left += self.take(rows).num_rows(),
            }
        }
    }
}

/// Calls what reads a file; a panic of the library below is an error of the file.
fn reading<T>(path: &Path, read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let read = guarded(read).unwrap_or_else(|why| Err(format!("it is damaged ({why})")));
    read.map_err(|why| format!("{}: {why}", path.display()))
}

/// A value that is a number.
fn number(array: &dyn Array, row: usize) -> Option<f64> {
    fn of<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> Option<T::Native> {
        array.as_primitive_opt::<T>().map(|array| array.value(row))
    }
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::UInt8 => of::<UInt8Type>(array, row).map(f64::from),
        DataType::UInt16 => of::<UInt16Type>(array, row).map(f64::from),
        DataType::UInt32 => of::<UInt32Type>(array, row).map(f64::from),
        DataType::UInt64 => of::<UInt64Type>(array, row).map(|value| value as f64),
        DataType::Int8 => of::<Int8Type>(array, row).map(f64::from),
        DataType::Int16 => of::<Int16Type>(array, row).map(f64::from),
        DataType::Int32 => of::<Int32Type>(array, row).map(f64::from),
        DataType::Int64 => of::<Int64Type>(array, row).map(|value| value as f64),
        DataType::Float32 => of::<Float32Type>(array, row).map(f64::from),
        DataType::Float64 => of::<Float64Type>(array, row),
        _ => None,
    }
}

/// A value as a person reads it.
fn shown(array: &dyn Array, row: usize) -> String {
    if array.is_null(row) {
        return "null".to_string();
    }
    if let Some(array) = array.as_primitive_opt::<Float32Type>() {
        return array.value(row).to_string(); // with the digits that it has
    }
    if let Some(number) = number(array, row) {
        return number.to_string();
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Utf8 => format!("{:?}", array.as_string::<i32>().value(row)),
        other => format!("a value of type {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::table::write_table;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Serialize, Deserialize)]
    struct Row {
        id: String,
        value: f32,
        rank: Option<u32>,
    }

    #[derive(Serialize, Deserialize)]
    struct Narrow {
        id: String,
        rank: Option<u16>,
    }

    #[test]
    fn values_rows_and_columns_are_compared() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let row = |i: u32| Row {
            id: i.to_string(),
            value: i as f32 / 3.0,
            rank: (!i.is_multiple_of(5)).then_some(i),
        };
        let mut rows: Vec<Row> = (0..20_000).map(row).collect();
        write_table(&path("one"), rows.clone()).unwrap();
        write_table(&path("same"), rows.clone()).unwrap();
        let compared = |other: &str| compare(&path("one"), &path(other)).unwrap();
        assert!(compared("same").is_empty());

        rows[3].value += 0.25;
        rows[17_001].value += 2.0;
        rows[5].rank = Some(1);
        rows[9].id = "nine".to_string();
        rows[0].value = -0.0;
        rows.pop();
        write_table(&path("other"), rows).unwrap();
        let found = compared("other");
        assert_eq!(found.values, 5);
        let largest = found.largest.unwrap();
        assert_eq!(largest.place, "column value, row 17001");
        assert!((largest.size.unwrap() - 2.0).abs() < 1e-3);
        let text = found.first_other.unwrap();
        assert_eq!(
            (text.place.as_str(), text.again.as_str()),
            ("column id, row 9", "\"nine\"")
        );
        assert_eq!(
            found.lacks,
            ["the recorded run has 20000 rows, and the rerun 19999"]
        );

        let narrow = (0..20_000u32).map(|i| Narrow {
            id: i.to_string(),
            rank: None,
        });
        write_table(&path("narrow"), narrow).unwrap();
        let found = compared("narrow");
        assert_eq!(found.values, 0);
        let expected = [
            "the rerun lacks the column value",
            "the column rank is UInt32 in the recorded run, and UInt16 in the rerun",
        ];
        assert_eq!(found.lacks, expected);
    }
}
