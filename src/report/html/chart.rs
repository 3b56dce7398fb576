//! A picture as data, and how it is drawn. Only this file and the heat map know plotters.

use std::ops::Range;

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::words::{count, with_minus};
use crate::report::tone::Tone;

/// Axes and what is drawn on them.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    pub shape: Shape,
    pub x: Axis,
    pub y: Axis,
    pub marks: Vec<Mark>,
}

/// Width and height in units, of which a pixel on a phone has two: plotters places in whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Wide,
    Square,
    /// Rows of text and marks, one above the other.
    Rows(usize),
}

#[derive(Clone, Debug, PartialEq)]
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

#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    Line {
        points: Vec<Point>,
        tone: Tone,
        weight: Weight,
    },
    /// Between two lines over the same places.
    Band {
        low: Vec<Point>,
        high: Vec<Point>,
        tone: Tone,
    },
    Dots {
        points: Vec<Point>,
        tone: Tone,
        dot: Dot,
    },
    Bar {
        from: Point,
        to: Point,
        tone: Tone,
    },
    /// Begins at its place.
    Text {
        at: Point,
        text: String,
    },
}

pub type Point = (f64, f64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    Thin = 2,
    Bold = 4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dot {
    /// One of thousands.
    Small,
    Full,
    Hollow,
}

impl Shape {
    fn size(self) -> (u32, u32) {
        match self {
            Shape::Wide => (720, 470),
            Shape::Square => (520, 520),
            Shape::Rows(rows) => (720, 90 + ROW * rows as u32),
        }
    }
}

const ROW: u32 = 104;
const TEXT: f64 = 22.0;

impl Axis {
    /// Layers, with half a place on either side.
    pub fn layers(count: usize) -> Axis {
        Axis {
            label: "layer".to_string(),
            range: -0.5..count as f64 - 0.5,
            ticks: Ticks::Whole,
        }
    }

    /// From the smallest value to the largest with some room, 0 included.
    pub fn around_zero(label: &str, values: impl IntoIterator<Item = f64>) -> Axis {
        let finite = values.into_iter().filter(|value| value.is_finite());
        let (low, high) = finite.fold((0.0, 0.0), |(low, high): Point, value| {
            (low.min(value), high.max(value))
        });
        let room = match high - low {
            0.0 => 1.0,
            span => 0.06 * span,
        };
        let below = if low < 0.0 { room } else { 0.0 };
        Axis {
            label: label.to_string(),
            range: low - below..high + room,
            ticks: Ticks::Anywhere,
        }
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
        let text = match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
            false => text,
        };
        match text.as_str() {
            "-0" => "0".to_string(),
            _ => with_minus(text),
        }
    }
}

type Plane<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn<'b> = Result<(), DrawingAreaErrorKind<<SVGBackend<'b> as DrawingBackend>::ErrorType>>;

impl Chart {
    /// The picture as SVG in light colours.
    pub fn svg(&self) -> Result<String, String> {
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, self.shape.size()).into_drawing_area();
        self.draw(&area).map_err(|error| error.to_string())?;
        area.present().map_err(|error| error.to_string())?;
        drop(area);
        Ok(svg)
    }

    fn draw<'b>(&self, area: &DrawingArea<SVGBackend<'b>, plotters::coord::Shift>) -> Drawn<'b> {
        // Where there are no numbers on the left, those below may begin at the edge.
        let (left, margin_left, margin_right) = match self.y.ticks {
            Ticks::Nowhere => (0, 44, 44),
            _ => (92, 4, 24),
        };
        let mut plane = ChartBuilder::on(area)
            .margin_top(18)
            .margin_right(margin_right)
            .margin_left(margin_left)
            .x_label_area_size(74)
            .y_label_area_size(left)
            .build_cartesian_2d(self.x.range.clone(), self.y.range.clone())?;
        let mut mesh = plane.configure_mesh();
        if self.y.ticks == Ticks::Nowhere {
            mesh.disable_y_mesh().disable_y_axis();
        }
        mesh.light_line_style(TRANSPARENT)
            .bold_line_style(Tone::Grid.light().stroke_width(2))
            .axis_style(Tone::Muted.light().stroke_width(2))
            .label_style(text(Tone::Muted))
            .axis_desc_style(text(Tone::Ink))
            .x_labels(7)
            .y_labels(6)
            .x_label_formatter(&|value| self.x.number(*value))
            .y_label_formatter(&|value| self.y.number(*value))
            .x_desc(self.x.label.as_str())
            .y_desc(self.y.label.as_str())
            .draw()?;
        self.marks
            .iter()
            .try_for_each(|mark| draw_mark(&mut plane, mark))
    }
}

fn draw_mark<'b>(plane: &mut Plane<'_, 'b>, mark: &Mark) -> Drawn<'b> {
    match mark {
        Mark::Line {
            points,
            tone,
            weight,
        } => {
            let style = tone.light().stroke_width(*weight as u32);
            let line = PathElement::new(points.clone(), style);
            plane.draw_series([line]).map(|_| ())
        }
        Mark::Band { low, high, tone } => {
            let outline: Vec<Point> = low.iter().chain(high.iter().rev()).copied().collect();
            let band = Polygon::new(outline, tone.light().mix(0.3).filled());
            plane.draw_series([band]).map(|_| ())
        }
        Mark::Dots { points, tone, dot } => {
            let colour = tone.light();
            let (radius, style) = match dot {
                Dot::Small => (4, colour.mix(0.7).filled()),
                Dot::Full => (8, colour.filled()),
                Dot::Hollow => (7, colour.stroke_width(3)),
            };
            let dots = points
                .iter()
                .map(|point| Circle::new(*point, radius, style));
            plane.draw_series(dots).map(|_| ())
        }
        Mark::Bar { from, to, tone } => {
            let bar = Rectangle::new([*from, *to], tone.light().filled());
            plane.draw_series([bar]).map(|_| ())
        }
        Mark::Text { at, text: words } => {
            let style = text(Tone::Ink).pos(Pos::new(HPos::Left, VPos::Center));
            let words = Text::new(words.clone(), *at, style);
            plane.draw_series([words]).map(|_| ())
        }
    }
}

fn text(tone: Tone) -> TextStyle<'static> {
    tone.text(TEXT, FontStyle::Normal)
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
        let axis = |range: Range<f64>| Axis {
            label: String::new(),
            range,
            ticks: Ticks::Anywhere,
        };
        assert_eq!(axis(0.0..1.0).number(0.30000000000000004), "0.3");
        assert_eq!(axis(-2.0..2.0).number(-0.5), "−0.5");
        assert_eq!(axis(0.0..500.0).number(200.0), "200");
        assert_eq!(axis(-0.001..0.0).number(-0.0002), "−0.0002");
        assert_eq!(axis(-2.0..2.0).number(-1e-17), "0");
        assert_eq!(Axis::layers(3).number(0.5), "");
        assert_eq!(Axis::layers(3).number(2.0), "2");
        let mut logarithms = axis(-0.3..11.0);
        logarithms.ticks = Ticks::PowersOfTwo;
        assert_eq!(
            [-0.3, -1.0, 0.0, 10.0].map(|x| logarithms.number(x)),
            ["", "", "1", "1,024"]
        );
    }

    #[test]
    fn what_is_written_is_escaped_and_every_mark_is_drawn() {
        let tone = Tone::Accent;
        let line = vec![(0.0, 0.0), (1.0, 1.0)];
        let chart = Chart {
            shape: Shape::Rows(1),
            x: Axis::around_zero("a < b & c", [1.0]),
            y: Axis {
                label: String::new(),
                range: 0.0..1.0,
                ticks: Ticks::Nowhere,
            },
            marks: vec![
                Mark::Line {
                    points: line.clone(),
                    tone,
                    weight: Weight::Bold,
                },
                Mark::Band {
                    low: line.clone(),
                    high: line.clone(),
                    tone,
                },
                Mark::Dots {
                    points: line.clone(),
                    tone,
                    dot: Dot::Hollow,
                },
                Mark::Bar {
                    from: (0.0, 0.0),
                    to: (1.0, 1.0),
                    tone,
                },
                Mark::Text {
                    at: (0.0, 0.5),
                    text: "<script>".to_string(),
                },
            ],
        };
        let svg = chart.svg().unwrap();
        assert!(
            svg.contains("a &lt; b &amp; c") && svg.contains("&lt;script&gt;"),
            "{svg}"
        );
        let accent = "#0B62B8";
        for (element, count) in [("polyline", 1), ("polygon", 1), ("circle", 2), ("rect", 1)] {
            let drawn = svg
                .lines()
                .filter(|l| l.starts_with(&format!("<{element} ")) && l.contains(accent));
            assert_eq!(drawn.count(), count, "{element}");
        }
        assert!(svg.trim_end().ends_with("</svg>"));
    }
}
