use std::collections::HashSet;

use super::super::state::{from_bytes, to_bytes};
use super::super::{PassBudget, RecordInput};
use super::*;
use crate::io_class::Class;
use crate::io_class::testing::row;
use crate::prompts::{Document, Documents};
use crate::tokens::{Sequence, Window};

#[test]
fn the_strongest_are_kept_in_order_and_the_first_of_equals() {
    let mut top = TopTokens::default();
    assert_eq!(top.least(), 0.0);
    let posts = [1.0, -3.0, 2.0, 3.0, -1.0];
    for (row, post) in (10..).zip(posts) {
        top.add(post, row);
    }
    let held: Vec<_> = top.iter().collect();
    let expected = [(-3.0, 11), (3.0, 13), (2.0, 12), (1.0, 10), (-1.0, 14)];
    assert_eq!(held, expected);
    for row in 20..60 {
        top.add(2.5, row);
    }
    assert_eq!(top.iter().count(), TOP_TOKENS);
    assert_eq!(top.iter().nth(2), Some((2.5, 20)));
    assert_eq!(top.iter().last(), Some((2.5, 33)));
    assert_eq!(top.least(), 2.5);
}

/// Neurons: one group and a part of the next.
const WIDTH: usize = LANES + 3;

/// Documents of up to five tokens out of three, so that most beginnings come again.
fn input() -> RecordInput {
    let ids = |i: usize| (0..i % 5 + 1).map(move |k| ((i * 40_503) >> (3 * k)) as u32 % 3);
    let document = |i: usize| Document {
        id: i.to_string(),
        text: String::new(),
    };
    let window = |i: usize| Window {
        document: i,
        number: 0,
        sequence: Sequence::of_ids(i, ids(i).collect()),
    };
    let file = Documents {
        name: "test".to_string(),
        documents: (0..150).map(document).collect(),
        sha256: String::new(),
    };
    RecordInput::of_texts(vec![file], (0..150).map(window).collect()).unwrap()
}

/// post of a neuron behind some tokens: the same wherever these are the same, as in a model.
fn post(context: &[u32], neuron: usize) -> f32 {
    let mixed = context.iter().fold(neuron as u32 + 1, |mixed, id| {
        (mixed ^ (id + 1)).wrapping_mul(16_777_619)
    });
    (mixed >> 8) as f32 / 1024.0 - 8192.0
}

fn classes() -> Vec<NeuronRow> {
    vec![row(Class::OrthogonalOutput, 0.0, 1.0); WIDTH]
}

fn context(input: &RecordInput, row: u64) -> &[u32] {
    let (sequence, position) = input.place(row);
    &input.sequences()[sequence].ids[..=position]
}

fn read(summary: &mut Summary, input: &RecordInput, sequences: Range<usize>) {
    let pass = input.pass(sequences).unwrap();
    let mut posts = vec![0.0; pass.batch.tokens() * WIDTH];
    for (row, token) in (pass.first_row..).zip(&pass.rows) {
        for neuron in 0..WIDTH {
            posts[token.packed * WIDTH + neuron] = post(context(input, row), neuron);
        }
    }
    let ones = vec![1.0; posts.len()];
    let rows = LayerRows {
        layer: 0,
        width: WIDTH,
        gate: &ones,
        up: &posts,
        post: &posts,
    };
    summary.read(&rows, &pass).unwrap();
}

#[test]
fn an_event_is_listed_once_and_counted_every_time() {
    let input = input();
    let rows = input.rows(150);
    assert!(rows as usize > 4 * CHUNK);
    let mut summary = Summary::new(0..1, WIDTH);
    read(&mut summary, &input, 0..150);
    let classes = classes();
    let found = summary.rows(0, &classes).zip(summary.top(0));
    for (neuron, (found, top)) in found.enumerate() {
        let mut seen = HashSet::new();
        let new = (0..rows).filter(|row| seen.insert(context(&input, *row)));
        let mut expected: Vec<(f32, u64)> = new
            .map(|row| (post(context(&input, row), neuron), row))
            .collect();
        assert!(expected.len() > TOP_TOKENS && expected.len() < rows as usize / 2);
        expected.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs())); // stable
        assert_eq!(found.max_abs_post, expected[0].0.abs());
        expected.truncate(TOP_TOKENS);
        assert_eq!(top.iter().collect::<Vec<_>>(), expected, "{neuron}");
        let all = (0..rows).map(|row| f64::from(post(context(&input, row), neuron)));
        let mean = all.sum::<f64>() / rows as f64;
        assert_eq!((found.tokens, found.frequency), (rows, Some(1.0)));
        assert!((found.mean_post.unwrap() - mean).abs() < 1e-9, "{neuron}");
    }
}

#[test]
fn the_lists_do_not_depend_on_the_passes() {
    let input = input();
    let mut whole = Summary::new(0..1, WIDTH);
    read(&mut whole, &input, 0..150);
    for tokens in [1, 5, 64, 200] {
        let pairs = usize::MAX;
        let mut parts = Summary::new(0..1, WIDTH);
        for sequences in input.passes(0, PassBudget { tokens, pairs }) {
            read(&mut parts, &input, sequences);
            // stopped and gone on with
            let bytes = to_bytes(&mut parts);
            parts = Summary::new(0..1, WIDTH);
            from_bytes(&mut parts, &bytes).unwrap();
        }
        assert!(parts.top(0).eq(whole.top(0)), "{tokens} tokens a pass");
        let largest = |summary: &Summary| -> Vec<f32> {
            let classes = classes();
            let rows = summary.rows(0, &classes);
            rows.map(|row| row.max_abs_post).collect()
        };
        assert_eq!(largest(&parts), largest(&whole));
    }
}
