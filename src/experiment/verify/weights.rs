//! The claims that the weights alone decide.

use super::super::effects::Estimate;
use statrs::distribution::{Beta, ContinuousCDF};

use super::finding::{Basis, Direction, Finding, Room};
use crate::io_class::{Class, ClassQuery, NeuronRow, NeuronTable};
use crate::stats::{
    Clusters, Interval, StatsSettings, difference_over_clusters, mean, median_interval,
    rank_correlation,
};

/// Layers that count as early for the medians, of all.
const EARLY: f64 = 0.6;

/// Up to this share of them may stray: the published tables of eleven models have none, that of OLMo-1B more than half.
const STRAY: f64 = 0.1;

/// A class is rare below this share of all neurons.
const RARE: f64 = 0.01;

/// Mean relative depth (0 the first layer, 1 the last) of any-enrichment neurons minus that of any-depletion ones. Neurons of a
/// layer have their depth in common: interval and p are over layers.
pub(super) fn depth_enrichment(table: &NeuronTable, settings: &StatsSettings) -> Vec<Finding> {
    let last = table.layers.len().saturating_sub(1).max(1) as f64;
    let layers_of = |query: ClassQuery| -> Vec<usize> {
        let layers = table.layers.iter().enumerate();
        let members = |(layer, rows): (usize, &Vec<NeuronRow>)| {
            let members = rows.iter().filter(|row| query.includes(row.class));
            vec![layer; members.count()]
        };
        layers.flat_map(members).collect()
    };
    let groups = [ClassQuery::AnyEnrichment, ClassQuery::AnyDepletion].map(layers_of);
    let finding = Finding::missing(
        "mean relative depth of any-enrichment neurons minus any-depletion (0 to 1)",
        Direction::Lower,
        "no difference, over layers",
        "one of the two has no neurons, or all lie in one layer".to_string(),
    )
    .primary();
    let depths = groups
        .each_ref()
        .map(|layers| -> Vec<f64> { layers.iter().map(|layer| *layer as f64 / last).collect() });
    let of = |group: usize| (depths[group].as_slice(), groups[group].as_slice());
    let Some(tested) = difference_over_clusters(of(0), of(1), settings.level) else {
        return vec![finding];
    };
    let [enrichment, depletion] = depths
        .each_ref()
        .map(|depths| mean(depths).unwrap_or(f64::NAN));
    vec![Finding {
        n: depths.iter().map(Vec::len).sum(),
        why: format!(
            "{} enrichment neurons at {enrichment:.2} of the depth, {} depletion neurons at {depletion:.2}",
            depths[0].len(),
            depths[1].len(),
        ),
        evidence: tested.into(),
        room: Room {
            largest: Some(-1.0),
            ..Room::default()
        },
        ..finding
    }]
}

/// The medians of cos(w_in, w_out): positive in the first 60 % of layers; their rank correlation with depth over the
/// last half.
pub(super) fn depth_median(table: &NeuronTable, settings: &StatsSettings) -> Vec<Finding> {
    let medians: Vec<f64> = table.median_in_out().into_iter().map(f64::from).collect();
    let intervals = table.layers.iter().map(|rows| {
        let cosines: Vec<f64> = rows
            .iter()
            .map(|row| f64::from(row.cosines.in_out))
            .collect();
        median_interval(&cosines, settings.level)
    });
    let intervals: Vec<Option<Interval>> = intervals.collect();
    vec![
        positive_early(&medians, &intervals),
        falling(&medians, settings),
    ]
}

/// Layers in which the interval of the median lies on one side of 0 count; up to [`STRAY`] of them may be on the other side.
fn positive_early(medians: &[f64], intervals: &[Option<Interval>]) -> Finding {
    let layers = medians.len();
    let early = ((layers as f64 * EARLY).round() as usize).clamp(1, layers);
    let clearly = |side: fn(&Interval) -> bool| -> Vec<String> {
        let layers = (0..early).filter(|layer| intervals[*layer].as_ref().is_some_and(side));
        layers.map(|layer| layer.to_string()).collect()
    };
    let (positive, negative) = (clearly(|ci| ci.low > 0.0), clearly(|ci| ci.high < 0.0));
    let share = |layers: &[String]| layers.len() as f64 / early as f64;
    let holds = if share(&negative) > STRAY {
        Some(false)
    } else {
        (share(&positive) >= 1.0 - STRAY).then_some(true)
    };
    let against = match negative.as_slice() {
        [] => "in none is it clearly negative".to_string(),
        [layer] => format!("in layer {layer} it is clearly negative"),
        layers => format!("in layers {} it is clearly negative", layers.join(", ")),
    };
    Finding {
        evidence: Basis::Counted {
            estimate: medians[..early]
                .iter()
                .filter(|median| **median > 0.0)
                .count() as f64
                / early as f64,
            holds,
        },
        n: early,
        why: format!(
            "in {} of layers 0 to {} the median is clearly positive (its 95 % interval over neurons lies above 0); {against}",
            positive.len(),
            early - 1
        ),
        ..Finding::missing(
            "share of the first 60 % of layers with a positive median of cos(w_in, w_out)",
            Direction::Higher,
            "all but one tenth of them",
            String::new(),
        )
        .primary()
    }
}

/// The trend is described: neighbouring layers are alike, so that shuffled layers are no null (they reject in 42 % of the cases
/// where 5 % is meant, with medians that are autocorrelated by .8), and half a model has too few layers for shifts of blocks.
fn falling(medians: &[f64], settings: &StatsSettings) -> Finding {
    let half = medians.len() / 2;
    let late = &medians[half..];
    let depth: Vec<f64> = (half..medians.len()).map(|layer| layer as f64).collect();
    let finding = Finding::missing(
        "Spearman's rho of the median of cos(w_in, w_out) with depth, last half of layers",
        Direction::Lower,
        "no trend; neighbouring layers are alike, so there is no p",
        "too few layers, or medians that do not vary".to_string(),
    );
    match rank_correlation(&depth, late, settings) {
        None => finding,
        Some(found) => Finding {
            evidence: Basis::Tested {
                estimate: Estimate {
                    difference_to_baseline: Some(found.rho),
                    ..Estimate::default()
                },
                draws: 0,
            },
            n: found.pairs,
            why: format!(
                "median {:+.3} in layer {half}, {:+.3} in the last",
                late[0],
                late[late.len() - 1]
            ),
            ..finding
        },
    }
}

/// How many depletion neurons there are, beside what chance makes of random weights of width `d_model`, and how many of them are
/// in the second half of layers.
pub(super) fn rare_depletion(
    table: &NeuronTable,
    d_model: usize,
    settings: &StatsSettings,
) -> Vec<Finding> {
    let counts = table.counts_per_layer();
    let layers = counts.iter().enumerate();
    let layers = layers.flat_map(|(layer, counts)| vec![layer; counts[&Class::Depletion]]);
    let layers: Vec<usize> = layers.collect();
    vec![
        rare(table, d_model, layers.len()),
        mostly_late(&layers, counts.len(), settings),
    ]
}

fn rare(table: &NeuronTable, d_model: usize, depletion: usize) -> Finding {
    let neurons: usize = table.layers.iter().map(Vec::len).sum();
    let share = depletion as f64 / neurons as f64;
    let chance = opposite_by_chance(d_model, table.threshold);
    let missing = Finding::missing(
        "share of depletion neurons",
        Direction::Lower,
        "1 %, and chance",
        "no depletion neurons, as in a network of random weights".to_string(),
    )
    .primary();
    if depletion == 0 {
        return missing;
    }
    Finding {
        evidence: Basis::Counted {
            estimate: share,
            holds: (share > chance).then_some(share < RARE),
        },
        n: neurons,
        why: format!(
            "{depletion} of {neurons} neurons, {:.2} %; of random weights a share below {chance:.0e}",
            100.0 * share
        ),
        ..missing
    }
}

/// The layers of the depletion neurons: neurons of one layer have theirs in common.
fn mostly_late(layers: &[usize], n_layers: usize, settings: &StatsSettings) -> Finding {
    let half = n_layers / 2;
    let late = layers
        .iter()
        .map(|layer| f64::from(u8::from(*layer >= half)));
    let late: Vec<f64> = late.collect();
    let missing = Finding::missing(
        "share of depletion neurons in the second half of layers, minus one half",
        Direction::Higher,
        "one half, over layers",
        "no depletion neurons, or only one".to_string(),
    );
    let found = Clusters::of(layers.iter().copied()).mean(&late, settings.level);
    let Some(found) = found else {
        return missing;
    };
    Finding {
        evidence: Basis::Tested {
            estimate: Estimate {
                difference_to_baseline: Some(found.mean),
                baseline_ci: Some(found.interval),
                ..Estimate::default()
            },
            draws: 0,
        }
        .minus(0.5),
        n: late.len(),
        why: format!(
            "{} of {} lie in layers {half} to {}",
            late.iter().sum::<f64>(),
            late.len(),
            n_layers - 1
        ),
        ..missing
    }
}

/// Of random weights no larger share has a cos(w_in, w_out) below -`threshold`, which depletion needs (the paper's chance level).
fn opposite_by_chance(d_model: usize, threshold: f32) -> f64 {
    let shape = (d_model.max(2) - 1) as f64 / 2.0;
    let cosine = Beta::new(shape, shape).map(|beta| beta.cdf((1.0 - f64::from(threshold)) / 2.0));
    cosine.unwrap_or(1.0)
}

#[cfg(test)]
mod tests;
