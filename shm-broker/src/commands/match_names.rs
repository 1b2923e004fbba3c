//! `match`: tells whether two names have a topic in common.

use clap::Args;
use ringmain::{Pattern, Topic};
use serde_json::json;

use crate::cli::{self, Common};
use crate::ending::{Ending, Outcome};
use crate::output;

/// Tells whether two patterns or topics have a topic in common; exit code 0 if so, 1 if not.
#[derive(Debug, Args)]
pub struct MatchNames {
    /// A pattern, as a subscriber names it.
    #[arg(value_parser = cli::pattern)]
    pattern: Pattern,
    /// A topic, as a publisher names it; wildcards are possible.
    #[arg(value_parser = cli::topic)]
    topic: Topic,
}

impl MatchNames {
    /// Runs the command.
    pub fn run(self, common: &Common) -> Outcome {
        let Self { pattern, topic } = self;
        let matches = pattern.intersects(&topic);
        let includes = pattern.includes(&topic);
        if common.json {
            output::print(json!({ "match": matches, "includes": includes }))?;
        } else {
            output::print(match (matches, includes) {
                (_, true) => format!("{pattern} includes {topic}"),
                (true, false) => format!("{pattern} and {topic} have topics in common"),
                (false, false) => format!("{pattern} and {topic} have no topic in common"),
            })?;
        }
        Ok(if matches { Ending::Done } else { Ending::No })
    }
}
