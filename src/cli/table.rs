//! Text tables and numbers for people.

pub use crate::report::{count, p_value};

use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, Table, TableComponent, Width, presets,
};

/// A table of text. Headers and cells may have several lines.
pub fn text_table<S: ToString>(header: &[S], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_style(TableComponent::HeaderLines, '─');
    table.set_style(TableComponent::MiddleHeaderIntersections, '─');
    table.set_header(header.iter().map(ToString::to_string));
    for row in rows {
        table.add_row(row);
    }
    table
}

/// A table whose first column is text and whose others are numbers.
pub fn number_table<S: ToString>(
    header: &[S],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Table {
    let mut table = text_table(header, rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// One row of long texts side by side in columns of equal width, as wide as `width` together.
pub fn wrapped_table<S: ToString>(header: &[S], row: Vec<String>, width: u16) -> Table {
    let mut table = text_table(header, [row]);
    table.set_width(width);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    let each = Width::Fixed(width / header.len() as u16);
    for column in table.column_iter_mut() {
        column.set_constraint(ColumnConstraint::Absolute(each));
    }
    table
}
