//! T-REx of LAMA, and ParaRel: `sub_label`, `obj_label` and a pattern with `[X]` for the subject and `[Y]` for the answer, in `template` or
//! `pattern`. The answer must stand at its end, since a model reads from left to right.
//!
//! Source: Petroni et al. 2019, "Language Models as Knowledge Bases?"; Elazar et al. 2021, "Measuring and Improving Consistency in Pretrained
//! Language Models".

use serde_json::{Value, json};

use super::super::error::Place;
use super::text;

const SUBJECT: &str = "[X]";
const ANSWER: &str = "[Y]";

/// A record of this format in the program's own shape; `None` where it is another.
pub fn convert(record: &Value, place: Place) -> Option<Result<Value, String>> {
    record.get("sub_label")?;
    Some(own(record, place))
}

fn own(record: &Value, place: Place) -> Result<Value, String> {
    let pattern = text(record, "template").or_else(|_| text(record, "pattern"));
    let pattern = pattern.map_err(|_| {
        "a record with `sub_label` needs `template` or `pattern`, a text with [X] and [Y]"
            .to_owned()
    })?;
    let (question, rest) = pattern
        .split_once(ANSWER)
        .ok_or_else(|| format!("the pattern {pattern:?} has no [Y]"))?;
    let ends_there = rest
        .chars()
        .all(|c| c.is_whitespace() || c.is_ascii_punctuation());
    if !ends_there || question.matches(SUBJECT).count() != 1 {
        return Err(format!(
            "the pattern {pattern:?} must have [X] once, and then [Y] at its end; leave such patterns out"
        ));
    }
    let template = question.trim_end().replacen(SUBJECT, "{}", 1);
    let subject = text(record, "sub_label")?;
    let relation = text(record, "predicate_id").or_else(|_| text(record, "relation"));
    Ok(json!({
        "id": text(record, "uuid").map_or(format!("{place}: {subject}"), str::to_owned),
        "prompt": template.replacen("{}", subject, 1),
        "template": template,
        "subject": subject,
        "target": text(record, "obj_label")?,
        "relation": relation.ok(),
    }))
}
