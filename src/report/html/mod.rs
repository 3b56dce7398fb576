//! `report.html`: one page that shows what a run found, with everything in it.
//!
//! [`folder`] reads a run's folder into records ([`contents`]); each kind of plot makes [`block`]s of its records, which
//! are data too; [`page`] makes HTML of them. Nothing in the page comes from elsewhere or runs, it follows the reader's light or dark
//! theme, and the same folder always gives the same bytes.

mod activity;
mod attribute_rate;
mod block;
mod chart;
mod claims;
mod class_shares;
mod contents;
mod cosines;
mod effects;
mod effects_table;
mod folder;
mod losses;
mod medians;
mod page;
mod ranking;
mod sweep;
mod words;

pub use words::{count, p_value};

use std::path::{Path, PathBuf};

use folder::RunFolder;

use super::ReportError;
use super::out_dir::write_file;
use crate::printable::printable;

/// The bytes of `report.html` of the run in `folder`. They depend on nothing but the folder's files, so a folder that is
/// not at its place yet gives the same.
///
/// # Errors
/// [`ReportError::NoRun`] for a folder without `run.json`, [`ReportError::Damaged`] for a file that cannot be read. What
/// is missing is no error: the page says so.
pub fn report_html(folder: &Path) -> Result<Vec<u8>, ReportError> {
    let RunFolder {
        run,
        passes,
        contents,
    } = RunFolder::read(folder)?;
    let blocks = contents.blocks(&run);
    let page = page::page(&run, passes, &blocks)?;
    Ok(printable(&page).into_owned().into_bytes())
}

/// Writes the page of the run in `folder` to `to`, or into the folder, and returns where it is.
///
/// # Errors
/// Those of [`report_html`]; a file that cannot be written.
pub fn write_report(folder: &Path, to: Option<&Path>) -> Result<PathBuf, ReportError> {
    let html = report_html(folder)?;
    let path = to.map_or_else(|| folder.join("report.html"), Path::to_path_buf);
    write_file(&path, &html)?;
    Ok(path)
}
