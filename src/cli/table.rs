//! Text tables and numbers for people.

pub use crate::report::number::{ABSENT, Digits, count, p_value, plural};
pub use crate::report::view::Columns;

use crate::printable::printable;
use crate::report::view::{Align, Table as View};

use console::Term;

use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, Table, TableComponent, Width, presets,
};

/// A table of text. Headers and cells may have several lines.
pub fn text_table<S: ToString>(header: &[S], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_style(TableComponent::HeaderLines, '─');
    table.set_style(TableComponent::MiddleHeaderIntersections, '─');
    // Before widths are counted.
    let shown = |cell: String| printable(&cell).into_owned();
    table.set_header(header.iter().map(|cell| shown(cell.to_string())));
    for row in rows {
        table.add_row(row.into_iter().map(shown));
    }
    table
}

/// A row for each of the rows, with these columns: on a terminal that is too narrow, in several tables below each other.
pub fn table_of<'r, R: 'r>(
    columns: &Columns<'_, R>,
    rows: impl IntoIterator<Item = &'r R>,
) -> String {
    fitted(&columns.table(rows), LOOSE, terminal_width())
}

/// The same with little room between the columns.
pub fn tight_table_of<'r, R: 'r>(
    columns: &Columns<'_, R>,
    rows: impl IntoIterator<Item = &'r R>,
) -> String {
    fitted(&columns.table(rows), TIGHT, terminal_width())
}

/// How wide the terminal is; nothing where the output goes elsewhere.
pub fn terminal_width() -> Option<u16> {
    let term = Term::stdout();
    let size = term.is_term().then(|| term.size_checked()).flatten();
    size.map(|(_, columns)| columns)
}

/// What is left free at both sides of a cell; a space more is between two.
type Padding = (u16, u16);

const LOOSE: Padding = (1, 1);
const TIGHT: Padding = (0, 1);

/// A cell of the first column that is longer is broken at its hyphens where there is little room.
const LONG: usize = 14;

fn fitted(view: &View, padding: Padding, width: Option<u16>) -> String {
    let every: Vec<usize> = (0..view.columns.len()).collect();
    let whole = drawn(view, &every, padding);
    match width.map(usize::from) {
        Some(width) if taken(&widths(&whole), padding) > width => {
            in_parts(view, width).unwrap_or_else(|| whole.to_string())
        }
        _ => whole.to_string(),
    }
}

/// Tables that are no wider, each with the first column, which says what a row is; nothing where a column has no room at all.
fn in_parts(view: &View, width: usize) -> Option<String> {
    let mut view = view.clone();
    if let Some((_, Align::Left)) = view.columns.first() {
        let rows = view.groups.iter_mut().flat_map(|(_, rows)| rows);
        let names = rows.filter_map(|row| row.first_mut());
        for name in names.filter(|name| name.chars().count() > LONG) {
            *name = name.replace('-', "-\n");
        }
    }
    let every: Vec<usize> = (0..view.columns.len()).collect();
    let widths = widths(&drawn(&view, &every, TIGHT));
    let mut parts: Vec<Vec<usize>> = Vec::new();
    for column in 1..widths.len() {
        let fits = |part: &&mut Vec<usize>| {
            let of_part = part.iter().chain([&column]).map(|at| widths[*at]);
            taken(&of_part.collect::<Vec<_>>(), TIGHT) <= width
        };
        match parts.last_mut().filter(fits) {
            Some(part) => part.push(column),
            None if taken(&[widths[0], widths[column]], TIGHT) > width => return None,
            None => parts.push(vec![0, column]),
        }
    }
    let tables = parts
        .iter()
        .map(|part| drawn(&view, part, TIGHT).to_string());
    Some(tables.collect::<Vec<_>>().join("\n\n"))
}

/// How wide a line with such columns is.
fn taken(widths: &[usize], (left, right): Padding) -> usize {
    let padded = widths.iter().map(|width| width + usize::from(left + right));
    padded.sum::<usize>() + widths.len().saturating_sub(1)
}

fn widths(table: &Table) -> Vec<usize> {
    let widths = table.column_max_content_widths();
    widths.into_iter().map(usize::from).collect()
}

/// The columns at these places.
fn drawn(view: &View, places: &[usize], padding: Padding) -> Table {
    let of = |row: &Vec<String>| places.iter().map(|at| row[*at].clone()).collect();
    let header: Vec<&String> = places.iter().map(|at| &view.columns[*at].0).collect();
    let rows = view.groups.iter().flat_map(|(_, rows)| rows);
    let mut table = text_table(&header, rows.map(of));
    for (shown, at) in table.column_iter_mut().zip(places) {
        shown.set_padding(padding);
        if view.columns[*at].1 == Align::Right {
            shown.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// One row of long texts side by side in columns of equal width, no wider than `width` together.
pub fn wrapped_table<S: ToString>(header: &[S], row: Vec<String>, width: u16) -> Table {
    let mut table = text_table(header, [row]);
    // Every table has a space before its first column.
    let each = width.saturating_sub(1) / header.len() as u16;
    wrap(&mut table, width, &vec![each; header.len()]);
    table
}

/// Rows of texts that are wrapped to columns of these widths, without a header.
pub fn column_table(rows: impl IntoIterator<Item = Vec<String>>, widths: &[u16]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    for row in rows {
        table.add_row(row);
    }
    wrap(&mut table, widths.iter().sum(), widths);
    table
}

fn wrap(table: &mut Table, all: u16, widths: &[u16]) {
    table.set_width(all);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    for (column, width) in table.column_iter_mut().zip(widths) {
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(*width)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_wider_than_the_terminal_stands_in_parts() {
        let columns = Columns::new()
            .words("class", |class: &&str| class.to_string())
            .number("first\nnumber", |_| "1,234".to_string())
            .number("second", |_| "-5.441".to_string())
            .number("third", |_| "0.5 [0.2, 0.8]".to_string());
        let rows = ["depletion", "conditional-depletion"];
        let view = columns.table(&rows);
        let whole = fitted(&view, LOOSE, None);
        assert_eq!(fitted(&view, LOOSE, Some(80)), whole);
        let parts = fitted(&view, LOOSE, Some(32));
        let expected = "\
class          first  second
              number
─────────────────────────────
depletion      1,234  -5.441
conditional-   1,234  -5.441
depletion

class                  third
─────────────────────────────
depletion     0.5 [0.2, 0.8]
conditional-  0.5 [0.2, 0.8]
depletion";
        let parts: Vec<&str> = parts.lines().map(str::trim_end).collect();
        assert_eq!(parts, expected.lines().collect::<Vec<_>>());
        // Nothing is gained where a column is too wide by itself.
        assert_eq!(fitted(&view, LOOSE, Some(20)), whole);
    }

    #[test]
    fn a_wrapped_table_keeps_to_its_width() {
        let text = "one two three four five six seven ".repeat(9);
        for width in [20, 60, 61, 80] {
            let table = wrapped_table(&["a", "b"], vec![text.clone(), text.clone()], width);
            let widths = table.lines().map(|line| line.chars().count());
            let widest = widths.max().unwrap();
            assert!(
                (width as usize - 1..=width as usize).contains(&widest),
                "{widest} of {width}"
            );
        }
    }
}
