//! Draws the picture.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::layout::{
    BAR_LABELS, BAR_WIDTH, CELL_HEIGHT, LINE, Layout, MARGIN, PANEL_TITLE, SMALL, SUBTITLE, TITLE,
    TITLE_LINE,
};
use super::palette::{Scale, ink_on};
use super::{HeatMap, Panel, Shown};
use crate::report::tone::Tone;

const QUANTITY: &str = "change of the mean log-probability of the target";

/// Where the colour bar has numbers, as shares of its limit, and the height that they need.
const TICKS: [f64; 3] = [1.0, 0.4, 0.1];
const ROOM_FOR_TICKS: i32 = 100;

type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

/// The paper, with the plan of what goes where.
pub struct Canvas<'a> {
    pub area: DrawingArea<SVGBackend<'a>, Shift>,
    pub layout: Layout,
    pub scale: Scale,
}

impl<'a> Canvas<'a> {
    pub fn draw(&self, map: &HeatMap) -> Drawn<'a> {
        let layout = &self.layout;
        self.area.fill(&Tone::Paper.light())?;
        self.lines(&layout.title, bold(TITLE), MARGIN + TITLE / 2, TITLE_LINE)?;
        let at = (MARGIN, layout.quantity_y);
        self.text(QUANTITY, plain(SUBTITLE), HPos::Left, at)?;
        self.row_names(map)?;
        for (i, panel) in map.panels.iter().enumerate() {
            self.panel(map, panel, layout.panel_left(i))?;
        }
        self.colour_bar(layout.panel_left(map.panels.len()))?;
        self.lines(&layout.notes, plain(SMALL), layout.bottom + 2 * LINE, LINE)?;
        self.area.present()
    }

    fn row_names(&self, map: &HeatMap) -> Drawn<'a> {
        let Layout {
            left, top, bottom, ..
        } = self.layout;
        for (i, name) in map.rows.iter().enumerate() {
            let y = top + i as i32 * CELL_HEIGHT + CELL_HEIGHT / 2;
            self.text(name, plain(SMALL), HPos::Right, (left - 6, y))?;
        }
        self.upright("layer", (MARGIN + LINE / 2, (top + bottom) / 2))
    }

    fn panel(&self, map: &HeatMap, panel: &Panel, left: i32) -> Drawn<'a> {
        let y = self.layout.panel_title_y;
        self.text(panel.title, bold(PANEL_TITLE), HPos::Left, (left, y))?;
        self.text(
            panel.subtitle,
            plain(SMALL),
            HPos::Left,
            (left, y + LINE + 2),
        )?;
        let column = |c: usize| left + c as i32 * self.layout.cell_width;
        for (c, lines) in map.columns.iter().enumerate() {
            let x = column(c) + self.layout.cell_width / 2;
            for (i, line) in lines.iter().rev().enumerate() {
                let y = self.layout.column_y - i as i32 * (LINE - 1);
                self.text(line, plain(SMALL), HPos::Center, (x, y))?;
            }
        }
        for (r, row) in panel.cells.iter().enumerate() {
            let y = self.layout.top + r as i32 * CELL_HEIGHT;
            for (c, cell) in row.iter().enumerate() {
                self.cell(*cell, (column(c), y))?;
            }
        }
        Ok(())
    }

    fn cell(&self, cell: Option<Shown>, (x, y): (i32, i32)) -> Drawn<'a> {
        let width = self.layout.cell_width;
        let corners = [(x, y), (x + width - 1, y + CELL_HEIGHT - 1)];
        let Some(Shown { nats, mark }) = cell else {
            return self
                .area
                .draw(&Rectangle::new(corners, Tone::Absent.light().filled()));
        };
        let colour = self.scale.colour(nats);
        self.area.draw(&Rectangle::new(corners, colour.filled()))?;
        let text = format!("{}{mark}", self.scale.number(nats));
        let ink = ink_on(colour);
        let middle = (x + width / 2, y + CELL_HEIGHT / 2);
        self.text(&text, plain(SMALL).color(&ink), HPos::Center, middle)
    }

    fn colour_bar(&self, left: i32) -> Drawn<'a> {
        let Layout { top, bottom, .. } = self.layout;
        let height = bottom - top;
        for y in 0..height {
            let place = 1.0 - 2.0 * (f64::from(y) + 0.5) / f64::from(height);
            let below = (top + y + 2).min(bottom); // an overlap leaves no seam when the picture is scaled
            let corners = [(left, top + y), (left + BAR_WIDTH, below)];
            let colour = Scale::colour_at(place).filled();
            self.area.draw(&Rectangle::new(corners, colour))?;
        }
        let ticks = if height < ROOM_FOR_TICKS {
            &TICKS[..1]
        } else {
            &TICKS
        };
        self.tick(0.0, left + BAR_WIDTH)?;
        for share in ticks.iter().flat_map(|share| [-share, *share]) {
            self.tick(share * self.scale.limit, left + BAR_WIDTH)?;
        }
        let x = left + BAR_WIDTH + BAR_LABELS - LINE / 2;
        self.upright("nats", (x, (top + bottom) / 2))
    }

    fn tick(&self, value: f64, left: i32) -> Drawn<'a> {
        let Layout { top, bottom, .. } = self.layout;
        let half = f64::from(bottom - top) / 2.0;
        let y = f64::from(top) + half * (1.0 - self.scale.place(value));
        let y = y.round() as i32;
        let line = PathElement::new([(left, y), (left + 3, y)], Tone::Ink.light());
        self.area.draw(&line)?;
        let number = self.scale.number(value);
        self.text(&number, plain(SMALL), HPos::Left, (left + 6, y))
    }

    fn lines(&self, lines: &[String], style: TextStyle<'_>, first: i32, step: i32) -> Drawn<'a> {
        for (i, line) in lines.iter().enumerate() {
            let at = (MARGIN, first + i as i32 * step);
            self.text(line, style.clone(), HPos::Left, at)?;
        }
        Ok(())
    }

    fn text(&self, text: &str, style: TextStyle<'_>, side: HPos, at: (i32, i32)) -> Drawn<'a> {
        let style = style.pos(Pos::new(side, VPos::Center));
        self.area.draw_text(text, &style, at)
    }

    fn upright(&self, text: &str, at: (i32, i32)) -> Drawn<'a> {
        let style = plain(SMALL).transform(FontTransform::Rotate270);
        self.text(text, style, HPos::Center, at)
    }
}

fn plain(size: i32) -> TextStyle<'static> {
    Tone::Ink.text(size.into(), FontStyle::Normal)
}

fn bold(size: i32) -> TextStyle<'static> {
    Tone::Ink.text(size.into(), FontStyle::Bold)
}
