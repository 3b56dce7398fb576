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
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{
    Flaw, NotText, Place, Problem, Prompt, PromptSet, SubjectPlace, Unreadable, content, count_of,
    list, read_text, record, records, sha256_hex,
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

/// Why subjects could not be read, or not be asked about.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// The file could not be opened or read.
    #[error("cannot read the subjects file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not text.
    #[error("the subjects file {} {what}", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: NotText,
    },
    /// A CSV file with one column twice: which one is meant?
    #[error("{name}: the CSV has the column {column} twice; keep the one that is meant")]
    ColumnTwice {
        /// The file.
        name: String,
        /// The column's name.
        column: &'static str,
    },
    /// The file holds no record at all.
    #[error(
        "{name} holds no subjects; write one JSON object a line with the fields subject and text, or CSV with the columns \
         subject and paragraphs"
    )]
    Empty {
        /// The file.
        name: String,
    },
    /// A CSV file with other columns.
    #[error(
        "{name}: the CSV has the columns {}, and must have subject and paragraphs (or write JSON Lines with the fields \
         subject and text)",
        found.join(", ")
    )]
    Columns {
        /// The file.
        name: String,
        /// Its first line.
        found: Vec<String>,
    },
    /// A CSV file in which a quoted field has no end, so that the rest of the file would be read as one text.
    #[error(
        "{name}: the CSV has an odd number of quotation marks, so that a quoted field does not end; write a quotation mark \
         inside a field twice, and the field in quotation marks"
    )]
    Quotes {
        /// The file.
        name: String,
    },
    /// At least one record is bad; all of them are listed.
    #[error("{name}: {} in the subjects\n{}", count_of(problems.len()), list(problems))]
    Invalid {
        /// The file.
        name: String,
        /// Every problem found, in the order of the file.
        problems: Vec<Problem>,
    },
    /// Subjects of prompts that have no text; all of them are listed.
    #[error(
        "{} of {prompts} have no text in {subjects}: {}; give each a text, or leave their prompts out with --skip-missing",
        count_of_subjects(missing.len()), missing.join("; ")
    )]
    NoText {
        /// The prompts' file.
        prompts: String,
        /// The subjects' file.
        subjects: String,
        /// The subjects, in the order of their first prompts.
        missing: Vec<String>,
    },
    /// Not one prompt is left.
    #[error(
        "no prompt of {prompts} has a subject of {subjects} (names must agree letter for letter); give other --prompts, or \
         ask about the subjects alone with --bare"
    )]
    NoPrompts {
        /// The prompts' file.
        prompts: String,
        /// The subjects' file.
        subjects: String,
    },
}

fn count_of_subjects(subjects: usize) -> String {
    match subjects {
        1 => "1 subject".to_owned(),
        n => format!("{n} subjects"),
    }
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
    pub fn bundled() -> Result<Self, SubjectError> {
        let text = include_str!("../../prompts/subjects.jsonl");
        Self::parse("bundled subjects", text)
    }

    /// Reads and checks a file; its path becomes the name.
    ///
    /// # Errors
    /// When the file cannot be read or is not UTF-8, and as [`Subjects::parse`].
    pub fn read(path: &Path) -> Result<Self, SubjectError> {
        let text = read_text(path).map_err(|why| match (path.to_owned(), why) {
            (path, Unreadable::Io(source)) => SubjectError::Io { path, source },
            (path, Unreadable::NotText(what)) => SubjectError::NotText { path, what },
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Checks the text of a file; `name` is used in messages and in run.json, and its ending tells the format.
    ///
    /// # Errors
    /// [`SubjectError::Invalid`] with every problem of every record; CSV with other columns or an open quotation;
    /// [`SubjectError::Empty`] without records.
    pub fn parse(name: &str, text: &str) -> Result<Self, SubjectError> {
        let mut checked = Checked::default();
        if is_json(name, text) {
            for (place, value) in records(text) {
                checked.add(place, value.map_err(|flaw| vec![flaw]).and_then(of_json));
            }
        } else {
            read_csv(name, text, &mut checked)?;
        }
        let name = name.to_owned();
        if !checked.problems.is_empty() {
            let problems = checked.problems;
            return Err(SubjectError::Invalid { name, problems });
        }
        if checked.subjects.is_empty() {
            return Err(SubjectError::Empty { name });
        }
        Ok(Self {
            name,
            subjects: checked.subjects,
            sha256: sha256_hex(text.as_bytes()),
        })
    }

    /// The prompts of a set that ask about these subjects, each of them once.
    ///
    /// # Errors
    /// [`SubjectError::NoText`] with every subject that has none, where that is refused; [`SubjectError::NoPrompts`] where
    /// nothing is left.
    pub fn of_prompts(
        &self,
        set: PromptSet,
        missing: MissingText,
    ) -> Result<SubjectPrompts, SubjectError> {
        let places: HashMap<&str, usize> = (0..)
            .zip(&self.subjects)
            .map(|(place, subject)| (subject.subject.as_str(), place))
            .collect();
        let mut found = self.none_of(&set);
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
            return Err(SubjectError::NoText {
                prompts,
                subjects,
                missing,
            });
        }
        if found.texts.is_empty() {
            return Err(SubjectError::NoPrompts { prompts, subjects });
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
        });
        let set = PromptSet {
            name: self.name.clone(),
            prompts: prompts.collect(),
            sha256: self.sha256.clone(),
        };
        SubjectPrompts {
            texts: (0..set.prompts.len()).collect(),
            prompts: set,
            without_text: Vec::new(),
            repeated: Vec::new(),
            unused: Vec::new(),
        }
    }

    fn none_of(&self, set: &PromptSet) -> SubjectPrompts {
        SubjectPrompts {
            prompts: PromptSet {
                name: set.name.clone(),
                prompts: Vec::new(),
                sha256: set.sha256.clone(),
            },
            texts: Vec::new(),
            without_text: Vec::new(),
            repeated: Vec::new(),
            unused: Vec::new(),
        }
    }
}

fn is_json(name: &str, text: &str) -> bool {
    let named = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    let text = content(text).trim_start();
    named(&[".jsonl", ".ndjson", ".json"]) || (!named(&[".csv"]) && text.starts_with(['{', '[']))
}

fn of_json(value: Value) -> Result<SubjectText, Vec<Flaw>> {
    if !value.is_object() {
        return Err(vec![Flaw::NotAnObject]);
    }
    let subject = record::text_at(&value, "subject");
    let text = record::text_at(&value, "text");
    both(subject, text)
}

/// A subject with its text, or what is wrong with either.
fn both(
    subject: Result<String, Flaw>,
    text: Result<String, Flaw>,
) -> Result<SubjectText, Vec<Flaw>> {
    match (subject, text) {
        (Ok(subject), Ok(text)) => Ok(SubjectText { subject, text }),
        (subject, text) => Err([subject.err(), text.err()].into_iter().flatten().collect()),
    }
}

fn read_csv(name: &str, text: &str, checked: &mut Checked) -> Result<(), SubjectError> {
    let text = content(text);
    if text.trim().is_empty() {
        return Ok(());
    }
    let name = name.to_owned();
    if text.matches('"').count() % 2 == 1 {
        return Err(SubjectError::Quotes { name });
    }
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map(|header| {
        let column = |wanted| header.iter().position(|found| found.trim() == wanted);
        let found: Vec<String> = header.iter().map(str::to_owned).collect();
        (COLUMNS.map(column), found)
    });
    let (columns, found) = header.unwrap_or_default();
    let repeated = |column: &&str| found.iter().filter(|found| found.trim() == *column).count() > 1;
    if let Some(column) = COLUMNS.into_iter().find(|column| repeated(column)) {
        return Err(SubjectError::ColumnTwice { name, column });
    }
    let [Some(subject), Some(text)] = columns else {
        return Err(SubjectError::Columns { name, found });
    };
    for row in reader.records() {
        let position = match &row {
            Ok(row) => row.position(),
            Err(error) => error.position(),
        };
        let place = Place::Line(position.map_or(0, |position| position.line() as usize));
        let field = |row: &csv::StringRecord, column: usize, name| match row.get(column) {
            Some(field) if !field.trim().is_empty() => Ok(field.to_owned()),
            _ => Err(Flaw::Empty(name)),
        };
        let row = row.map_err(|error| vec![Flaw::Csv(error.to_string())]);
        checked.add(
            place,
            row.and_then(|row| {
                both(
                    field(&row, subject, COLUMNS[0]),
                    field(&row, text, COLUMNS[1]),
                )
            }),
        );
    }
    Ok(())
}

/// The good subjects and the problems so far.
#[derive(Default)]
struct Checked {
    subjects: Vec<SubjectText>,
    problems: Vec<Problem>,
    places: HashMap<String, Place>,
}

impl Checked {
    fn add(&mut self, place: Place, read: Result<SubjectText, Vec<Flaw>>) {
        let mut problem = |id, what| self.problems.push(Problem { place, id, what });
        match read {
            Err(flaws) => flaws.into_iter().for_each(|flaw| problem(None, flaw)),
            Ok(subject) => match self.places.get(&subject.subject) {
                Some(first) => problem(Some(subject.subject), Flaw::DuplicateSubject(*first)),
                None => {
                    self.places.insert(subject.subject.clone(), place);
                    self.subjects.push(subject);
                }
            },
        }
    }
}

#[cfg(test)]
mod tests;
