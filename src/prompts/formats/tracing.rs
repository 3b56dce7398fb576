//! counterfact-tracing: CounterFact with `relation_prefix` + `subject` + `relation_suffix` as the prompt, and two answers, `target_true`
//! and `target_false`, all with the spaces before them.
//!
//! Source: the data set NeelNanda/counterfact-tracing of the Hugging Face hub.

use serde_json::{Value, json};

use super::super::error::Place;
use super::text;

/// A record of this format in the program's own shape; `None` where it is another.
pub fn convert(record: &Value, place: Place) -> Option<Result<Value, String>> {
    record.get("relation_prefix")?;
    Some(own(record, place))
}

fn own(record: &Value, place: Place) -> Result<Value, String> {
    let part = |field: &str| {
        record
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (prefix, suffix) = (part("relation_prefix"), part("relation_suffix"));
    let given = text(record, "subject")?;
    let subject = given.trim_start();
    let space = &given[..given.len() - subject.len()];
    let template = format!("{prefix}{space}{{}}{suffix}");
    let relation = text(record, "relation_id").or_else(|_| text(record, "relation"));
    Ok(json!({
        "id": format!("{place}: {subject}"),
        "prompt": format!("{prefix}{given}{suffix}"),
        "template": template,
        "subject": subject,
        "target": text(record, "target_true")?,
        "relation": relation.ok(),
        "counterfactual": {"target": text(record, "target_false")?},
    }))
}
