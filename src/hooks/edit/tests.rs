use std::sync::Arc;

use super::super::Neuron;
use super::super::sign_case::ReferenceSigns;
use super::*;
use crate::tokens::Sequence;

const GATE: [f32; 4] = [1.0, 1.0, -1.0, -2.0];
const UP: [f32; 4] = [3.0, 1.0, 2.0, -1.0];
const POST: [f32; 4] = [2.5, 0.5, -0.5, 0.25];

fn one_token() -> TokenBatch {
    TokenBatch::new(vec![Sequence::of_ids(0, vec![7])]).unwrap()
}

/// The row after an edit of neurons 0, 2 and 3, and what was counted.
fn edited(mode: Mode, when: &str, signs: SignConvention) -> ([f32; 4], EditCount) {
    let edit = LayerEdit {
        layer: 0,
        neurons: &[0, 2, 3],
        mode: &mode,
        positions: Positions::All,
        when: when.parse().unwrap_or_default(),
        signs: &signs,
    };
    let mut row = POST;
    let count = edit.over(&one_token()).edit_row(0, &GATE, &UP, &mut row);
    (row, count)
}

#[test]
fn modes_and_sign_cases_by_hand() {
    for (mode, when, expected, changed) in [
        ("zero", "", [0.0, 0.5, 0.0, 0.0], 3),
        ("fixed=2.5", "", [2.5, 0.5, 2.5, 2.5], 2),
        ("multiply=-2", "", [-5.0, 0.5, 1.0, -0.5], 3),
        ("clamp=0.25", "", [0.25, 0.5, -0.5, 0.25], 1),
        ("zero", "gate-", [2.5, 0.5, 0.0, 0.0], 2),
        ("zero", "gate-,up+", [2.5, 0.5, 0.0, 0.25], 1),
        ("zero", "up-", [2.5, 0.5, -0.5, 0.0], 1),
        ("zero", "post-", [2.5, 0.5, 0.0, 0.25], 1),
        ("zero", "gate-,post+", [2.5, 0.5, -0.5, 0.0], 1),
    ] {
        let (row, count) = edited(mode.parse().unwrap(), when, SignConvention::Raw);
        assert_eq!((row, count.changed), (expected, changed), "{mode} {when}");
    }
}

#[test]
fn reference_signs_turn_cases_fixed_values_and_limits() {
    let signs = ReferenceSigns::new(vec![vec![1, 1, -1, 1]]);
    let signs = SignConvention::Reference(Arc::new(signs));
    for (mode, when, expected) in [
        (Mode::Zero, "gate-,post+", [2.5, 0.5, 0.0, 0.0]),
        (Mode::Zero, "up-", [2.5, 0.5, 0.0, 0.0]),
        (Mode::Fixed(1.0), "", [1.0, 0.5, -1.0, 1.0]),
        (Mode::ClampAbove(0.25), "", [0.25, 0.5, -0.25, 0.25]),
        (Mode::Multiply(2.0), "", [5.0, 0.5, -1.0, 0.5]),
    ] {
        let (row, _) = edited(mode.clone(), when, signs.clone());
        assert_eq!(row, expected, "{mode} {when}");
    }
}

#[test]
fn what_the_reference_never_saw_stays_and_is_counted() {
    let mut means = NeuronMeans::absent(1, 4);
    let mean = NeuronMean {
        overall: Some(9.0),
        by_sign: [Some(1.0), None, None, Some(4.0)],
    };
    for index in [0, 3] {
        means.set(Neuron { layer: 0, index }, mean).unwrap();
    }
    let means = Reference::from(means);
    let (row, count) = edited(Mode::Mean(means.clone()), "", SignConvention::Raw);
    assert_eq!(row, [9.0, 0.5, -0.5, 9.0]);
    assert_eq!((count.touched, count.changed), (3, 2));
    assert_eq!((count.no_sign, count.no_reference), (0, 1));
    let (row, count) = edited(Mode::MeanBySign(means), "", SignConvention::Raw);
    assert_eq!(row, [1.0, 0.5, -0.5, 4.0]);
    assert_eq!((count.changed, count.no_reference), (2, 1));
}

#[test]
fn a_value_without_a_sign_has_no_mean_of_its_sign_case() {
    let mut means = NeuronMeans::absent(1, 4);
    let mean = NeuronMean {
        overall: Some(9.0),
        by_sign: [Some(1.0); 4],
    };
    for index in 0..4 {
        means.set(Neuron { layer: 0, index }, mean).unwrap();
    }
    let (mode, signs) = (Mode::MeanBySign(means.into()), SignConvention::Raw);
    let edit = LayerEdit {
        layer: 0,
        neurons: &[0, 1, 2],
        mode: &mode,
        positions: Positions::All,
        when: SignCase::default(),
        signs: &signs,
    };
    let mut row = [0.0, 0.0, 3.0];
    let edit = edit.over(&one_token());
    let count = edit.edit_row(0, &[0.0, 2.0, 2.0], &[5.0, 0.0, 1.0], &mut row);
    assert_eq!(row, [0.0, 0.0, 1.0]);
    assert_eq!((count.touched, count.changed, count.no_sign), (3, 1, 2));
}
