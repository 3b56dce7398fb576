//! A picture by itself, as it stands in a paper: with its title and its legend, which a page has beside it, on a clear ground.

use maud::html;
use plotters::style::FontStyle;
use plotters::style::text_anchor::HPos;

use super::chart::{self, Axis, Chart, Kind, Mark, Point, Ticks, width_of};
use super::pdf::About;
use super::tone::Tone;
use crate::printable::printable;

/// Its parts, one below the other.
pub struct Sheet(Vec<Chart>);

// In points (1/72 inch).
const SIZE: f64 = 7.0;
const LINE: f64 = 9.5;
const MARGIN: f64 = 3.0;

/// What stands before a name in a legend, and what is free behind it.
const SIGN: f64 = 11.0;
const GAP: f64 = 8.0;

impl Sheet {
    /// A picture with a title, which may be empty, and its own legend.
    pub fn new(title: &str, chart: &Chart) -> Sheet {
        let mut chart = chart.clone();
        chart.marks.retain(|mark| mark.tone != Tone::Paper);
        let head = head(title, &chart);
        Sheet(head.into_iter().chain([chart]).collect())
    }

    fn charts(&self) -> Vec<&Chart> {
        self.0.iter().collect()
    }

    /// As SVG, with what is to be said about it where programs find it.
    pub fn svg(&self, about: &About<'_>) -> Result<Vec<u8>, String> {
        let charts = self.charts();
        let svg = chart::svg(&charts)?;
        let (width, height) = chart::size(&charts);
        let [points_x, points_y] = [width, height].map(|units| f64::from(units) / about.per_point);
        let units = format!("width=\"{width}\" height=\"{height}\"");
        let points = format!("width=\"{points_x:.2}pt\" height=\"{points_y:.2}pt\"");
        let words = html! { title { (about.title) } desc { (about.caption) "\n" (about.creator) } };
        let svg = svg.replacen(&units, &points, 1);
        let svg = svg.replacen(">\n", &format!(">\n{}\n", words.into_string()), 1);
        // XML 1.0 has no control characters.
        Ok(printable(&svg).into_owned().into_bytes())
    }

    /// As PDF.
    pub fn pdf(&self, about: &About<'_>) -> Result<Vec<u8>, String> {
        chart::pdf(&self.charts(), about)
    }
}

/// Title and legend; nothing where there is neither.
fn head(title: &str, chart: &Chart) -> Option<Chart> {
    let keys = chart::keys([chart]);
    let (mut marks, mut x, mut y) = (Vec::new(), MARGIN, LINE / 2.0);
    let width = f64::from(chart.size.0) / chart.per_point;
    let text = |text: &str, style, (x, y): Point| {
        let kind = Kind::Text(SIZE * chart.per_point, style, HPos::Left);
        Mark::new(kind, Tone::Ink, [(x, -y)]).named(text)
    };
    for line in wrapped(title, width - 2.0 * MARGIN) {
        marks.push(text(&line, FontStyle::Bold, (x, y)));
        y += LINE;
    }
    for key in &keys {
        let lines = wrapped(&key.name, width - SIGN - 2.0 * MARGIN);
        let widths = lines.iter().map(|line| width_of(line, SIZE));
        let own = SIGN + widths.fold(0.0, f64::max);
        if x > MARGIN && x + own > width - MARGIN {
            (x, y) = (MARGIN, y + LINE);
        }
        marks.push(sign(key, (x, -y)));
        for (i, line) in lines.iter().enumerate() {
            y += if i > 0 { LINE } else { 0.0 };
            marks.push(text(line, FontStyle::Normal, (x + SIGN, y)));
        }
        x += own + GAP;
    }
    let height = match keys.len() {
        0 => y - LINE / 2.0,
        _ => y + LINE / 2.0 + MARGIN,
    };
    let [across, down] =
        [0.0..width, -height..0.0].map(|range| Axis::new("", range, Ticks::Nowhere));
    let units = |points: f64| (points * chart.per_point).round() as u32;
    let head = Chart::new((chart.size.0, units(height)), across, down, marks);
    (!head.marks.is_empty()).then_some(head)
}

/// A mark as its legend shows it, on a line of this height.
fn sign(key: &Mark, (x, y): Point) -> Mark {
    let (end, half) = (x + SIGN - MARGIN, 2.5);
    let points = match key.kind {
        Kind::Line(_) => vec![(x, y), (end, y)],
        Kind::Bars => vec![(x, y + half), (end, y - half)],
        Kind::Band => vec![
            (x, y + half),
            (end, y + half),
            (end, y - half),
            (x, y - half),
        ],
        _ => vec![((x + end) / 2.0, y)],
    };
    Mark::new(key.kind, key.tone, points)
}

/// A text in lines that are about so wide; an empty one has none.
fn wrapped(text: &str, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let longer = lines.last().map(|line| format!("{line} {word}"));
        match (lines.last_mut(), longer) {
            (Some(line), Some(longer)) if width_of(&longer, SIZE) < room => *line = longer,
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::chart::{SQUARE, WIDE};

    fn chart(size: (u32, u32), names: &[&str]) -> Chart {
        let axis = Axis::around_zero("nats", [1.0]);
        let marks = names.iter().map(|name| {
            let mark = Mark::new(Kind::Dots, Tone::Accent, [(0.0, 0.5)]);
            mark.named(*name)
        });
        Chart::new(size, axis.clone(), axis, marks.collect())
    }

    #[test]
    fn a_picture_has_the_head_that_it_needs() {
        assert!(head("", &chart(WIDE, &[])).is_none());
        let title = head("by layer", &chart(WIDE, &[])).unwrap();
        let lines = |n: f64| (n * LINE * title.per_point).round() as u32;
        assert_eq!(title.size, (720, lines(1.0)));
        let both = head("by layer", &chart(WIDE, &["class", "draws", "class"])).unwrap();
        assert_eq!(both.marks.len(), 1 + 2 + 2, "a name once");
        let places = |head: &Chart| {
            let texts = head.marks.iter().filter(|mark| !mark.name.is_empty());
            texts.map(|mark| mark.points[0]).collect::<Vec<_>>()
        };
        let [_, class, draws] = places(&both)[..] else {
            panic!()
        };
        assert!(class.1 == draws.1 && class.0 < draws.0, "side by side");
        let long = "mean of its draws, with a band of one standard deviation over the draws";
        let narrow = head("", &chart(SQUARE, &[long, "class"])).unwrap();
        assert_eq!(
            narrow.size.1,
            lines(3.0) + 9,
            "two lines of one, one of the other"
        );
        let widest = narrow
            .marks
            .iter()
            .map(|mark| width_of(&mark.name, SIZE) + SIGN);
        assert!(widest.fold(0.0, f64::max) < narrow.x.range.end);
    }
}
