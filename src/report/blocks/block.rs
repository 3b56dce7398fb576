//! The parts that a run is shown in: pictures with their numbers, tables, and what cannot be shown.

use crate::report::chart::Chart;
use crate::report::view::Table;

/// A part of what is shown of a run.
#[derive(Clone)]
pub enum Block {
    Figure(Figure),
    Table {
        title: String,
        /// What is said on a page alone, in lines; may be empty.
        legend: String,
        /// In lines.
        caption: String,
        rows: Table,
    },
    /// Something that the folder lacks: what cannot be shown, and why.
    Lacking(String),
}

/// One or more pictures of one thing.
#[derive(Clone)]
pub struct Figure {
    pub title: String,
    pub panels: Vec<Panel>,
    /// How the pictures are read, in lines; may be empty.
    pub legend: String,
    /// What they show, and of what, in lines, which holds of the numbers, too.
    pub caption: String,
    /// The same as a table, which may be empty.
    pub numbers: Table,
    pub width: Width,
}

/// A picture.
#[derive(Clone)]
pub struct Panel {
    /// What its files are called.
    pub name: String,
    /// What it has beside the others of its figure; empty for the only one.
    pub title: String,
    pub chart: Chart,
    /// What is drawn, a row for each point, bar or cell: with all digits, under the names that the run's files have.
    pub data: Table,
}

/// Whether a phone can show it whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Fits,
    Wide,
}

impl Block {
    pub fn figure(title: &str, panels: Vec<Panel>, caption: &str, numbers: Table) -> Block {
        Block::Figure(Figure {
            title: title.to_string(),
            panels,
            legend: String::new(),
            caption: caption.to_string(),
            numbers,
            width: Width::Fits,
        })
    }

    pub fn table(title: &str, caption: &str, rows: Table) -> Block {
        Block::Table {
            title: title.to_string(),
            legend: String::new(),
            caption: caption.to_string(),
            rows,
        }
    }

    pub fn lacking(what: &str) -> Block {
        Block::Lacking(what.to_string())
    }
}

impl Figure {
    /// What stands below the pictures, in lines.
    pub fn words(&self) -> String {
        lines([&self.legend, &self.caption])
    }
}

/// Those that are not empty.
pub fn lines(texts: [&str; 2]) -> String {
    let there = texts.into_iter().filter(|text| !text.is_empty());
    there.collect::<Vec<_>>().join("\n")
}

impl Panel {
    pub fn new(name: &str, chart: Chart, data: Table) -> Panel {
        Panel {
            name: name.to_string(),
            title: String::new(),
            chart,
            data,
        }
    }

    pub fn titled(self, title: impl Into<String>) -> Panel {
        Panel {
            title: title.into(),
            ..self
        }
    }
}
