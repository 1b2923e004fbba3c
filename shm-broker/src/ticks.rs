//! Market data to replay: from a file, or made up.

mod columns;
mod made_up;
mod timestamp;
mod trades;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use thiserror::Error;

use columns::Columns;

/// A quote of the past.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tick {
    /// When it was, in nanoseconds since 1970, UTC.
    pub ts_ns: u64,
    /// Best price to sell at.
    pub bid: f64,
    /// Best price to buy at.
    pub ask: f64,
    /// How much can be sold at it; 0 if the file does not tell.
    pub bid_size: f64,
    /// How much can be bought at it; 0 if the file does not tell.
    pub ask_size: f64,
}

/// Why there are no ticks.
#[derive(Debug, Error)]
pub enum TickError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The first line is of no shape that is understood.
    #[error(
        "{} begins with {line:?}, in which no quotes are found: columns are understood by a heading (timestamp or time, bid, ask, and optionally bid_size, ask_size, volume) or, without one, in the order time, bid, ask, volume; times as 20200101 170000065, 2013-01-01 22:00:00.295000+00:00, or a number of seconds, milli-, micro- or nanoseconds since 1970",
        path.display()
    )]
    Shape {
        /// The file.
        path: PathBuf,
        /// Its first line, shortened.
        line: String,
    },
    /// A row does not fit the first one.
    #[error("line {line} of {}: {what}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// It is JSON, but no list of trades.
    #[error(
        "{}: {what}; trades are understood as {{\"result\": {{\"PAIR\": [[price, volume, seconds since 1970, \"b\" or \"s\"], ..]}}}}",
        path.display()
    )]
    Trades {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// There is no row.
    #[error("{} has no quotes: give a file with at least one", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The ticks of a file, or made-up ones.
pub fn load(path: Option<&Path>) -> Result<Vec<Tick>, TickError> {
    match path {
        None => Ok(made_up::random_walk(MADE_UP_TICKS)),
        Some(path) => {
            let read = |source| TickError::Read {
                path: path.to_owned(),
                source,
            };
            let file = File::open(path).map_err(read)?;
            let mut input = BufReader::with_capacity(READ_BYTES, file);
            let begin = input.fill_buf().map_err(read)?;
            match begin.trim_ascii_start().first() {
                Some(b'{' | b'[') => parse_trades(path, input),
                _ => parse(path, input),
            }
        }
    }
}

fn parse_trades(path: &Path, input: impl BufRead) -> Result<Vec<Tick>, TickError> {
    let path = || path.to_owned();
    let text = io::read_to_string(input).map_err(|source| TickError::Read {
        path: path(),
        source,
    })?;
    match trades::ticks(&text) {
        Ok(ticks) if ticks.is_empty() => Err(TickError::Empty { path: path() }),
        Ok(ticks) => Ok(ticks),
        Err(what) => Err(TickError::Trades { path: path(), what }),
    }
}

fn parse(path: &Path, mut input: impl BufRead) -> Result<Vec<Tick>, TickError> {
    let path = || path.to_owned();
    let mut ticks = Vec::new();
    let mut columns: Option<Columns> = None;
    let mut text = String::new();
    let mut line = 0;
    loop {
        text.clear();
        line += 1;
        match input.read_line(&mut text) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let what = "it is not text".to_owned();
                return Err(TickError::Row {
                    path: path(),
                    line,
                    what,
                });
            }
            Err(source) => {
                return Err(TickError::Read {
                    path: path(),
                    source,
                });
            }
        }
        let row = text.trim_start_matches('\u{feff}').trim();
        if row.is_empty() {
            continue;
        }
        let columns = match &columns {
            Some(columns) => columns,
            None => {
                let found = Columns::of_first_line(row).ok_or_else(|| TickError::Shape {
                    path: path(),
                    line: row.chars().take(SHOWN_CHARS).collect(),
                })?;
                let is_heading = found.is_from_heading();
                let found = columns.insert(found);
                if is_heading {
                    continue;
                }
                found
            }
        };
        let tick = columns.tick(row);
        ticks.push(tick.map_err(|what| TickError::Row {
            path: path(),
            line,
            what,
        })?);
    }
    match ticks.is_empty() {
        true => Err(TickError::Empty { path: path() }),
        false => Ok(ticks),
    }
}

const MADE_UP_TICKS: usize = 10_000;
const READ_BYTES: usize = 1 << 20;
const SHOWN_CHARS: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Tick>, String> {
        parse(Path::new("x.csv"), text.as_bytes()).map_err(|error| error.to_string())
    }

    fn tick(ts_ns: u64, bid: f64, ask: f64) -> Tick {
        let (bid_size, ask_size) = (0.0, 0.0);
        Tick {
            ts_ns,
            bid,
            ask,
            bid_size,
            ask_size,
        }
    }

    #[test]
    fn rows_without_a_heading_are_time_bid_ask_volume() {
        let ticks = parsed("20200101 170000065,1.121200,1.121720,0\r\n").unwrap();
        assert_eq!(ticks, [tick(1_577_898_000_065_000_000, 1.1212, 1.12172)]);
        let with_volume = parsed("20200101 170000065,1,2,7").unwrap();
        assert_eq!(
            (with_volume[0].bid_size, with_volume[0].ask_size),
            (7.0, 7.0)
        );
    }

    #[test]
    fn a_heading_names_the_columns_in_any_order() {
        let text = "timestamp,bid,ask\n2013-01-01 22:00:00.295000+00:00,86.655,86.728\n";
        let expected = [tick(1_357_077_600_295_000_000, 86.655, 86.728)];
        assert_eq!(parsed(text).unwrap(), expected);
        let text = "Ask;Bid;Note;Time\n\n86.728;86.655;x;2013-01-02T00:00:00.295+02:00\n";
        assert_eq!(parsed(text).unwrap(), expected);
    }

    #[test]
    fn a_bad_row_is_named_by_its_line() {
        let first = "20200101 170000065,1,2,0";
        for (row, what) in [
            ("20200101 170000066,1,2x,0", "\"2x\" is no price"),
            ("20200101 170000066,1", "4 columns are needed"),
            ("20200101 170000066,nan,2,0", "\"nan\" is no price"),
            (
                "20201301 170000066,1,2,0",
                "\"20201301 170000066\" is no time",
            ),
        ] {
            let error = parsed(&format!("{first}\n\n{row}\n")).unwrap_err();
            assert!(error.starts_with("line 3 of x.csv: "), "{error}");
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn an_unknown_shape_is_refused_with_the_columns_that_are_understood() {
        for text in ["open,high,low,close\n1,2,3,4\n", "hello\n", "1.5,2.5\n"] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains("timestamp or time, bid, ask"), "{error}");
        }
        assert!(parsed("").unwrap_err().contains("no quotes"));
        assert!(
            parsed("timestamp,bid,ask\n")
                .unwrap_err()
                .contains("no quotes")
        );
    }
}
