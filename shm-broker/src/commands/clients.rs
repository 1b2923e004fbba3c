//! `clients`: lists who is joined.

use clap::Args;
use ringmain::wire::ClientInfo;
use serde_json::{Value, json};

use super::connect;
use crate::cli::Common;
use crate::ending::{Ending, Outcome};
use crate::output;
use crate::table::{Align, Table};

/// Lists the clients of the bus, this one included.
#[derive(Debug, Args)]
pub struct Clients {}

impl Clients {
    /// Runs the command.
    pub fn run(self, common: &Common) -> Outcome {
        let mut clients = connect(common, "clients")?.clients()?;
        clients.sort_by_key(|info| info.client);
        if common.json {
            output::print(clients.iter().map(to_json).collect::<Value>())?;
        } else {
            output::print(table(&clients))?;
        }
        Ok(Ending::Done)
    }
}

fn table(clients: &[ClientInfo]) -> Table {
    let heading = [
        "CLIENT",
        "NAME",
        "HOST",
        "PID",
        "UID",
        "PUBLISHERS",
        "SUBSCRIBERS",
        "LANES",
    ];
    let mut table = Table::new(Align::Text, &heading);
    for info in clients {
        table.row([
            info.client.to_string(),
            info.name.clone(),
            info.remote.clone().unwrap_or_else(|| "-".into()),
            info.pid.to_string(),
            info.uid.to_string(),
            info.publishers.to_string(),
            info.subscribers.to_string(),
            info.lanes.to_string(),
        ]);
    }
    table
}

fn to_json(info: &ClientInfo) -> Value {
    json!({
        "client": info.client,
        "name": info.name,
        "remote": info.remote,
        "pid": info.pid,
        "uid": info.uid,
        "publishers": info.publishers,
        "subscribers": info.subscribers,
        "lanes": info.lanes,
    })
}
