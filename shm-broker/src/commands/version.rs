//! `version`: tells the versions.

use clap::Args;
use ringmain::wire::PROTOCOL_VERSION;
use serde_json::json;

use crate::cli::Common;
use crate::ending::{Ending, Outcome};
use crate::output;

/// Prints the versions of the program and of its protocol.
#[derive(Debug, Args)]
pub struct Version {}

impl Version {
    /// Runs the command.
    pub fn run(self, common: &Common) -> Outcome {
        let version = env!("CARGO_PKG_VERSION");
        if common.json {
            output::print(json!({ "version": version, "protocol": PROTOCOL_VERSION }))?;
        } else {
            output::print(format_args!(
                "shm-broker {version}, control protocol {PROTOCOL_VERSION}"
            ))?;
        }
        Ok(Ending::Done)
    }
}
