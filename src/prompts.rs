//! Prompt sets: what the model is asked, and what it should answer.
//!
//! A set is a text file in one of two containers, found out by looking at it:
//!
//! - JSON Lines, one record a line (blank lines are skipped);
//! - a JSON array of records (the text starts with `[`).
//!
//! and a record has one of three shapes, found out record by record:
//!
//! | shape | told by | fields |
//! |---|---|---|
//! | own | neither of the others | `id`, `prompt`, `subject`, `target`, `relation` (optional) |
//! | ROME's known_1000 (Meng et al. 2022) | `attribute` | `known_id`, `prompt`, `subject`, `attribute`, `relation_id` |
//! | CounterFact (Meng et al. 2022) | `requested_rewrite` | `case_id`, in it `prompt`, `subject`, `target_true.str`, `relation_id` |
//!
//! `{}` in a prompt of the two published shapes is filled with the subject; it, or the field `template` of any shape with `{}`
//! in it, says where the subject stands. Else it is looked for (the module `place` says how). Other fields are ignored.
//! White space around a target is dropped: the tokens stage puts the one space before it, so `"Paris"` and `" Paris"` are
//! the same target, and a prompt that ends in white space is an error.
//! Every record is checked and every problem reported at once; a set with one bad record is no set.
//! Tokens are not this module's business: whether a subject has tokens is checked by the tokens stage.

mod file;
mod place;
mod record;
mod stop_words;
mod subjects;
mod text;

pub use file::{NotText, Unreadable, content, read_text};
pub use place::{Found, SubjectPlace};
pub use stop_words::StopWords;
pub use subjects::{MissingText, SubjectError, SubjectPrompts, SubjectText, Subjects};
pub use text::{BadText, Document, Documents, TextError};

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::hub::json;

/// One question with its right answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Unique in its set; names the prompt in every output file.
    pub id: String,
    /// The text before the answer, without white space at its end.
    pub prompt: String,
    /// What the fact is about; occurs in `prompt`.
    pub subject: String,
    /// Where in `prompt`.
    pub place: SubjectPlace,
    /// The right continuation, without the space that separates it from the prompt.
    pub target: String,
    /// The kind of fact ("capital", "P36"), where the file tells it.
    pub relation: Option<String>,
}

impl Prompt {
    /// A prompt whose subject is looked for; `None` where it does not occur.
    pub fn new(id: &str, prompt: &str, subject: &str, target: &str) -> Option<Self> {
        Some(Self {
            id: id.to_owned(),
            place: SubjectPlace::find(prompt, subject)?,
            prompt: prompt.to_owned(),
            subject: subject.to_owned(),
            target: target.to_owned(),
            relation: None,
        })
    }

    /// The prompt's text up to the subject's end.
    pub fn up_to_subject(&self) -> &str {
        &self.prompt[..self.place.span.end]
    }
}

/// A checked, non-empty set of prompts with unique ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptSet {
    /// Where the set came from: a path, or `bundled facts`.
    pub name: String,
    /// In the order of the file.
    pub prompts: Vec<Prompt>,
    /// Hex sha256 of the file's bytes.
    pub sha256: String,
}

/// Where a record stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Line of the text, from 1.
    Line(usize),
    /// Item of a JSON array, from 0.
    Item(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(n) => write!(f, "line {n}"),
            Place::Item(n) => write!(f, "item {n}"),
        }
    }
}

/// What can be wrong with one record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The line (or the whole array) is not JSON.
    #[error("not valid JSON: {0}")]
    Json(String),
    /// The JSON is not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// A field is absent or null.
    #[error("the field `{field}` is missing; found {}", fields(found))]
    Missing {
        /// Its path.
        field: &'static str,
        /// The fields that the record has.
        found: Vec<String>,
    },
    /// More than one place for the subject.
    #[error("the field `{field}` has {{}} {count} times; write it once, in the subject's place")]
    Holes {
        /// Its path.
        field: &'static str,
        /// How often `{}` stands there.
        count: usize,
    },
    /// A field holds something other than text (ids may be integers too).
    #[error("the field `{0}` must be a string")]
    NotText(&'static str),
    /// A field holds nothing but white space.
    #[error("the field `{0}` is empty")]
    Empty(&'static str),
    /// The subject's span could not be found.
    #[error("the subject {0:?} does not occur in the prompt {1:?}")]
    SubjectNotInPrompt(String, String),
    /// The subject's span could not be found for its capitals.
    #[error(
        "the subject {0:?} stands in the prompt {1:?} with other capitals; write it as it stands there"
    )]
    SubjectCapitals(String, String),
    /// Outputs would mix the two prompts.
    #[error("the id is already used at {0}")]
    DuplicateId(Place),
    /// A subject has one text.
    #[error("the subject already has a text at {0}")]
    DuplicateSubject(Place),
    /// The row is not CSV, or has another number of fields than the header.
    #[error("not valid CSV: {0}")]
    Csv(String),
    /// `" " + target` would then follow a space, and be cut into other tokens than in running text.
    #[error(
        "the prompt ends in white space; end it with its last word, the space before the target is added"
    )]
    TrailingWhitespace,
}

/// One flaw, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line or item of the record.
    pub place: Place,
    /// The record's id, where it has one.
    pub id: Option<String>,
    /// What is wrong.
    pub what: Flaw,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(f, "{} ({id}): {}", self.place, self.what),
            None => write!(f, "{}: {}", self.place, self.what),
        }
    }
}

/// Why a prompt set could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// The file could not be opened or read.
    #[error("cannot read the prompt file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not text.
    #[error("the prompt file {} {what}", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: NotText,
    },
    /// The file holds no record at all.
    #[error(
        "{name} holds no prompts; write one JSON object a line with the fields id, prompt, subject, target"
    )]
    Empty {
        /// The set's name.
        name: String,
    },
    /// At least one record is bad; all of them are listed.
    #[error("{name}: {} in the prompts\n{}", count_of(problems.len()), list(problems))]
    Invalid {
        /// The set's name.
        name: String,
        /// Every problem found, in the order of the file.
        problems: Vec<Problem>,
    },
}

fn fields(found: &[String]) -> String {
    match found {
        [] => "nothing".to_owned(),
        found => found.join(", "),
    }
}

/// At most this many problems are printed; the rest is counted.
const LISTED_PROBLEMS: usize = 20;

/// "1 problem", "3 problems".
pub(crate) fn count_of(problems: usize) -> String {
    match problems {
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    }
}

/// One indented line per problem, at most 20, then "and N more".
pub(crate) fn list<T: fmt::Display>(problems: &[T]) -> String {
    let mut lines: Vec<String> = problems
        .iter()
        .take(LISTED_PROBLEMS)
        .map(|problem| format!("  {problem}"))
        .collect();
    if problems.len() > LISTED_PROBLEMS {
        lines.push(format!("  and {} more", problems.len() - LISTED_PROBLEMS));
    }
    lines.join("\n")
}

/// The sha256 of some bytes, in hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Two hex digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl PromptSet {
    /// The facts that come with the program (`prompts/facts.jsonl`).
    ///
    /// # Errors
    /// As [`PromptSet::parse`]; the bundled file passes (it is tested).
    pub fn bundled() -> Result<Self, PromptError> {
        Self::parse("bundled facts", include_str!("../prompts/facts.jsonl"))
    }

    /// Reads and checks a file; its path becomes the set's name.
    ///
    /// # Errors
    /// When the file cannot be read or is not UTF-8, and as [`PromptSet::parse`].
    pub fn read(path: &Path) -> Result<Self, PromptError> {
        let text = read_text(path).map_err(|why| match (path.to_owned(), why) {
            (path, Unreadable::Io(source)) => PromptError::Io { path, source },
            (path, Unreadable::NotText(what)) => PromptError::NotText { path, what },
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Checks the text of a prompt file; `name` is used in messages and in run.json.
    ///
    /// # Errors
    /// [`PromptError::Empty`] without records, [`PromptError::Invalid`] with every problem of every record.
    pub fn parse(name: &str, text: &str) -> Result<Self, PromptError> {
        let mut checked = Checked::default();
        for (place, record) in records(text) {
            checked.add(place, record);
        }
        if !checked.problems.is_empty() {
            return Err(PromptError::Invalid {
                name: name.to_owned(),
                problems: checked.problems,
            });
        }
        if checked.prompts.is_empty() {
            return Err(PromptError::Empty {
                name: name.to_owned(),
            });
        }
        Ok(Self {
            name: name.to_owned(),
            prompts: checked.prompts,
            sha256: sha256_hex(text.as_bytes()),
        })
    }

    /// What is not sure about the subjects' places, in sentences for a person: one for each kind of doubt, with the first
    /// ids and the number of prompts.
    pub fn doubts(&self) -> Vec<String> {
        let kinds = [
            (
                Found::LastWord,
                "the subject several times, and the last one counts",
            ),
            (
                Found::InsideWord,
                "the subject inside a longer word alone, and it is taken from there",
            ),
            (
                Found::OtherTemplate,
                "a template that does not begin as the prompt does, and the subject is looked for",
            ),
        ];
        let doubt = |(found, what): (Found, &str)| {
            let prompts = self.prompts.iter().filter(|p| p.place.found == found);
            let ids: Vec<&str> = prompts.map(|prompt| prompt.id.as_str()).collect();
            let (verb, name) = (
                if ids.len() == 1 {
                    "prompt has"
                } else {
                    "prompts have"
                },
                &self.name,
            );
            (!ids.is_empty()).then(|| {
                format!(
                    "{name}: {} {verb} {what} ({}); a field `template` with {{}} in the subject's place says which one is meant",
                    ids.len(),
                    first_few(&ids)
                )
            })
        };
        kinds.into_iter().filter_map(doubt).collect()
    }
}

/// So many ids are named in a warning.
const NAMED: usize = 3;

/// "a, b, c and 4 more".
pub(crate) fn first_few(ids: &[&str]) -> String {
    let named = ids[..ids.len().min(NAMED)].join(", ");
    match ids.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// The records of either container, each with its place; a part that is not JSON is an `Err` in its place.
fn records(text: &str) -> Vec<(Place, Result<Value, Flaw>)> {
    let text = content(text);
    if text.trim_start().starts_with('[') {
        return array_items(text);
    }
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(i, line)| (Place::Line(i + 1), from_json(line)))
        .collect()
}

fn array_items(text: &str) -> Vec<(Place, Result<Value, Flaw>)> {
    match json::read(text.as_bytes()) {
        Ok(Value::Array(items)) => items
            .into_iter()
            .enumerate()
            .map(|(i, item)| (Place::Item(i), Ok(item)))
            .collect(),
        Ok(_) => vec![(Place::Line(1), Err(Flaw::NotAnObject))],
        Err(e) => vec![(Place::Line(e.line()), Err(Flaw::Json(e.to_string())))],
    }
}

fn from_json(line: &str) -> Result<Value, Flaw> {
    json::read(line.as_bytes()).map_err(|e| Flaw::Json(e.to_string()))
}

/// The good prompts and the problems so far.
#[derive(Default)]
struct Checked {
    prompts: Vec<Prompt>,
    problems: Vec<Problem>,
    places_of_ids: HashMap<String, Place>,
}

impl Checked {
    fn add(&mut self, place: Place, record: Result<Value, Flaw>) {
        let (id, result) = match record {
            Ok(value) => record::read(&value),
            Err(flaw) => (None, Err(vec![flaw])),
        };
        let mut flaws = Vec::new();
        if let Some(id) = &id {
            match self.places_of_ids.get(id) {
                Some(first) => flaws.push(Flaw::DuplicateId(*first)),
                None => {
                    self.places_of_ids.insert(id.clone(), place);
                }
            }
        }
        match result {
            Ok(prompt) => self.prompts.push(prompt),
            Err(more) => flaws.extend(more),
        }
        self.problems.extend(flaws.into_iter().map(|what| Problem {
            place,
            id: id.clone(),
            what,
        }));
    }
}

#[cfg(test)]
mod tests;
