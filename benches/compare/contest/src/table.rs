//! Tables that are read in a terminal as well as in a document.

/// Rows of cells; the first column is text, the others are figures.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(heading: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            rows: vec![heading.into_iter().map(Into::into).collect()],
        }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// As Markdown, with columns of one width.
    pub fn markdown(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().map(|row| cell(row, column));
                let widths = cells.map(|cell| cell.chars().count());
                widths.max().unwrap_or(0).max(3)
            })
            .collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, width) in widths.iter().enumerate() {
                text += &match column {
                    0 => format!("| {:<width$} ", cell(row, column)),
                    _ => format!("| {:>width$} ", cell(row, column)),
                };
            }
            text += "|\n";
            if number == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(*width);
                    text += &match column {
                        0 => format!("|-{dashes}-"),
                        _ => format!("|-{dashes}:"),
                    };
                }
                text += "|\n";
            }
        }
        text
    }
}

/// Three digits of a time.
pub fn time(ns: f64) -> String {
    match ns {
        ..1e3 => format!("{} ns", digits(ns)),
        ..1e6 => format!("{} us", digits(ns / 1e3)),
        _ => format!("{} ms", digits(ns / 1e6)),
    }
}

/// Three digits of a rate.
pub fn rate(per_s: f64) -> String {
    match per_s {
        ..1e3 => digits(per_s),
        ..1e6 => format!("{} k", digits(per_s / 1e3)),
        _ => format!("{} M", digits(per_s / 1e6)),
    }
}

/// Three digits.
pub fn digits(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
