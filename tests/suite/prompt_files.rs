//! Files that a person writes, through the commands: encodings, prompt formats, where the subject stands, neuron lists.

use std::fs;

use arrow_array::cast::AsArray;
use gatelens::prompts::{Found, PromptSet};
use gatelens::report::rows::TokensRow;
use gatelens::report::table::read_table;
use tempfile::{TempDir, tempdir};

use super::cli::{columns, fail, file, succeed, warnings};
use super::common::goldens;

const FRANCE: &str =
    r#"{"id": "a", "prompt": "The capital of France is", "subject": "France", "target": "Paris"}"#;

fn tiny() -> String {
    goldens().join("tiny-llama").to_str().unwrap().to_owned()
}

fn bytes(dir: &TempDir, name: &str, bytes: &[u8]) -> String {
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

fn ablate(dir: &TempDir, prompts: &str, neurons: &str) -> Vec<String> {
    let out = dir.path().join("out");
    let words = [
        "ablate",
        "--model",
        &tiny(),
        "--prompts",
        prompts,
        "--neurons",
        neurons,
        "--subset",
        "all",
        "--draws",
        "2",
        "--out",
        out.to_str().unwrap(),
    ];
    words.map(str::to_owned).to_vec()
}

fn refs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[test]
fn neuron_lists_and_prompts_are_read_with_a_mark_and_crlf() {
    let dir = tempdir().unwrap();
    let neurons = bytes(&dir, "bom.txt", b"\xef\xbb\xbf1.3\r\n1.4\r\n");
    let prompts = file(&dir, "p.jsonl", &format!("\u{feff}{FRANCE}\r\n"));
    warnings(&refs(&ablate(&dir, &prompts, &neurons)));
}

#[test]
fn other_encodings_are_refused_with_line_and_byte() {
    let dir = tempdir().unwrap();
    let good = file(&dir, "p.jsonl", FRANCE);
    let list = file(&dir, "n.txt", "1.3\n");
    let utf16: Vec<u8> = "\u{feff}1.3\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let cases: [(&[u8], &str); 2] = [
        (&utf16, "bad.txt is UTF-16 text"),
        (
            b"1.3\n# caf\xe9\n",
            "bad.txt is not UTF-8 text: line 2 has the byte 0xe9 in place 6",
        ),
    ];
    for (content, expected) in cases {
        let bad = bytes(&dir, "bad.txt", content);
        for (prompts, neurons) in [(&good, &bad), (&bad, &list)] {
            let message = fail(&refs(&ablate(&dir, prompts, neurons)));
            assert!(message.contains(expected), "{message}");
        }
        let out = dir.path().join("recorded");
        let message = fail(&[
            "record",
            "--model",
            &tiny(),
            "--text",
            &bad,
            "--out",
            out.to_str().unwrap(),
        ]);
        assert!(message.contains(expected), "{message}");
        let message = fail(&[
            "attributes",
            "--model",
            &tiny(),
            "--subjects",
            &bad,
            "--out",
            out.to_str().unwrap(),
        ]);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_subject_is_a_whole_word() {
    let dir = tempdir().unwrap();
    let niger = r#"{"id": "a", "prompt": "Unlike Niger, whose people are not Nigerians, the country to the west is", "subject": "Niger", "target": "Mali"}"#;
    let prompts = file(&dir, "p.jsonl", niger);
    let out = dir.path().join("out");
    let out = out.to_str().unwrap();
    let stderr = warnings(&[
        "record",
        "--model",
        &tiny(),
        "--prompts",
        &prompts,
        "--out",
        out,
    ]);
    assert!(!stderr.contains("subject"), "{stderr}");
    let (_, tokens) = columns(&dir.path().join("out/tokens.parquet"));
    let roles = tokens["role"].as_string::<i32>();
    let starts = tokens["char_start"].as_primitive::<arrow_array::types::UInt32Type>();
    let ends = tokens["char_end"].as_primitive::<arrow_array::types::UInt32Type>();
    let subject: Vec<usize> = (0..tokens.num_rows())
        .filter(|row| roles.value(*row).starts_with("subject"))
        .collect();
    let last = *subject.last().unwrap();
    assert_eq!((starts.value(subject[0]), ends.value(last)), (7, 12));
    assert_eq!(roles.value(last), "subject-last");
}

#[test]
fn a_token_has_its_role_and_is_first_or_not() {
    let dir = tempdir().unwrap();
    let lines = [
        r#"{"id": "front", "prompt": "Niger lies in", "subject": "Niger", "target": "Africa"}"#,
        r#"{"id": "alone", "prompt": "Niger", "subject": "Niger", "target": "is"}"#,
        r#"{"id": "plain", "prompt": "West of Niger lies", "subject": "Niger", "target": "Mali"}"#,
    ];
    let prompts = file(&dir, "p.jsonl", &lines.join("\n"));
    let roles = |bos: &str| -> Vec<(String, String, bool)> {
        let out = dir.path().join(bos);
        let args = [
            "record",
            "--model",
            &tiny(),
            "--prompts",
            &prompts,
            "--draws",
            "2",
            "--bos",
            bos,
        ];
        let printed = succeed(&[&args[..], &["--out", out.to_str().unwrap()]].concat());
        assert_eq!(
            printed.contains("begin their prompt"),
            bos == "never",
            "{printed}"
        );
        let tokens: Vec<TokensRow> = read_table(&out.join("tokens.parquet")).unwrap();
        assert!(
            tokens
                .iter()
                .all(|token| token.first == (token.position == 0))
        );
        let of = |token: TokensRow| {
            (
                token.prompt_id,
                token.role.as_str().to_string(),
                token.first,
            )
        };
        tokens.into_iter().map(of).collect()
    };
    let of = |tokens: &[(String, String, bool)], prompt: &str| -> Vec<(String, bool)> {
        let own = tokens.iter().filter(|token| token.0 == prompt);
        own.map(|(_, role, first)| (role.clone(), *first)).collect()
    };
    let subject =
        |tokens: &[(String, bool)]| tokens.iter().filter(|t| t.0.starts_with("subject")).count();
    let (with, without) = (roles("always"), roles("never"));
    for prompt in ["front", "alone", "plain"] {
        let (with, without) = (of(&with, prompt), of(&without, prompt));
        assert_eq!(with[0], ("first".to_string(), true), "BOS");
        assert!(
            with[1..]
                .iter()
                .all(|(role, first)| role != "first" && !first)
        );
        let (first, is_first) = &without[0];
        assert!(
            *is_first
                && without[1..]
                    .iter()
                    .all(|(role, first)| role != "first" && !first)
        );
        match prompt {
            "plain" => assert_eq!(first, "first"),
            // Of one token or of several.
            _ => assert!(first.starts_with("subject"), "{first}"),
        }
        if prompt == "front" {
            assert_eq!(subject(&with), subject(&without), "as many as behind a BOS");
        }
    }
}

#[test]
fn doubtful_subjects_are_warned_of_once() {
    let dir = tempdir().unwrap();
    let twice = |id: usize| {
        format!(
            r#"{{"id": "p{id}", "prompt": "Oslo and Oslo are", "subject": "Oslo", "target": "x"}}"#
        )
    };
    let mut lines: Vec<String> = (0..5).map(twice).collect();
    lines.push(
        r#"{"id": "in", "prompt": "The Nigerians are", "subject": "Niger", "target": "x"}"#
            .to_owned(),
    );
    let prompts = file(&dir, "p.jsonl", &lines.join("\n"));
    let neurons = file(&dir, "n.txt", "1.3");
    let stderr = warnings(&refs(&ablate(&dir, &prompts, &neurons)));
    assert!(
        stderr.contains("5 prompts have the subject several times"),
        "{stderr}"
    );
    assert!(stderr.contains("(p0, p1, p2 and 2 more)"), "{stderr}");
    assert!(
        stderr.contains("1 prompt has the subject inside a longer word alone"),
        "{stderr}"
    );
    assert_eq!(stderr.matches("p.jsonl: ").count(), 2, "{stderr}");
    assert_eq!(PromptSet::bundled().unwrap().doubts(), [""; 0]);
}

#[test]
fn special_tokens_in_a_prompt_are_warned_of() {
    let dir = tempdir().unwrap();
    let line = r#"{"id": "s", "prompt": "Rome</s> is in", "subject": "Rome", "target": "Italy"}"#;
    let prompts = file(&dir, "p.jsonl", line);
    let neurons = file(&dir, "n.txt", "1.3");
    let stderr = warnings(&refs(&ablate(&dir, &prompts, &neurons)));
    assert!(
        stderr.contains(r#"warning: "</s>" in s is read as the special token"#),
        "{stderr}"
    );
}

/// Subject and place of each prompt.
fn places(text: &str) -> Vec<(String, Found)> {
    let prompts = PromptSet::parse("t", text).unwrap().prompts;
    let place = |p: &gatelens::prompts::Prompt| {
        (
            format!(
                "{}|{}",
                &p.prompt[..p.place.span.start],
                &p.prompt[p.place.span.clone()]
            ),
            p.place.found,
        )
    };
    prompts.iter().map(place).collect()
}

#[test]
fn the_place_that_the_data_gives_counts() {
    let counterfact = r#"[{"case_id": 1, "requested_rewrite": {"prompt": "Near {}, not Oslo, lies", "subject": "Oslo", "relation_id": "P1",
        "target_new": {"str": "x"}, "target_true": {"str": "y"}}}]"#;
    assert_eq!(
        places(counterfact),
        [("Near |Oslo".to_owned(), Found::Given)]
    );
    // The prompt goes on behind the template, as in known_1000.
    let known = r#"[{"known_id": 0, "subject": "Oslo", "attribute": "Norway", "template": "{} is, like Oslo, in", "prompt": "Oslo is, like Oslo, in the land of", "relation_id": "P2"},
        {"known_id": 1, "subject": "Oslo", "attribute": "Norway", "template": "In {}", "prompt": "Oslo is in"}]"#;
    assert_eq!(
        places(known),
        [
            ("|Oslo".to_owned(), Found::Given),
            ("|Oslo".to_owned(), Found::OtherTemplate)
        ]
    );
    let own = r#"{"id": "a", "prompt": "Oslo, says Oslo, is", "subject": "Oslo", "target": "x", "template": "{}, says Oslo, is"}"#;
    assert_eq!(places(own), [("|Oslo".to_owned(), Found::Given)]);
}

fn problem(line: &str) -> String {
    PromptSet::parse("t", line).unwrap_err().to_string()
}

#[test]
fn what_is_wrong_with_a_record_is_named() {
    let cases = [
        (
            r#"{"id": "a", "id": "b"}"#,
            "line 1: not valid JSON: the key \"id\" stands twice",
        ),
        (
            r#"{"id": "a", "question": "x", "subject": "x", "target": "y"}"#,
            "the field `prompt` is missing; found id, question, subject, target",
        ),
        (
            r#"{"case_id": 1, "requested_rewrite": {"prompt": "{} or {} is", "subject": "x", "target_true": {"str": "y"}}}"#,
            "`requested_rewrite.prompt` has {} 2 times",
        ),
        (
            r#"{"id": "a", "prompt": "oslo is in", "subject": "Oslo", "target": "y"}"#,
            "with other capitals",
        ),
        (
            r#"{"id": "a", "prompt": "Oslo is in ", "subject": "Oslo", "target": "y"}"#,
            "ends in white space",
        ),
        (
            r#"{"id": "a", "prompt": "Oslo is in", "subject": "", "target": ""}"#,
            "the field `subject` is empty",
        ),
    ];
    for (line, expected) in cases {
        let message = problem(line);
        assert!(message.contains(expected), "{line}: {message}");
    }
}

#[test]
fn the_targets_own_space_makes_no_difference() {
    let target = |space: &str| FRANCE.replace("\"Paris\"", &format!("\"{space}Paris\""));
    let [plain, spaced] =
        ["", " "].map(|space| PromptSet::parse("t", &target(space)).unwrap().prompts);
    assert_eq!(plain, spaced);
}

#[test]
fn a_csv_column_twice_and_a_ragged_row_are_named() {
    let dir = tempdir().unwrap();
    let cases = [
        (
            "subject,paragraphs,subject\nOslo,A city.,Rome\n",
            "has the column subject twice",
        ),
        ("subject,paragraphs\nOslo,A city.\nRome\n", "line 3"),
    ];
    for (csv, expected) in cases {
        let subjects = file(&dir, "s.csv", csv);
        let out = dir.path().join("out");
        let message = fail(&[
            "attributes",
            "--model",
            &tiny(),
            "--subjects",
            &subjects,
            "--out",
            out.to_str().unwrap(),
        ]);
        assert!(message.contains(expected), "{message}");
    }
}
