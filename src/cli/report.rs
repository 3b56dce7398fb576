//! `report`: one page of a run's folder.

use std::path::PathBuf;

use clap::Args;

use crate::report::write_report;

/// Make one HTML page of a run's folder
///
/// Reads what `classify`, `ablate`, `sweep`, `record`, `attributes` or `verify` wrote with --out, and
/// writes report.html into the folder: what was run, the plots, what they show in numbers, and the
/// command that makes them again. The page has everything in it, asks for no network, and follows the
/// reader's light or dark theme; what the folder lacks, it says.
#[derive(Args)]
pub struct Report {
    /// The run's folder.
    dir: PathBuf,
    /// Write the page to this file instead of DIR/report.html.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Report {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let path = write_report(&self.dir, self.out.as_deref())?;
        outln!("{}", path.display());
        Ok(())
    }
}
