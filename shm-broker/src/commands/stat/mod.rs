//! `stat`: shows what the lanes of all clients have counted.

mod json;
mod rows;
mod text;

use std::io::IsTerminal;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use ringmain::counters::{self, Scan};

use super::connect;
use crate::cli::{self, Common};
use crate::ending::{Ending, Failure, Outcome, say};
use crate::output::Output;

/// Shows what the lanes of all clients have counted: messages, drops, lag, wakes, latencies. Reads the clients' own memory, so it
/// works without a broker, for every bus; --bus leaves out the others, and needs that broker.
#[derive(Debug, Args)]
pub struct Stat {
    /// What a row of the table is; JSON has all of it.
    #[arg(long, value_enum, default_value_t = By::Lane)]
    by: By,
    /// Shows rates, every so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = cli::seconds, num_args = 0..=1, default_missing_value = "1")]
    watch: Option<Duration>,
    /// Ends after so many tables.
    #[arg(long, value_name = "N", requires = "watch")]
    count: Option<u64>,
    /// One process only.
    #[arg(long)]
    pid: Option<u32>,
}

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// One end of a lane.
    Lane,
    /// All publishers, or subscribers, of the same topics and type.
    Topic,
    /// All publishers, or subscribers, of a client.
    Client,
}

/// Counters as they were at some moment.
struct Reading {
    scan: Scan,
    at: Instant,
}

impl Stat {
    /// Runs the command.
    pub fn run(self, common: &Common) -> Outcome {
        let bus = match common.named_bus() {
            Some(_) => Some(connect(common, "stat")?.incarnation()),
            None => None,
        };
        let mut output = Output::new();
        let first = self.read(bus)?;
        let Some(period) = self.watch else {
            warn(&first.scan);
            self.show(common, &mut output, &first, None)?;
            return Ok(Ending::Done);
        };
        let clears = std::io::stdout().is_terminal() && !common.json;
        let mut before = first;
        let mut shown = 0;
        while self.count.is_none_or(|count| shown < count) {
            thread::sleep(period);
            let now = self.read(bus)?;
            if clears {
                output.line(CLEAR)?;
            } else if shown > 0 && !common.json {
                output.line("")?;
            }
            self.show(common, &mut output, &now, Some(&before))?;
            before = now;
            shown += 1;
        }
        Ok(Ending::Done)
    }

    fn read(&self, bus: Option<u128>) -> Result<Reading, Failure> {
        let mut scan = match self.pid {
            None => counters::scan()
                .map_err(|error| Failure::text(format!("cannot read /proc: {error}; stat needs it mounted")))?,
            Some(pid) => counters::scan_process(pid).map_err(|error| {
                Failure::text(format!(
                    "cannot look at process {pid}: {error}; it has to be of your user, or run this as root"
                ))
            })?,
        };
        scan.clients
            .retain(|client| bus.is_none_or(|bus| client.bus == bus));
        Ok(Reading {
            scan,
            at: Instant::now(),
        })
    }

    fn show(
        &self,
        common: &Common,
        output: &mut Output,
        now: &Reading,
        before: Option<&Reading>,
    ) -> Result<(), Failure> {
        let since = before.map(|before| (&before.scan, now.at - before.at));
        if common.json {
            output.line(json::scan(&now.scan, since))?;
        } else {
            output.line(text::table(&now.scan, self.by, since))?;
        }
        output.flush()
    }
}

/// Says what the table does not show.
fn warn(scan: &Scan) {
    for fault in &scan.faults {
        say(fault);
    }
    if scan.clients.is_empty() {
        say(match scan.hidden_processes {
            0 => "nobody counts anything: clients do once they have a publisher or a subscriber"
                .into(),
            hidden => format!(
                "nobody counts anything, as far as can be seen: {hidden} processes are not yours; run this as their user, or as root"
            ),
        });
    }
    let unsettled = scan.clients.iter().filter(|client| !client.is_settled);
    for client in unsettled {
        say(format_args!(
            "lanes of {} (process {}) came or went while they were read: its sums may be wrong",
            client.name, client.pid
        ));
    }
}

/// Empties a terminal.
const CLEAR: &str = "\x1b[H\x1b[2J";
