//! Classes by layer, and the median of cos(w_in, w_out) by layer.

use super::block::{Block, Figure, Panel, Width};
use crate::io_class::{Class, ClassCounts, PublishedTables};
use crate::report::chart::{Axis, Chart, Kind, Mark, Point, Ticks, WIDE};
use crate::report::classes::Classes;
use crate::report::number::{ABSENT, Digits, count, percent, plural};
use crate::report::tone::Tone;
use crate::report::view::{Columns, Table};

/// The classes and the medians, by layer.
pub fn figures(table: &Classes) -> Vec<Block> {
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
    let data = shares_data(table, &classes);
    let panel = Panel::new("classes-by-layer", shares(table, &classes, neurons), data);
    let shares = Block::Figure(Figure {
        title: "Classes by layer".to_string(),
        panels: vec![panel],
        legend: "Bars are stacked in the order of the legend, from the bottom.".to_string(),
        caption: of.clone(),
        numbers: columns.table(&rows),
        width: Width::Fits,
    });
    vec![shares, medians(table, of)]
}

/// A row per layer and class.
fn shares_data(table: &Classes, classes: &[(Class, usize)]) -> Table {
    type Bar = (usize, Class, usize, usize);
    let layers = table.per_layer.iter().enumerate();
    let bars = layers.flat_map(|(layer, counts)| {
        let all = counts.values().sum();
        let classes = classes.iter().map(|(class, _)| *class);
        classes.map(move |class| (layer, class, of_class(counts, class), all))
    });
    let bars: Vec<Bar> = bars.collect();
    let columns = Columns::new()
        .number("layer", |bar: &Bar| bar.0.to_string())
        .words("class", |bar| bar.1.to_string())
        .number("neurons", |bar| bar.2.to_string())
        .value("share", |bar| Some(share(bar.2, bar.3)));
    columns.table(&bars)
}

fn share(neurons: usize, of: usize) -> f64 {
    neurons as f64 / of.max(1) as f64
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
            let top = below[layer] + share(of_class(counts, *class), all);
            if top > below[layer] {
                let layer_x = layer as f64;
                bars.extend([(layer_x - 0.45, below[layer]), (layer_x + 0.45, top)]);
            }
            below[layer] = top;
        }
        let share = percent(share(*total, neurons));
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
    let mut charts = Chart::by_layer(label, vec![marks]);
    let chart = charts.remove(0);
    let title = "Median of cos(w_in, w_out) by layer";
    let data = medians_data([&table.median_cos_in_out, &medians], model);
    let panel = Panel::new("median-cosine-by-layer", chart, data);
    Block::figure(title, vec![panel], &format!("{of}\n{note}"), numbers)
}

/// A row per layer of this run, and of what was published.
fn medians_data(sources: [&[f32]; 2], published: Option<&String>) -> Table {
    type Median<'m> = (usize, &'m str, f32);
    let names = ["this run", published.map_or("", String::as_str)];
    let medians = names.into_iter().zip(sources).flat_map(|(name, medians)| {
        let medians = medians.iter().enumerate();
        medians.map(move |(layer, median)| (layer, name, *median))
    });
    let medians: Vec<Median<'_>> = medians.collect();
    let columns = Columns::new()
        .number("layer", |row: &Median<'_>| row.0.to_string())
        .words("of", |row| row.1.to_string())
        .number("median_cos_in_out", |row| format!("{:?}", row.2));
    columns.table(&medians)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::shown;

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
        let page = shown(&figures(&table));
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
        let page = shown(&[medians(&table, String::new())]);
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
        let page = shown(&[medians(&child, String::new())]);
        for text in [
            "published for allenai/OLMo-1B-hf",
            "descends from it (by the alias)",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
        table.published.as_mut().unwrap().model = "another/model".to_string();
        assert!(shown(&[medians(&table, String::new())]).contains("medians of another/model"));
    }
}
