//! `report.html`: one page that shows what a run found, with everything in it.
//!
//! [`block`] makes HTML of what there is to show, and [`page`] puts it below what was run. Nothing in the page comes from
//! elsewhere or runs, it follows the reader's light or dark theme, and the same folder always gives the same bytes.

mod block;
mod page;

use std::path::{Path, PathBuf};

use maud::Markup;

use super::added::{add_to_run, write_new};
use super::blocks::{self, Block, Folder};
use super::owned::RUN;
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
    whole(&opened.run, passes, &opened.blocks()?)
}

fn whole(
    run: &RunInfo,
    passes: Option<(usize, usize)>,
    blocks: &[Block],
) -> Result<Vec<u8>, ReportError> {
    let blocks: Vec<Markup> = blocks.iter().map(block::shown).collect::<Result<_, _>>()?;
    let page = page::page(run, passes, &blocks);
    Ok(printable(&page).into_owned().into_bytes())
}

/// Blocks as they are on a page.
#[cfg(test)]
pub(super) fn shown(blocks: &[Block]) -> String {
    let blocks = blocks.iter().map(|block| block::shown(block).unwrap());
    blocks.map(Markup::into_string).collect()
}

/// The bytes of `report.html` of a run of `verify` that has no folder yet.
///
/// # Errors
/// Those of [`report_html`].
pub fn verdicts_html(run: &RunInfo, claims: &[ClaimTest]) -> Result<Vec<u8>, ReportError> {
    whole(run, None, &[blocks::verdicts(claims)])
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
        write_new(path, &html)?;
        return Ok(path.to_path_buf());
    }
    if !folder.join(RUN).is_file() {
        let path = folder.to_path_buf();
        return Err(ReportError::PageOfUnfinished { path });
    }
    add_to_run(folder, &[(PAGE.to_string(), &html)])?;
    Ok(folder.join(PAGE))
}

/// The page's name in a run's folder.
const PAGE: &str = "report.html";
