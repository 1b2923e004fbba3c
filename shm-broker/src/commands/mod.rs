//! The commands, one file each.

pub mod bench;
mod children;
pub mod clients;
pub mod demo;
pub mod list;
pub mod match_names;
pub mod ping;
pub mod publish;
pub mod serve;
pub mod stat;
pub mod subscribe;
pub mod version;

use ringmain::Client;

use crate::cli::Common;
use crate::ending::Failure;

/// Joins the bus that the command line names.
fn connect(common: &Common, role: &str) -> Result<Client, Failure> {
    connect_as(common, &format!("shm-broker {role}"))
}

/// Joins the bus that the command line names, by a name of one's own.
fn connect_as(common: &Common, name: &str) -> Result<Client, Failure> {
    Ok(Client::builder().name(name).connect_to(&common.bus()?)?)
}
