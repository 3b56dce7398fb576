//! A picture as data, and how it is drawn. Only this file, the colours and `pdf` know plotters.

use std::ops::Range;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::number::{count, with_minus};
use super::pdf::{About, PdfBackend};
use super::tone::Tone;
use crate::stats::Interval;

/// Axes and what is drawn on them.
#[derive(Clone)]
pub struct Chart {
    /// Width and height in units, of which a pixel on a phone has two: plotters places in whole numbers.
    pub size: (u32, u32),
    /// Units that a point (1/72 inch) has in print.
    pub per_point: f64,
    pub x: Axis,
    pub y: Axis,
    pub marks: Vec<Mark>,
}

pub const WIDE: (u32, u32) = (720, 470);
pub const SQUARE: (u32, u32) = (520, 520);

/// A wide picture fills a column of 240 points, with numbers of 7.
const PER_POINT: f64 = 3.0;

#[derive(Clone, Debug)]
pub struct Axis {
    /// The quantity with its unit.
    pub label: String,
    pub range: Range<f64>,
    pub ticks: Ticks,
}

/// Where an axis has numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticks {
    Anywhere,
    /// At whole numbers alone, such as those of layers.
    Whole,
    /// An axis of base-2 logarithms, with the numbers themselves where these are whole.
    PowersOfTwo,
    Nowhere,
}

pub type Point = (f64, f64);

/// Points that are drawn alike.
#[derive(Clone)]
pub struct Mark {
    /// The text, or the name in the legend; empty for what that leaves out.
    pub name: String,
    pub tone: Tone,
    pub points: Vec<Point>,
    pub kind: Kind,
}

#[derive(Clone, Copy)]
pub enum Kind {
    /// So many units thick.
    Line(u32),
    /// What the points go round.
    Band,
    /// One of thousands.
    SmallDots,
    Dots,
    Circles,
    /// Each from one point to the next.
    Bars,
    /// With its size; the side is the end of the text that is at the point.
    Text(f64, FontStyle, HPos),
}

impl Mark {
    pub fn new(kind: Kind, tone: Tone, points: impl IntoIterator<Item = Point>) -> Mark {
        Mark {
            name: String::new(),
            tone,
            points: points.into_iter().collect(),
            kind,
        }
    }

    pub fn named(self, name: impl Into<String>) -> Mark {
        Mark {
            name: name.into(),
            ..self
        }
    }

    /// Between the ends of intervals at these places.
    pub fn band(tone: Tone, ends: &[(f64, Interval)]) -> Mark {
        let low = ends.iter().map(|(x, ends)| (*x, ends.low));
        let high = ends.iter().rev().map(|(x, ends)| (*x, ends.high));
        Mark::new(Kind::Band, tone, low.chain(high))
    }

    /// What stands for it in a legend.
    pub fn sign(&self) -> &'static str {
        match self.kind {
            Kind::Line(_) => "━",
            Kind::Band | Kind::Bars => "■",
            Kind::SmallDots | Kind::Dots => "●",
            Kind::Circles => "○",
            Kind::Text(..) => "",
        }
    }
}

/// The marks of some pictures that a legend explains, those of a name once.
pub fn keys<'c>(charts: impl IntoIterator<Item = &'c Chart>) -> Vec<&'c Mark> {
    let mut keys: Vec<&Mark> = Vec::new();
    for mark in charts.into_iter().flat_map(|chart| &chart.marks) {
        let is_key = !mark.name.is_empty() && !mark.sign().is_empty();
        if is_key && keys.iter().all(|key| key.name != mark.name) {
            keys.push(mark);
        }
    }
    keys
}

/// Numbers and names beside a picture.
pub const TEXT: Kind = Kind::Text(SIZE, FontStyle::Normal, HPos::Left);
const SIZE: f64 = 22.0;

/// About how wide a text of this size is: an SVG does not know its reader's fonts.
pub fn width_of(text: &str, size: f64) -> f64 {
    0.58 * size * text.chars().count() as f64
}

impl Axis {
    pub fn new(label: &str, range: Range<f64>, ticks: Ticks) -> Axis {
        Axis {
            label: label.to_string(),
            range,
            ticks,
        }
    }

    /// From the smallest value to the largest with some room, 0 included.
    pub fn around_zero(label: &str, values: impl IntoIterator<Item = f64>) -> Axis {
        let finite = values.into_iter().filter(|value| value.is_finite());
        let (low, high) = finite.fold((0.0, 0.0), |(low, high): Point, value| {
            (low.min(value), high.max(value))
        });
        let span = high - low;
        let room = if span == 0.0 { 1.0 } else { 0.06 * span };
        let below = if low < 0.0 { room } else { 0.0 };
        Axis::new(label, low - below..high + room, Ticks::Anywhere)
    }

    /// A number on this axis; empty where it has none.
    fn number(&self, value: f64) -> String {
        let is_whole = (value - value.round()).abs() < 1e-9;
        match self.ticks {
            Ticks::Nowhere => return String::new(),
            Ticks::Whole | Ticks::PowersOfTwo if !is_whole => return String::new(),
            Ticks::PowersOfTwo if value < 0.0 => return String::new(),
            Ticks::PowersOfTwo => return count(value.exp2().round() as usize),
            _ => {}
        }
        let span = self.range.end - self.range.start;
        let decimals = (2.0 - span.log10().floor()).clamp(0.0, 9.0) as usize;
        let text = format!("{value:.decimals$}");
        let text = if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            &text
        };
        with_minus(if text == "-0" { "0" } else { text })
    }
}

/// Pictures below one another, as SVG in light colours.
pub fn svg(charts: &[&Chart]) -> Result<String, String> {
    let mut svg = String::new();
    draw(charts, SVGBackend::with_string(&mut svg, size(charts)))?;
    Ok(svg)
}

/// The same as a PDF of one page.
pub fn pdf(charts: &[&Chart], about: &About<'_>) -> Result<Vec<u8>, String> {
    let mut pdf = Vec::new();
    draw(charts, PdfBackend::new(&mut pdf, size(charts), about))?;
    Ok(pdf)
}

/// Units that they have together.
pub fn size(charts: &[&Chart]) -> (u32, u32) {
    let sizes = charts.iter().map(|chart| chart.size);
    sizes.fold((0, 0), |all, own| (all.0.max(own.0), all.1 + own.1))
}

fn draw<B: DrawingBackend>(charts: &[&Chart], backend: B) -> Result<(), String> {
    let mut rest = backend.into_drawing_area();
    for chart in charts {
        let (area, below) = rest.split_vertically(chart.size.1);
        chart.draw(&area).map_err(|error| error.to_string())?;
        rest = below;
    }
    rest.present().map_err(|error| error.to_string())
}

type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

impl Chart {
    pub fn new(size: (u32, u32), x: Axis, y: Axis, marks: Vec<Mark>) -> Chart {
        Chart {
            size,
            per_point: PER_POINT,
            x,
            y,
            marks,
        }
    }

    /// Pictures of these marks over the layers, all with the same axes.
    pub fn by_layer(label: &str, pictures: Vec<Vec<Mark>>) -> Vec<Chart> {
        let marks = pictures.iter().flatten();
        let points = marks.flat_map(|mark| mark.points.iter().copied());
        let last = points.clone().map(|point| point.0).fold(0.0, f64::max);
        let y = Axis::around_zero(label, points.map(|point| point.1));
        let x = Axis::new("layer", -0.5..last.floor() + 0.5, Ticks::Whole);
        let chart = |marks| Chart::new(WIDE, x.clone(), y.clone(), marks);
        pictures.into_iter().map(chart).collect()
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, plotters::coord::Shift>) -> Drawn<B> {
        // Top, right, below, left; where there are no numbers on the left, those below may begin at the edge.
        let room = match (self.x.ticks, self.y.ticks) {
            (Ticks::Nowhere, _) => [0, 0, 0, 0],
            (_, Ticks::Nowhere) => [18, 44, 74, 44],
            _ => [18, 24, 74, 116],
        };
        let has_axis = self.y.ticks != Ticks::Nowhere;
        let mut plane = ChartBuilder::on(area)
            .margin_top(room[0])
            .margin_right(room[1])
            .margin_left(if has_axis { 4 } else { room[3] })
            .x_label_area_size(room[2])
            .y_label_area_size(if has_axis { room[3] - 4 } else { 0 })
            .build_cartesian_2d(self.x.range.clone(), self.y.range.clone())?;
        let [x_number, y_number] = [&self.x, &self.y].map(|axis| |value: &f64| axis.number(*value));
        let mut mesh = plane.configure_mesh();
        if !has_axis {
            mesh.disable_y_mesh().disable_y_axis();
        }
        mesh.light_line_style(TRANSPARENT)
            .bold_line_style(Tone::Grid.light().stroke_width(2))
            .axis_style(Tone::Muted.light().stroke_width(2))
            .label_style(text_style(Tone::Muted, SIZE, FontStyle::Normal))
            .axis_desc_style(text_style(Tone::Ink, SIZE, FontStyle::Normal))
            .x_labels(7)
            .y_labels(6)
            .x_label_formatter(&x_number)
            .y_label_formatter(&y_number)
            .x_desc(self.x.label.as_str())
            .y_desc(self.y.label.as_str());
        if self.x.ticks != Ticks::Nowhere {
            mesh.draw()?;
        }
        let elements = self.marks.iter().flat_map(Mark::elements);
        plane.draw_series(elements).map(|_| ())
    }
}

type Drawable<B> = DynElement<'static, B, Point>;

impl Mark {
    fn elements<B: DrawingBackend>(&self) -> Vec<Drawable<B>> {
        let (points, colour) = (self.points.clone(), self.tone.light());
        let dots = |radius, style: ShapeStyle| -> Vec<Drawable<B>> {
            let dots = self
                .points
                .iter()
                .map(|point| Circle::new(*point, radius, style));
            dots.map(IntoDynElement::into_dyn).collect()
        };
        match self.kind {
            Kind::Line(width) => {
                vec![PathElement::new(points, colour.stroke_width(width)).into_dyn()]
            }
            Kind::Band => vec![Polygon::new(points, colour.mix(0.3).filled()).into_dyn()],
            Kind::SmallDots => dots(4, colour.mix(0.7).filled()),
            Kind::Dots => dots(8, colour.filled()),
            Kind::Circles => dots(7, colour.stroke_width(3)),
            Kind::Bars => {
                let bars = points.chunks_exact(2).map(|ends| [ends[0], ends[1]]);
                let bars = bars.map(|ends| Rectangle::new(ends, colour.filled()).into_dyn());
                bars.collect()
            }
            Kind::Text(size, style, side) => {
                let style = text_style(self.tone, size, style).pos(Pos::new(side, VPos::Center));
                let texts = points
                    .into_iter()
                    .map(|at| Text::new(self.name.clone(), at, style.clone()));
                texts.map(IntoDynElement::into_dyn).collect()
            }
        }
    }
}

/// Text of this size. The backend writes 1/1.24 of the size that it is given.
fn text_style(tone: Tone, size: f64, style: FontStyle) -> TextStyle<'static> {
    let font = ("sans-serif", size * 1.24).into_font().style(style);
    TextStyle {
        color: tone.light().to_backend_color(),
        ..font.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_their_values_and_zero() {
        let axis = Axis::around_zero("nats", [-2.0, f64::NAN, 0.5]);
        assert!(axis.range.contains(&-2.0) && axis.range.contains(&0.5));
        assert!(axis.range.start > -2.5 && axis.range.end < 1.0, "{axis:?}");
        assert_eq!(Axis::around_zero("nats", [0.0]).range, 0.0..1.0);
        assert_eq!(Axis::around_zero("share", [0.5, 1.0]).range.start, 0.0);
    }

    #[test]
    fn numbers_of_an_axis_are_short() {
        let axis = |range| Axis::new("", range, Ticks::Anywhere);
        assert_eq!(axis(0.0..1.0).number(0.30000000000000004), "0.3");
        assert_eq!(axis(-2.0..2.0).number(-0.5), "−0.5");
        assert_eq!(axis(0.0..500.0).number(200.0), "200");
        assert_eq!(axis(-0.001..0.0).number(-0.0002), "−0.0002");
        assert_eq!(axis(-2.0..2.0).number(-1e-17), "0");
        let layers = Axis::new("", -0.5..2.5, Ticks::Whole);
        assert_eq!([0.5, 2.0].map(|x| layers.number(x)), ["", "2"]);
        let logarithms = Axis::new("", -0.3..11.0, Ticks::PowersOfTwo);
        assert_eq!(
            [-0.3, -1.0, 0.0, 10.0].map(|x| logarithms.number(x)),
            ["", "", "1", "1,024"]
        );
    }

    #[test]
    fn what_is_written_is_escaped_and_every_mark_is_drawn() {
        let mark = |kind| Mark::new(kind, Tone::Accent, [(0.0, 0.0), (1.0, 1.0)]);
        let marks = vec![
            mark(Kind::Line(4)),
            mark(Kind::Band),
            mark(Kind::Circles),
            mark(Kind::Bars),
            mark(TEXT).named("<script>"),
        ];
        let x = Axis::around_zero("a < b & c", [1.0]);
        let y = Axis::new("", 0.0..1.0, Ticks::Nowhere);
        let svg = svg(&[&Chart::new(WIDE, x, y, marks)]).unwrap();
        assert!(
            svg.contains("a &lt; b &amp; c") && svg.contains("&lt;script&gt;"),
            "{svg}"
        );
        for (element, count) in [
            ("polyline", 1),
            ("polygon", 1),
            ("circle", 2),
            ("rect", 1),
            ("text", 2),
        ] {
            let lines = svg
                .lines()
                .filter(|line| line.starts_with(&format!("<{element} ")));
            assert_eq!(
                lines.filter(|line| line.contains("#0B62B8")).count(),
                count,
                "{element}"
            );
        }
        assert!(svg.trim_end().ends_with("</svg>"));
    }
}
