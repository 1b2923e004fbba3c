//! Tables for people.

use std::fmt;

/// Rows of text below a heading; columns are as wide as they have to be.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    /// Of each column.
    align: Vec<Align>,
}

/// On which side of its column a cell stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Left.
    Text,
    /// Right.
    Numbers,
}

impl Table {
    /// A table without rows yet.
    pub fn new(align: Align, heading: &[&str]) -> Self {
        Self {
            rows: vec![heading.iter().map(ToString::to_string).collect()],
            align: vec![align; heading.len()],
        }
    }

    /// A table without rows yet, whose columns stand on sides of their own.
    pub fn of_columns(columns: &[(&str, Align)]) -> Self {
        let (heading, align) = columns
            .iter()
            .map(|(name, align)| (name.to_string(), *align))
            .unzip();
        Self {
            rows: vec![heading],
            align,
        }
    }

    /// Adds a row of any number of cells.
    pub fn cells(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.rows.push(cells.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(move |row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (index, row) in self.rows.iter().enumerate() {
            let cells =
                row.iter().zip(&widths).zip(&self.align).map(
                    |((cell, &width), align)| match align {
                        Align::Text => format!("{cell:<width$}"),
                        Align::Numbers => format!("{cell:>width$}"),
                    },
                );
            let line = cells.collect::<Vec<_>>().join("  ");
            let end = if index + 1 < self.rows.len() {
                "\n"
            } else {
                ""
            };
            write!(f, "{}{end}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(Align::Text, &["A", "LONG"]);
        table.row(["wide".into(), "x".into()]);
        assert_eq!(table.to_string(), "A     LONG\nwide  x");
        let mut table = Table::new(Align::Numbers, &["A", "N"]);
        table.row(["10".into(), "1".into()]);
        assert_eq!(table.to_string(), " A  N\n10  1");
        let mut table = Table::of_columns(&[("A", Align::Text), ("N", Align::Numbers)]);
        table.row(["wide".into(), "1".into()]);
        table.row(["".into(), "10".into()]);
        assert_eq!(table.to_string(), "A      N\nwide   1\n      10");
    }
}
