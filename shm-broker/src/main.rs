//! Ringmain's broker daemon with its command-line tool.

mod cli;
mod clock;
mod commands;
mod ending;
mod output;
mod signals;
mod table;
mod ticks;
mod units;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(cli::log_filter())
        .with_writer(std::io::stderr)
        .init();
    ending::exit_code(cli.run())
}
