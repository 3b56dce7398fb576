//! The median of cos(w_in, w_out) by layer, beside the published one.

use super::block::{Block, Figure, Key, Panel, Picture};
use super::chart::{Axis, Chart, Dot, Mark, Point, Shape, Ticks, Weight};
use super::class_shares::ClassTable;
use super::words::{count, signed};
use crate::io_class::{Comparison, PublishedTables};
use crate::report::tone::Tone;

pub fn figure(table: &ClassTable) -> Block {
    let published = table.published.as_ref().and_then(published_medians);
    let mut keys = vec![Key::new("●", Tone::Accent, "this run")];
    let mut notes = Vec::new();
    match (&table.published, &published) {
        (Some(comparison), Some(_)) => {
            let text = format!("published for {}, read from a plot", comparison.model);
            keys.push(Key::new("○", Tone::Ink, text));
        }
        (Some(comparison), None) => {
            notes.push(format!("This version has no published medians of {}.", comparison.model));
        }
        (None, _) => notes.push(
            "classes.json has no published comparison: none of the published models has this name and shape, or \
             another fold or threshold was asked for."
                .to_string(),
        ),
    }
    Block::Figure(Figure {
        title: "Median of cos(w_in, w_out) by layer".to_string(),
        reading: reading(table),
        keys,
        panels: vec![Panel {
            title: String::new(),
            reading: String::new(),
            picture: Picture::Chart(chart(&table.median_cos_in_out, published.as_deref())),
        }],
        notes,
        n: format!(
            "{} neurons in {} layers",
            count(table.neurons()),
            table.per_layer.len()
        ),
    })
}

fn published_medians(comparison: &Comparison) -> Option<Vec<f32>> {
    let mut tables = PublishedTables::bundled().ok()?;
    let table = tables.models.remove(&comparison.model)?;
    Some(table.median_cos_in_out_per_layer)
}

fn reading(table: &ClassTable) -> String {
    let medians = || table.median_cos_in_out.iter().copied().enumerate();
    let highest = medians().max_by(|a, b| a.1.total_cmp(&b.1));
    let lowest = medians().min_by(|a, b| a.1.total_cmp(&b.1));
    let (Some((top, high)), Some((bottom, low))) = (highest, lowest) else {
        return "The model has no layers.".to_string();
    };
    let positive = medians().filter(|(_, median)| *median > 0.0).count();
    let found = format!(
        "The median is highest in layer {top} ({}) and lowest in layer {bottom} ({}); it is above 0 in {positive} of {} \
         layers.",
        signed(high.into()),
        signed(low.into()),
        table.median_cos_in_out.len(),
    );
    match &table.published {
        None => found,
        Some(comparison) => {
            let largest = comparison.largest_median;
            format!(
                "{found} The largest distance from the published medians is that of layer {}: {} here, {} there.",
                largest.layer,
                signed(largest.found.into()),
                signed(largest.published.into()),
            )
        }
    }
}

fn chart(medians: &[f32], published: Option<&[f32]>) -> Chart {
    let points = |medians: &[f32]| -> Vec<Point> {
        let medians = medians.iter().enumerate();
        medians
            .map(|(layer, median)| (layer as f64, f64::from(*median)))
            .collect()
    };
    let x = Axis::layers(medians.len());
    let ends = [x.range.start, x.range.end].map(|x| (x, 0.0)).to_vec();
    let found = points(medians);
    let mut marks = vec![
        Mark::Line {
            points: ends,
            tone: Tone::Muted,
            weight: Weight::Thin,
        },
        Mark::Line {
            points: found.clone(),
            tone: Tone::Accent,
            weight: Weight::Bold,
        },
        Mark::Dots {
            points: found,
            tone: Tone::Accent,
            dot: Dot::Full,
        },
    ];
    let published = published.map(points).unwrap_or_default();
    marks.push(Mark::Dots {
        points: published.clone(),
        tone: Tone::Ink,
        dot: Dot::Hollow,
    });
    let values = published.iter().map(|point| point.1);
    let values = values.chain(medians.iter().map(|median| f64::from(*median)));
    let mut y = Axis::around_zero("median of cos(w_in, w_out)", values);
    y.ticks = Ticks::Anywhere;
    Chart {
        shape: Shape::Wide,
        x,
        y,
        marks,
    }
}

#[cfg(test)]
mod tests {
    use super::super::class_shares::tests::table;
    use super::*;

    fn comparison() -> Comparison {
        serde_json::from_value(serde_json::json!({
            "model": "allenai/OLMo-1B-hf", "matched_by": "x", "source": "y", "count_tolerance": 2,
            "median_tolerance": 0.002, "verdict": "agrees", "counts": 1, "counts_beyond_tolerance": 0,
            "largest_by_class": {}, "medians": 4, "medians_beyond_tolerance": 0,
            "largest_median": {"layer": 2, "published": -0.126, "found": -0.125},
        }))
        .unwrap()
    }

    #[test]
    fn medians_by_hand() {
        let Block::Figure(figure) = figure(&table()) else {
            panic!()
        };
        assert_eq!(
            figure.reading,
            "The median is highest in layer 0 (+0.500) and lowest in layer 3 (−0.250); it is above 0 in 2 of 4 layers."
        );
        assert!(
            figure.notes[0].contains("no published comparison"),
            "said, not left out"
        );
        let Picture::Chart(chart) = &figure.panels[0].picture else {
            panic!()
        };
        let expected = [(0.0, 0.5), (1.0, 0.25), (2.0, -0.125), (3.0, -0.25)];
        assert!(matches!(&chart.marks[2], Mark::Dots { points, .. } if *points == expected));
        assert!(chart.y.range.contains(&-0.25) && chart.y.range.contains(&0.5));
    }

    #[test]
    fn the_published_curve_is_drawn_where_there_is_one() {
        let mut table = table();
        table.published = Some(comparison());
        let Block::Figure(figure) = figure(&table) else {
            panic!()
        };
        assert!(
            figure
                .reading
                .ends_with("that of layer 2: −0.125 here, −0.126 there."),
            "{}",
            figure.reading
        );
        let Picture::Chart(chart) = &figure.panels[0].picture else {
            panic!()
        };
        let Some(Mark::Dots { points, .. }) = chart.marks.last() else {
            panic!()
        };
        let bundled = PublishedTables::bundled().unwrap();
        let published = &bundled.models["allenai/OLMo-1B-hf"].median_cos_in_out_per_layer;
        assert_eq!(points.len(), published.len());
        assert_eq!(points[3].1, f64::from(published[3]));
        table.published.as_mut().unwrap().model = "another/model".to_string();
        let Block::Figure(figure) = super::figure(&table) else {
            panic!()
        };
        assert!(figure.notes[0].contains("another/model"));
    }
}
