use super::*;

fn pairs(name: &str, text: &str) -> Vec<(String, String)> {
    let subjects = Subjects::parse(name, text).unwrap().subjects;
    subjects.into_iter().map(|s| (s.subject, s.text)).collect()
}

fn pair(subject: &str, text: &str) -> (String, String) {
    (subject.to_owned(), text.to_owned())
}

fn error(name: &str, text: &str) -> String {
    Subjects::parse(name, text).unwrap_err().to_string()
}

fn prompts(lines: &[(&str, &str, &str)]) -> PromptSet {
    let prompts = lines
        .iter()
        .map(|(id, prompt, subject)| Prompt::new(id, prompt, subject, "x").unwrap());
    PromptSet {
        name: "asked".to_owned(),
        prompts: prompts.collect(),
        sha256: "hash".to_owned(),
    }
}

#[test]
fn both_formats_are_read_and_told_by_name_or_look() {
    let json = "\u{feff}\n{\"subject\": \"Oslo\", \"text\": \"A city, \\\"old\\\".\", \"n\": 1}\n{\"subject\": \"Rome\", \"text\": \"Older.\"}\n";
    let expected = [pair("Oslo", "A city, \"old\"."), pair("Rome", "Older.")];
    assert_eq!(pairs("a.jsonl", json), expected);
    assert_eq!(pairs("a.txt", json), expected);
    let array = "[{\"subject\": \"Oslo\", \"text\": \"A city, \\\"old\\\".\"}, {\"subject\": \"Rome\", \"text\": \"Older.\"}]";
    assert_eq!(pairs("a", array), expected);
    // As pandas writes it, with its index.
    let csv = "\u{feff},subject,paragraphs\n0,Oslo,\"A city, \"\"old\"\".\"\n1,Rome,Older.\n";
    assert_eq!(pairs("a.csv", csv), expected);
    assert_eq!(pairs("a", csv), expected);
    let lines = "paragraphs,subject\r\n\"One line,\nand another.\",Oslo\r\n";
    assert_eq!(
        pairs("a.csv", lines),
        [pair("Oslo", "One line,\nand another.")]
    );
}

#[test]
fn every_problem_of_json_lines_is_reported_at_once() {
    let text = [
        r#"{"subject": "Oslo", "text": "A city."}"#,
        r#"{"subject": "Oslo", "text": "Again."}"#,
        "",
        r#"{"subject": "Rome", "text": " "}"#,
        r#"{"text": 3}"#,
        "{broken",
        "[1]",
    ]
    .join("\n");
    assert_eq!(
        error("a.jsonl", &text),
        "a.jsonl: 6 problems in the subjects\n  \
         line 2 (Oslo): the subject already has a text at line 1\n  \
         line 4: the field `text` is empty\n  \
         line 5: the field `subject` is missing; found text\n  \
         line 5: the field `text` must be a string\n  \
         line 6: not valid JSON: key must be a string at line 1 column 2\n  \
         line 7: not a JSON object"
    );
}

#[test]
fn every_problem_of_csv_is_reported_at_once() {
    let text = "subject,paragraphs\nOslo,\"A city\nby the sea.\"\nOslo,Again.\nRome,\n,Nothing.\nParis,a,b\nBern,A town.\n";
    let message = error("a.csv", text);
    for part in [
        "a.csv: 4 problems in the subjects",
        "line 4 (Oslo): the subject already has a text at line 2",
        "line 5: the field `paragraphs` is empty",
        "line 6: the field `subject` is empty",
        "line 7: not valid CSV: ",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn csv_of_another_shape_is_refused() {
    let message = error("a.csv", "subject,text\nOslo,A city.\n");
    assert!(
        message.contains("the columns subject, text, and must have subject and paragraphs"),
        "{message}"
    );
    let open = "subject,paragraphs\nOslo,\"A city.\nRome,Older.\n";
    assert!(error("a.csv", open).contains("odd number of quotation marks"));
}

#[test]
fn nothing_is_an_error() {
    for (name, text) in [
        ("a.jsonl", "\n"),
        ("a.json", "[]"),
        ("a.csv", ""),
        ("a.csv", "subject,paragraphs\n"),
    ] {
        let found = Subjects::parse(name, text);
        assert!(matches!(found, Err(PromptError::Empty { .. })), "{found:?}");
    }
    let missing = Subjects::read(Path::new("no/such.csv")).unwrap_err();
    assert!(missing.to_string().contains("no/such.csv"));
}

#[test]
fn prompts_meet_their_subjects_once_each() {
    let subjects = Subjects::parse(
        "texts",
        "subject,paragraphs\nOslo,A city.\nRome,Older.\nBern,A town.\n",
    )
    .unwrap();
    let set = prompts(&[
        ("a", "The city of Rome is in", "Rome"),
        ("b", "Paris is in", "Paris"),
        ("c", "The city of Rome lies in", "Rome"),
        ("d", "Rome is in", "Rome"),
        ("e", "Oslo beats Oslo in", "Oslo"),
        ("f", "Nice and Paris", "Paris"),
        ("g", "rome is in", "rome"),
    ]);
    let found = subjects.of_prompts(set.clone(), MissingText::Skip).unwrap();
    let ids: Vec<&str> = found
        .prompts
        .prompts
        .iter()
        .map(|p| p.id.as_str())
        .collect();
    assert_eq!(ids, ["a", "d", "e"]);
    assert_eq!(found.prompts.prompts[2].up_to_subject(), "Oslo beats Oslo");
    assert_eq!(found.texts, [1, 1, 0]);
    assert_eq!(found.without_text, ["b", "f", "g"]);
    assert_eq!(
        (found.repeated, found.unused),
        (vec!["c".to_owned()], vec!["Bern".to_owned()])
    );
    assert_eq!(
        (found.prompts.name.as_str(), found.prompts.sha256.as_str()),
        ("asked", "hash")
    );

    let refused = subjects.of_prompts(set, MissingText::Refuse).unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("2 subjects of asked have no text in texts: Paris; rome; give"),
        "{refused}"
    );
    let none = subjects.of_prompts(prompts(&[("b", "Paris is", "Paris")]), MissingText::Skip);
    assert!(matches!(none, Err(PromptError::NoPrompts { .. })));
}

#[test]
fn bare_subjects_are_prompts_of_themselves() {
    let subjects = Subjects::parse("texts", "subject,paragraphs\nOslo,A city.\n").unwrap();
    let bare = subjects.bare();
    let prompt = &bare.prompts.prompts[0];
    assert_eq!(
        [&prompt.id, &prompt.prompt, &prompt.subject],
        ["Oslo"; 3].map(|s| s)
    );
    assert_eq!((bare.texts, bare.prompts.name.as_str()), (vec![0], "texts"));
}

#[test]
fn the_bundled_subjects_are_good_and_facts_ask_about_them() {
    let subjects = Subjects::bundled().unwrap();
    let found = subjects
        .of_prompts(PromptSet::bundled().unwrap(), MissingText::Skip)
        .unwrap();
    assert!(found.unused.is_empty(), "{:?}", found.unused);
}
