//! Subjects with a text about each: what a model could say of them.
//!
//! A file is read in one of two ways, found out by its name or by looking at it:
//!
//! - JSON Lines (or a JSON array) of records with the fields `subject` and `text`: where it is named `.jsonl`, `.ndjson`
//!   or `.json`, or begins with `{` or `[`;
//! - else CSV with a header and the columns `subject` and `paragraphs`, the format of Geva et al. 2023. Quoted fields may
//!   have several lines.
//!
//! Other fields and columns are ignored. Every record is checked and every problem reported at once. Which tokens a
//! text has is not this module's business.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::Value;

use super::error::{FileKind, Place, PromptError};
use super::file::content;
use super::place::SubjectPlace;
use super::prompt::Prompt;
use super::record;
use super::records::{Checked, NOT_AN_OBJECT, is_named_json, records};
use super::set::PromptSet;
use crate::hub::sha256_hex;

const SUBJECTS: FileKind = FileKind {
    file: "subjects",
    records: "subjects",
    hint: "",
    lacks: "subjects; write one JSON object a line with the fields subject and text, or CSV with the columns subject and \
            paragraphs",
    twice: "the subject already has a text",
};

/// The columns of a CSV file.
const COLUMNS: [&str; 2] = ["subject", "paragraphs"];

/// A subject and what is to be known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectText {
    /// Its name, letter for letter as prompts have it.
    pub subject: String,
    /// Running text about it.
    pub text: String,
}

/// Subjects of one file, no two alike; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subjects {
    /// Where they came from: a path, or `bundled subjects`.
    pub name: String,
    /// In the order of the file.
    pub subjects: Vec<SubjectText>,
    /// Hex sha256 of the file's bytes.
    pub sha256: String,
}

/// What becomes of prompts whose subject has no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingText {
    /// They are an error.
    Refuse,
    /// They are left out.
    Skip,
}

/// Prompts whose subjects have a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectPrompts {
    /// The prompts; of several that are the same up to the subject's end, which is all that counts, the first one.
    pub prompts: PromptSet,
    /// The place of each prompt's subject in [`Subjects::subjects`].
    pub texts: Vec<usize>,
    /// Ids of the prompts that were left out, since their subjects have no text.
    pub without_text: Vec<String>,
    /// Ids of the prompts that were left out, since an earlier one is the same up to the subject's end.
    pub repeated: Vec<String>,
    /// Subjects that no prompt asks about.
    pub unused: Vec<String>,
}

impl Subjects {
    /// The subjects that come with the program (`prompts/subjects.jsonl`).
    ///
    /// # Errors
    /// As [`Subjects::parse`]; the bundled file passes (it is tested).
    pub fn bundled() -> Result<Self, PromptError> {
        let text = include_str!("../../prompts/subjects.jsonl");
        Self::parse("bundled subjects", text)
    }

    /// Reads and checks a file; its path becomes the name.
    ///
    /// # Errors
    /// When the file cannot be read or is not UTF-8, and as [`Subjects::parse`].
    pub fn read(path: &Path) -> Result<Self, PromptError> {
        Self::parse(&path.display().to_string(), &SUBJECTS.read(path)?)
    }

    /// Checks the text of a file; `name` is used in messages and in run.json, and its ending tells the format.
    ///
    /// # Errors
    /// [`PromptError::Invalid`] with every problem of every record; CSV with other columns or an open quotation;
    /// [`PromptError::Empty`] without records.
    pub fn parse(name: &str, text: &str) -> Result<Self, PromptError> {
        let mut checked = Checked::new(&SUBJECTS);
        let mut add = |place, read: Result<SubjectText, Vec<String>>| {
            let name = read.as_ref().ok().map(|read| read.subject.clone());
            checked.add(place, name, read);
        };
        if is_json(name, text) {
            for (place, value) in records(text) {
                add(place, value.map_err(|flaw| vec![flaw]).and_then(of_json));
            }
        } else {
            read_csv(name, content(text), add)?;
        }
        Ok(Self {
            name: name.to_owned(),
            subjects: checked.finish(name)?,
            sha256: sha256_hex(text.as_bytes()),
        })
    }

    /// The prompts of a set that ask about these subjects, each of them once.
    ///
    /// # Errors
    /// [`PromptError::NoText`] with every subject that has none, where that is refused; [`PromptError::NoPrompts`] where
    /// nothing is left.
    pub fn of_prompts(
        &self,
        set: PromptSet,
        missing: MissingText,
    ) -> Result<SubjectPrompts, PromptError> {
        let places: HashMap<&str, usize> = (0..)
            .zip(&self.subjects)
            .map(|(place, subject)| (subject.subject.as_str(), place))
            .collect();
        let mut found = SubjectPrompts::of(set.name.clone(), set.sha256);
        let mut seen = HashSet::new();
        let mut without = Vec::new();
        for prompt in set.prompts {
            let Some(&place) = places.get(prompt.subject.as_str()) else {
                found.without_text.push(prompt.id);
                without.push(prompt.subject);
                continue;
            };
            let asked = (prompt.up_to_subject().to_owned(), place);
            if seen.insert(asked) {
                found.prompts.prompts.push(prompt);
                found.texts.push(place);
            } else {
                found.repeated.push(prompt.id);
            }
        }
        let (prompts, subjects) = (set.name, self.name.clone());
        if missing == MissingText::Refuse && !without.is_empty() {
            let mut named = HashSet::new();
            without.retain(|subject| named.insert(subject.clone()));
            let missing = without;
            return Err(PromptError::NoText {
                prompts,
                subjects,
                missing,
            });
        }
        if found.texts.is_empty() {
            return Err(PromptError::NoPrompts { prompts, subjects });
        }
        let used: HashSet<usize> = found.texts.iter().copied().collect();
        let unused = (0..).zip(&self.subjects);
        let unused = unused.filter(|(place, _)| !used.contains(place));
        found.unused = unused.map(|(_, text)| text.subject.clone()).collect();
        Ok(found)
    }

    /// The subjects alone as prompts, with their names for ids.
    pub fn bare(&self) -> SubjectPrompts {
        let prompts = self.subjects.iter().map(|subject| Prompt {
            id: subject.subject.clone(),
            prompt: subject.subject.clone(),
            subject: subject.subject.clone(),
            place: SubjectPlace::given(0, &subject.subject),
            target: String::new(),
            relation: None,
            rephrased: None,
            counterfactual: None,
            aliases: Vec::new(),
        });
        let mut bare = SubjectPrompts::of(self.name.clone(), self.sha256.clone());
        bare.prompts.prompts = prompts.collect();
        bare.texts = (0..self.subjects.len()).collect();
        bare
    }
}

impl SubjectPrompts {
    /// None yet, of a set.
    fn of(name: String, sha256: String) -> Self {
        Self {
            prompts: PromptSet {
                name,
                prompts: Vec::new(),
                sha256,
            },
            texts: Vec::new(),
            without_text: Vec::new(),
            repeated: Vec::new(),
            unused: Vec::new(),
        }
    }
}

/// Whether the file is not CSV.
fn is_json(name: &str, text: &str) -> bool {
    let looks_so = content(text).trim_start().starts_with(['{', '[']);
    is_named_json(name) || (looks_so && !name.ends_with(".csv"))
}

fn of_json(value: Value) -> Result<SubjectText, Vec<String>> {
    if !value.is_object() {
        return Err(vec![NOT_AN_OBJECT.to_owned()]);
    }
    both(
        record::text_at(&value, "subject"),
        record::text_at(&value, "text"),
    )
}

/// A subject with its text, or what is wrong with either.
fn both(
    subject: Result<String, String>,
    text: Result<String, String>,
) -> Result<SubjectText, Vec<String>> {
    match (subject, text) {
        (Ok(subject), Ok(text)) => Ok(SubjectText { subject, text }),
        (subject, text) => Err([subject.err(), text.err()].into_iter().flatten().collect()),
    }
}

/// The places of the two columns, or what the header has instead.
fn columns(header: &csv::StringRecord) -> Result<[usize; 2], String> {
    let places = COLUMNS.map(|wanted| {
        let places = header
            .iter()
            .enumerate()
            .filter(|(_, found)| found.trim() == wanted);
        places.map(|(place, _)| place).collect::<Vec<_>>()
    });
    for (column, places) in COLUMNS.into_iter().zip(&places) {
        if places.len() > 1 {
            return Err(format!(
                "the column {column} twice; keep the one that is meant"
            ));
        }
    }
    match [places[0].first(), places[1].first()] {
        [Some(subject), Some(text)] => Ok([*subject, *text]),
        _ => Err(format!(
            "the columns {}, and must have subject and paragraphs (or write JSON Lines with the fields subject and text)",
            header.iter().collect::<Vec<_>>().join(", ")
        )),
    }
}

fn read_csv(
    name: &str,
    text: &str,
    mut add: impl FnMut(Place, Result<SubjectText, Vec<String>>),
) -> Result<(), PromptError> {
    let wrong = |why: String| {
        let name = name.to_owned();
        Err(PromptError::Csv { name, why })
    };
    if text.trim().is_empty() {
        return Ok(());
    }
    // The rest of the file would be read as one text.
    if text.matches('"').count() % 2 == 1 {
        return wrong(
            "an odd number of quotation marks, so that a quoted field does not end; write a quotation mark inside a field \
             twice, and the field in quotation marks"
                .to_owned(),
        );
    }
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().cloned().unwrap_or_default();
    let [subject, text] = match columns(&header) {
        Ok(columns) => columns,
        Err(why) => return wrong(why),
    };
    for row in reader.records() {
        let position = match &row {
            Ok(row) => row.position(),
            Err(error) => error.position(),
        };
        let place = Place::Line(position.map_or(0, |position| position.line() as usize));
        let field = |row: &csv::StringRecord, column: usize, name| match row.get(column) {
            Some(field) if !field.trim().is_empty() => Ok(field.to_owned()),
            _ => Err(record::empty(name)),
        };
        let row = row.map_err(|error| vec![format!("not valid CSV: {error}")]);
        let read = row.and_then(|row| {
            let [subject_column, text_column] = COLUMNS;
            both(
                field(&row, subject, subject_column),
                field(&row, text, text_column),
            )
        });
        add(place, read);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
