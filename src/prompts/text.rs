//! Plain texts: what the model reads where nothing is asked.
//!
//! A file is read in one of two ways, found out by looking at it:
//!
//! - JSON Lines, where it is named `.jsonl`, `.ndjson` or `.json` or its first line is a JSON object: one document
//!   a line, its text in the field `text`, perhaps with an `id`; other fields are ignored, blank lines skipped;
//! - else plain text: documents are separated by a line that holds only `---`; a file without such a line is one
//!   document.
//!
//! White space at both ends of a document is dropped, and a document with nothing else is skipped in plain text.
//! How a document is cut into what a model can read is the tokens stage's business.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::{FileKind, Place, PromptError};
use super::file::content;
use super::record::text_at;
use super::records::{Checked, is_named_json, lines};
use crate::hub::sha256_hex;

const TEXTS: FileKind = FileKind {
    file: "text",
    records: "texts",
    hint: " (`neutral` is the bundled text)",
    lacks: "text",
    twice: "the id is already used",
};

/// The line between two documents of a plain text file.
const SEPARATOR: &str = "---";

/// One text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Unique among the documents of a run: the `id` of its JSON line, else the file's name and the document's
    /// number from 0 (plain text) or line from 1 (JSON Lines), as in `notes.txt:0`.
    pub id: String,
    /// Without white space at its ends; not empty.
    pub text: String,
}

/// The documents of one file; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documents {
    /// The path as it was given, or `neutral` for the bundled text.
    pub name: String,
    /// In the order of the file.
    pub documents: Vec<Document>,
    /// Hex sha256 of the file's bytes.
    pub sha256: String,
}

impl Documents {
    /// What the bundled text is called on the command line.
    pub const NEUTRAL: &str = "neutral";

    /// The text that comes with the program (`prompts/neutral.txt`): plain prose without encyclopedic facts.
    ///
    /// # Errors
    /// As [`Documents::parse`]; the bundled file passes (it is tested).
    pub fn bundled() -> Result<Self, PromptError> {
        Self::parse(Self::NEUTRAL, include_str!("../../prompts/neutral.txt"))
    }

    /// Reads files in their order.
    ///
    /// # Errors
    /// As [`Documents::read`]; an id that two documents share.
    pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Self>, PromptError> {
        let files = paths.iter().map(|path| Self::read(path));
        let files: Vec<Self> = files.collect::<Result<_, _>>()?;
        check_ids(&files)?;
        Ok(files)
    }

    /// Reads one file; its path becomes the name. `neutral` stands for the bundled text, `./neutral` for a file of
    /// that name.
    ///
    /// # Errors
    /// When the file cannot be read or is not UTF-8, and as [`Documents::parse`].
    pub fn read(path: &Path) -> Result<Self, PromptError> {
        if path.to_str() == Some(Self::NEUTRAL) {
            return Self::bundled();
        }
        Self::parse(&path.display().to_string(), &TEXTS.read(path)?)
    }

    /// Parts a text into documents; `name` is used in ids, messages and run.json, and its ending tells the format.
    ///
    /// # Errors
    /// [`PromptError::Empty`] without a document, [`PromptError::Invalid`] with every bad line of JSON Lines.
    pub fn parse(name: &str, text: &str) -> Result<Self, PromptError> {
        let sha256 = sha256_hex(text.as_bytes());
        let text = content(text);
        let mut checked = Checked::new(&TEXTS);
        if is_json_lines(name, text) {
            for (place, value) in lines(text) {
                let document = value.and_then(|value| json_document(name, place, &value));
                checked.add(place, None, document.map_err(|flaw| vec![flaw]));
            }
        } else {
            for (number, document) in plain(name, text).into_iter().enumerate() {
                checked.add(Place::Item(number), None, Ok(document));
            }
        }
        Ok(Self {
            name: name.to_owned(),
            documents: checked.finish(name)?,
            sha256,
        })
    }
}

fn is_json_lines(name: &str, text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty());
    let is_object = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|v| v.is_object());
    is_named_json(name) || first.is_some_and(is_object)
}

fn plain(name: &str, text: &str) -> Vec<Document> {
    let mut parts = vec![String::new()];
    for line in text.split_inclusive('\n') {
        match parts.last_mut().filter(|_| line.trim_end() != SEPARATOR) {
            Some(part) => part.push_str(line),
            None => parts.push(String::new()),
        }
    }
    let texts = parts.iter().map(|part| part.trim());
    let texts = texts.filter(|text| !text.is_empty()).enumerate();
    texts
        .map(|(number, text)| Document {
            id: format!("{name}:{number}"),
            text: text.to_owned(),
        })
        .collect()
}

fn json_document(name: &str, place: Place, value: &Value) -> Result<Document, String> {
    let text = text_at(value, "text")?.trim().to_owned();
    let id = match value.get("id") {
        None | Some(Value::Null) => match place {
            Place::Line(number) | Place::Item(number) => format!("{name}:{number}"),
        },
        Some(Value::String(id)) if !id.trim().is_empty() => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        Some(_) => return Err("the field `id` must be a string or a number".to_owned()),
    };
    Ok(Document { id, text })
}

fn check_ids(files: &[Documents]) -> Result<(), PromptError> {
    let mut seen: HashMap<&str, &str> = HashMap::new();
    for file in files {
        for document in &file.documents {
            if let Some(first) = seen.insert(&document.id, &file.name) {
                return Err(PromptError::SameId {
                    id: document.id.clone(),
                    first: first.to_owned(),
                    second: file.name.clone(),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(name: &str, text: &str) -> Vec<(String, String)> {
        let parsed = Documents::parse(name, text).unwrap().documents;
        parsed.into_iter().map(|d| (d.id, d.text)).collect()
    }

    fn pair(id: &str, text: &str) -> (String, String) {
        (id.to_owned(), text.to_owned())
    }

    #[test]
    fn a_line_of_three_hyphens_parts_documents() {
        let text = "\u{feff}---\none\n\ntwo --- three\n----\n---\r\n\n \n---  \n  four\n";
        assert_eq!(
            documents("a.txt", text),
            [
                pair("a.txt:0", "one\n\ntwo --- three\n----"),
                pair("a.txt:1", "four")
            ]
        );
        assert_eq!(documents("b", "one"), [pair("b:0", "one")]);
    }

    #[test]
    fn json_lines_are_told_by_name_or_look() {
        let text = "\n{\"text\": \" one\\n\", \"n\": 1}\n{\"id\": 7, \"text\": \"two\"}\n{\"id\": \"x\", \"text\": \"---\"}\n";
        for name in ["a.jsonl", "a.txt"] {
            assert_eq!(
                documents(name, text),
                [
                    pair(&format!("{name}:2"), "one"),
                    pair("7", "two"),
                    pair("x", "---")
                ]
            );
        }
        // A text that only begins like one is a text.
        assert_eq!(documents("a.txt", "{one}").len(), 1);
    }

    #[test]
    fn every_bad_line_is_reported_at_once() {
        let text = "{\"text\": \"one\"}\ntwo\n{\"text\": 3}\n{\"txt\": \"\"}\n{\"text\": \" \"}\n{\"text\": \"x\", \"id\": []}";
        let message = Documents::parse("a.jsonl", text).unwrap_err().to_string();
        assert!(
            message.starts_with("a.jsonl: 5 problems in the texts\n  line 2: not valid JSON"),
            "{message}"
        );
        for part in [
            "line 3: the field `text` must",
            "line 4: the field `text` is missing",
            "line 5: the field `text` is empty",
            "line 6: the field `id`",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }

    #[test]
    fn nothing_is_an_error() {
        for (name, text) in [("a.txt", ""), ("a.txt", "---\n \n---"), ("a.jsonl", "\n")] {
            assert!(matches!(
                Documents::parse(name, text),
                Err(PromptError::Empty { .. })
            ));
        }
    }

    #[test]
    fn files_are_read_in_order_and_share_no_id() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a.txt", "b.jsonl"].map(|name| folder.path().join(name));
        std::fs::write(&a, "one\n---\ntwo").unwrap();
        std::fs::write(&b, "{\"text\": \"three\"}").unwrap();
        let files = Documents::read_all(&[a.clone(), b, PathBuf::from("neutral")]).unwrap();
        let counts: Vec<usize> = files.iter().map(|file| file.documents.len()).collect();
        assert_eq!(counts[..2], [2, 1]);
        assert_eq!(files[2], Documents::bundled().unwrap());
        assert_eq!(files[0].sha256, sha256_hex(b"one\n---\ntwo"));
        let message = Documents::read_all(&[a.clone(), a])
            .unwrap_err()
            .to_string();
        assert!(message.contains("a.txt:0"), "{message}");
        let missing = Documents::read_all(&[folder.path().join("none.txt")]).unwrap_err();
        assert!(missing.to_string().contains("none.txt"), "{missing}");
        std::fs::write(folder.path().join("c.txt"), [0xff, 0xfe]).unwrap();
        let error = Documents::read(&folder.path().join("c.txt")).unwrap_err();
        assert!(error.to_string().contains("UTF-8"), "{error}");
    }
}
