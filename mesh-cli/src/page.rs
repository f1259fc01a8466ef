//! Text for people: rows of cells, aligned by columns, without colours or frames.

/// Rows whose cells are aligned; the last cell of a row is as wide as it likes.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.push(cells.into());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lines, each behind `indent`, each with its end.
    pub(crate) fn lines(&self, indent: &str) -> String {
        self.lines_behind(0, indent)
    }

    /// As [`Self::lines`], the first column at least so wide.
    pub(crate) fn lines_behind(&self, first: usize, indent: &str) -> String {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.0.iter().filter(|row| column + 1 < row.len()).map(|row| row[column].chars().count());
            cells.max().unwrap_or_default()
        };
        let mut widths: Vec<usize> = (0..columns).map(width).collect();
        if let Some(width) = widths.first_mut() {
            *width = first.max(*width);
        }
        let mut text = String::new();
        for row in &self.0 {
            let mut line = indent.to_owned();
            for (cell, width) in row.iter().zip(&widths) {
                // A column that nobody fills takes no room.
                if *width > 0 || !cell.is_empty() {
                    line.push_str(&format!("{cell:<width$}  "));
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_aligned_and_no_line_ends_in_blanks() {
        let mut table = Table::default();
        table.row(["a".to_owned(), String::new(), "first".to_owned()]);
        table.row(["lang".to_owned(), String::new(), String::new()]);
        assert_eq!(table.lines("  "), "  a     first\n  lang\n");
        assert_eq!(count(1, "file", "files"), "1 file");
    }
}
