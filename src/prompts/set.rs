//! Prompts, and sets of them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::{FileKind, Place, PromptError};
use super::formats::{Placed, is_parquet, own, own_records, rows};
use super::place::{Found, SubjectPlace};
use super::prompt::Prompt;
use super::record;
use super::records::Checked;
use crate::hub::sha256_hex;

const PROMPTS: FileKind = FileKind {
    file: "prompt",
    records: "prompts",
    hint: "",
    lacks: "prompts; write one JSON object a line with the fields id, prompt, subject, target",
    twice: "the id is already used",
};

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

impl PromptSet {
    /// The facts that come with the program (`prompts/facts.jsonl`).
    ///
    /// # Errors
    /// As [`PromptSet::parse`]; the bundled file passes (it is tested).
    pub fn bundled() -> Result<Self, PromptError> {
        Self::parse("bundled facts", include_str!("../../prompts/facts.jsonl"))
    }

    /// Reads and checks a file, or all the LRE relations of a folder; its path becomes the set's name.
    ///
    /// # Errors
    /// When a file cannot be read, or is neither UTF-8 nor Parquet, and as [`PromptSet::parse`].
    pub fn read(path: &Path) -> Result<Self, PromptError> {
        let name = path.display().to_string();
        if path.is_dir() {
            return Self::read_folder(path, name);
        }
        let bytes = PROMPTS.bytes(path)?;
        if !is_parquet(&bytes) {
            return Self::parse(&name, &PROMPTS.text(path, bytes)?);
        }
        let sha256 = sha256_hex(&bytes);
        match rows(path) {
            Ok(rows) => Self::of_records(&name, rows.into_iter().map(own).collect(), sha256),
            Err(why) => Err(PromptError::Parquet { name, why }),
        }
    }

    /// Every JSON file below a folder, in the order of their paths.
    fn read_folder(folder: &Path, name: String) -> Result<Self, PromptError> {
        let files = json_files(folder)?;
        let mut set = Self {
            name,
            prompts: Vec::new(),
            sha256: String::new(),
        };
        let mut hashes = String::new();
        for file in files {
            let relation = Self::read(&file)?;
            hashes.push_str(&relation.sha256);
            set.prompts.extend(relation.prompts);
        }
        let mut ids = HashSet::new();
        if let Some(prompt) = set.prompts.iter().find(|prompt| !ids.insert(&prompt.id)) {
            return Err(PromptError::TwiceInFolder {
                name: set.name,
                id: prompt.id.clone(),
            });
        }
        if set.prompts.is_empty() {
            return Err(PromptError::Empty {
                kind: &PROMPTS,
                name: set.name,
            });
        }
        set.sha256 = sha256_hex(hashes.as_bytes());
        Ok(set)
    }

    /// Prompts of one's own, checked as those of a file are; `name` is used in messages and in run.json.
    ///
    /// # Errors
    /// As [`PromptSet::parse`]; a problem's line is the prompt's place, from 1.
    pub fn new(name: &str, prompts: impl IntoIterator<Item = Prompt>) -> Result<Self, PromptError> {
        let records = prompts.into_iter().map(|prompt| record::write(&prompt));
        let records: Vec<Value> = records.collect();
        let text: String = records.iter().map(|record| format!("{record}\n")).collect();
        let places = (1..).map(Place::Line);
        let records = places.zip(records.into_iter().map(Ok)).collect();
        Self::of_records(name, records, sha256_hex(text.as_bytes()))
    }

    /// Checks the text of a prompt file; `name` is used in messages and in run.json.
    ///
    /// # Errors
    /// [`PromptError::Empty`] without records, [`PromptError::Invalid`] with every problem of every record.
    pub fn parse(name: &str, text: &str) -> Result<Self, PromptError> {
        Self::of_records(name, own_records(text), sha256_hex(text.as_bytes()))
    }

    fn of_records(name: &str, records: Vec<Placed>, sha256: String) -> Result<Self, PromptError> {
        let mut checked = Checked::new(&PROMPTS);
        for (place, record) in records {
            let (id, prompt) = match record {
                Ok(value) => record::read(&value),
                Err(flaw) => (None, Err(vec![flaw])),
            };
            checked.add(place, id, prompt);
        }
        Ok(Self {
            name: name.to_owned(),
            prompts: checked.finish(name)?,
            sha256,
        })
    }

    /// The same facts in the same order, in other words.
    ///
    /// # Errors
    /// [`PromptError::NotRephrased`] where some have none.
    pub fn rephrased(&self) -> Result<Self, PromptError> {
        let other = |prompt: &Prompt| {
            let words = prompt.rephrased.clone()?;
            Some(Prompt {
                place: SubjectPlace::find(&words, &prompt.subject)?,
                prompt: words,
                rephrased: None,
                counterfactual: None,
                aliases: Vec::new(),
                ..prompt.clone()
            })
        };
        let prompts: Vec<Prompt> = self.prompts.iter().filter_map(other).collect();
        match self.prompts.len() - prompts.len() {
            0 => Ok(Self {
                prompts,
                ..self.clone()
            }),
            missing => Err(PromptError::NotRephrased {
                name: self.name.clone(),
                missing,
                prompts: self.prompts.len(),
            }),
        }
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
            let (name, one) = (&self.name, ids.len() == 1);
            let verb = if one { "prompt has" } else { "prompts have" };
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

/// The JSON files of a folder and those below it, in order.
fn json_files(folder: &Path) -> Result<Vec<PathBuf>, PromptError> {
    let mut files = Vec::new();
    let unreadable = |source| PROMPTS.unreadable(folder, source);
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            files.extend(json_files(&path)?);
        } else if path.extension().is_some_and(|ending| ending == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
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

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
