//! `report`: what a run's folder shows, as a page, as figures, or as tables for LaTeX.

use std::path::PathBuf;

use clap::Args;

use crate::report::{report_latex, write_figures, write_report};

const AFTER_HELP: &str = "\
Examples:
  gatelens report runs/depletion
  gatelens report runs/depletion --figures
  gatelens report runs/depletion --figures --out paper/figures
  gatelens report runs/depletion --latex > paper/tables.tex

Figures: \\includegraphics{figures/effects-target_logprob-known} takes the PDF, which is as wide as a column (240 points) with numbers of \
7 points; programs that draw take the SVG. The CSV has what is drawn with all digits, a row for each point, bar or cell. What the page says \
below a plot is in the SVG's <desc> and in the PDF's subject. The PDF's text is Helvetica, which readers of PDF have and the file \
does not hold; a publisher who wants all fonts in the file gets it by
  gs -q -o embedded.pdf -sDEVICE=pdfwrite -dPDFSETTINGS=/prepress NAME.pdf
Letters beyond Western European ones are question marks there; rsvg-convert -f pdf -o NAME.pdf NAME.svg knows more.

Tables: cut out those that you want; each is a float with its caption, table for a column and table* for the whole width of a page. For one that is longer \
than a page, as a sweep's may be, take \\usepackage{longtable}: longtable in the place of tabular, without the float around it.";

/// Make one HTML page of a run's folder, or its figures and tables for a paper
///
/// Reads what `classify`, `ablate`, `sweep`, `record`, `attributes`, `rank` or `verify` wrote with --out, and
/// writes report.html into the folder: what was run, the plots, what they show in numbers, and the
/// command that makes them again. The page has everything in it, asks for no network, and follows the
/// reader's light or dark theme; what the folder lacks, it says.
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub struct Report {
    /// The run's folder.
    dir: PathBuf,
    /// Instead of the page write its plots for a paper, each as NAME.svg, NAME.pdf and NAME.csv, into
    /// DIR/figures, as files of the run: made again they are replaced, and what gatelens did not write never is.
    #[arg(long, conflicts_with = "latex")]
    figures: bool,
    /// Instead of the page print its tables as LaTeX (booktabs), with the numbers that it shows.
    #[arg(long)]
    latex: bool,
    /// Write the page to this file instead of DIR/report.html; with --figures, the plots into this folder
    /// instead of DIR/figures; other files of the same names are refused there, and none is written.
    #[arg(long, value_name = "PATH", conflicts_with = "latex")]
    out: Option<PathBuf>,
}

impl Report {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let (dir, out) = (&self.dir, self.out.as_deref());
        if self.latex {
            out!("{}", report_latex(dir)?);
            return Ok(());
        }
        if self.figures {
            let written = write_figures(dir, out)?;
            for what in &written.lacking {
                notice!("warning: {what}");
            }
            for file in &written.files {
                outln!("{}", file.display());
            }
            return Ok(());
        }
        let path = write_report(dir, out)?;
        outln!("{}", path.display());
        Ok(())
    }
}
