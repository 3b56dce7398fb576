//! `heat_map.svg`: the effect of every cell of a sweep, windows from top to bottom, classes side by side.
//!
//! Three panels share one scale of colours: what ablating the class does, what ablating as many random
//! neurons of the same layers does (the mean of the draws), and the difference of the two, with marks
//! for what is told from chance. A sweep without draws has the first panel alone.

mod draw;
mod layout;
mod palette;

use std::collections::HashMap;

use plotters::prelude::{IntoDrawingArea, SVGBackend};

use draw::Canvas;
use layout::Layout;
use palette::Scale;

use super::ReportError;
use crate::experiment::{Effect, Evidence, LayerWindow, SweepPlan, Versus};
use crate::printable::printable;

/// The bytes of `heat_map.svg`; `title` says what was ablated in which model.
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
        cells: plan.on_target(effects),
    };
    let svg = HeatMap::new(&grid, title).svg();
    // XML 1.0 has no control characters.
    svg.map(|svg| printable(&svg).into_owned().into_bytes())
        .map_err(|why| ReportError::Encode {
            name: "heat_map.svg",
            why,
        })
}

/// The cells of a sweep in their places.
pub(super) struct Grid<'e> {
    pub windows: Vec<LayerWindow>,
    pub classes: Vec<String>,
    pub cells: HashMap<(&'e str, LayerWindow), &'e Effect>,
}

impl Grid<'_> {
    /// What the cells are compared with: the draws, where any cell has them.
    pub fn versus(&self) -> Versus {
        match self.cells.values().any(|cell| cell.draws > 0) {
            true => Versus::Baseline,
            false => Versus::Clean,
        }
    }

    /// The picture without a title, for a page that has its own.
    pub fn svg(&self) -> Result<String, String> {
        HeatMap::new(self, "").svg()
    }

    fn cells(&self, shown: fn(&Effect) -> Option<Shown>) -> Vec<Vec<Option<Shown>>> {
        let cell = |class: &String, window| shown(self.cells.get(&(class.as_str(), window))?);
        let row = |window: &LayerWindow| self.classes.iter().map(|c| cell(c, *window)).collect();
        self.windows.iter().map(row).collect()
    }
}

/// What the picture shows.
struct HeatMap {
    title: String,
    rows: Vec<String>,
    /// Names in lines.
    columns: Vec<Vec<String>>,
    panels: Vec<Panel>,
    notes: Vec<String>,
}

struct Panel {
    title: &'static str,
    subtitle: &'static str,
    /// `[rows][columns]`; none where there is nothing to show.
    cells: Vec<Vec<Option<Shown>>>,
}

#[derive(Clone, Copy)]
struct Shown {
    nats: f64,
    mark: &'static str,
}

impl HeatMap {
    fn new(grid: &Grid<'_>, title: &str) -> HeatMap {
        let mut map = HeatMap {
            title: title.to_string(),
            rows: grid.windows.iter().map(|w| w.short()).collect(),
            columns: grid.classes.iter().map(|c| in_lines(c)).collect(),
            panels: vec![Panel {
                title: "class ablated",
                subtitle: "minus clean",
                cells: grid.cells(class_ablated),
            }],
            notes: vec!["Grey: the class has no neurons there. Colours go with the square root of the number.".to_string()],
        };
        if grid.versus() == Versus::Baseline {
            map.panels.push(Panel {
                title: "random neurons ablated",
                subtitle: "minus clean, mean of the draws",
                cells: grid.cells(baseline_ablated),
            });
            map.panels.push(Panel {
                title: "difference",
                subtitle: "class minus random neurons",
                cells: grid.cells(class_against_baseline),
            });
            let [interval, adjusted] = [Evidence::Interval, Evidence::Adjusted].map(Evidence::mark);
            map.notes.push(format!(
                "{interval} 95 % interval over prompts and draws without 0; {adjusted} also p < 0.05 after \
                 Holm's adjustment over all tests of the run."
            ));
        }
        map
    }

    fn svg(&self) -> Result<String, String> {
        let mut svg = String::new();
        let layout = Layout::of(self);
        let canvas = Canvas {
            area: SVGBackend::with_string(&mut svg, layout.size).into_drawing_area(),
            layout,
            scale: Scale::holding(self.numbers()),
        };
        canvas.draw(self).map_err(|error| error.to_string())?;
        drop(canvas);
        Ok(svg)
    }

    fn numbers(&self) -> impl Iterator<Item = f64> {
        let rows = self.panels.iter().flat_map(|panel| &panel.cells);
        rows.flatten().flatten().map(|shown| shown.nats)
    }
}

fn class_ablated(cell: &Effect) -> Option<Shown> {
    let nats = cell.difference(Versus::Clean)?;
    Some(Shown { nats, mark: "" })
}

fn baseline_ablated(cell: &Effect) -> Option<Shown> {
    let nats = cell.means.baseline? - cell.means.clean;
    Some(Shown { nats, mark: "" })
}

fn class_against_baseline(cell: &Effect) -> Option<Shown> {
    Some(Shown {
        nats: cell.difference(Versus::Baseline)?,
        mark: cell.evidence(Versus::Baseline).mark(),
    })
}

/// A class's name, a word a line.
fn in_lines(class: &str) -> Vec<String> {
    class.split_inclusive('-').map(str::to_string).collect()
}
