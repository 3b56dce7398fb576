//! Classes by layer, the median of cos(w_in, w_out) by layer, and single neurons as dots.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use maud::Markup;
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;

use super::block::{Block, figure};
use serde::Deserialize;

use crate::io_class::{Class, ClassCounts, PublishedTables};
use crate::report::ReportError;
use crate::report::chart::{Axis, Chart, Kind, Mark, Point, SQUARE, Ticks, WIDE};
use crate::report::classes::Classes;
use crate::report::number::{ABSENT, Digits, count, percent, plural};
use crate::report::tone::Tone;
use crate::report::view::{Columns, Table};

/// The classes and the medians, by layer.
pub fn figures(table: &Classes) -> Result<Vec<Markup>, ReportError> {
    let (neurons, layers) = (table.totals.values().sum(), table.per_layer.len());
    let of = format!(
        "{} in {}.",
        plural(neurons, "neuron"),
        plural(layers, "layer")
    );
    let classes = table.totals.iter().map(|(class, total)| (*class, *total));
    let classes: Vec<(Class, usize)> = classes.filter(|(_, total)| *total > 0).collect();
    let rows: Vec<(usize, &ClassCounts)> = table.per_layer.iter().enumerate().collect();
    let mut columns = Columns::new().words("layer", |(layer, _): &(usize, _)| layer.to_string());
    for (class, _) in classes.clone() {
        let of_layer = move |(_, counts): &(usize, &ClassCounts)| count(of_class(counts, class));
        columns = columns.number(class.as_str(), of_layer);
    }
    let caption = format!("{of}\nBars are stacked in the order of the legend, from the bottom.");
    let panel = (String::new(), shares(table, &classes, neurons));
    let shares = figure(
        "Classes by layer",
        &[panel],
        &caption,
        &columns.table(&rows),
    )?;
    Ok(vec![shares, medians(table, of)?])
}

fn of_class(counts: &ClassCounts, class: Class) -> usize {
    counts.get(&class).copied().unwrap_or(0)
}

/// A bar per layer and class.
fn shares(table: &Classes, classes: &[(Class, usize)], neurons: usize) -> Chart {
    let mut below = vec![0.0; table.per_layer.len()];
    let mut marks = Vec::new();
    for (class, total) in classes {
        let mut bars: Vec<Point> = Vec::new();
        for (layer, counts) in table.per_layer.iter().enumerate() {
            let all: usize = counts.values().sum();
            let top = below[layer] + of_class(counts, *class) as f64 / all.max(1) as f64;
            if top > below[layer] {
                let layer_x = layer as f64;
                bars.extend([(layer_x - 0.45, below[layer]), (layer_x + 0.45, top)]);
            }
            below[layer] = top;
        }
        let share = percent(*total as f64 / neurons as f64);
        let name = format!("{class}: {} ({share})", count(*total));
        marks.push(Mark::new(Kind::Bars, Tone::Class(*class), bars).named(name));
    }
    let y = Axis::new("share of the layer's neurons", 0.0..1.0, Ticks::Anywhere);
    let x = Axis::new("layer", -0.5..below.len() as f64 - 0.5, Ticks::Whole);
    Chart::new(WIDE, x, y, marks)
}

fn medians(table: &Classes, of: String) -> Block {
    let own = table.published.as_ref().map(|comparison| &comparison.model);
    let parent = table.descends_from.as_ref().filter(|_| own.is_none());
    let model = own.or(parent.map(|descent| &descent.model));
    let bundled = PublishedTables::bundled().ok();
    let medians =
        model.and_then(|id| Some(bundled?.models.remove(id)?.median_cos_in_out_per_layer));
    let note = match (model, &medians, parent) {
        (None, ..) => "classes.json has no published comparison: none of the published models has this name and shape, or \
                       another fold or threshold was asked for."
            .to_string(),
        (Some(model), None, _) => format!("This version has no published medians of {model}."),
        (Some(model), Some(_), None) => format!("Published for {model}, read from a plot."),
        (Some(model), Some(_), Some(descent)) => format!(
            "Published for {model}, read from a plot: this model descends from it (by {}), and training moved its weights, \
             so the two need not agree.",
            descent.told_by
        ),
    };
    let medians = medians.unwrap_or_default();
    let points = |medians: &[f32]| -> Vec<Point> {
        let medians = medians.iter().enumerate();
        medians
            .map(|(layer, median)| (layer as f64, f64::from(*median)))
            .collect()
    };
    let (found, published) = (points(&table.median_cos_in_out), points(&medians));
    let digits = Digits::Fixed(3);
    let columns = Columns::new()
        .words("layer", |(layer, _): &Point| layer.to_string())
        .number("median", |(_, median)| digits.signed(*median))
        .number("published", |(layer, _)| {
            let published = published.get(*layer as usize);
            published.map_or(ABSENT.to_string(), |(_, median)| digits.signed(*median))
        });
    let numbers = columns.table(&found);
    let ends = [-0.5, found.len() as f64 - 0.5].map(|x| (x, 0.0));
    let mut marks = vec![
        Mark::new(Kind::Line(2), Tone::Muted, ends),
        Mark::new(Kind::Line(4), Tone::Accent, found.clone()),
        Mark::new(Kind::Dots, Tone::Accent, found.clone()).named("this run"),
    ];
    if !published.is_empty() {
        let name = parent.map_or("published".to_string(), |of| {
            format!("published for {}", of.model)
        });
        let published = Mark::new(Kind::Circles, Tone::Ink, published.clone());
        marks.push(published.named(name));
    }
    let label = "median of cos(w_in, w_out)";
    let panels = Chart::by_layer(label, vec![(String::new(), marks)]);
    let title = "Median of cos(w_in, w_out) by layer";
    figure(title, &panels, &format!("{of}\n{note}"), &numbers)
}

/// What a page reads of a row of `neurons.parquet`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct NeuronCosines {
    pub layer: u16,
    #[serde(rename = "cos_gate_out")]
    pub gate_out: f32,
    #[serde(rename = "cos_in_out")]
    pub in_out: f32,
    pub class: Class,
}

/// Layers that are shown.
const LAYERS: usize = 6;

/// Neurons of a layer that are drawn.
const DRAWN: usize = 500;

/// Classes with no more neurons in a layer are drawn whole.
const RARE: usize = 20;

const SEED: u64 = 0;

/// Every neuron as a dot, in some layers.
pub fn cosines(neurons: &[NeuronCosines], threshold: f32) -> Block {
    let layers: Vec<&[NeuronCosines]> = neurons.chunk_by(|a, b| a.layer == b.layer).collect();
    let shown = spread(layers.len()).map(|place| {
        let (of, drawn) = (layers[place], thinned(layers[place]));
        let [drawn_n, of_n] = [drawn.len(), of.len()].map(count);
        let title = format!("layer {}: {drawn_n} of {of_n} neurons", of[0].layer);
        (title, dots(&drawn, threshold))
    });
    let shown: Vec<_> = shown.collect();
    let share = |is_beyond: &dyn Fn(&NeuronCosines) -> bool| {
        let beyond = neurons.iter().filter(|neuron| is_beyond(neuron)).count();
        let share = percent(beyond as f64 / neurons.len().max(1) as f64);
        format!("{} ({share})", count(beyond))
    };
    let caption = format!(
        "{} of {} layers, evenly spread, and of each at most {DRAWN} neurons, chosen at random with seed {SEED}; classes \
         with no more than {RARE} neurons in the layer are drawn whole. Lines: the threshold {threshold} on either \
         side.\nBeyond it, of all {} neurons: cos(w_in, w_out) {}, below 0 {}; cos(w_gate, w_out) {}.",
        shown.len(),
        layers.len(),
        count(neurons.len()),
        share(&|neuron| neuron.in_out.abs() > threshold),
        share(&|neuron| neuron.in_out < -threshold),
        share(&|neuron| neuron.gate_out.abs() > threshold),
    );
    figure(
        "Cosines of single neurons",
        &shown,
        &caption,
        &Table::default(),
    )
}

/// Up to [`LAYERS`] places among `n`, the first and the last with them.
fn spread(n: usize) -> impl Iterator<Item = usize> {
    let shown = n.min(LAYERS);
    (0..shown).map(move |place| place * (n - 1) / (shown - 1).max(1))
}

/// At most [`DRAWN`] neurons at random, and those of rare classes; large classes first, so that the rare ones lie on top.
fn thinned(neurons: &[NeuronCosines]) -> Vec<NeuronCosines> {
    let mut sizes: BTreeMap<Class, usize> = BTreeMap::new();
    for neuron in neurons {
        *sizes.entry(neuron.class).or_default() += 1;
    }
    let is_rare = |neuron: &NeuronCosines| sizes[&neuron.class] <= RARE;
    let (mut drawn, common): (Vec<_>, Vec<_>) = neurons.iter().partition(|n| is_rare(n));
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut places = sample(&mut rng, common.len(), common.len().min(DRAWN)).into_vec();
    places.sort_unstable();
    drawn.extend(places.into_iter().map(|place| common[place]));
    drawn.sort_by_key(|neuron: &NeuronCosines| (Reverse(sizes[&neuron.class]), neuron.class));
    drawn
}

fn dots(neurons: &[NeuronCosines], threshold: f32) -> Chart {
    let t = f64::from(threshold);
    let thresholds = [-t, t].map(|t| [[(t, -1.0), (t, 1.0)], [(-1.0, t), (1.0, t)]]);
    let lines = thresholds.concat().into_iter();
    let lines = lines.map(|ends| Mark::new(Kind::Line(2), Tone::Muted, ends));
    let dots = neurons.chunk_by(|a, b| a.class == b.class).map(|alike| {
        let place = |n: &NeuronCosines| (n.gate_out.into(), n.in_out.into());
        let class = alike[0].class;
        let dots = Mark::new(Kind::SmallDots, Tone::Class(class), alike.iter().map(place));
        dots.named(class.as_str())
    });
    let axis = |label| Axis::new(label, -1.0..1.0, Ticks::Anywhere);
    let marks = lines.chain(dots).collect();
    let [x, y] = ["cos(w_gate, w_out)", "cos(w_in, w_out)"].map(axis);
    Chart::new(SQUARE, x, y, marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    use Class::{ConditionalEnrichment as Ce, Depletion as D, OrthogonalOutput as Oo};

    /// Three layers of ten neurons.
    fn table() -> Classes {
        let table = serde_json::json!({
            "threshold": 0.5, "median_cos_in_out": [0.5, -0.125, -0.25],
            "per_layer": [
                {"conditional-enrichment": 6, "orthogonal-output": 4},
                {"conditional-enrichment": 0, "orthogonal-output": 9, "depletion": 1},
                {"orthogonal-output": 10},
            ],
            "totals": {"enrichment": 0, "conditional-enrichment": 6, "orthogonal-output": 23, "depletion": 1},
        });
        serde_json::from_value(table).unwrap()
    }

    #[test]
    fn shares_by_hand() {
        let table = table();
        let chart = shares(&table, &[(Ce, 6), (Oo, 23), (D, 1)], 30);
        let bars = chart
            .marks
            .iter()
            .map(|mark| mark.points.clone())
            .collect::<Vec<_>>();
        assert_eq!(bars[0], [(-0.45, 0.0), (0.45, 0.6)], "no bar of height 0");
        assert_eq!(bars[1][..2], [(-0.45, 0.6), (0.45, 1.0)]);
        assert_eq!(bars[2], [(0.55, 0.9), (1.45, 1.0)]);
        let page = figures(&table)
            .unwrap()
            .into_iter()
            .map(Markup::into_string)
            .collect::<String>();
        for text in [
            "depletion: 1 (3.33\u{a0}%)",
            "30 neurons in 3 layers",
            "no published comparison",
            "−0.125",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert!(
            !page.contains("> enrichment"),
            "classes without neurons have no key"
        );
    }

    #[test]
    fn the_published_curve_is_drawn_where_there_is_one() {
        let mut table = table();
        let comparison = serde_json::json!({
            "model": "allenai/OLMo-1B-hf", "matched_by": "x", "source": "y", "count_tolerance": 2,
            "median_tolerance": 0.002, "verdict": "agrees", "counts": 1, "counts_beyond_tolerance": 0,
            "largest_by_class": {}, "medians": 4, "medians_beyond_tolerance": 0,
            "largest_median": {"layer": 2, "published": -0.126, "found": -0.125},
        });
        table.published = Some(serde_json::from_value(comparison).unwrap());
        let page = medians(&table, String::new()).unwrap().into_string();
        let bundled = PublishedTables::bundled().unwrap();
        let published = &bundled.models["allenai/OLMo-1B-hf"].median_cos_in_out_per_layer;
        assert!(page.contains("<span>−0.250</span>"), "{page}");
        assert!(
            page.contains(&format!("<span>{:+.3}</span>", published[0]).replace('-', "−")),
            "{page}"
        );
        let descent = serde_json::json!({
            "model": "allenai/OLMo-1B-hf", "told_by": "the alias", "source": "y", "classes": {},
            "median_cos_in_out": {"largest": {"layer": 2, "published": -0.126, "found": -0.125}},
        });
        let mut child = table.clone();
        child.published = None;
        child.descends_from = Some(serde_json::from_value(descent).unwrap());
        let page = medians(&child, String::new()).unwrap().into_string();
        for text in [
            "published for allenai/OLMo-1B-hf",
            "descends from it (by the alias)",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
        table.published.as_mut().unwrap().model = "another/model".to_string();
        assert!(
            medians(&table, String::new())
                .unwrap()
                .into_string()
                .contains("medians of another/model")
        );
    }

    fn neurons(layers: usize, each: usize) -> Vec<NeuronCosines> {
        let neuron = |i: usize| {
            let is_rare = i.is_multiple_of(400);
            NeuronCosines {
                layer: (i / each) as u16,
                gate_out: if is_rare { -0.75 } else { 0.25 },
                in_out: if is_rare { -0.75 } else { 0.5 },
                class: if is_rare { D } else { Oo },
            }
        };
        (0..layers * each).map(neuron).collect()
    }

    #[test]
    fn layers_are_spread_evenly_with_both_ends() {
        assert_eq!(spread(30).collect::<Vec<_>>(), [0, 5, 11, 17, 23, 29]);
        assert_eq!(
            [3, 1, 0].map(|n| spread(n).collect::<Vec<_>>()),
            [vec![0, 1, 2], vec![0], vec![]]
        );
    }

    #[test]
    fn rare_classes_stay_and_the_rest_is_thinned_always_alike() {
        let layer = neurons(1, 2000);
        let drawn = thinned(&layer);
        let rare = drawn.iter().filter(|neuron| neuron.class == D);
        assert_eq!((drawn.len(), rare.count()), (DRAWN + 5, 5));
        assert_eq!(drawn.last().unwrap().class, D, "on top");
        assert_eq!(drawn, thinned(&layer));
        assert_eq!(thinned(&layer[..100]).len(), 100);
        let page = cosines(&neurons(8, 1000), 0.5).unwrap().into_string();
        // 20 of 8,000 beyond; 0.5 itself is not
        for text in [
            "6 of 8 layers",
            "seed 0",
            "w_out) 20 (0.25\u{a0}%), below 0 20",
            "503 of 1,000 neurons",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
    }
}
