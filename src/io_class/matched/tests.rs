use super::super::testing::row;
use super::super::{Class, Fold};
use super::*;

const D_MLP: usize = 400;

/// Three layers; the norm of neuron n is n, so that high indices have long outputs.
fn table() -> NeuronTable {
    let layer = |_| {
        (0..D_MLP)
            .map(|n| row(Class::OrthogonalOutput, 0.0, n as f32))
            .collect()
    };
    NeuronTable {
        fold: Fold::Pre,
        threshold: 0.5,
        layers: (0..3).map(layer).collect(),
    }
}

fn set(neurons: impl IntoIterator<Item = (usize, usize)>) -> NeuronSet {
    let neurons = neurons
        .into_iter()
        .map(|(layer, index)| Neuron { layer, index });
    NeuronSet::from_neurons(3, D_MLP, neurons).unwrap()
}

/// 30 long neurons in layer 0, five short ones in layer 2.
fn class() -> NeuronSet {
    set((350..380).map(|n| (0, n)).chain((10..15).map(|n| (2, n))))
}

fn drawn(class: &NeuronSet, draws: usize, seed: u64, matching: Matching<'_>) -> Vec<NeuronSet> {
    matched_draws(&table(), class, draws, seed, matching)
        .unwrap()
        .sets
}

#[test]
fn draws_match_the_counts_and_avoid_the_class() {
    let class = class();
    for matching in [Matching::Layer, Matching::LayerNorm] {
        let sets = drawn(&class, 10, 0, matching);
        assert_eq!(sets.len(), 10);
        for set in &sets {
            assert_eq!([0, 1, 2].map(|layer| set.layer(layer).len()), [30, 0, 5]);
            assert!(set.iter().all(|neuron| !class.contains(neuron)));
        }
        for (i, set) in sets.iter().enumerate() {
            assert!(sets[..i].iter().all(|other| other != set));
        }
    }
}

#[test]
fn draws_are_reproducible_and_follow_the_seed() {
    for matching in [Matching::Layer, Matching::LayerNorm] {
        let sets = drawn(&class(), 4, 0, matching);
        assert_eq!(sets, drawn(&class(), 4, 0, matching));
        assert_eq!(sets[..2], drawn(&class(), 2, 0, matching));
        assert_ne!(sets, drawn(&class(), 4, 1, matching));
    }
}

#[test]
fn a_restricted_class_meets_the_same_neurons() {
    let whole = drawn(&class(), 3, 5, Matching::Layer);
    let alone = drawn(&class().restrict_layers(2..3), 3, 5, Matching::Layer);
    for (whole, alone) in whole.iter().zip(alone) {
        assert_eq!(whole.restrict_layers(2..3), alone);
    }
}

#[test]
fn uniform_draws_reach_every_candidate_about_equally_often() {
    let class = set((0..200).step_by(2).map(|n| (1, n)));
    let mut hits = vec![0; D_MLP];
    for set in drawn(&class, 300, 3, Matching::Layer) {
        set.layer(1).iter().for_each(|&n| hits[n as usize] += 1);
    }
    // 300 draws of 100 from 300: 100 each, standard deviation 8.2
    let outside = (0..D_MLP as u32).filter(|n| class.layer(1).binary_search(n).is_err());
    assert!(
        outside
            .map(|n| hits[n as usize])
            .all(|hits| (60..140).contains(&hits))
    );
}

#[test]
fn matching_norms_brings_the_norms_near() {
    let class = class();
    let mean_norm = |set: &NeuronSet| {
        let layer = set.layer(0);
        layer.iter().map(|&n| f64::from(n)).sum::<f64>() / layer.len() as f64
    };
    let distance = |matching| {
        let sets = drawn(&class, 20, 0, matching);
        let off = |set: &NeuronSet| (mean_norm(set) - mean_norm(&class)).abs();
        sets.iter().map(off).sum::<f64>() / sets.len() as f64
    };
    // Norms run from 0 to 399: uniform draws average near 185, the class 364.5.
    assert!(
        distance(Matching::LayerNorm) < 20.0,
        "{}",
        distance(Matching::LayerNorm)
    );
    assert!(
        distance(Matching::Layer) > 150.0,
        "{}",
        distance(Matching::Layer)
    );
}

/// Sets that were drawn with a seed stay those of that seed: sha256 over 3 draws of 40 seeds, from a table whose
/// norms differ (layer 0), tie by sevens (1) or are all alike (2).
#[test]
fn the_draws_of_a_seed_stay_what_they_were() {
    let layer = |norm: fn(usize) -> usize| -> Vec<NeuronRow> {
        let neurons = 0..D_MLP;
        neurons
            .map(|n| row(Class::OrthogonalOutput, 0.0, norm(n * 37 % D_MLP) as f32))
            .collect()
    };
    let table = NeuronTable {
        layers: vec![layer(|n| n), layer(|n| n / 7), layer(|_| 1)],
        ..table()
    };
    let class = set((0..3).flat_map(|l| (20 * l..90 + 40 * l).step_by(2).map(move |n| (l, n))));
    let digest = |matching| {
        let mut hash = Sha256::new();
        for seed in 0..40 {
            for set in matched_draws(&table, &class, 3, seed, matching)
                .unwrap()
                .sets
            {
                (0..3).for_each(|layer| {
                    let drawn = set.layer(layer).iter();
                    hash.update(drawn.flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>());
                });
            }
        }
        let bytes: [u8; 32] = hash.finalize().into();
        bytes[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let digests = [Matching::Layer, Matching::LayerNorm].map(digest);
    assert_eq!(digests, ["2cb90b6e0ade4eb1", "7b90fb09d5160478"]);
}

/// Frequencies of the table: those of neuron n have nothing to do with its norm.
fn frequencies(of: fn(usize) -> f64) -> NeuronNumbers {
    NeuronNumbers::new(vec![(0..D_MLP).map(of).collect(); 3])
}

/// 0, 1/400, .. 399/400, each once.
fn scattered(n: usize) -> f64 {
    (n * 37 % D_MLP) as f64 / D_MLP as f64
}

fn mean_of(set: &NeuronSet, layer: usize, of: fn(usize) -> f64) -> f64 {
    let neurons = set.layer(layer);
    neurons.iter().map(|&n| of(n as usize)).sum::<f64>() / neurons.len() as f64
}

#[test]
fn matching_frequencies_brings_the_frequencies_near() {
    let given = frequencies(scattered);
    let often = (0..D_MLP).filter(|n| scattered(*n) >= 0.86 && n % 2 == 0);
    let seldom = (0..D_MLP).filter(|n| scattered(*n) < 0.1 && n % 3 == 0);
    let class = set(often.map(|n| (0, n)).chain(seldom.map(|n| (2, n))));
    let counts = [0, 1, 2].map(|layer| class.layer(layer).len());
    assert_eq!(counts, [28, 0, 13]);
    let farthest = |matching| {
        let sets = drawn(&class, 20, 0, matching);
        let off = |set: &NeuronSet, layer| {
            (mean_of(set, layer, scattered) - mean_of(&class, layer, scattered)).abs()
        };
        for set in &sets {
            assert_eq!([0, 1, 2].map(|layer| set.layer(layer).len()), counts);
            assert!(set.iter().all(|neuron| !class.contains(neuron)));
        }
        let layers = [0, 2].map(|layer| sets.iter().map(move |set| off(set, layer)));
        layers.map(|off| off.fold(0.0, f64::max))
    };
    // The class means 0.93 and 0.05; uniform draws average 0.47 and 0.52.
    let near = farthest(Matching::LayerAnd(&given));
    assert!(near.iter().all(|off| *off < 0.04), "{near:?}");
    for matching in [Matching::Layer, Matching::LayerNorm] {
        let far = farthest(matching);
        assert!(far.iter().all(|off| *off > 0.2), "{far:?}");
    }
    let matching = Matching::LayerAnd(&given);
    assert_eq!(
        drawn(&class, 3, 9, matching),
        drawn(&class, 5, 9, matching)[..3]
    );
}

#[test]
fn those_that_fire_equally_often_are_partners_of_each_other() {
    // Three of four never fire; the others 1 of 8 or 1 of 2 times.
    let silent = |n: usize| match n % 8 {
        0 => 0.125,
        4 => 0.5,
        _ => 0.0,
    };
    let given = frequencies(silent);
    let class = set((0..96).filter(|n| n % 4 != 2).map(|n| (1, n)));
    let mut partners = [0; D_MLP];
    for set in drawn(&class, 40, 0, Matching::LayerAnd(&given)) {
        let count = |set: &NeuronSet, of: f64| {
            let neurons = set.layer(1).iter();
            neurons.filter(|&&n| silent(n as usize) == of).count()
        };
        for frequency in [0.0, 0.125, 0.5] {
            let wanted = count(&class, frequency).abs_diff(count(&set, frequency));
            assert!(wanted <= 4, "{frequency}: {wanted}");
        }
        set.layer(1).iter().for_each(|&n| partners[n as usize] += 1);
    }
    // Not always the same few.
    let drawn = partners.iter().filter(|draws| **draws > 0).count();
    assert!(drawn > 150, "{drawn}");
}

#[test]
fn a_neuron_stands_amid_those_that_fire_as_often() {
    let shares = [0.5, 0.1, 0.2, 0.2, 0.2, 0.2, 0.05, 0.3, 0.9, 0.2];
    let ranking = RankedBy::Number(&shares);
    let candidates = [1, 2, 3, 4, 5, 0];
    let places = [6, 9, 7, 8, 1].map(|neuron| ranking.place(neuron, &candidates));
    assert_eq!(places, [0, 3, 5, 6, 0]);
    // of an odd number, before the one in the middle
    assert_eq!(ranking.place(9, &[1, 2, 3, 4]), 2);
    let rows: Vec<NeuronRow> = shares
        .iter()
        .map(|&norm| row(Class::OrthogonalOutput, 0.0, norm as f32))
        .collect();
    assert_eq!(RankedBy::NormOut(&rows).place(9, &candidates), 1);
}

#[test]
fn layers_without_frequencies_are_an_error_where_the_class_has_neurons() {
    let shares = |layers: [usize; 3]| NeuronNumbers::new(layers.map(|n| vec![0.5; n]).to_vec());
    let draws =
        |given: &NeuronNumbers| matched_draws(&table(), &class(), 1, 0, Matching::LayerAnd(given));
    assert!(draws(&shares([D_MLP, 0, D_MLP])).is_ok());
    let error = draws(&shares([D_MLP, D_MLP, 0])).unwrap_err();
    assert!(
        matches!(&error, ClassError::LayerNotRecorded { layer: 2, recorded } if *recorded == [0, 1])
    );
    assert!(error.to_string().contains("layers [0, 1]"), "{error}");
    let error = draws(&shares([9, D_MLP, D_MLP])).unwrap_err();
    assert!(matches!(
        error,
        ClassError::OtherFrequencies {
            layer: 0,
            frequencies: 9,
            ..
        }
    ));
}

#[test]
fn windows_are_even_sided_and_never_empty() {
    assert_eq!(window(50, 100, 7), 43..57);
    assert_eq!(window(94, 100, 7), 88..100);
    assert_eq!(window(0, 100, 7), 0..5);
    assert_eq!(window(100, 100, 7), 95..100);
    assert_eq!(window(1, 1, 7), 0..1);
    assert_eq!(window(0, 1, 1), 0..1);
}

#[test]
fn a_class_of_more_than_half_a_layer_takes_all_the_rest_and_says_so() {
    let class = set((0..300).map(|n| (1, n)).chain([(2, 0)]));
    for matching in [Matching::Layer, Matching::LayerNorm] {
        let draws = matched_draws(&table(), &class, 3, 0, matching).unwrap();
        assert_eq!(
            draws.shortfall,
            [Shortfall {
                layer: 1,
                class: 300,
                available: 100
            }]
        );
        for set in &draws.sets {
            assert!(set.layer(1).iter().copied().eq(300..400));
            assert_eq!(set.layer(2).len(), 1);
        }
    }
    let half = set((0..200).map(|n| (1, n)));
    let draws = matched_draws(&table(), &half, 1, 0, Matching::Layer).unwrap();
    assert!(draws.shortfall.is_empty() && draws.sets[0].len() == 200);
    let text = Shortfall {
        layer: 1,
        class: 300,
        available: 100,
    }
    .to_string();
    assert_eq!(
        text,
        "layer 1: the class has 300 neurons, only 100 are outside it"
    );
}

#[test]
fn sets_that_cannot_have_a_baseline_are_errors() {
    let draws =
        |class: &NeuronSet, draws| matched_draws(&table(), class, draws, 0, Matching::Layer);
    assert!(matches!(
        draws(&NeuronSet::empty(3), 1),
        Err(ClassError::EmptySet)
    ));
    assert!(matches!(
        draws(&NeuronSet::empty(4), 1),
        Err(ClassError::OtherModel { .. })
    ));
    let whole_layer = set((0..D_MLP).map(|n| (1, n)));
    assert!(matches!(
        draws(&whole_layer, 1),
        Err(ClassError::NothingOutside { neurons: D_MLP })
    ));
    assert!(draws(&whole_layer, 0).unwrap().sets.is_empty());
    let wide = NeuronSet::from_neurons(
        3,
        999,
        [Neuron {
            layer: 1,
            index: 400,
        }],
    )
    .unwrap();
    let message = draws(&wide, 1).unwrap_err().to_string();
    assert!(
        message.contains("1.400") && message.contains("400 neurons"),
        "{message}"
    );
}

#[test]
fn names_of_the_matchings() {
    for matching in [
        Match::Layer,
        Match::LayerNorm,
        Match::LayerFrequency,
        Match::LayerContribution,
        Match::LayerEffect,
    ] {
        assert_eq!(matching.to_string().parse::<Match>().unwrap(), matching);
        assert_eq!(serde_json::to_value(matching).unwrap(), matching.as_str());
    }
    let message = Match::LayerFrequency.with(None).unwrap_err().to_string();
    assert!(
        message.contains("gatelens record --text neutral"),
        "{message}"
    );
    assert!(matches!(
        "norm".parse::<Match>(),
        Err(ClassError::UnknownMatch { .. })
    ));
}
