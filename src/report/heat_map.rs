//! `heat_map.svg`: the effect of every cell of a sweep, windows from top to bottom, classes side by side.
//!
//! Three panels share one scale of colours: what ablating the class does, what ablating as many random
//! neurons of the same layers does (the mean of the draws), and the difference of the two, with marks
//! for what is told from chance. A sweep without draws has the first panel alone.

use std::collections::HashMap;

use plotters::style::text_anchor::HPos;
use plotters::style::{BLACK, FontStyle, RGBColor, WHITE};

use super::ReportError;
use super::chart::{Axis, Chart, Kind, Mark, Point, Ticks, svg, width_of};
use super::number::with_minus;
use super::tone::Tone;
use crate::experiment::{Effect, Evidence, LayerWindow, Metric, SweepPlan, Versus};
use crate::printable::printable;

/// The bytes of `heat_map.svg`; `title` says what was edited in which model.
///
/// # Errors
/// Those of the drawing library.
pub fn heat_map_svg(
    plan: &SweepPlan,
    effects: &[Effect],
    title: &str,
) -> Result<Vec<u8>, ReportError> {
    let grid = Grid {
        windows: plan.windows.clone(),
        classes: plan.classes.clone(),
        cells: plan.by_cell(effects, Metric::TARGET_LOGPROB),
    };
    let svg = svg(&[&grid.chart(title)]).map_err(|why| ReportError::Encode {
        name: "heat_map.svg",
        why,
    })?;
    // XML 1.0 has no control characters.
    Ok(printable(&svg).into_owned().into_bytes())
}

/// The cells of a sweep in their places.
pub(super) struct Grid<'e> {
    pub windows: Vec<LayerWindow>,
    pub classes: Vec<String>,
    pub cells: HashMap<(&'e str, LayerWindow), &'e Effect>,
}

/// Title, what the numbers are, and the number of a cell with its mark.
type Panel = (&'static str, &'static str, fn(&Effect) -> Shown);
type Shown = Option<(f64, &'static str)>;

const PANELS: [Panel; 3] = [
    ("class edited", "minus clean", |e| {
        Some((e.difference_to_clean, ""))
    }),
    (
        "random neurons edited",
        "minus clean, mean of the draws",
        |e| Some((baseline_minus_clean(e)?, "")),
    ),
    ("difference", "class minus random neurons", |e| {
        let mark = e.evidence(Versus::Baseline).mark();
        Some((e.difference(Versus::Baseline)?, mark))
    }),
];

/// What editing random neurons does, mean of the draws.
pub(super) fn baseline_minus_clean(effect: &Effect) -> Option<f64> {
    Some(effect.means.baseline? - effect.means.clean)
}

const QUANTITY: &str = "change of the mean log-probability of the target, nats";

// Texts and sizes, in pixels.
const TITLE: Kind = Kind::Text(14.0, FontStyle::Bold, HPos::Left);
const HEADING: Kind = Kind::Text(12.0, FontStyle::Bold, HPos::Left);
const SMALL: Kind = Kind::Text(10.0, FontStyle::Normal, HPos::Left);
const CENTRED: Kind = Kind::Text(10.0, FontStyle::Normal, HPos::Center);
const ENDING: Kind = Kind::Text(10.0, FontStyle::Normal, HPos::Right);
const LINE: f64 = 13.0;
const MARGIN: f64 = 16.0;
const CELL_HEIGHT: f64 = 17.0;

/// Small text has 7 points in print.
const PER_POINT: f64 = 10.0 / 7.0;

impl Grid<'_> {
    fn panels(&self) -> &'static [Panel] {
        if self.cells.values().any(|cell| cell.draws > 0) {
            &PANELS
        } else {
            &PANELS[..1]
        }
    }

    /// What the colours and marks mean.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = vec![
            "Red: less likely, blue: more likely; colours go with the square root of the number. Grey: the class has no \
             neurons there."
                .to_string(),
        ];
        if self.panels().len() > 1 {
            let [interval, adjusted] = [Evidence::Interval, Evidence::Adjusted].map(Evidence::mark);
            notes.push(format!(
                "{interval} 95 % interval over prompts and draws without 0; {adjusted} also p < 0.05, of the rank among \
                 the draws, after Holm's adjustment over all cells."
            ));
        }
        notes
    }

    /// The picture; without a title for a page, which has its own, and its own notes.
    pub fn chart(&self, title: &str) -> Chart {
        let panels = self.panels();
        let notes = match title {
            "" => Vec::new(),
            _ => self.notes(),
        };
        let words = self.classes.iter().flat_map(|class| class.split('-'));
        let cell = words.map(|word| width(word) + 12.0).fold(54.0, f64::max);
        let step = 26.0 + 172_f64.max(cell * self.classes.len() as f64);
        let rows = self.windows.iter().map(|window| width(&window.short()));
        let left = MARGIN + 12.0 + rows.fold(width("layer"), f64::max);
        let lines = self.classes.iter().map(|class| class.split('-').count());
        // Below the title, where there is one.
        let head = if title.is_empty() { 0.0 } else { 26.0 };
        let top = head + 74.0 + lines.max().unwrap_or(1) as f64 * LINE;
        let bottom = top + self.windows.len() as f64 * CELL_HEIGHT;

        let mut marks = vec![
            text(TITLE, title, (MARGIN, 23.0)),
            text(SMALL, QUANTITY, (MARGIN, head + 16.0)),
            text(ENDING, "layer", (left - 6.0, top - LINE)),
        ];
        let rows = || self.windows.iter().zip(steps(top, CELL_HEIGHT));
        for (window, y) in rows() {
            let at = (left - 6.0, y + CELL_HEIGHT / 2.0);
            marks.push(text(ENDING, &window.short(), at));
        }
        let effects = self.cells.values().copied();
        let scale = Scale::of(effects.flat_map(|e| panels.iter().filter_map(|panel| panel.2(e))));
        for (panel, x) in panels.iter().zip(steps(left, step)) {
            marks.push(text(HEADING, panel.0, (x, head + 40.0)));
            marks.push(text(SMALL, panel.1, (x, head + 55.0)));
            for (class, x) in self.classes.iter().zip(steps(x, cell)) {
                let words = class.split_inclusive('-').rev();
                for (word, y) in words.zip(steps(top - LINE, 1.0 - LINE)) {
                    marks.push(text(CENTRED, word, (x + cell / 2.0, y)));
                }
                for (window, y) in rows() {
                    let shown = self.cells.get(&(class.as_str(), *window));
                    let shown = shown.and_then(|cell| panel.2(cell));
                    marks.extend(scale.cell(shown, (x, y), cell));
                }
            }
        }
        for (note, y) in notes.iter().zip(steps(bottom + 2.0 * LINE, LINE)) {
            marks.push(text(SMALL, note, (MARGIN, y)));
        }
        let texts = notes
            .iter()
            .map(|note| width(note))
            .chain([1.4 * width(title)]);
        let right = texts.fold(left + step * panels.len() as f64, f64::max) + 2.0 * MARGIN;
        let height = bottom + notes.len() as f64 * LINE + 2.0 * MARGIN;
        marks.insert(0, bar(Tone::Paper, (0.0, 0.0), (right, height)));
        let [x, y] = [0.0..right, -height..0.0].map(|range| Axis::new("", range, Ticks::Nowhere));
        Chart {
            per_point: PER_POINT,
            ..Chart::new((right as u32, height as u32), x, y, marks)
        }
    }
}

/// Places in a row.
fn steps(first: f64, step: f64) -> impl Iterator<Item = f64> {
    (0..).map(move |i| first + f64::from(i) * step)
}

/// From its upper left corner, in pixels from that of the picture.
fn bar(tone: Tone, (x, y): Point, (width, height): Point) -> Mark {
    Mark::new(Kind::Bars, tone, [(x, -y), (x + width, -y - height)])
}

fn text(kind: Kind, text: &str, (x, y): Point) -> Mark {
    Mark::new(kind, Tone::Ink, [(x, -y)]).named(text)
}

/// About how wide a small text is.
fn width(text: &str) -> f64 {
    width_of(text, 10.0).ceil()
}

/// Numbers from `-limit` to `limit`. The colour goes with the square root of the number, on either side
/// of 0: one large cell, such as the last layer's, would otherwise leave all others pale.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scale {
    limit: f64,
}

impl Scale {
    fn of<'m>(numbers: impl Iterator<Item = (f64, &'m str)>) -> Scale {
        let limit = numbers.map(|(nats, _)| nats.abs()).fold(0.0, f64::max);
        Scale {
            limit: if limit == 0.0 { 1.0 } else { limit },
        }
    }

    /// ColorBrewer's red and blue, which people with the common kinds of colour blindness can read.
    fn colour(self, value: f64) -> RGBColor {
        let share = value / self.limit;
        let place = share.abs().sqrt().copysign(share);
        let colour = colorous::RED_BLUE.eval_continuous(place / 2.0 + 0.5);
        RGBColor(colour.r, colour.g, colour.b)
    }

    /// A value with as many digits as the scale deserves; what is rounded to 0 has no sign.
    fn number(self, value: f64) -> String {
        let decimals = (3.0 - self.limit.log10().ceil()).clamp(0.0, 5.0) as usize;
        let text = with_minus(&format!("{value:.decimals$}"));
        let is_zero = !text.contains(|c: char| ('1'..='9').contains(&c));
        if is_zero {
            text.replace('−', "")
        } else {
            text
        }
    }

    /// The ground of a cell and its number.
    fn cell(self, shown: Shown, (x, y): Point, width: f64) -> Vec<Mark> {
        let size = (width - 1.0, CELL_HEIGHT - 1.0);
        let Some((nats, mark)) = shown else {
            return vec![bar(Tone::Absent, (x, y), size)];
        };
        let ground = self.colour(nats);
        let number = format!("{}{mark}", self.number(nats));
        let mut number = text(CENTRED, &number, (x + width / 2.0, y + CELL_HEIGHT / 2.0));
        number.tone = Tone::Fixed(ink_on(ground));
        vec![bar(Tone::Fixed(ground), (x, y), size), number]
    }
}

/// Black or white, whichever is read more easily on `paper` (relative luminance of WCAG 2, without its gamma).
fn ink_on(RGBColor(r, g, b): RGBColor) -> RGBColor {
    let luminance = 0.2126 * f64::from(r) + 0.7152 * f64::from(g) + 0.0722 * f64::from(b);
    if luminance < 128.0 { WHITE } else { BLACK }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tone::themed;

    #[test]
    fn zero_is_pale_the_ends_are_dark_and_no_colour_is_that_of_a_frame() {
        let scale = Scale { limit: 2.0 };
        let inks = [-2.0, 0.0, 2.0].map(|value| ink_on(scale.colour(value)));
        assert_eq!(inks, [WHITE, BLACK, WHITE]);
        let [RGBColor(red, _, blue), RGBColor(less, _, more)] =
            [-0.5, 0.5].map(|v| scale.colour(v));
        assert!(red > blue && less < more);
        assert_eq!(Scale::of([(0.0, "")].into_iter()).limit, 1.0);
        assert_eq!(Scale::of([(0.25, ""), (-2.0, "*")].into_iter()), scale);
        for place in -1000..=1000 {
            let RGBColor(r, g, b) = scale.colour(f64::from(place) / 500.0);
            let written = format!("\"#{r:02X}{g:02X}{b:02X}\"");
            assert_eq!(
                themed(&written),
                written,
                "a cell keeps its colour on a dark page"
            );
        }
    }

    #[test]
    fn numbers_have_the_digits_of_their_scale() {
        let number = |limit, value| Scale { limit }.number(value);
        assert_eq!(number(4.0, -3.678), "−3.68");
        assert_eq!(number(0.03, -0.02064), "−0.0206");
        assert_eq!(number(0.5, -0.0001), "0.000");
        assert_eq!(number(40.0, 12.3), "12.3");
    }
}
