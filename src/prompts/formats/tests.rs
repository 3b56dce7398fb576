use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};

use super::super::place::Found;
use super::super::prompt::Prompt;
use super::super::set::PromptSet;

fn parse(text: &str) -> Vec<Prompt> {
    PromptSet::parse("t", text).unwrap().prompts
}

fn flaw(text: &str) -> String {
    PromptSet::parse("t", text).unwrap_err().to_string()
}

const RELATION: &str = r#"{
    "name": "river of city",
    "prompt_templates": ["{} lies on the river"],
    "prompt_templates_zs": ["Which river flows through {}? It is the", "{} lies on the"],
    "properties": {"relation_type": "factual"},
    "samples": [
        {"subject": "Bonn", "object": "Rhine"},
        {"subject": "Ulm", "object": "Danube"},
        {"subject": "Ulm", "object": "Blau"}
    ]
}"#;

#[test]
fn a_relation_of_lre() {
    let prompts = parse(RELATION);
    let ids: Vec<&str> = prompts.iter().map(|prompt| prompt.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "river of city: Bonn",
            "river of city: Ulm",
            "river of city: Ulm (2)"
        ]
    );
    let bonn = &prompts[0];
    assert_eq!(bonn.prompt, "Which river flows through Bonn? It is the");
    assert_eq!(
        (bonn.place.span.clone(), bonn.place.found),
        (26..30, Found::Given)
    );
    assert_eq!(
        (bonn.target.as_str(), bonn.relation.as_deref()),
        ("Rhine", Some("river of city"))
    );
    let without = RELATION.replace("prompt_templates_zs", "other");
    assert_eq!(parse(&without)[0].prompt, "Bonn lies on the river");
    let wrong = RELATION.replace("prompt_templates", "templates");
    assert!(flaw(&wrong).contains("needs `prompt_templates_zs` or `prompt_templates`"));
    let wrong = RELATION.replacen("\"object\"", "\"obj\"", 1);
    let flaw = flaw(&wrong);
    assert!(
        flaw.contains("item 0")
            && flaw.contains("the field `object` is missing; found obj, subject"),
        "{flaw}"
    );
}

#[test]
fn a_folder_of_relations() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("factual")).unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("factual/river.json", RELATION);
    write(
        "a.json",
        &RELATION.replace("river of city", "stream of city"),
    );
    write("README.md", "nothing to read");
    let set = PromptSet::read(dir.path()).unwrap();
    assert_eq!(set.prompts.len(), 6);
    assert_eq!(set.prompts[0].id, "stream of city: Bonn");
    let sha256 = set.sha256;
    write(
        "a.json",
        &RELATION.replace("river of city", "stream of cities"),
    );
    assert_ne!(PromptSet::read(dir.path()).unwrap().sha256, sha256);
    write("b.json", RELATION);
    let error = PromptSet::read(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("two of its files have the prompt \"river of city: Bonn\""),
        "{error}"
    );
    let empty = tempfile::tempdir().unwrap();
    assert!(
        PromptSet::read(empty.path())
            .unwrap_err()
            .to_string()
            .contains("holds no prompts")
    );
}

#[test]
fn counterfact_tracing_says_where_the_subject_stands_and_what_else_could_be_answered() {
    let line = r#"{"relation": "The river of {}", "relation_prefix": "The river of", "relation_suffix": " is the", "prompt":
        "The river of Bonn is the", "relation_id": "P1", "subject": " Bonn", "target_true": " Rhine", "target_false": " Danube"}"#;
    let line = line.replace('\n', " ");
    let first = line
        .replace("\"The river of\"", "\"\"")
        .replace("\" Bonn\"", "\"Bonn\"");
    let prompts = parse(&format!("{line}\n{first}"));
    let bonn = &prompts[0];
    assert_eq!(
        (bonn.id.as_str(), bonn.prompt.as_str()),
        ("line 1: Bonn", "The river of Bonn is the")
    );
    assert_eq!(
        (bonn.place.span.clone(), bonn.place.found),
        (13..17, Found::Given)
    );
    assert_eq!(
        (bonn.target.as_str(), bonn.relation.as_deref()),
        ("Rhine", Some("P1"))
    );
    let other = bonn.counterfactual.as_ref().unwrap();
    assert_eq!((other.target.as_str(), &other.question), ("Danube", &None));
    assert_eq!(
        (prompts[1].prompt.as_str(), prompts[1].place.span.clone()),
        ("Bonn is the", 0..4)
    );
    let wrong = flaw(&line.replace("target_false", "target"));
    assert!(
        wrong.contains("the field `target_false` is missing; found"),
        "{wrong}"
    );
}

#[test]
fn patterns_of_t_rex_and_pararel() {
    let line = r#"{"sub_label": "Bonn", "obj_label": "Rhine", "predicate_id": "P2", "uuid": "u-1", "template": "[X] lies on the [Y] ."}"#;
    let bonn = &parse(line)[0];
    assert_eq!(
        (bonn.id.as_str(), bonn.prompt.as_str(), bonn.target.as_str()),
        ("u-1", "Bonn lies on the", "Rhine")
    );
    assert_eq!(
        (bonn.place.found, bonn.relation.as_deref()),
        (Found::Given, Some("P2"))
    );
    let pararel = line
        .replace("template", "pattern")
        .replace("\"uuid\": \"u-1\", ", "");
    assert_eq!(parse(&pararel)[0].id, "line 1: Bonn");
    for (pattern, why) in [
        (
            "The [Y] flows through [X] .",
            "must have [X] once, and then [Y] at its end",
        ),
        ("[X] lies there", "has no [Y]"),
    ] {
        let wrong = flaw(&line.replace("[X] lies on the [Y] .", pattern));
        assert!(wrong.contains(why), "{wrong}");
    }
    let wrong = flaw(&line.replace("template", "templates"));
    assert!(wrong.contains("needs `template` or `pattern`"), "{wrong}");
}

const QUESTIONS: &str = "id\tsubj\tprop\tobj\ts_pop\tquestion\tpossible_answers\n\
    7\tBonn\triver\tRhine\t1234\tWhich river flows through Bonn?\t\"[\"\"Rhine\"\", \"\"the Rhine\"\", \"\"Rhein\"\"]\"\n";

#[test]
fn questions_of_popqa_have_several_right_answers() {
    let bonn = &parse(QUESTIONS)[0];
    assert_eq!(
        (bonn.id.as_str(), bonn.prompt.as_str()),
        ("7", "Q: Which river flows through Bonn? A:")
    );
    assert_eq!(
        (
            bonn.subject.as_str(),
            bonn.target.as_str(),
            bonn.relation.as_deref()
        ),
        ("Bonn", "Rhine", Some("river"))
    );
    assert_eq!(bonn.aliases, ["Rhine", "the Rhine", "Rhein"]);
    let wrong = flaw(&QUESTIONS.replace("\"[\"\"Rhine", "\"[7, \"\"Rhine"));
    assert!(
        wrong.contains("line 2 (7): the field `aliases` must be a list of texts"),
        "{wrong}"
    );
    let wrong = flaw(&QUESTIONS.replace("\tquestion\t", "\tasked\t"));
    assert!(wrong.contains("the field `question` is missing"), "{wrong}");
}

/// A file of the hub with these columns, one row.
fn table(path: &Path, columns: &[(&str, &str)]) {
    let columns = columns.iter().map(|(name, value)| {
        let column: ArrayRef = Arc::new(StringArray::from(vec![*value]));
        (*name, column)
    });
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = fs::File::create(path).unwrap();
    let mut writer = ::parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn a_table_of_the_hub_is_read_as_its_lines_would_be() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("train.parquet");
    #[rustfmt::skip]
    let columns = [
        ("relation_prefix", "The river of"), ("relation_suffix", " is the"), ("subject", " Bonn"), ("relation_id", "P1"),
        ("target_true", " Rhine"), ("target_false", " Danube"),
    ];
    table(&path, &columns);
    let set = PromptSet::read(&path).unwrap();
    assert_eq!(set.prompts[0].prompt, "The river of Bonn is the");
    assert_eq!(set.prompts[0].id, "item 0: Bonn");
    assert_eq!(
        set.sha256,
        crate::hub::sha256_hex(&fs::read(&path).unwrap())
    );
    table(&path, &columns[..5]);
    let error = PromptSet::read(&path).unwrap_err().to_string();
    assert!(
        error.contains("item 0") && error.contains("target_false"),
        "{error}"
    );
    fs::write(&path, b"PAR1 and nothing else").unwrap();
    let error = PromptSet::read(&path).unwrap_err().to_string();
    assert!(error.contains("the Parquet file cannot be read"), "{error}");
}
