//! Text tables and numbers for people.

pub use crate::report::number::{ABSENT, Digits, count, p_value, plural};
pub use crate::report::view::Columns;

use crate::printable::printable;
use crate::report::view::{Align, Table as View};

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

/// A row for each of the rows, with these columns.
pub fn table_of<'r, R: 'r>(
    columns: &Columns<'_, R>,
    rows: impl IntoIterator<Item = &'r R>,
) -> Table {
    let View { columns, groups } = columns.table(rows);
    let header: Vec<&String> = columns.iter().map(|(header, _)| header).collect();
    let mut table = text_table(&header, groups.into_iter().flat_map(|(_, rows)| rows));
    for (shown, (_, align)) in table.column_iter_mut().zip(&columns) {
        if *align == Align::Right {
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
