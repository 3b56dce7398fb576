use std::collections::HashSet;

use super::super::RecordInput;
use super::super::budget::PassBudget;
use super::*;
use crate::experiment::Tables;
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
    &input.sequence(sequence).ids[..=position]
}

/// What a pass over some sequences gives.
fn read(input: &RecordInput, sequences: &[usize]) -> Summary {
    let batch = input.batch().subset(sequences).unwrap();
    let recorded = input.recorded(&batch);
    let mut posts = vec![0.0; batch.tokens() * WIDTH];
    for (row, token) in (recorded.first_row..).zip(&recorded.rows) {
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
    let mut summary = Summary::new(0..1, WIDTH);
    summary.read(&rows, &recorded).unwrap();
    summary
}

fn everything(input: &RecordInput) -> Summary {
    read(input, &(0..input.sequences()).collect::<Vec<_>>())
}

#[test]
fn an_event_is_listed_once_and_counted_every_time() {
    let input = input();
    let rows = input.rows();
    assert!(rows as usize > 4 * CHUNK);
    let summary = everything(&input);
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
fn passes_join_to_the_whole() {
    let input = input();
    let whole = everything(&input);
    let rows = |summary: &Summary| summary.rows(0, &classes()).collect::<Vec<_>>();
    for tokens in [1, 5, 64, 200, 10_000] {
        let pairs = usize::MAX;
        let mut joined = Summary::new(0..1, WIDTH);
        for pass in (PassBudget { tokens, pairs }).passes(&input) {
            // As a part keeps it.
            let tables = read(&input, &pass.units).into_rows().to_tables().unwrap();
            let kept = Vec::<GroupRow>::of_tables(&tables).unwrap();
            joined.join(&kept).unwrap();
        }
        assert!(joined.top(0).eq(whole.top(0)), "{tokens} tokens a pass");
        for (found, expected) in rows(&joined).iter().zip(rows(&whole)) {
            let close = |a: Option<f64>, b: Option<f64>| {
                let (a, b) = (a.unwrap(), b.unwrap());
                assert!((a - b).abs() <= 1e-12 * b.abs(), "{a} {b}");
            };
            close(found.mean_post, expected.mean_post);
            close(found.var_post, expected.var_post);
            close(found.mean_post_gp_up, expected.mean_post_gp_up);
            let exact = SummaryRow {
                mean_post: expected.mean_post,
                var_post: expected.var_post,
                mean_post_gp_up: expected.mean_post_gp_up,
                mean_post_gp_um: expected.mean_post_gp_um,
                ..found.clone()
            };
            assert_eq!(exact, expected, "counts and largest values");
        }
        if tokens == 10_000 {
            assert_eq!(joined, whole, "one pass changes no bit");
        }
    }
    let other = Summary::new(0..1, WIDTH + LANES).into_rows();
    assert_eq!(Summary::new(0..1, WIDTH).join(&other), None);
    assert_eq!(Summary::new(1..2, WIDTH + LANES).join(&other), None);
}
