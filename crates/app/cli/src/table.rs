//! Tables as kubectl prints them: columns aligned, three spaces between them, no lines.

use std::fmt::Write as _;

/// Rows under a heading. Cells hold one line each.
#[derive(Debug, Clone, Default)]
pub struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<T: Into<String>>(heading: impl IntoIterator<Item = T>) -> Self {
        Self {
            heading: heading.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    /// A row may be shorter than the heading.
    pub fn push<T: Into<String>>(&mut self, row: impl IntoIterator<Item = T>) {
        self.rows.push(row.into_iter().map(Into::into).collect());
    }

    /// How wide each column is, in characters.
    pub fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let cells = [&self.heading].into_iter().chain(&self.rows);
            cells
                .filter_map(|row| row.get(column))
                .map(|x| x.chars().count())
                .max()
                .unwrap_or(0)
        };
        (0..self.heading.len()).map(width).collect()
    }

    /// The text, each line ending in a newline.
    pub fn print(&self) -> String {
        self.print_in(&self.widths())
    }

    /// The text in columns at least as wide as given.
    pub fn print_in(&self, widths: &[usize]) -> String {
        let mut text = String::new();
        for row in [&self.heading].into_iter().chain(&self.rows) {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths.get(column).copied().unwrap_or(0);
                // Writing to a String cannot fail.
                let _ = write!(line, "{cell:width$}   ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_end_without_spaces() {
        let mut table = Table::new(["NAME", "ORDER"]);
        table.push(["a-long-name", "1"]);
        table.push(["b", ""]);
        assert_eq!(table.print(), "NAME          ORDER\na-long-name   1\nb\n");
    }
}
