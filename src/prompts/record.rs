//! One JSON record -> one prompt, or all that is wrong with it.

use serde_json::{Value, json};

use super::place::{Found, SubjectPlace};
use super::prompt::{Counterfactual, Prompt, Question};
use super::records::NOT_AN_OBJECT;

/// The same fact in other words, in every shape.
const REPHRASED: &str = "rephrased";

/// Other right answers, in every shape.
const ALIASES: &str = "aliases";

/// The prompt with `{}` in the subject's place, in every shape.
const TEMPLATE: &str = "template";

/// The fact that it is compared with, in every shape.
const COUNTERFACTUAL: &str = "counterfactual";

/// Where a record's shape keeps its values: paths of field names.
struct Shape {
    id: &'static str,
    prompt: &'static str,
    subject: &'static str,
    target: &'static str,
    relation: &'static str,
    /// Another answer, of a shape that has one.
    other_target: Option<&'static str>,
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
    other_target: None,
    template: Template::Literal,
};

const KNOWN_1000: Shape = Shape {
    id: "known_id",
    target: "attribute",
    relation: "relation_id",
    template: Template::Filled,
    ..OWN
};

const COUNTERFACT: Shape = Shape {
    id: "case_id",
    prompt: "requested_rewrite.prompt",
    subject: "requested_rewrite.subject",
    target: "requested_rewrite.target_true.str",
    relation: "requested_rewrite.relation_id",
    other_target: Some("requested_rewrite.target_new.str"),
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
pub(super) fn read(record: &Value) -> (Option<String>, Result<Prompt, Vec<String>>) {
    if !record.is_object() {
        return (None, Err(vec![NOT_AN_OBJECT.to_owned()]));
    }
    let shape = shape_of(record);
    let mut flaws = Vec::new();
    let id = keep(id_at(record, shape.id), &mut flaws);
    let prompt = keep(text_at(record, shape.prompt), &mut flaws);
    let subject = keep(text_at(record, shape.subject), &mut flaws);
    let target = keep(text_at(record, shape.target), &mut flaws);
    let relation = keep(optional(record, shape.relation), &mut flaws).flatten();
    let rephrased = keep(optional(record, REPHRASED), &mut flaws).flatten();
    let aliases = keep(aliases(record), &mut flaws);
    let counterfactual = counterfactual(record, shape, target.as_deref(), &mut flaws);
    flaws.extend(
        prompt
            .as_ref()
            .and_then(|prompt| open_end("prompt", prompt)),
    );
    let placed = match (prompt, &subject) {
        (Some(prompt), Some(subject)) => keep(placed(record, shape, prompt, subject), &mut flaws),
        _ => None,
    };
    let read = match (&id, placed, subject, target) {
        (Some(id), Some((prompt, place)), Some(subject), Some(target)) if flaws.is_empty() => {
            let prompt = Prompt {
                id: id.clone(),
                prompt,
                subject,
                place,
                target: target.trim().to_owned(),
                relation,
                rephrased,
                counterfactual,
                aliases: aliases.unwrap_or_default(),
            };
            match flaws_of_rephrased(&prompt) {
                flaws if flaws.is_empty() => Ok(prompt),
                flaws => Err(flaws),
            }
        }
        _ => Err(flaws),
    };
    (id, read)
}

/// A prompt as a record of the program's own shape.
pub(super) fn write(prompt: &Prompt) -> Value {
    let Prompt { place, subject, .. } = prompt;
    let text = &prompt.prompt;
    let is_found = SubjectPlace::find(text, subject).as_ref() == Some(place);
    let around = || Some((text.get(..place.span.start)?, text.get(place.span.end..)?));
    let around = around().filter(|_| !is_found);
    let counterfactual = prompt.counterfactual.as_ref().map(|other| {
        let target = &other.target;
        match &other.question {
            Some(Question {
                prompt, subject, ..
            }) => {
                json!({"prompt": prompt, "subject": subject, "target": target})
            }
            None => json!({"target": target}),
        }
    });
    json!({
        OWN.id: prompt.id,
        OWN.prompt: text,
        OWN.subject: subject,
        OWN.target: prompt.target,
        OWN.relation: prompt.relation,
        TEMPLATE: around.map(|(before, behind)| format!("{before}{HOLE}{behind}")),
        REPHRASED: prompt.rephrased,
        ALIASES: prompt.aliases,
        COUNTERFACTUAL: counterfactual,
    })
}

/// Other right answers.
fn aliases(record: &Value) -> Result<Vec<String>, String> {
    let Some(given) = at(record, ALIASES) else {
        return Ok(Vec::new());
    };
    let text = |value: &Value| {
        let text = value
            .as_str()
            .map(str::trim)
            .filter(|text| !text.is_empty());
        text.map(str::to_owned)
    };
    let texts = given
        .as_array()
        .and_then(|list| list.iter().map(text).collect());
    texts.ok_or_else(|| format!("the field `{ALIASES}` must be a list of texts that are not empty"))
}

/// What the fact is compared with; `target` is its own answer.
fn counterfactual(
    record: &Value,
    shape: &Shape,
    target: Option<&str>,
    flaws: &mut Vec<String>,
) -> Option<Counterfactual> {
    let (question, other) = match (at(record, COUNTERFACTUAL), shape.other_target) {
        // Another answer alone.
        (Some(given), _) if given.get("prompt").is_none() && given.get("subject").is_none() => {
            let path = format!("{COUNTERFACTUAL}.target");
            (None, keep(text_at(record, &path), flaws)?)
        }
        (Some(_), _) => {
            let field = |name: &str| text_at(record, &format!("{COUNTERFACTUAL}.{name}"));
            let [prompt, subject, other] =
                ["prompt", "subject", "target"].map(|name| keep(field(name), flaws));
            let (prompt, subject) = (prompt?, subject?);
            flaws.extend(open_end("counterfactual prompt", &prompt));
            let place =
                SubjectPlace::find(&prompt, &subject).ok_or_else(|| absent(&prompt, &subject));
            let question = Question {
                place: keep(place, flaws)?,
                prompt,
                subject,
            };
            (Some(question), other?)
        }
        (None, Some(path)) => (None, keep(optional(record, path), flaws).flatten()?),
        (None, None) => return None,
    };
    let other = other.trim().to_owned();
    if Some(other.as_str()) == target.map(str::trim) {
        flaws.push(format!("the counterfactual has the same target {other:?}"));
    }
    Some(Counterfactual {
        question,
        target: other,
    })
}

/// What is wrong with the end of a prompt: `" " + target` would follow the space, and be cut into other tokens than in
/// running text.
fn open_end(what: &str, prompt: &str) -> Option<String> {
    prompt.ends_with(char::is_whitespace).then(|| {
        format!(
            "the {what} ends in white space; end it with its last word, the space before the target is added"
        )
    })
}

/// What is wrong with the second phrasing. Nothing says where the subject stands in it, so there must be no doubt.
fn flaws_of_rephrased(prompt: &Prompt) -> Vec<String> {
    let Prompt {
        subject, target, ..
    } = prompt;
    let Some(rephrased) = &prompt.rephrased else {
        return Vec::new();
    };
    let place =
        |wanted: &str, text: &str| SubjectPlace::find(text, wanted).map(|place| place.found);
    let [lower, answer] = [rephrased, target].map(|text| text.to_lowercase());
    let answers = place(&answer, &lower).is_some_and(|found| found != Found::InsideWord);
    let flaws = [
        open_end("field `rephrased`", rephrased),
        (*rephrased == prompt.prompt)
            .then(|| "the field `rephrased` is the prompt itself; write other words".to_owned()),
        (place(subject, rephrased) != Some(Found::OneWord)).then(|| {
            format!(
                "the subject {subject:?} must stand in the field `rephrased` once, as a word of its own"
            )
        }),
        answers.then(|| format!("the target {target:?} occurs in the field `rephrased`")),
    ];
    flaws.into_iter().flatten().collect()
}

/// What stands for the subject.
const HOLE: &str = "{}";

/// The prompt with its subject, and the subject's place: that of `{}` in the prompt or in the template, else looked for.
fn placed(
    record: &Value,
    shape: &Shape,
    prompt: String,
    subject: &str,
) -> Result<(String, SubjectPlace), String> {
    if shape.template == Template::Filled
        && let Some(start) = hole(&prompt, shape.prompt)?
    {
        let filled = prompt.replacen(HOLE, subject, 1);
        return Ok((filled, SubjectPlace::given(start, subject)));
    }
    let template = record.get(TEMPLATE).and_then(Value::as_str);
    let start = template.map_or(Ok(None), |template| hole(template, TEMPLATE))?;
    let given = start.map(|start| SubjectPlace::given(start, subject));
    // The prompt of known_1000 may go on where its template ends.
    let fits = |place: &SubjectPlace| {
        let before = template.and_then(|template| template.get(..place.span.start));
        prompt.get(..place.span.start) == before && prompt.get(place.span.clone()) == Some(subject)
    };
    let place = match given {
        Some(given) if fits(&given) => Some(given),
        given => SubjectPlace::find(&prompt, subject).map(|place| match given {
            Some(_) => SubjectPlace {
                found: Found::OtherTemplate,
                ..place
            },
            None => place,
        }),
    };
    let place = place.ok_or_else(|| absent(&prompt, subject))?;
    Ok((prompt, place))
}

/// The place of the one `{}`.
fn hole(template: &str, field: &str) -> Result<Option<usize>, String> {
    match template.matches(HOLE).count() {
        0 | 1 => Ok(template.find(HOLE)),
        count => Err(format!(
            "the field `{field}` has {{}} {count} times; write it once, in the subject's place"
        )),
    }
}

fn absent(prompt: &str, subject: &str) -> String {
    let [lower, wanted] = [prompt, subject].map(str::to_lowercase);
    if lower.contains(&wanted) {
        return format!(
            "the subject {subject:?} stands in the prompt {prompt:?} with other capitals; write it as it stands there"
        );
    }
    format!("the subject {subject:?} does not occur in the prompt {prompt:?}")
}

fn keep<T>(value: Result<T, String>, flaws: &mut Vec<String>) -> Option<T> {
    value.map_err(|flaw| flaws.push(flaw)).ok()
}

/// The value at a dotted path; null counts as absent.
fn at<'a>(record: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.')
        .try_fold(record, |value, field| value.get(field))
        .filter(|value| !value.is_null())
}

/// A text that is not empty.
pub(super) fn text_field<'v>(record: &'v Value, path: &str) -> Result<&'v str, String> {
    let value = at(record, path).ok_or_else(|| missing(record, path))?;
    let text = value
        .as_str()
        .ok_or(format!("the field `{path}` must be a string"))?;
    if text.trim().is_empty() {
        return Err(empty(path));
    }
    Ok(text)
}

/// The same as a text of its own.
pub(super) fn text_at(record: &Value, path: &str) -> Result<String, String> {
    text_field(record, path).map(str::to_owned)
}

/// A text that may be absent, but not empty.
fn optional(record: &Value, path: &str) -> Result<Option<String>, String> {
    at(record, path).map(|_| text_at(record, path)).transpose()
}

/// What is wrong with a field that holds nothing but white space.
pub(super) fn empty(field: &str) -> String {
    format!("the field `{field}` is empty")
}

fn missing(record: &Value, field: &str) -> String {
    // The object that the path's last field should be in, or as near as it gets.
    let objects = std::iter::successors(Some((record, field)), |(value, path)| {
        let (name, rest) = path.split_once('.')?;
        Some((value.get(name)?, rest))
    });
    let object = objects.filter_map(|(value, _)| value.as_object()).last();
    let found: Vec<&str> = object
        .into_iter()
        .flat_map(|object| object.keys().map(String::as_str))
        .collect();
    match found[..] {
        [] => format!("the field `{field}` is missing; found nothing"),
        _ => format!("the field `{field}` is missing; found {}", found.join(", ")),
    }
}

/// Ids may be integers: the published files number their records.
fn id_at(record: &Value, path: &str) -> Result<String, String> {
    match at(record, path) {
        Some(Value::Number(n)) if n.is_u64() => Ok(n.to_string()),
        _ => text_at(record, path),
    }
}
