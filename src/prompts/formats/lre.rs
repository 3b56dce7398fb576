//! LRE: a file is a relation, one JSON object with `name`, `prompt_templates`, `prompt_templates_zs` and `samples` of `subject` and
//! `object`.
//!
//! A sample is asked by the first template that stands without examples (`prompt_templates_zs`), or else by the first one.
//!
//! Source: Hernandez et al. 2024, "Linearity of Relation Decoding in Transformer Language Models".

use std::collections::HashMap;

use serde_json::{Value, json};

use super::super::error::Place;
use super::super::file::content;
use super::{Placed, text};
use crate::hub::json;

/// The samples of a file of this format, in the program's own shape; `None` where it is another.
pub fn samples(text: &str) -> Option<Vec<Placed>> {
    let text = content(text).trim_start();
    if !text.starts_with('{') {
        return None;
    }
    let file = json::read(text.as_bytes()).ok()?;
    let samples = file.get("samples")?;
    Some(match (of_file(&file), samples.as_array()) {
        (Err(flaw), _) => vec![(Place::Line(1), Err(flaw))],
        (_, None) => vec![(
            Place::Line(1),
            Err("the field `samples` must be a list of objects with subject and object".to_owned()),
        )],
        (Ok(relation), Some(samples)) => {
            let mut seen = HashMap::new();
            let samples = samples.iter().enumerate();
            samples
                .map(|(at, sample)| (Place::Item(at), relation.record(sample, &mut seen)))
                .collect()
        }
    })
}

struct Relation<'f> {
    name: &'f str,
    template: &'f str,
}

fn of_file(file: &Value) -> Result<Relation<'_>, String> {
    let first = |field: &str| file.get(field)?.as_array()?.first()?.as_str();
    let template = first("prompt_templates_zs").or_else(|| first("prompt_templates"));
    let template = template.filter(|template| template.contains("{}"));
    Ok(Relation {
        name: text(file, "name")?,
        template: template.ok_or(
            "a file with `samples` is read as LRE, and needs `prompt_templates_zs` or `prompt_templates`, a list of texts with {}",
        )?,
    })
}

impl Relation<'_> {
    fn record(&self, sample: &Value, seen: &mut HashMap<String, usize>) -> Result<Value, String> {
        let (subject, object) = (text(sample, "subject")?, text(sample, "object")?);
        let times = seen.entry(subject.to_owned()).or_insert(0);
        *times += 1;
        let again = match times {
            1 => String::new(),
            times => format!(" ({times})"),
        };
        Ok(json!({
            "id": format!("{}: {subject}{again}", self.name),
            "prompt": self.template.trim_end().replacen("{}", subject, 1),
            "template": self.template.trim_end(),
            "subject": subject,
            "target": object,
            "relation": self.name,
        }))
    }
}
