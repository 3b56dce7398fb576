//! `report.html`: one page that shows what a run found, with everything in it.
//!
//! [`folder`] reads a run's files; for each kind a file here makes charts and tables of them, [`block`] makes these HTML,
//! and [`page`] puts them below what was run. Nothing in the page comes from elsewhere or runs, it follows the reader's
//! light or dark theme, and the same folder always gives the same bytes.

mod activity;
mod block;
mod claims;
mod classes;
mod effects;
mod folder;
mod losses;
mod page;
mod ranking;
mod rates;
mod sweep;

use std::fs;
use std::path::{Path, PathBuf};

use folder::Folder;

use super::out_dir::write_file;
use super::owned::{self, Mark, RUN};
use super::parts::passes_of;
use super::{ReportError, RunInfo};
use crate::experiment::verify::ClaimTest;
use crate::printable::printable;

/// The bytes of `report.html` of the run in `folder`. They depend on nothing but the folder's files, so a folder that is
/// not at its place yet gives the same.
///
/// # Errors
/// [`ReportError::NoRun`] for a folder without `run.json`, [`ReportError::Damaged`] for a file that cannot be read. What
/// is missing is no error: the page says so.
pub fn report_html(folder: &Path) -> Result<Vec<u8>, ReportError> {
    let opened = Folder::open(folder)?;
    let passes = (!opened.run.finished).then(|| passes_of(folder, &opened.run));
    let page = page::page(&opened.run, passes, &opened.blocks()?);
    Ok(printable(&page).into_owned().into_bytes())
}

/// The bytes of `report.html` of a run of `verify` that has no folder yet.
pub fn verdicts_html(run: &RunInfo, claims: &[ClaimTest]) -> Vec<u8> {
    let page = page::page(run, None, &[claims::verdicts(claims)]);
    printable(&page).into_owned().into_bytes()
}

/// Writes the page of the run in `folder` to `to`, or into the folder, as one of the run's files, and returns where it
/// is.
///
/// # Errors
/// Those of [`report_html`]; [`ReportError::PageOfUnfinished`] for a run that can still be gone on with;
/// [`ReportError::Changed`] for a page in the folder that is not the run's; a file that cannot be written.
pub fn write_report(folder: &Path, to: Option<&Path>) -> Result<PathBuf, ReportError> {
    let html = report_html(folder)?;
    if let Some(path) = to {
        write_file(path, &html)?;
        return Ok(path.to_path_buf());
    }
    if !folder.join(RUN).is_file() {
        let path = folder.to_path_buf();
        return Err(ReportError::PageOfUnfinished { path });
    }
    let path = folder.join(PAGE);
    let run = Mark::read(folder, RUN).ours();
    let is_other = |run: &RunInfo| !owned::owns(run, folder, PAGE);
    if fs::symlink_metadata(&path).is_ok() && run.as_ref().is_some_and(is_other) {
        return Err(ReportError::Changed {
            path: folder.to_path_buf(),
            name: PAGE.to_string(),
        });
    }
    write_file(&path, &html)?;
    if let Some(mut run) = run.filter(RunInfo::lists_outputs) {
        let failed = |why| ReportError::Write {
            path: path.clone(),
            why,
        };
        run.outputs.retain(|file| file.name != PAGE);
        run.outputs.push(owned::list(folder, PAGE).map_err(failed)?);
        write_file(&folder.join(RUN), &run.to_json()?)?;
    }
    Ok(path)
}

/// The page's name in a run's folder.
const PAGE: &str = "report.html";
