//! One JSON record -> one prompt, or all that is wrong with it.

use serde_json::Value;

use super::{Flaw, Prompt};

/// Where a record's shape keeps its five values: paths of field names.
struct Shape {
    id: &'static str,
    prompt: &'static str,
    subject: &'static str,
    target: &'static str,
    relation: &'static str,
    template: Template,
}

/// Whether `{}` in a prompt stands for the subject.
#[derive(PartialEq)]
enum Template {
    Filled,
    Literal,
}

const OWN: Shape = Shape {
    id: "id",
    prompt: "prompt",
    subject: "subject",
    target: "target",
    relation: "relation",
    template: Template::Literal,
};

const KNOWN_1000: Shape = Shape {
    id: "known_id",
    prompt: "prompt",
    subject: "subject",
    target: "attribute",
    relation: "relation_id",
    template: Template::Filled,
};

const COUNTERFACT: Shape = Shape {
    id: "case_id",
    prompt: "requested_rewrite.prompt",
    subject: "requested_rewrite.subject",
    target: "requested_rewrite.target_true.str",
    relation: "requested_rewrite.relation_id",
    template: Template::Filled,
};

fn shape_of(record: &Value) -> &'static Shape {
    if record.get("requested_rewrite").is_some() {
        &COUNTERFACT
    } else if record.get("attribute").is_some() {
        &KNOWN_1000
    } else {
        &OWN
    }
}

/// The record's id where it has one, and its prompt or all its flaws.
pub(super) fn read(record: &Value) -> (Option<String>, Result<Prompt, Vec<Flaw>>) {
    if !record.is_object() {
        return (None, Err(vec![Flaw::NotAnObject]));
    }
    let shape = shape_of(record);
    let mut flaws = Vec::new();
    let id = keep(id_at(record, shape.id), &mut flaws);
    let prompt = keep(text_at(record, shape.prompt), &mut flaws);
    let subject = keep(text_at(record, shape.subject), &mut flaws);
    let target = keep(text_at(record, shape.target), &mut flaws);
    let relation = match at(record, shape.relation) {
        None => None,
        Some(_) => keep(text_at(record, shape.relation), &mut flaws),
    };
    let prompt = match (&prompt, &subject) {
        (Some(prompt), Some(subject)) if shape.template == Template::Filled => {
            Some(prompt.replacen("{}", subject, 1))
        }
        _ => prompt,
    };
    check_prompt(prompt.as_deref(), subject.as_deref(), &mut flaws);
    let read = match (&id, prompt, subject, target) {
        (Some(id), Some(prompt), Some(subject), Some(target)) if flaws.is_empty() => Ok(Prompt {
            id: id.clone(),
            prompt,
            subject,
            target: target.trim().to_owned(),
            relation,
        }),
        _ => Err(flaws),
    };
    (id, read)
}

fn check_prompt(prompt: Option<&str>, subject: Option<&str>, flaws: &mut Vec<Flaw>) {
    let Some(prompt) = prompt else { return };
    if prompt.ends_with(char::is_whitespace) {
        flaws.push(Flaw::TrailingWhitespace);
    }
    if let Some(subject) = subject.filter(|subject| !prompt.contains(subject)) {
        flaws.push(Flaw::SubjectNotInPrompt(
            subject.to_owned(),
            prompt.to_owned(),
        ));
    }
}

fn keep<T>(value: Result<T, Flaw>, flaws: &mut Vec<Flaw>) -> Option<T> {
    value.map_err(|flaw| flaws.push(flaw)).ok()
}

/// The value at a dotted path; null counts as absent.
fn at<'a>(record: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.')
        .try_fold(record, |value, field| value.get(field))
        .filter(|value| !value.is_null())
}

pub(super) fn text_at(record: &Value, path: &'static str) -> Result<String, Flaw> {
    let text = at(record, path)
        .ok_or(Flaw::Missing(path))?
        .as_str()
        .ok_or(Flaw::NotText(path))?;
    if text.trim().is_empty() {
        return Err(Flaw::Empty(path));
    }
    Ok(text.to_owned())
}

/// Ids may be integers: the published files number their records.
fn id_at(record: &Value, path: &'static str) -> Result<String, Flaw> {
    match at(record, path) {
        Some(Value::Number(n)) if n.is_u64() => Ok(n.to_string()),
        _ => text_at(record, path),
    }
}
