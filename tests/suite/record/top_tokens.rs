//! `top_tokens.parquet` against a sort of a plain run's values, an event that comes again left out.

use std::collections::HashSet;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt16Type, UInt64Type};
use gatelens::tokens::BosPolicy;

use super::{LAYERS, NEURONS, numbers, plain_run, record, sequences, texts};
use crate::cli::{columns, file, json};
use crate::common::goldens;

/// What `gatelens` keeps of each neuron.
const TOP: usize = 16;

/// Prompts that begin alike; one of them comes twice.
const ALIKE: [(&str, &str, &str); 6] = [
    ("fr", "The capital of France is", "France"),
    ("water", "Water is made of hydrogen and", "Water"),
    ("it", "The capital of Italy is", "Italy"),
    (
        "long",
        "The capital of France is known as Paris, and",
        "Paris",
    ),
    ("again", "The capital of Italy is", "capital"),
    ("begun", "The capital", "capital"),
];

fn prompts() -> String {
    let line = |(id, prompt, subject): (&str, &str, &str)| {
        format!(
            r#"{{"id": "{id}", "prompt": "{prompt}", "subject": "{subject}", "target": "Rome"}}"#
        ) + "\n"
    };
    ALIKE.map(line).concat()
}

/// The tokens of a prompt by the tokenizers crate, a BOS in front: ids, pieces and bytes.
struct Pieces {
    ids: Vec<u32>,
    /// BOS has no place in the text.
    spans: Vec<Option<(usize, usize)>>,
    texts: Vec<String>,
}

fn pieces(prompt: &str) -> Pieces {
    let file = goldens().join("tiny-llama/tokenizer.json");
    let tokenizer = tokenizers::Tokenizer::from_file(file).unwrap();
    let encoding = tokenizer.encode(prompt, false).unwrap();
    let texts = encoding.get_tokens().iter();
    let spans = encoding.get_offsets().iter();
    Pieces {
        ids: [&[0], encoding.get_ids()].concat(),
        spans: std::iter::once(None)
            .chain(spans.map(|span| Some(*span)))
            .collect(),
        texts: std::iter::once("<s>".to_string())
            .chain(texts.map(|piece| piece.replace('Ġ', " ")))
            .collect(),
    }
}

/// The token between ⟦ and ⟧, up to 12 tokens before it and 4 after.
fn context(prompt: &str, pieces: &Pieces, position: usize) -> String {
    let last = (position + 4).min(pieces.ids.len() - 1);
    let end = pieces.spans[last].unwrap().1;
    let Some((from, to)) = pieces.spans[position] else {
        return format!("⟦<s>⟧{}", &prompt[..end]);
    };
    let first = position.saturating_sub(12).max(1);
    let start = pieces.spans[first].unwrap().0;
    format!(
        "{}⟦{}⟧{}",
        &prompt[start..from],
        &prompt[from..to],
        &prompt[to..end]
    )
}

/// What is said of a recorded token.
#[derive(Clone, Debug, PartialEq)]
struct Token {
    id: String,
    position: usize,
    text: String,
    context: String,
    /// Whether it was read before in the same context.
    repeated: bool,
}

fn tokens() -> Vec<Token> {
    let mut seen = HashSet::new();
    let mut tokens = Vec::new();
    for (id, prompt, _) in ALIKE {
        let pieces = pieces(prompt);
        for position in 0..pieces.ids.len() {
            tokens.push(Token {
                id: id.to_string(),
                position,
                text: pieces.texts[position].clone(),
                context: context(prompt, &pieces, position),
                repeated: !seen.insert(pieces.ids[..=position].to_vec()),
            });
        }
    }
    tokens
}

/// Row and value of a neuron's strongest tokens.
fn strongest(values: &[Vec<f32>], tokens: &[Token], neuron: usize) -> Vec<(usize, f32)> {
    let rows = (0..tokens.len()).filter(|row| !tokens[*row].repeated);
    let mut strongest: Vec<(usize, f32)> = rows.map(|row| (row, values[row][neuron])).collect();
    strongest.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs())); // stable: of equal ones the earlier row
    strongest.truncate(TOP);
    strongest
}

#[test]
fn the_strongest_tokens_are_those_of_a_plain_run() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = prompts();
    let path = file(&dir, "prompts.jsonl", &prompts);
    let args = ["--prompts", &path, "--bos", "always", "--draws", "0"];
    let out = record(&dir, "out", &args);

    let tokens = tokens();
    let repeated = tokens.iter().filter(|token| token.repeated).count();
    assert!(
        tokens.len() - repeated > TOP && repeated > TOP,
        "{repeated}"
    );
    let run = json(&out.join("run.json"));
    assert_eq!(run["counts"]["repeated_rows"], repeated);
    let sequences = sequences(&prompts, BosPolicy::Always);
    let ids: Vec<Vec<u32>> = sequences.into_iter().map(|s| s.ids).collect();
    assert_eq!(ids, ALIKE.map(|(_, prompt, _)| pieces(prompt).ids));
    let post = &plain_run(&ids)[2];

    let (_, table) = columns(&out.join("top_tokens.parquet"));
    assert_eq!(table.num_rows(), LAYERS * NEURONS * TOP);
    let layer = table["layer"].as_primitive::<UInt16Type>();
    let value = table["value"].as_primitive::<Float32Type>();
    let row = table["row"].as_primitive::<UInt64Type>();
    let [neuron, rank, position] =
        ["neuron", "rank", "position"].map(|column| numbers(&table, column));
    let [id, text, context] = ["prompt_id", "token", "context"].map(|column| texts(&table, column));
    let mut at = 0;
    for (l, post) in post.iter().enumerate() {
        for n in 0..NEURONS {
            for (r, (expected, post)) in strongest(post, &tokens, n).into_iter().enumerate() {
                let place = (layer.value(at) as usize, neuron[at], rank[at]);
                assert_eq!(place, (l, n, r + 1));
                let found = (row.value(at) as usize, value.value(at));
                assert_eq!(found, (expected, post), "{place:?}");
                let token = &tokens[expected];
                assert_eq!((id[at], position[at]), (&*token.id, token.position));
                assert_eq!((text[at], context[at]), (&*token.text, &*token.context));
                at += 1;
            }
        }
    }
}
