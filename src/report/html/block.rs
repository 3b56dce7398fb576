//! The parts of a page as data, and their HTML.

use maud::{Markup, PreEscaped, html};

use super::chart::Chart;
use crate::report::ReportError;
use crate::report::tone::{Tone, themed};

/// A part of a page.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    Figure(Figure),
    Table(Table),
    /// Something that the folder lacks: what cannot be shown, and why.
    Lacking(String),
}

/// One or more pictures of one thing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figure {
    pub title: String,
    /// What this run shows, in numbers.
    pub reading: String,
    pub keys: Vec<Key>,
    pub panels: Vec<Panel>,
    pub notes: Vec<String>,
    /// Over what: prompts, neurons, draws.
    pub n: String,
}

/// An entry of a legend.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub sign: &'static str,
    pub tone: Tone,
    pub text: String,
}

/// A picture with what is said of it alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    pub title: String,
    pub reading: String,
    pub picture: Picture,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Picture {
    Chart(Chart),
    /// A finished drawing that is too wide for a phone.
    HeatMap(String),
}

/// Rows in groups. On a phone each row is a card.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    pub title: String,
    pub reading: String,
    pub columns: Vec<Column>,
    /// Each with its title, which may be empty.
    pub groups: Vec<(String, Vec<Vec<String>>)>,
    pub notes: Vec<String>,
    pub n: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Words(&'static str),
    /// A few words in one line.
    Line(&'static str),
    Number(&'static str),
}

impl Key {
    pub fn new(sign: &'static str, tone: Tone, text: impl Into<String>) -> Key {
        let text = text.into();
        Key { sign, tone, text }
    }
}

impl Block {
    /// The HTML; `command` makes the run again.
    pub fn html(&self, command: &str) -> Result<Markup, ReportError> {
        match self {
            Block::Figure(figure) => figure.html(command),
            Block::Table(table) => Ok(table.html(command)),
            Block::Lacking(what) => Ok(html! { section.lacking { p { (what) } } }),
        }
    }
}

impl Figure {
    fn html(&self, command: &str) -> Result<Markup, ReportError> {
        let is_single = matches!(
            &self.panels[..],
            [Panel {
                picture: Picture::Chart(_),
                ..
            }]
        );
        let panels = self.panels.iter().map(|panel| panel.html(&self.title));
        let panels: Vec<Markup> = panels.collect::<Result<_, _>>()?;
        Ok(html! {
            section.single[is_single] {
                h2 { (self.title) }
                p.reading { (self.reading) }
                @if !self.keys.is_empty() {
                    ul.keys {
                        @for key in &self.keys {
                            li { span aria-hidden="true" style={ "color:" (key.tone.css()) } { (key.sign) } " " (key.text) }
                        }
                    }
                }
                div.panels { @for panel in &panels { (panel) } }
                (foot(&self.notes, &self.n, command))
            }
        })
    }
}

impl Panel {
    fn html(&self, figure: &str) -> Result<Markup, ReportError> {
        let label = match self.title.is_empty() {
            true => figure.to_string(),
            false => format!("{figure}: {}", self.title),
        };
        let picture = match &self.picture {
            Picture::HeatMap(svg) => html! {
                p.hint { "The picture scrolls sideways." }
                div.scroll tabindex="0" role="region" aria-label=(label) { (drawing(svg, &label)) }
            },
            Picture::Chart(chart) => {
                let svg = chart.svg().map_err(|why| ReportError::Encode {
                    name: "report.html",
                    why,
                })?;
                drawing(&svg, &label)
            }
        };
        Ok(html! {
            figure {
                @if !self.title.is_empty() { h3 { (self.title) } }
                (picture)
                @if !self.reading.is_empty() { figcaption { (self.reading) } }
            }
        })
    }
}

/// What the drawing library wrote, which has escaped all text, with the page's colours and a name for readers that
/// see no pictures.
fn drawing(svg: &str, label: &str) -> Markup {
    let label = html! { (label) }.into_string();
    let named = format!("<svg role=\"img\" aria-label=\"{label}\" ");
    PreEscaped(themed(svg).replacen("<svg ", &named, 1))
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Column::Words(name) | Column::Line(name) | Column::Number(name) => name,
        }
    }

    /// The class of its cells in the style sheet.
    fn style(self) -> &'static str {
        match self {
            Column::Words(_) => "words",
            Column::Line(_) => "line",
            Column::Number(_) => "number",
        }
    }
}

impl Table {
    fn html(&self, command: &str) -> Markup {
        html! {
            section {
                h2 { (self.title) }
                p.reading { (self.reading) }
                table {
                    thead { tr { @for column in &self.columns {
                        th scope="col" .(column.style()) { (column.name()) }
                    } } }
                    @for (title, rows) in &self.groups {
                        tbody {
                            @if !title.is_empty() {
                                tr.group { th scope="rowgroup" colspan=(self.columns.len()) { (title) } }
                            }
                            @for row in rows { (self.row(row)) }
                        }
                    }
                }
                (foot(&self.notes, &self.n, command))
            }
        }
    }

    fn row(&self, row: &[String]) -> Markup {
        html! {
            tr { @for (column, cell) in self.columns.iter().zip(row) {
                td data-label=(column.name()) .(column.style()) { span { (cell) } }
            } }
        }
    }
}

fn foot(notes: &[String], n: &str, command: &str) -> Markup {
    html! {
        div.foot {
            @for note in notes { p { (note) } }
            p { "n: " (n) }
            p { "again: " code { (command) } }
        }
    }
}
