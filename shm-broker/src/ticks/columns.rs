//! Which column of a file holds what.

use super::Tick;
use super::timestamp::nanoseconds;

/// Where to find what in a row.
#[derive(Debug)]
pub struct Columns {
    separator: char,
    time: usize,
    bid: usize,
    ask: usize,
    bid_size: Option<usize>,
    ask_size: Option<usize>,
    needed: usize,
    origin: Origin,
}

/// What the first line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Heading,
    Row,
}

impl Columns {
    /// Understands the first line of a file: a heading, or already a row.
    pub fn of_first_line(line: &str) -> Option<Self> {
        let separator = [',', ';', '\t'].into_iter().find(|c| line.contains(*c))?;
        let cells: Vec<String> = line
            .split(separator)
            .map(|cell| unquoted(cell).to_lowercase().replace([' ', '-'], "_"))
            .collect();
        Self::of_heading(separator, &cells).or_else(|| {
            let columns = Self::in_order(separator, cells.len());
            columns.tick(line).is_ok().then_some(columns)
        })
    }

    /// Whether the first line was a heading.
    pub fn is_from_heading(&self) -> bool {
        self.origin == Origin::Heading
    }

    /// The tick of a row; an error says what is wrong with it.
    pub fn tick(&self, row: &str) -> Result<Tick, String> {
        let mut cells = [""; MOST_COLUMNS];
        let mut found = 0;
        for (cell, text) in cells.iter_mut().zip(row.split(self.separator)) {
            *cell = unquoted(text);
            found += 1;
        }
        if found < self.needed {
            return Err(format!(
                "{} columns are needed, it has {found}",
                self.needed
            ));
        }
        let size =
            |column: Option<usize>| column.map_or(Ok(0.0), |column| number(cells[column], "size"));
        Ok(Tick {
            ts_ns: nanoseconds(cells[self.time])
                .ok_or_else(|| format!("{:?} is no time", cells[self.time]))?,
            bid: number(cells[self.bid], "price")?,
            ask: number(cells[self.ask], "price")?,
            bid_size: size(self.bid_size)?,
            ask_size: size(self.ask_size)?,
        })
    }

    fn of_heading(separator: char, cells: &[String]) -> Option<Self> {
        let column = |names: &[&str]| {
            let position = cells
                .iter()
                .position(|cell| names.contains(&cell.as_str()))?;
            (position < MOST_COLUMNS).then_some(position)
        };
        let volume = column(&["volume", "vol", "size"]);
        let mut columns = Self {
            separator,
            time: column(&[
                "timestamp",
                "time",
                "datetime",
                "date_time",
                "gmt_time",
                "ts",
                "date",
            ])?,
            bid: column(&["bid", "bid_price", "bidprice"])?,
            ask: column(&["ask", "ask_price", "askprice"])?,
            bid_size: column(&["bid_size", "bid_volume", "bidsize", "bidvolume"]).or(volume),
            ask_size: column(&["ask_size", "ask_volume", "asksize", "askvolume"]).or(volume),
            needed: 0,
            origin: Origin::Heading,
        };
        columns.needed = columns.highest() + 1;
        Some(columns)
    }

    /// Time, bid, ask, volume.
    fn in_order(separator: char, cells: usize) -> Self {
        let volume = (cells > 3).then_some(3);
        Self {
            separator,
            time: 0,
            bid: 1,
            ask: 2,
            bid_size: volume,
            ask_size: volume,
            needed: if volume.is_some() { 4 } else { 3 },
            origin: Origin::Row,
        }
    }

    fn highest(&self) -> usize {
        let sizes = self.bid_size.max(self.ask_size).unwrap_or(0);
        self.time.max(self.bid).max(self.ask).max(sizes)
    }
}

fn unquoted(cell: &str) -> &str {
    cell.trim().trim_matches('"')
}

fn number(text: &str, what: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| format!("{text:?} is no {what}"))
}

/// Columns beyond this are not looked at.
const MOST_COLUMNS: usize = 32;
