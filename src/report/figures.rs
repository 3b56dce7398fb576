//! The pictures of a run as files for a paper: each as SVG, as PDF, and its numbers as CSV.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::added::{add_to_run, write_beside};
use super::blocks::{Block, Figure, Folder, Panel};
use super::owned::FIGURES;
use super::pdf::About;
use super::sheet::Sheet;
use super::view::Table;
use super::{ReportError, RunInfo};

/// What was written of a run's pictures.
#[derive(Debug)]
pub struct Figures {
    /// The files.
    pub files: Vec<PathBuf>,
    /// What could not be shown, and why.
    pub lacking: Vec<String>,
}

/// Writes each picture of the page of the finished run in `folder` as NAME.svg, NAME.pdf and NAME.csv: into the folder
/// `figures` of the run's own, as files of the run, or into `to`.
///
/// # Errors
/// [`ReportError::NoRun`], [`ReportError::NotFinished`], [`ReportError::Damaged`] for what cannot be read,
/// [`ReportError::NothingToShow`] for a run without a picture. Nothing is written where something else has one of the
/// files' places: [`ReportError::InTheWay`], in the run's folder [`ReportError::Changed`].
pub fn write_figures(folder: &Path, to: Option<&Path>) -> Result<Figures, ReportError> {
    let opened = Folder::finished(folder)?;
    let blocks = opened.blocks()?;
    let lacking = blocks.iter().filter_map(|block| match block {
        Block::Lacking(what) => Some(what.clone()),
        _ => None,
    });
    let lacking: Vec<String> = lacking.collect();
    let files = files_of(&opened.run, &blocks)?;
    if files.is_empty() {
        let no_plot = || {
            format!(
                "what `{}` finds is shown in tables alone",
                opened.run.command
            )
        };
        return Err(ReportError::NothingToShow {
            path: folder.to_path_buf(),
            what: "figure",
            why: lacking.first().cloned().unwrap_or_else(no_plot),
        });
    }
    let at = match to {
        Some(to) => {
            write_beside(to, &files)?;
            to.to_path_buf()
        }
        None => {
            let within = files
                .iter()
                .map(|(name, bytes)| (format!("{FIGURES}/{name}"), bytes));
            add_to_run(folder, &within.collect::<Vec<_>>())?;
            folder.join(FIGURES)
        }
    };
    let files = files.into_iter().map(|(name, _)| at.join(name));
    Ok(Figures {
        files: files.collect(),
        lacking,
    })
}

/// The files with their names.
fn files_of(run: &RunInfo, blocks: &[Block]) -> Result<Vec<(String, Vec<u8>)>, ReportError> {
    let (mut files, mut names) = (Vec::new(), BTreeSet::new());
    let figures = blocks.iter().filter_map(|block| match block {
        Block::Figure(figure) => Some(figure),
        _ => None,
    });
    for (figure, panel) in figures.flat_map(|f| f.panels.iter().map(move |panel| (f, panel))) {
        let name = unused(&panel.name, &mut names);
        for (ending, bytes) in of_panel(run, figure, panel)? {
            files.push((format!("{name}.{ending}"), bytes));
        }
    }
    Ok(files)
}

fn of_panel(
    run: &RunInfo,
    figure: &Figure,
    panel: &Panel,
) -> Result<[(&'static str, Vec<u8>); 3], ReportError> {
    let failed = |why: String| ReportError::Encode {
        name: "a figure",
        why,
    };
    // A control looks like a result in everything else.
    let control = run.control.as_ref().map_or("", |_| "control");
    let shown = joined([control, panel.title.as_str()]);
    let caption = match &run.control {
        Some(control) => format!(
            "{}\nA control, no result about the model: {control}.",
            figure.words()
        ),
        None => figure.words(),
    };
    let about = About {
        title: &joined([figure.title.as_str(), shown.as_str()]),
        caption: &caption,
        // Without the command line, whose paths could name who made it: a paper may be read blind.
        creator: &format!("gatelens {}", run.version),
        per_point: panel.chart.per_point,
    };
    let sheet = Sheet::new(&shown, &panel.chart);
    Ok([
        ("svg", sheet.svg(&about).map_err(failed)?),
        ("pdf", sheet.pdf(&about).map_err(failed)?),
        (
            "csv",
            csv(&panel.data).map_err(|why| failed(why.to_string()))?,
        ),
    ])
}

/// With a colon between what is there.
fn joined(parts: [&str; 2]) -> String {
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(": ")
}

fn csv(table: &Table) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(table.columns.iter().map(|(header, _)| header))?;
    for row in table.groups.iter().flat_map(|(_, rows)| rows) {
        writer.write_record(row)?;
    }
    writer.into_inner().map_err(|why| why.into_error().into())
}

/// Characters of a name, so that every file system takes it.
const LONGEST: usize = 60;

/// The name of a picture's files: letters and digits of what it is called, and a number where another has that already. Some
/// file systems take upper and lower case for the same.
fn unused(name: &str, names: &mut BTreeSet<String>) -> String {
    let plain = |c: char| {
        if c.is_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(plain).take(LONGEST).collect();
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut free = [name.clone()].into_iter().chain(numbered);
    let free = free.find(|name| names.insert(name.to_lowercase()));
    free.unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_plain_and_told_apart() {
        let mut names = BTreeSet::new();
        let mut name = |text: &str| unused(text, &mut names);
        assert_eq!(name("effects-loss"), "effects-loss");
        assert_eq!(name("by-layer-a/b & c.d_e"), "by-layer-a-b---c.d_e");
        assert_eq!([name("Ä%"), name("ä&"), name("ä-")], ["Ä-", "ä--2", "ä--3"]);
        assert_eq!(name(&"x".repeat(99)).len(), LONGEST);
    }
}
