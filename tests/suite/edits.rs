//! Every edit on a model of two layers, against plain loops; and on neurons whose w_in and w_out are
//! both turned around, which shows the convention of signs.

use std::sync::Arc;

use gatelens::engine::Engine;
use gatelens::experiment::Run;
use gatelens::experiment::{
    Ablation, AblationPlan, Arm, ExperimentError, PromptSubset, Treatment, ablate,
};
use gatelens::hooks::{Mode, Neuron, NeuronSet, Path, Reference, SignCase, SignConvention};
use gatelens::io_class::{Fold, MatchedDraws, NeuronTable};
use gatelens::model::Model;
use gatelens::tokens::{Positions, Sequence, TokenBatch};

use super::common::{self, OPERATIONS};
use super::two_layer::{At, D_MLP, LAYERS, Trace, TwoLayer};

/// Log-probabilities of 10 nats (where f32 has steps of 1e-6) after two layers in f32, against f64.
pub const IN_F32: f64 = 1e-5;

/// The edited neurons (layer, neuron).
pub const NEURONS: [(usize, usize); 4] = [(0, 1), (0, 4), (1, 0), (1, 2)];

fn sequence(
    prompt: usize,
    ids: &[u32],
    subject: std::ops::Range<usize>,
    target: &[u32],
) -> Sequence {
    let fed = &target[..target.len() - 1];
    Sequence {
        subject,
        prompt_len: ids.len(),
        target: target.to_vec(),
        ..common::sequence(prompt, &[ids, fed].concat())
    }
}

/// Two prompts, so that each is the other's donor.
pub fn prompts() -> [Sequence; 2] {
    [
        sequence(0, &[1, 5, 2, 7], 1..3, &[3, 6]),
        sequence(1, &[2, 4, 8, 6, 9, 5], 3..4, &[7]),
    ]
}

/// The tokens of the other prompt whose values each token takes: the first from the first, the last
/// from the last, the subject's from the subject's end, others from the prompt's end. By hand.
const DONOR_POSITIONS: [&[usize]; 2] = [
    // the subject of prompt 1 has one token; nothing of its target is fed in
    &[0, 3, 3, 5, 5],
    // prompt 0 has nothing four or three tokens from its end but its first token, which is left alone
    &[0, 1, 1, 2, 2, 3],
];

/// How an ablation is asked for, beside its mode; done by both kinds of operations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    pub positions: Positions,
    pub when: SignCase,
    pub reference_sign: bool,
    pub path: Path,
}

pub fn ablation(
    two_layer: &TwoLayer,
    mode: &Mode,
    asked: Asked,
) -> Result<Ablation, ExperimentError> {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = two_layer.checkpoint(dir.path());
    let signs = NeuronTable::classify(&checkpoint, Fold::Pre, 0.5)
        .unwrap()
        .signs();
    let signs = if asked.reference_sign {
        SignConvention::Reference(Arc::new(signs))
    } else {
        SignConvention::Raw
    };
    let neurons = NEURONS.map(|(layer, index)| Neuron { layer, index });
    let neurons = NeuronSet::from_neurons(LAYERS, D_MLP, neurons).unwrap();
    let plan = AblationPlan {
        paths: vec![asked.path],
        ..plan(neurons, mode, asked.positions, asked.when, signs)
    };
    let batch = TokenBatch::new(prompts().to_vec()).unwrap();
    let [fused, tensors] = OPERATIONS.map(|operations| {
        let model = two_layer.model_by(dir.path(), operations);
        ablate(&mut Run::new(&()), &Engine::new(&model), &batch, &plan)
    });
    match (&fused, &tensors) {
        (Ok(fused), Ok(tensors)) => {
            assert_close("as on a device", &logprobs(tensors), &logprobs(fused));
            assert_eq!(tensors.changed, fused.changed);
        }
        (fused, tensors) => assert_eq!(
            fused.as_ref().err().map(ToString::to_string),
            tensors.as_ref().err().map(ToString::to_string)
        ),
    }
    fused
}

fn plan(
    neurons: NeuronSet,
    mode: &Mode,
    positions: Positions,
    when: SignCase,
    signs: SignConvention,
) -> AblationPlan {
    let draws = MatchedDraws {
        sets: vec![],
        shortfall: vec![],
    };
    AblationPlan {
        positions,
        when,
        signs,
        subset: PromptSubset::All,
        ..AblationPlan::new(
            vec![Treatment::new("some".to_string(), neurons, draws)],
            mode.clone(),
        )
    }
}

/// The log-probability of each prompt's target under the edit.
pub fn logprobs(ablation: &Ablation) -> Vec<f64> {
    let edited = ablation
        .outcomes()
        .filter(|o| o.condition.arm == Arm::Class);
    edited.map(|outcome| outcome.score.target_logprob).collect()
}

/// The oracle's answer where `value` becomes of every edited value in the positions and case.
fn expected(
    two_layer: &TwoLayer,
    chosen: &dyn Fn(usize, At) -> bool,
    value: &dyn Fn(usize, At) -> f64,
) -> Vec<f64> {
    let of = |prompt: &Sequence| {
        let edit = |at: At| {
            let edited = NEURONS.contains(&(at.layer, at.neuron)) && chosen(prompt.prompt, at);
            if edited {
                value(prompt.prompt, at)
            } else {
                at.post
            }
        };
        two_layer.run(&prompt.ids, &edit).target_logprob(prompt)
    };
    prompts().iter().map(of).collect()
}

pub fn assert_close(what: &str, found: &[f64], expected: &[f64]) {
    for (found, expected) in found.iter().zip(expected) {
        let difference = (found - expected).abs();
        assert!(difference <= IN_F32, "{what}: {found} for {expected}");
    }
}

pub fn clean_traces(two_layer: &TwoLayer) -> [Trace; 2] {
    prompts().map(|prompt| two_layer.run(&prompt.ids, &|at| at.post))
}

fn clean_logprobs(traces: &[Trace; 2]) -> Vec<f64> {
    let of = |(trace, prompt): (&Trace, Sequence)| trace.target_logprob(&prompt);
    traces.iter().zip(prompts()).map(of).collect()
}

/// The mean post of a neuron over the tokens of the clean runs that `counts`.
fn mean_of(traces: &[Trace], of: At, counts: &dyn Fn(At) -> bool) -> Option<f64> {
    let tokens = traces.iter().flat_map(|trace| &trace.neurons);
    let same = tokens.filter(|at| (at.layer, at.neuron) == (of.layer, of.neuron));
    let posts: Vec<f64> = same.filter(|at| counts(**at)).map(|at| at.post).collect();
    (!posts.is_empty()).then(|| posts.iter().sum::<f64>() / posts.len() as f64)
}

pub type Value<'a> = Box<dyn Fn(usize, At) -> f64 + 'a>;

/// Every mode, with what it makes of a value by hand; `sign` is 1 or the neuron's in reference sign.
pub fn modes<'a>(
    traces: &'a [Trace; 2],
    sign: &'a dyn Fn(At) -> f64,
) -> Vec<(&'static str, Value<'a>)> {
    let signs = |at: At| (at.gate > 0.0, at.up > 0.0);
    vec![
        ("zero", Box::new(|_, _| 0.0)),
        (
            "fixed=0.3",
            Box::new(move |_, at| sign(at) * f64::from(0.3f32)),
        ),
        ("multiply=-2", Box::new(|_, at| -2.0 * at.post)),
        (
            "clamp=-0.05",
            Box::new(move |_, at| {
                let (sign, limit) = (sign(at), f64::from(-0.05f32));
                if sign * at.post > limit {
                    sign * limit
                } else {
                    at.post
                }
            }),
        ),
        (
            "mean",
            Box::new(|_, at| mean_of(traces, at, &|_| true).unwrap()),
        ),
        (
            "mean-sign",
            Box::new(move |_, at| {
                mean_of(traces, at, &|other| signs(other) == signs(at)).unwrap_or(at.post)
            }),
        ),
        (
            "resample",
            Box::new(|prompt, at| {
                let position = DONOR_POSITIONS[prompt][at.position];
                traces[1 - prompt].at(at.layer, position, at.neuron).post
            }),
        ),
    ]
}

#[test]
fn every_mode_equals_plain_loops() {
    let two_layer = TwoLayer::new();
    let traces = clean_traces(&two_layer);
    for (mode, value) in modes(&traces, &|_| 1.0) {
        let spec: Mode = mode.parse().unwrap();
        let found = ablation(&two_layer, &spec, Asked::default()).unwrap();
        let expected = expected(&two_layer, &|_, _| true, &value);
        assert_close(mode, &logprobs(&found), &expected);
        let tokens: usize = prompts().iter().map(|p| p.ids.len()).sum();
        assert_eq!(
            found.changed.touched,
            (tokens * NEURONS.len()) as u64,
            "{mode}"
        );
        let clean = clean_logprobs(&traces).into_iter();
        let moved = clean
            .zip(&expected)
            .any(|(clean, edited)| (clean - edited).abs() > 1e-2);
        assert!(moved, "{mode} is far from the clean run");
    }
}

#[test]
fn every_mode_keeps_to_its_positions() {
    let two_layer = TwoLayer::new();
    let traces = clean_traces(&two_layer);
    let subject = |prompt: usize, at: At| prompts()[prompt].subject.contains(&at.position);
    let not_first = |_: usize, at: At| at.position > 0;
    type Chosen<'a> = &'a dyn Fn(usize, At) -> bool;
    let cases: [(Positions, u64, Chosen<'_>); 2] = [
        (Positions::Subject, 3, &subject),
        (Positions::NotFirst, 9, &not_first),
    ];
    for (positions, tokens, chosen) in cases {
        for (mode, value) in modes(&traces, &|_| 1.0) {
            let asked = Asked {
                positions,
                ..Asked::default()
            };
            let found = ablation(&two_layer, &mode.parse().unwrap(), asked).unwrap();
            let expected = expected(&two_layer, chosen, &value);
            assert_close(mode, &logprobs(&found), &expected);
            let changed = found.changed;
            assert_eq!(
                changed.touched,
                tokens * 4,
                "{mode} {positions}: {changed:?}"
            );
        }
    }
}

#[test]
fn every_mode_reads_its_sign_case_from_the_edited_run_in_both_conventions() {
    let two_layer = TwoLayer::new();
    let traces = clean_traces(&two_layer);
    type Holds = fn(f64, f64, f64) -> bool;
    let cases: [(&str, Holds); 6] = [
        ("gate-", |gate, _, _| gate < 0.0),
        ("up+", |_, up, _| up > 0.0),
        ("post-", |_, _, post| post < 0.0),
        ("gate-,up+", |gate, up, _| gate < 0.0 && up > 0.0),
        ("gate-,post+", |gate, _, post| gate < 0.0 && post > 0.0),
        ("gate+,post+", |gate, _, post| gate > 0.0 && post > 0.0),
    ];
    let reference = |at: At| two_layer.sign(at.layer, at.neuron);
    assert!(NEURONS.iter().any(|(l, n)| two_layer.sign(*l, *n) < 0.0));
    assert!(NEURONS.iter().any(|(l, n)| two_layer.sign(*l, *n) > 0.0));
    let raw = |_: At| 1.0;
    for reference_sign in [false, true] {
        let sign: &dyn Fn(At) -> f64 = if reference_sign { &reference } else { &raw };
        for (mode, value) in modes(&traces, sign) {
            for (when, holds) in cases {
                let asked = Asked {
                    when: when.parse().unwrap(),
                    reference_sign,
                    ..Asked::default()
                };
                let found = ablation(&two_layer, &mode.parse().unwrap(), asked);
                let chosen = |_, at: At| holds(at.gate, sign(at) * at.up, sign(at) * at.post);
                let expected = expected(&two_layer, &chosen, &value);
                let what = format!("{mode} {when}, reference sign: {reference_sign}");
                match found {
                    Ok(found) => assert_close(&what, &logprobs(&found), &expected),
                    // a clamp may leave everything in a case as it is, which is an error
                    Err(error) => {
                        assert!(error.to_string().contains("changed no value"), "{error}");
                        assert_eq!(expected, clean_logprobs(&traces), "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn in_reference_sign_a_turned_neuron_is_the_same_neuron() {
    let plain = TwoLayer::new();
    let turned = plain.flipped(&NEURONS[1..]);
    let run = |two_layer: &TwoLayer, mode: &str, when: &str, reference_sign| {
        let asked = Asked {
            when: when.parse().unwrap_or_default(),
            reference_sign,
            ..Asked::default()
        };
        let found = ablation(two_layer, &mode.parse().unwrap(), asked).unwrap();
        (logprobs(&found), found.changed)
    };
    // A factor of -1 is exact, and so is everything after it.
    for mode in [
        "zero",
        "fixed=0.3",
        "multiply=-2",
        "clamp=-0.05",
        "mean",
        "mean-sign",
        "resample",
    ] {
        for when in ["", "gate-,post+", "up-"] {
            assert_eq!(
                run(&plain, mode, when, true),
                run(&turned, mode, when, true),
                "{mode} {when}"
            );
        }
    }
    for mode in ["zero", "multiply=-2", "mean", "mean-sign", "resample"] {
        assert_eq!(
            run(&plain, mode, "", false),
            run(&turned, mode, "", false),
            "{mode}"
        );
    }
    assert_ne!(
        run(&plain, "zero", "post+", false),
        run(&turned, "zero", "post+", false)
    );

    // With every edited neuron turned, raw cases and values are the opposite ones.
    let all_turned = plain.flipped(&NEURONS);
    for (mode, turned_mode, when, turned_when) in [
        ("zero", "zero", "gate-,post+", "gate-,post-"),
        ("mean", "mean", "up+", "up-"),
        ("fixed=0.3", "fixed=-0.3", "", ""),
    ] {
        assert_eq!(
            run(&plain, mode, when, false),
            run(&all_turned, turned_mode, turned_when, false),
            "{mode} {when}"
        );
    }
}

/// Prompts of a tiny model with subjects and targets.
fn many_prompts() -> TokenBatch {
    let prompt = |p: usize| {
        let len = 4 + p % 5;
        let ids: Vec<u32> = (0..len as u32)
            .map(|i| (17 * i + 31 * p as u32) % 300)
            .collect();
        sequence(p, &ids, 1..2 + p % 3, &[p as u32, 7][..1 + p % 2])
    };
    TokenBatch::new((0..12).map(prompt).collect()).unwrap()
}

/// The outcomes of both arms, with the engine left room for one prompt a pass or for all.
fn outcomes_in_passes(model: &Model, mode: &str, one_by_one: bool) -> (usize, Vec<f64>) {
    let batch = many_prompts();
    let neurons = (0..4).flat_map(|layer| (0..20).map(move |index| Neuron { layer, index }));
    let neurons = NeuronSet::from_neurons(4, 80, neurons).unwrap();
    let (when, signs) = (SignCase::default(), SignConvention::Raw);
    let plan = plan(neurons, &mode.parse().unwrap(), Positions::All, when, signs);
    let engine = Engine::new(model);
    let spare = 100 << 10; // for the longest prompt, and the donors' values
    let engine = if one_by_one {
        engine.beside(model.plan().activation_limit - spare)
    } else {
        engine
    };
    let ablation = ablate(&mut Run::new(&()), &engine, &batch, &plan).unwrap();
    let logprobs = ablation.outcomes().map(|o| o.score.target_logprob);
    (ablation.passes, logprobs.collect())
}

/// Sums over other batch shapes may be ordered otherwise; in f32.
const SAME_IN_ANY_BATCH: f64 = 1e-5;

#[test]
fn means_and_donors_do_not_depend_on_the_split_into_passes() {
    let model = common::model("tiny-llama");
    for mode in ["mean", "mean-sign", "resample"] {
        let (passes, together) = outcomes_in_passes(&model, mode, false);
        let (more_passes, apart) = outcomes_in_passes(&model, mode, true);
        assert!(
            passes <= 3 && more_passes > 6,
            "{mode}: {passes}, {more_passes}"
        );
        for (together, apart) in together.iter().zip(&apart) {
            let difference = (together - apart).abs();
            assert!(
                difference <= SAME_IN_ANY_BATCH,
                "{mode}: {together} {apart}"
            );
        }
    }
}

#[test]
fn one_prompt_alone_has_no_donor() {
    let model = common::model("tiny-llama");
    let batch = many_prompts().subset(&[3]).unwrap();
    let neurons = NeuronSet::from_neurons(4, 80, [Neuron { layer: 1, index: 2 }]).unwrap();
    let (when, signs) = (SignCase::default(), SignConvention::Raw);
    let plan = plan(
        neurons,
        &Mode::Resample(Reference::OwnPrompts),
        Positions::All,
        when,
        signs,
    );
    let error = ablate(&mut Run::new(&()), &Engine::new(&model), &batch, &plan)
        .err()
        .unwrap();
    assert!(error.to_string().contains("at least two"), "{error}");
}

#[test]
fn reference_values_of_another_model_or_batch_are_refused() {
    use gatelens::hooks::{Condition, DonorRecording, Edit, NeuronMeans, choose_donors};
    let model = common::model("tiny-llama");
    let engine = Engine::new(&model);
    let neurons = NeuronSet::from_neurons(4, 80, [Neuron { layer: 1, index: 2 }]).unwrap();
    let batch = many_prompts();
    let edit = |mode| {
        [Condition::Edited(
            Edit::new(neurons.clone(), mode).called("foreign"),
        )]
    };
    let refused = |mode, batch: &TokenBatch| {
        let error = engine
            .run(batch, &edit(mode), &mut [], None, &())
            .unwrap_err();
        error.to_string()
    };
    let means = Mode::Mean(NeuronMeans::absent(4, 81).into());
    assert!(refused(means, &batch).contains("81 neurons"));
    let not_taken = Mode::Mean(Reference::OwnPrompts);
    assert!(refused(not_taken, &batch).contains("mean has no values yet"));

    let some = batch.subset(&[0, 1, 2]).unwrap();
    let donor_of = choose_donors(&some, 0).unwrap();
    let recording =
        |positions| DonorRecording::new(&some, &donor_of, positions, neurons.clone(), 80).unwrap();
    assert!(
        recording(Positions::All).finish().is_err(),
        "nothing was recorded"
    );
    let foreign = [
        DonorRecording::new(&batch, &donor_of, Positions::All, neurons.clone(), 80),
        DonorRecording::new(&some, &donor_of, Positions::All, neurons.clone(), 2),
    ];
    let foreign = foreign.map(|recording| recording.err().unwrap().to_string());
    assert!(foreign[0].contains("no donor"), "{}", foreign[0]);
    assert!(
        foreign[1].contains("4 layers with 3 neurons"),
        "{}",
        foreign[1]
    );
    let mut other = recording(Positions::All);
    let mut observer = other.part(&some);
    let one = batch.subset(&[0]).unwrap();
    let error = engine.run(&one, &[Condition::Clean], &mut [&mut observer], None, &());
    assert!(error.unwrap_err().to_string().contains("another batch"));
    drop(observer);
    let donors = |positions| {
        let mut recording = recording(positions);
        let mut observer = recording.part(&some);
        engine
            .run(&some, &[Condition::Clean], &mut [&mut observer], None, &())
            .unwrap();
        drop(observer);
        Mode::Resample(recording.finish().unwrap().into())
    };
    engine
        .run(&some, &edit(donors(Positions::All)), &mut [], None, &())
        .unwrap();
    assert!(refused(donors(Positions::All), &batch).contains("prompt"));
    assert!(refused(donors(Positions::Last), &some).contains("other positions"));
}
