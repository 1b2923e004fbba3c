//! `ping`: measures the way to the broker.

use clap::Args;
use serde_json::json;

use super::connect;
use crate::cli::Common;
use crate::ending::{Ending, Outcome};
use crate::output;

/// Measures the way to the broker and back. Messages do not take it: they go from process to process.
#[derive(Debug, Args)]
pub struct Ping {
    /// How often.
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u64,
}

impl Ping {
    /// Runs the command.
    pub fn run(self, common: &Common) -> Outcome {
        let bus = common.bus()?;
        let client = connect(common, "ping")?;
        for _ in 0..self.count {
            let time = client.ping()?;
            if common.json {
                let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                output::print(json!({ "bus": bus.to_string(), "rtt_ns": nanoseconds }))?;
            } else {
                let microseconds = time.as_secs_f64() * 1e6;
                output::print(format_args!("{bus} {microseconds:.1} us"))?;
            }
        }
        Ok(Ending::Done)
    }
}
