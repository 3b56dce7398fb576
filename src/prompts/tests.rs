use super::super::error::Problem;
use super::super::place::SubjectPlace;
use super::super::prompt::Counterfactual;
use super::*;

const PARIS: &str = r#"{"id":"a","prompt":"The capital of France is","subject":"France","target":" Paris","relation":"capital","note":1}"#;

fn problems(text: &str) -> Vec<String> {
    match PromptSet::parse("t", text) {
        Err(PromptError::Invalid { problems, .. }) => {
            problems.iter().map(Problem::to_string).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_line_becomes_a_prompt_and_the_target_loses_its_space() {
    let set = PromptSet::parse("t", &format!("\u{feff}\n{PARIS}\n\n")).unwrap();
    assert_eq!(
        set.prompts,
        [Prompt {
            id: "a".into(),
            prompt: "The capital of France is".into(),
            subject: "France".into(),
            place: SubjectPlace {
                span: 15..21,
                found: Found::OneWord,
            },
            target: "Paris".into(),
            relation: Some("capital".into()),
            rephrased: None,
            counterfactual: None,
            aliases: Vec::new(),
        }]
    );
}

#[test]
fn prompts_of_ones_own_are_checked_as_those_of_a_file() {
    let bundled = PromptSet::bundled().unwrap();
    let again = PromptSet::new("again", bundled.prompts.clone()).unwrap();
    assert_eq!(again.prompts, bundled.prompts);
    // A place that nobody would look for, and another answer without a question.
    let mut placed = Prompt::new("p", "Paris is not Paris in", "Paris", "Texas").unwrap();
    placed.place = SubjectPlace::given(0, "Paris");
    placed.counterfactual = Some(Counterfactual {
        question: None,
        target: "France".into(),
    });
    let set = PromptSet::new("t", [placed.clone()]).unwrap();
    assert_eq!(set.prompts, [placed.clone()]);
    let open = Prompt::new("p", "Rome is in ", "Rome", "Italy").unwrap();
    let message = PromptSet::new("t", [placed, open]).unwrap_err().to_string();
    for part in ["line 2", "the id is already used", "ends in white space"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(PromptSet::new("t", []).is_err());
}

#[test]
fn the_hash_is_that_of_the_bytes() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), PARIS).unwrap();
    let set = PromptSet::read(file.path()).unwrap();
    assert_eq!(set.sha256, sha256_hex(PARIS.as_bytes()));
    // printf "" | sha256sum
    assert!(sha256_hex(b"").starts_with("e3b0c44298fc1c14"));
}

#[test]
fn every_problem_is_reported_at_once() {
    let text = [
        PARIS,
        r#"{"id":"a","prompt":"Rome is in","subject":"Rome","target":"Italy"}"#,
        r#"{"id":"b","prompt":"Rome is in ","subject":"Oslo","target":" "}"#,
        "{broken",
        r#"{"prompt":7,"subject":"x"}"#,
        "[1]",
    ]
    .join("\n");
    assert_eq!(
        problems(&text),
        [
            "line 2 (a): the id is already used at line 1",
            "line 3 (b): the field `target` is empty",
            "line 3 (b): the prompt ends in white space; end it with its last word, the space before the target is added",
            "line 3 (b): the subject \"Oslo\" does not occur in the prompt \"Rome is in \"",
            "line 4: not valid JSON: key must be a string at line 1 column 2",
            "line 5: the field `id` is missing; found prompt, subject",
            "line 5: the field `prompt` must be a string",
            "line 5: the field `target` is missing; found prompt, subject",
            "line 6: not a JSON object",
        ]
    );
}

#[test]
fn twenty_problems_are_printed_and_the_rest_counted() {
    let text = "{}\n".repeat(6); // 4 missing fields each
    let message = PromptSet::parse("t", &text).unwrap_err().to_string();
    assert!(message.starts_with("t: 24 problems in the prompts\n  line 1: "));
    assert!(message.ends_with("\n  and 4 more"));
    assert_eq!(message.lines().count(), 22);
}

#[test]
fn the_published_shapes_are_read() {
    let rome = r#"[{"known_id":0,"subject":"Vinson Massif","attribute":"Antarctica",
        "template":"{} is in","prediction":" x","prompt":"Vinson Massif is in","relation_id":"P30"},
        {"known_id":1,"subject":"Oslo","attribute":"Norway","prompt":"{} is in","relation_id":"P17"}]"#;
    let set = PromptSet::parse("t", rome).unwrap();
    assert_eq!(set.prompts[0].target, "Antarctica");
    assert_eq!(set.prompts[0].relation.as_deref(), Some("P30"));
    assert_eq!(
        (set.prompts[1].id.as_str(), set.prompts[1].prompt.as_str()),
        ("1", "Oslo is in")
    );
    let counterfact = r#"[{"case_id":5,"requested_rewrite":{"prompt":"The tongue of {} is","relation_id":"P103",
        "target_new":{"str":"English"},"target_true":{"str":"French"},"subject":"Danielle Darrieux"}}]"#;
    let set = PromptSet::parse("t", counterfact).unwrap();
    assert_eq!(set.prompts[0].prompt, "The tongue of Danielle Darrieux is");
    assert_eq!(set.prompts[0].target, "French");
}

#[test]
fn a_broken_array_names_its_line() {
    assert!(problems("[\n{},\n{]")[0].starts_with("line 3: not valid JSON"));
    assert_eq!(
        problems(r#"[{"case_id":1,"requested_rewrite":{"prompt":"{} is","subject":"x"}}]"#),
        [
            "item 0 (1): the field `requested_rewrite.target_true.str` is missing; found prompt, subject"
        ]
    );
}

#[test]
fn an_empty_set_is_an_error() {
    for text in ["", "\n \n", "[]"] {
        assert!(matches!(
            PromptSet::parse("t", text),
            Err(PromptError::Empty { .. })
        ));
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = PromptSet::read(Path::new("no/such.jsonl")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read the prompt file no/such.jsonl"
    );
}

#[test]
fn a_second_phrasing_is_checked() {
    let flaws = |rephrased: &str| {
        let line = format!(
            r#"{{"id":"a","prompt":"Rome is in","subject":"Rome","target":"Italy","rephrased":{rephrased}}}"#
        );
        match PromptSet::parse("t", &line) {
            Ok(set) => Ok(set.prompts[0].rephrased.clone()),
            Err(_) => Err(problems(&line)),
        }
    };
    let good = "Romeo knows that Rome is in the Italys of";
    assert_eq!(flaws(&format!("{good:?}")), Ok(Some(good.to_owned())));
    assert_eq!(flaws("null"), Ok(None));
    for (rephrased, flaw) in [
        ("7", "the field `rephrased` must be a string"),
        (r#"" ""#, "the field `rephrased` is empty"),
        (
            r#""The city of Rome is in ""#,
            "the field `rephrased` ends in white space",
        ),
        (
            r#""Rome is in""#,
            "the field `rephrased` is the prompt itself",
        ),
        (
            r#""Rome, yes, Rome is in""#,
            "the subject \"Rome\" must stand in the field `rephrased` once",
        ),
        (r#""Romeo is in""#, "once, as a word of its own"),
        (r#""The city is in""#, "once, as a word of its own"),
        (
            r#""The italy of Rome is in""#,
            "the target \"Italy\" occurs in the field `rephrased`",
        ),
    ] {
        let found = flaws(rephrased).unwrap_err();
        assert!(
            found.len() == 1 && found[0].contains(flaw),
            "{rephrased}: {found:?}"
        );
    }
}

#[test]
fn every_bundled_fact_stands_there_in_two_ways() {
    let facts = PromptSet::bundled().unwrap().prompts;
    assert!(facts.len() >= 400);
    let mut seen = std::collections::HashSet::new();
    for fact in &facts {
        let rephrased = fact.rephrased.as_deref().unwrap();
        for prompt in [fact.prompt.as_str(), rephrased] {
            assert!(seen.insert(prompt), "twice: {prompt}");
            assert_eq!(prompt.matches(&fact.subject).count(), 1, "{prompt}");
            let [lower, target] = [prompt, &fact.target].map(str::to_lowercase);
            assert!(!lower.contains(&target), "{prompt}: {target}");
            assert!(prompt.ends_with(char::is_alphanumeric), "{prompt}");
        }
    }
}

#[test]
fn a_counterfactual_is_checked() {
    let read = |counterfactual: &str| {
        let line = format!(
            r#"{{"id":"a","prompt":"Rome is in","subject":"Rome","target":"Italy","counterfactual":{counterfactual}}}"#
        );
        match PromptSet::parse("t", &line) {
            Ok(set) => Ok(set.prompts[0].counterfactual.clone()),
            Err(_) => Err(problems(&line)),
        }
    };
    let own = read(r#"{"prompt":"Oslo is in","subject":"Oslo","target":" Norway"}"#);
    let own = own.unwrap().unwrap();
    assert_eq!(own.target, "Norway");
    assert_eq!(own.question.unwrap().place.span, 0..4);
    let alone = read(r#"{"target":"Norway"}"#).unwrap().unwrap();
    assert_eq!((alone.question, alone.target.as_str()), (None, "Norway"));
    assert_eq!(read("null"), Ok(None));
    for (counterfactual, flaw) in [
        ("7", "the field `counterfactual.target` is missing"),
        (
            r#"{"prompt":"Oslo is in","target":"Norway"}"#,
            "the field `counterfactual.subject` is missing",
        ),
        (
            r#"{"prompt":"Oslo is in ","subject":"Oslo","target":"Norway"}"#,
            "the counterfactual prompt ends in white space",
        ),
        (
            r#"{"prompt":"It is in","subject":"Oslo","target":"Norway"}"#,
            "does not occur",
        ),
        (
            r#"{"target":"Italy"}"#,
            "the counterfactual has the same target",
        ),
    ] {
        let found = read(counterfactual).unwrap_err();
        assert!(
            found.iter().any(|found| found.contains(flaw)),
            "{counterfactual}: {found:?}"
        );
    }
}
