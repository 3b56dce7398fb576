//! Texts instead of prompts: documents, windows, roles and places.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;

use super::{numbers, record, texts};
use crate::cli::{columns, fail, file};
use crate::common::goldens;

const PLAIN: &str = "Zoë walked the 12 km to the café – slowly.\n---\n\nA stone\n\n---\nIt rained, it rained, and it rained.\n";

const LINES: &str = r#"{"id": "first", "text": "The river was cold, said Łukasz."}
{"text": "Nobody heard it, and nobody will hear it again."}
"#;

/// BOS included.
const CONTEXT: usize = 12;

/// A line of `tokens.parquet`: prompt_id, position, token_id, place in characters, role, window.
type Line = (
    String,
    usize,
    u32,
    Option<(usize, usize)>,
    &'static str,
    usize,
);

/// Windows of a document as the tokenizers crate and plain arithmetic have them, BOS in front of each.
fn windows(id: &str, text: &str) -> Vec<Vec<Line>> {
    let file = goldens().join("tiny-llama/tokenizer.json");
    let tokenizer = tokenizers::Tokenizer::from_file(file).unwrap();
    let encoding = tokenizer.encode_char_offsets(text, false).unwrap();
    let tokens: Vec<(u32, (usize, usize))> = encoding
        .get_ids()
        .iter()
        .copied()
        .zip(encoding.get_offsets().iter().copied())
        .collect();
    let windows = tokens.chunks(CONTEXT - 1).enumerate();
    windows
        .map(|(window, tokens)| {
            let line = |(i, (token, place)): (usize, &(u32, (usize, usize)))| {
                (id.to_string(), i + 1, *token, Some(*place), "other", window)
            };
            let bos = (id.to_string(), 0, 0, None, "first", window);
            [bos]
                .into_iter()
                .chain(tokens.iter().enumerate().map(line))
                .collect()
        })
        .collect()
}

fn found(table: &RecordBatch) -> Vec<Line> {
    let [ids, roles] = ["prompt_id", "role"].map(|column| texts(table, column));
    let [positions, tokens, windows] =
        ["position", "token_id", "window"].map(|column| numbers(table, column));
    let ends = ["char_start", "char_end"].map(|column| table[column].as_primitive::<UInt32Type>());
    let [starts, ends] = ends.map(|ends| ends.iter().map(|end| Some(end? as usize)));
    let places: Vec<_> = starts
        .zip(ends)
        .map(|(start, end)| start.zip(end))
        .collect();
    let role = |role: &str| {
        ["first", "other"]
            .into_iter()
            .find(|known| *known == role)
            .unwrap()
    };
    (0..table.num_rows())
        .map(|i| {
            let token = tokens[i] as u32;
            (
                ids[i].to_string(),
                positions[i],
                token,
                places[i],
                role(roles[i]),
                windows[i],
            )
        })
        .collect()
}

#[test]
fn windows_roles_and_places_of_texts() {
    let dir = tempfile::tempdir().unwrap();
    let plain = file(&dir, "plain.txt", PLAIN);
    let lines = file(&dir, "lines.jsonl", LINES);
    let documents = [
        (
            format!("{plain}:0"),
            "Zoë walked the 12 km to the café – slowly.",
        ),
        (format!("{plain}:1"), "A stone"),
        (format!("{plain}:2"), "It rained, it rained, and it rained."),
        ("first".to_string(), "The river was cold, said Łukasz."),
        (
            format!("{lines}:2"),
            "Nobody heard it, and nobody will hear it again.",
        ),
    ];
    let windows: Vec<Vec<Line>> = documents
        .iter()
        .flat_map(|(id, text)| windows(id, text))
        .collect();
    let all = windows.concat();
    let longest = windows.iter().map(|window| window.last().unwrap().5).max();
    assert!(longest > Some(1), "documents of several windows");
    let before_last = all.len() - windows.last().unwrap().len();

    // everything; a part of the last window; its BOS alone would be no window; a part of a document in the middle
    let limits = [
        (usize::MAX, all.len()),
        (before_last + 2, before_last + 2),
        (before_last + 1, before_last),
        (CONTEXT + 3, CONTEXT + 3),
    ];
    for (run, (limit, expected)) in limits.into_iter().enumerate() {
        let [context, limit] = [CONTEXT, limit].map(|number| number.to_string());
        #[rustfmt::skip]
        let out = record(&dir, &run.to_string(), &[
            "--text", &plain, "--text", &lines, "--bos", "always", "--context", &context, "--max-tokens", &limit,
            "--top", "0", "--draws", "0",
        ]);
        assert!(!out.join("activations.parquet").exists(), "--top 0");
        let (_, table) = columns(&out.join("tokens.parquet"));
        assert_eq!(found(&table), all[..expected], "--max-tokens {limit}");
        let tokens = texts(&table, "token");
        let mut whole = 0;
        for (line, token) in all.iter().zip(tokens) {
            let Some((start, end)) = line.3 else {
                assert_eq!(token, "<s>");
                continue;
            };
            let (_, text) = documents.iter().find(|(id, _)| *id == line.0).unwrap();
            let read: String = text.chars().skip(start).take(end - start).collect();
            match token.contains('\u{fffd}') {
                // a part of a character has the place of the character
                true => assert_eq!((end - start, read.is_ascii()), (1, false), "{line:?}"),
                false => {
                    assert_eq!(read, token, "{line:?}");
                    whole += 1;
                }
            }
        }
        assert!(whole > 5 && 2 * whole > expected, "{whole}");
    }
}

#[test]
fn texts_that_cannot_be_read_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let tiny = goldens().join("tiny-llama");
    let record = ["record", "--model", tiny.to_str().unwrap()];
    let text = file(&dir, "text.txt", "A stone");
    let bad = file(
        &dir,
        "bad.jsonl",
        "{\"text\": \"one\"}\n{\"txt\": \"two\"}\n",
    );
    for (more, culprit) in [
        (vec!["--text", &*bad], "line 2: the field `text` is missing"),
        (
            vec!["--text", &*text, "--context", "1", "--bos", "always"],
            "at least 2",
        ),
        (vec!["--text", &*text, "--context", "257"], "at most 256"),
        (
            vec!["--text", &*text, "--max-tokens", "0"],
            "--max-tokens 0",
        ),
        (vec!["--text", &*text, "--positions", "last"], "--positions"),
    ] {
        let error = fail(&[&record[..], &more[..]].concat());
        assert!(error.contains(culprit), "{error}");
    }
}
