//! Two texts side by side: drawn anew with each token in a terminal, else once.

use std::io;

use console::Term;

use super::writer::Writer;
use crate::cli::table::wrapped_table;
use crate::tokens::Tokenizer;

/// A table is never wider, and where there is no terminal never narrower.
const WIDEST: u16 = 160;
const NARROWEST: u16 = 60;

/// A table that grows in a terminal.
pub(super) struct LiveTable {
    term: Term,
    /// Rows and columns of the terminal at the last drawing.
    size: (u16, u16),
    /// Lines of the last drawing, which the next one replaces.
    drawn: usize,
}

impl LiveTable {
    /// `None` where standard output is no terminal.
    pub fn new() -> Option<Self> {
        let term = Term::buffered_stdout();
        let size = term.size();
        term.is_term().then_some(Self {
            term,
            size,
            drawn: 0,
        })
    }

    /// Draws the texts in the place of what was drawn before: of a table that is taller than the terminal the end.
    pub fn draw(&mut self, texts: &[Writer<'_, '_>]) -> io::Result<()> {
        self.erase()?;
        let (rows, columns) = self.size;
        let table = table(texts, columns.min(WIDEST));
        let lines: Vec<&str> = table.lines().collect();
        // The cursor stands on a line of its own, below.
        let room = usize::from(rows).saturating_sub(1);
        let shown = &lines[lines.len().saturating_sub(room)..];
        self.write(shown)?;
        self.drawn = shown.len();
        self.term.flush()
    }

    /// Leaves the whole table behind.
    pub fn finish(mut self, texts: &[Writer<'_, '_>]) -> io::Result<()> {
        self.erase()?;
        let table = table(texts, self.size.1.min(WIDEST));
        self.write(&table.lines().collect::<Vec<_>>())?;
        self.term.flush()
    }

    /// A terminal of another size has broken the lines anew, nobody knows into how many: they stay.
    fn erase(&mut self) -> io::Result<()> {
        let size = self.term.size();
        if size == self.size {
            self.term.clear_last_lines(self.drawn)?;
        }
        (self.size, self.drawn) = (size, 0);
        Ok(())
    }

    fn write(&self, lines: &[&str]) -> io::Result<()> {
        lines.iter().try_for_each(|line| self.term.write_line(line))
    }
}

/// Prints the texts where there is no terminal.
pub(super) fn print_table(texts: &[Writer<'_, '_>]) {
    let width = Term::stdout().size().1.clamp(NARROWEST, WIDEST);
    outln!("{}", table(texts, width));
}

/// Says where the texts part.
pub(super) fn print_difference(texts: &[Writer<'_, '_>], tokenizer: &Tokenizer) {
    let [a, b] = texts else { return };
    let same = a.ids.iter().zip(&b.ids).take_while(|(a, b)| a == b).count();
    let word = |text: &Writer<'_, '_>| match text.ids.get(same) {
        Some(token) => format!("{:?}", tokenizer.token_text(*token)),
        None => "the end".to_string(),
    };
    if a.ids == b.ids {
        outln!("\nBoth texts are the same.");
    } else {
        let (a, b) = (word(a), word(b));
        outln!("\nThe first {same} tokens are the same; then {a} against {b}.");
    }
}

fn table(texts: &[Writer<'_, '_>], width: u16) -> String {
    // What moves the cursor would tear the columns.
    let cell = |text: &Writer<'_, '_>| text.written.replace('\t', "    ").replace('\r', "");
    let header: Vec<_> = texts.iter().map(|text| text.name).collect();
    let cells = texts.iter().map(cell).collect();
    wrapped_table(&header, cells, width).to_string()
}
