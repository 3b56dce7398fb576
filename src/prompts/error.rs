//! What can be wrong with the files of this stage.

use std::fmt;
use std::io;
use std::path::Path;

use super::file::{Unreadable, as_text, read_bytes, read_text};

/// Where a record stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum Place {
    /// Line of the text, from 1.
    #[strum(to_string = "line {0}")]
    Line(usize),
    /// Item of a JSON array, from 0.
    #[strum(to_string = "item {0}")]
    Item(usize),
}

/// What is wrong with one record, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line or item of the record.
    pub place: Place,
    /// The record's id, where it has one.
    pub id: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id.as_ref().map(|id| format!(" ({id})"));
        let id = id.unwrap_or_default();
        write!(f, "{}{id}: {}", self.place, self.what)
    }
}

/// A kind of file, in the words of its messages.
#[derive(Debug, PartialEq, Eq)]
pub struct FileKind {
    pub(super) file: &'static str,
    pub(super) records: &'static str,
    /// What to do about a file that cannot be read, or nothing.
    pub(super) hint: &'static str,
    /// What a file without records lacks, and how to write one.
    pub(super) lacks: &'static str,
    /// What is wrong with a second record of one name.
    pub(super) twice: &'static str,
}

/// Why prompts, subjects or texts could not be read, or subjects not be asked about.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// The file could not be read, or is not text.
    #[error(transparent)]
    File(#[from] Unreadable),
    /// The file holds no record at all.
    #[error("{name} holds no {}", kind.lacks)]
    Empty {
        /// What should stand in it.
        kind: &'static FileKind,
        /// The file.
        name: String,
    },
    /// At least one record is bad; all of them are listed.
    #[error("{name}: {} in the {}\n{}", count_of(problems.len(), "problem"), kind.records, list(problems))]
    Invalid {
        /// What stands in it.
        kind: &'static FileKind,
        /// The file.
        name: String,
        /// Every problem found, in the order of the file.
        problems: Vec<Problem>,
    },
    /// A CSV file whose columns or quotation marks are not as they should be.
    #[error("{name}: the CSV has {why}")]
    Csv {
        /// The file.
        name: String,
        /// What it has, and what it must have.
        why: String,
    },
    /// A Parquet file that is damaged, or has other types than texts, numbers and lists.
    #[error("{name}: the Parquet file cannot be read: {why}")]
    Parquet {
        /// The file.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Two files of a folder have a prompt of one id.
    #[error(
        "{name}: two of its files have the prompt {id:?}; put each relation into the folder once"
    )]
    TwiceInFolder {
        /// The folder.
        name: String,
        /// The id.
        id: String,
    },
    /// Outputs would mix the two documents.
    #[error("two documents have the id {id:?}, in {first} and in {second}; give each its own")]
    SameId {
        /// The id.
        id: String,
        /// The file of the first.
        first: String,
        /// The file of the second.
        second: String,
    },
    /// Subjects of prompts that have no text; all of them are listed.
    #[error(
        "{} of {prompts} have no text in {subjects}: {}; give each a text, or leave their prompts out with --skip-missing",
        count_of(missing.len(), "subject"), missing.join("; ")
    )]
    NoText {
        /// The prompts' file.
        prompts: String,
        /// The subjects' file.
        subjects: String,
        /// The subjects, in the order of their first prompts.
        missing: Vec<String>,
    },
    /// Facts without other words.
    #[error(
        "{missing} of the {prompts} facts of {name} have no field `rephrased` (the same fact in other words), which \
         --known-by rephrased asks; add it, or drop the option"
    )]
    NotRephrased {
        /// The prompts' file.
        name: String,
        /// How many lack it.
        missing: usize,
        /// How many there are.
        prompts: usize,
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

impl FileKind {
    /// The text of such a file.
    pub(super) fn read(&self, path: &Path) -> Result<String, Unreadable> {
        read_text(path, self.file, self.hint)
    }

    /// The bytes of such a file.
    pub(super) fn bytes(&self, path: &Path) -> Result<Vec<u8>, Unreadable> {
        read_bytes(path, self.file, self.hint)
    }

    /// These bytes as text.
    pub(super) fn text(&self, path: &Path, bytes: Vec<u8>) -> Result<String, Unreadable> {
        as_text(path, self.file, bytes)
    }

    /// Why a folder of such files could not be read.
    pub(super) fn unreadable(&self, path: &Path, source: io::Error) -> Unreadable {
        Unreadable::Io {
            kind: self.file,
            path: path.to_owned(),
            hint: self.hint,
            source,
        }
    }
}

/// At most this many problems are printed; the rest is counted.
const LISTED_PROBLEMS: usize = 20;

/// "1 problem", "3 problems".
pub(crate) fn count_of(count: usize, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        n => format!("{n} {thing}s"),
    }
}

/// One indented line per problem, at most 20, then "and N more".
pub(crate) fn list<T: fmt::Display>(problems: &[T]) -> String {
    let lines = problems.iter().take(LISTED_PROBLEMS);
    let mut lines: Vec<String> = lines.map(|problem| format!("  {problem}")).collect();
    if problems.len() > LISTED_PROBLEMS {
        lines.push(format!("  and {} more", problems.len() - LISTED_PROBLEMS));
    }
    lines.join("\n")
}
