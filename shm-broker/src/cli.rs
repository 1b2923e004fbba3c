//! The command line as people write it.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ringmain::{Address, Pattern, Topic, topic::TopicError};
use tracing_subscriber::EnvFilter;

use crate::commands::{
    bench, clients, demo, list, match_names, ping, publish, serve, stat, subscribe, version,
};
use crate::ending::{Failure, Outcome};

/// Ringmain's broker and command-line tool: a message bus for the processes of one machine.
#[derive(Debug, Parser)]
#[command(name = "shm-broker", version, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// The bus: a name, or unix:PATH; RINGMAIN_BUS, else `default`, unless given.
    #[arg(long, global = true, value_name = "ADDR")]
    bus: Option<Address>,
    /// Prints JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Pub(publish::Publish),
    Sub(subscribe::Subscribe),
    Ls(list::List),
    Clients(clients::Clients),
    Stat(stat::Stat),
    Ping(ping::Ping),
    Match(match_names::MatchNames),
    Version(version::Version),
    Demo(demo::Demo),
    #[command(subcommand)]
    Bench(bench::Bench),
    #[command(hide = true)]
    DemoPublisher(demo::publisher::Replay),
    #[command(hide = true)]
    DemoSubscriber(demo::subscriber::Check),
    #[command(hide = true)]
    BenchRole(bench::BenchRole),
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let Self { common, command } = self;
        match command {
            Command::Serve(serve) => serve.run(&common),
            Command::Pub(publish) => publish.run(&common),
            Command::Sub(subscribe) => subscribe.run(&common),
            Command::Ls(list) => list.run(&common),
            Command::Clients(clients) => clients.run(&common),
            Command::Stat(stat) => stat.run(&common),
            Command::Ping(ping) => ping.run(&common),
            Command::Match(names) => names.run(&common),
            Command::Version(version) => version.run(&common),
            Command::Demo(demo) => demo.run(&common),
            Command::Bench(bench) => bench.run(&common),
            Command::BenchRole(role) => role.run(),
            Command::DemoPublisher(replay) => replay.run(&common),
            Command::DemoSubscriber(check) => check.run(&common),
        }
    }
}

impl Common {
    /// The bus that the command line names, and not the environment.
    pub fn named_bus(&self) -> Option<&Address> {
        self.bus.as_ref()
    }

    /// The bus that the command line or the environment names.
    pub fn bus(&self) -> Result<Address, Failure> {
        match &self.bus {
            Some(address) => Ok(address.clone()),
            None => Address::from_env()
                .map_err(|error| Failure::input(format!("RINGMAIN_BUS: {error}"))),
        }
    }
}

/// What is logged: `RINGMAIN_LOG`, warnings unless it is set.
pub fn log_filter() -> EnvFilter {
    EnvFilter::builder()
        .with_default_directive(tracing::Level::WARN.into())
        .with_env_var("RINGMAIN_LOG")
        .from_env_lossy()
}

/// A topic of the command line.
pub fn topic(text: &str) -> Result<Topic, String> {
    Topic::try_from(text).map_err(|error| pointing(&error))
}

/// A pattern of the command line.
pub fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::try_from(text).map_err(|error| pointing(&error))
}

/// Seconds of the command line.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds <= MOST_SECONDS);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("give a number of seconds, such as 2.5, from 0 to {MOST_SECONDS}"))
}

/// The error, with an arrow below the character that is wrong.
fn pointing(error: &TopicError) -> String {
    let input = &error.input;
    let showable = input.len() <= SHOWN_BYTES && !input.chars().any(char::is_control);
    match input.get(..error.at) {
        Some(before) if showable && !input.is_empty() => {
            let indent = " ".repeat(before.chars().count());
            format!("{error}\n\n    {input}\n    {indent}^")
        }
        _ => error.to_string(),
    }
}

/// Thirty years: a time that can be added to any other.
const MOST_SECONDS: f64 = 1e9;
/// The longest name that is shown with an arrow: one line of a terminal.
const SHOWN_BYTES: usize = 76;

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 error, 2 wrong usage or input, 3 messages were lost and reported,
4 messages were not delivered: `pub` says why.
RINGMAIN_BUS sets the bus, RINGMAIN_LOG what is logged (error, warn, info, debug, trace).";
