//! `docs/schema`: what the JSON files of a run hold, for programs that read them. The schemas are made of the structs that
//! are written, of their types and of what stands above each field, so that none of them can say something else.

use std::path::Path;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use super::RunInfo;
use super::claims::Claims;
use super::classes::Classes;
use crate::experiment::Effect;
use crate::experiment::attributes::AttributeEffect;

/// The variable that has the files written instead of compared.
const WRITE: &str = "GATELENS_WRITE_SCHEMAS";

/// The contents of `effects.json`: what editing classes of neurons changes, beside matched random sets.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is made")]
enum Effects {
    /// What `ablate` and `sweep` write.
    OfPrompts(Vec<Effect>),
    /// What `attributes` writes.
    OfSubjects(Vec<AttributeEffect>),
}

/// The schema of the file `name`, as a program that reads it needs it: what is always there is required.
fn schema_of<T: JsonSchema>(name: &str) -> Schema {
    let settings = SchemaSettings::draft2020_12()
        .for_serialize()
        .with_transform(RecursiveTransform(in_one_line))
        .with_transform(RecursiveTransform(as_written))
        .with_transform(RecursiveTransform(closed));
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_string(), json!(name));
    schema
}

/// Descriptions without the line breaks of the source.
fn in_one_line(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
}

/// What is about reading a file goes: values for keys that are not there, and null for a key that is absent where it has none.
fn as_written(schema: &mut Schema) {
    schema.remove("default");
    schema.remove("readOnly");
    let required = schema.get("required").cloned().unwrap_or_default();
    let is_required = |key: &String| {
        required
            .as_array()
            .is_some_and(|all| all.contains(&json!(key)))
    };
    let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
    let may_be_absent = fields
        .into_iter()
        .flatten()
        .filter(|(key, _)| !is_required(key));
    for (_, field) in may_be_absent {
        let first = |key: &str| field.get(key)?.get(0).cloned();
        let (kind, schema) = (first("type"), first("anyOf"));
        if let Some(kind) = kind {
            field["type"] = kind;
        }
        if let (Some(Value::Object(schema)), Some(field)) = (schema, field.as_object_mut()) {
            field.remove("anyOf");
            field.extend(schema);
        }
    }
}

/// An object of named fields has no others: a key that the schema lacks is found where a file is held against it.
fn closed(schema: &mut Schema) {
    if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
        schema.insert("additionalProperties".to_string(), json!(false));
    }
}

/// The keys of the objects in a schema that are not described in words that a reader of the file knows.
fn undescribed(schema: &Value) -> Vec<String> {
    let Some(object) = schema.as_object() else {
        let items = schema.as_array().into_iter().flatten();
        return items.flat_map(undescribed).collect();
    };
    let fields = schema["properties"].as_object().into_iter().flatten();
    let is_described = |field: &Value| {
        let text = field["description"].as_str();
        text.is_some_and(|text| !text.is_empty() && !text.contains("[`"))
    };
    let own = fields.filter(|(_, field)| !is_described(field));
    let own = own.map(|(key, _)| key.clone());
    own.chain(object.values().flat_map(undescribed)).collect()
}

#[test]
fn the_schemas_are_those_of_the_structs() {
    let schemas = [
        ("run", schema_of::<RunInfo>("run.json")),
        ("effects", schema_of::<Effects>("effects.json")),
        ("claims", schema_of::<Claims>("claims.json")),
        ("classes", schema_of::<Classes>("classes.json")),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema");
    for (name, schema) in schemas {
        let found = undescribed(schema.as_value());
        assert!(
            found.is_empty(),
            "{name}.json: what is {}?",
            found.join(", ")
        );
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        let path = folder.join(format!("{name}.schema.json"));
        if std::env::var_os(WRITE).is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        // As git has it, which may write other ends of lines.
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there.replace("\r\n", "\n") == text,
            "{} is not what the structs say; if they are right, make it again with\n  {WRITE}=1 cargo test --lib schema",
            path.display(),
        );
    }
}
