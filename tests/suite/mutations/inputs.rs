//! What people write: prompts, texts, subjects, lists of neurons.

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use gatelens::hooks::NeuronSet;
use gatelens::prompts::{Documents, PromptSet, Subjects};

use super::bytes::{each, names};

/// Reads changed versions of `text` twice: the same each time, or an error that names the file.
fn check<T: Debug, E: std::error::Error>(
    name: &str,
    text: &str,
    cases: u64,
    read: impl Fn(&Path) -> Result<T, E>,
) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    read(&path).unwrap();
    each(&path, text.as_bytes(), 0..text.len(), cases, |_| {
        match (read(&path), read(&path)) {
            (Ok(one), Ok(other)) => assert_eq!(format!("{one:?}"), format!("{other:?}")),
            (Err(error), Err(_)) => names(&error.to_string(), &path),
            _ => panic!("read once, not twice"),
        }
    });
}

const LINES: &str = r#"{"id": "1", "prompt": "The capital of France is", "subject": "France", "target": " Paris", "relation": "capital"}
{"id": "2", "prompt": "Zürich lies in", "subject": "Zürich", "target": "Switzerland"}
"#;

const KNOWN: &str = r#"[{"known_id": 0, "subject": "Vinson Massif", "attribute": "Antarctica", "template": "{} is located in the continent of", "prediction": " Antarctica, in the", "prompt": "Vinson Massif is located in the continent of", "relation_id": "P30"}]"#;

const COUNTERFACT: &str = r#"[{"case_id": 0, "requested_rewrite": {"prompt": "The mother tongue of {} is", "relation_id": "P103", "target_new": {"str": "English", "id": "Q1860"}, "target_true": {"str": "French", "id": "Q150"}, "subject": "Danielle Darrieux"}}]"#;

#[test]
fn prompts() {
    for (name, text) in [
        ("prompts.jsonl", LINES),
        ("known_1000.json", KNOWN),
        ("counterfact.json", COUNTERFACT),
    ] {
        check(name, text, 1000, PromptSet::read);
    }
}

#[test]
fn texts() {
    let plain = "One document.\n---\nAnother one, über \u{1f600}.\n";
    check("texts.txt", plain, 800, Documents::read);
    let lines = "{\"text\": \"One.\", \"id\": \"a\"}\n{\"text\": \"Two.\"}\n";
    check("texts.jsonl", lines, 800, Documents::read);
}

#[test]
fn subjects() {
    let lines =
        "{\"subject\": \"Paris\", \"text\": \"Paris is a city in France with many bridges.\"}\n";
    check("subjects.jsonl", lines, 800, Subjects::read);
    let table = "subject,paragraphs\nParis,\"A city, in France\"\nRome,A city in Italy\n";
    check("subjects.csv", table, 800, Subjects::read);
}

#[test]
fn lists_of_neurons() {
    let text = "# mine\n0.3\n1.17\n2.8\n";
    check("neurons.txt", text, 1500, |path| {
        NeuronSet::read(path, 4, 80)
    });
}
