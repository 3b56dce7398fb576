//! The records of a file, and what reading them gives: all that is good, or all that is wrong.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::Value;

use super::error::{FileKind, Place, Problem, PromptError};
use super::file::content;
use crate::hub::json;

/// Whether a file's name says that it holds JSON.
pub(super) fn is_named_json(name: &str) -> bool {
    let endings = [".jsonl", ".ndjson", ".json"];
    endings.iter().any(|ending| name.ends_with(ending))
}

/// The records of JSON Lines or of a JSON array, each with its place; a part that is not JSON is an `Err` in its place.
pub(super) fn records(text: &str) -> Vec<(Place, Result<Value, String>)> {
    let text = content(text);
    if text.trim_start().starts_with('[') {
        return array_items(text);
    }
    lines(text).collect()
}

/// The records of JSON Lines; blank lines are skipped.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (Place, Result<Value, String>)> {
    let lines = text
        .lines()
        .zip(1..)
        .filter(|(line, _)| !line.trim().is_empty());
    lines.map(|(line, number)| {
        let value = json::read(line.as_bytes()).map_err(not_json);
        (Place::Line(number), value)
    })
}

fn array_items(text: &str) -> Vec<(Place, Result<Value, String>)> {
    match json::read(text.as_bytes()) {
        Ok(Value::Array(items)) => (0..)
            .zip(items)
            .map(|(i, item)| (Place::Item(i), Ok(item)))
            .collect(),
        Ok(_) => vec![(Place::Line(1), Err(NOT_AN_OBJECT.to_owned()))],
        Err(e) => vec![(Place::Line(e.line()), Err(not_json(e)))],
    }
}

fn not_json(why: serde_json::Error) -> String {
    format!("not valid JSON: {why}")
}

/// What is wrong with a record that is a number, a list or the like.
pub(super) const NOT_AN_OBJECT: &str = "not a JSON object";

/// The good records and the problems so far.
pub(super) struct Checked<T> {
    kind: &'static FileKind,
    good: Vec<T>,
    problems: Vec<Problem>,
    places: HashMap<String, Place>,
}

impl<T> Checked<T> {
    pub fn new(kind: &'static FileKind) -> Self {
        Self {
            kind,
            good: Vec::new(),
            problems: Vec::new(),
            places: HashMap::new(),
        }
    }

    /// A record, with the name that no other may have.
    pub fn add(&mut self, place: Place, name: Option<String>, read: Result<T, Vec<String>>) {
        let mut flaws = Vec::new();
        if let Some(name) = &name {
            match self.places.entry(name.clone()) {
                Entry::Occupied(first) => {
                    flaws.push(format!("{} at {}", self.kind.twice, first.get()));
                }
                Entry::Vacant(slot) => {
                    slot.insert(place);
                }
            }
        }
        match read {
            Ok(record) => self.good.push(record),
            Err(more) => flaws.extend(more),
        }
        self.problems.extend(flaws.into_iter().map(|what| Problem {
            place,
            id: name.clone(),
            what,
        }));
    }

    /// The records of a file without problems; at least one.
    pub fn finish(self, name: &str) -> Result<Vec<T>, PromptError> {
        let (kind, name, problems) = (self.kind, name.to_owned(), self.problems);
        if !problems.is_empty() {
            return Err(PromptError::Invalid {
                kind,
                name,
                problems,
            });
        }
        if self.good.is_empty() {
            return Err(PromptError::Empty { kind, name });
        }
        Ok(self.good)
    }
}
