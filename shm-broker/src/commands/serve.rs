//! `serve`: runs a broker.

use clap::Args;
use ringmain::Address;
use ringmain::broker::Broker;
use serde_json::json;

use super::children::{DeathSignal, die_with_parent};
use crate::cli::Common;
use crate::ending::{Ending, Failure, Outcome};
use crate::output;
use crate::signals;

/// Runs a broker until SIGTERM or SIGINT.
#[derive(Debug, Args)]
pub struct Serve {
    /// Where to listen; may be given several times. The bus unless given.
    #[arg(long, value_name = "ADDR")]
    listen: Vec<Address>,
    /// Allows TCP listeners that other hosts can reach. Nothing is encrypted, nobody is asked who he is.
    #[arg(long)]
    insecure_tcp: bool,
    /// How many clients on other hosts are served at a time.
    #[arg(long, value_name = "N", default_value_t = 256)]
    remote_clients: u32,
    /// The process whose end ends this one.
    #[arg(long, hide = true)]
    parent: Option<i32>,
}

impl Serve {
    /// Runs the command.
    pub fn run(self, common: &Common) -> Outcome {
        // Blocked before there are threads, so that all of them inherit it, then taken by `wait`.
        let signals = signals::both();
        signals.thread_block()?;
        if let Some(parent) = self.parent {
            die_with_parent(parent, DeathSignal::Terminate)?;
        }
        let broker = self.builder(common)?.start()?;
        for address in broker.addresses() {
            // A broker serves its bus, whether or not somebody reads what it says.
            if let Err(failure) = announce(address, common) {
                tracing::info!("{failure}");
            }
        }
        let signal = signals.wait()?;
        tracing::info!(%signal, "ending");
        broker.shutdown();
        Ok(Ending::Done)
    }

    fn builder(self, common: &Common) -> Result<ringmain::broker::BrokerBuilder, Failure> {
        let mut addresses = self.listen;
        if addresses.is_empty() {
            addresses.push(common.bus()?);
        }
        let mut builder = Broker::builder().remote_clients(self.remote_clients);
        if self.insecure_tcp {
            builder = builder.insecure_tcp();
        }
        for address in addresses {
            if let Address::Memory(_) = address {
                return Err(Failure::input(format!(
                    "no other process can reach {address}: listen on a bus name or unix:PATH"
                )));
            }
            builder = builder.listen(address);
        }
        Ok(builder)
    }
}

fn announce(address: &Address, common: &Common) -> Result<(), Failure> {
    let shown = match address.socket_path() {
        Some(path) => format!("unix:{}", path.display()),
        None => address.to_string(),
    };
    if common.json {
        output::print(json!({ "listening": shown }))
    } else {
        output::print(format_args!("listening on {shown}"))
    }
}
