//! A table of text.

use comfy_table::{ContentArrangement, Table, presets};

/// A table without lines, whose cells are not wrapped.
pub(crate) fn table<const COLUMNS: usize>(headings: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(headings);
    table
}
