//! PopQA: questions about subjects of different fame, a table with tabs (or a table of the hub) with the columns `id`, `subj`, `prop`, `obj`,
//! `question` and `possible_answers`, a JSON list of which any is right.
//!
//! A question is asked as `Q: … A:`.
//!
//! Source: Mallen et al. 2023, "When Not to Trust Language Models".

use serde_json::{Value, json};

use super::super::error::Place;
use super::super::file::content;
use super::{Placed, text};

/// What a table of this format has in its header.
const COLUMN: &str = "possible_answers";

/// The questions of a table with tabs, in the program's own shape; `None` where the text is something else.
pub fn questions(text: &str) -> Option<Vec<Placed>> {
    let text = content(text);
    let header = text.lines().next()?;
    if !header.split('\t').any(|column| column == COLUMN) {
        return None;
    }
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(b'\t')
        .from_reader(text.as_bytes());
    let columns = reader.headers().cloned().unwrap_or_default();
    let rows = reader.records().map(|row| {
        let position = match &row {
            Ok(row) => row.position(),
            Err(error) => error.position(),
        };
        let place = Place::Line(position.map_or(0, |position| position.line() as usize));
        let row = row.map_err(|error| format!("not a valid table: {error}"));
        let record = row.and_then(|row| {
            let fields = columns.iter().zip(&row);
            let fields = fields.map(|(column, field)| (column.to_owned(), Value::from(field)));
            own(&Value::Object(fields.collect()))
        });
        (place, record)
    });
    Some(rows.collect())
}

/// A record of this format in the program's own shape; `None` where it is another.
pub fn convert(record: &Value) -> Option<Result<Value, String>> {
    record.get(COLUMN)?;
    Some(own(record))
}

fn own(record: &Value) -> Result<Value, String> {
    let answers = match record.get(COLUMN) {
        Some(Value::String(list)) => serde_json::from_str(list).ok(),
        other => other.cloned(),
    };
    let answers = answers.as_ref().and_then(Value::as_array);
    let answers = answers.ok_or("the field `possible_answers` must be a JSON list of texts")?;
    let id = record.get("id").filter(|id| !id.is_null());
    Ok(json!({
        "id": id.ok_or("the field `id` is missing")?,
        "prompt": format!("Q: {} A:", text(record, "question")?.trim()),
        "subject": text(record, "subj")?,
        "target": text(record, "obj")?,
        "relation": text(record, "prop").ok(),
        "aliases": answers,
    }))
}
