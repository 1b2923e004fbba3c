//! What belongs into one row.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ringmain::counters::{ClientCounters, Counts, HandleCounters, Lag, Role, Scan};

use super::By;

/// What is counted together.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    pub counts: Counts,
    /// How far subscribers are behind; `None` where only one end was found.
    pub lag: Option<Lag>,
}

/// What a row is about, as the cells that say so; see [`headings`].
pub type Key = Vec<String>;

/// What the cells of a key are.
pub fn headings(by: By) -> &'static [&'static str] {
    match by {
        By::Lane => &[
            "BUS", "CLIENT", "PID", "END", "LANE", "TOPICS", "TYPE", "PEER",
        ],
        By::Topic => &["BUS", "END", "TOPICS", "TYPE"],
        By::Client => &["BUS", "CLIENT", "PID", "END"],
    }
}

/// The rows of a table.
pub fn rows(scan: &Scan, by: By) -> BTreeMap<Key, Sum> {
    let lags = scan.lags();
    let mut rows = BTreeMap::new();
    for client in &scan.clients {
        let lag_of = |lane: u64| lags.get(&(client.bus, lane)).copied();
        match by {
            By::Lane => {
                for lane in &client.lanes {
                    let about = [
                        lane.lane.to_string(),
                        lane.topics.clone(),
                        lane.message_type.clone(),
                        lane.peer.clone(),
                    ];
                    let key = [&of_client(client, lane.role)[..], &about].concat();
                    add(&mut rows, key, &lane.counts, lag_of(lane.lane));
                }
            }
            By::Topic => {
                for handle in &client.handles {
                    let about = [
                        bus(client),
                        end(handle.role),
                        handle.topics.clone(),
                        handle.message_type.clone(),
                    ];
                    let lag = lag_of_handle(client, handle, lag_of);
                    add(&mut rows, about.into(), &client.handle_total(handle), lag);
                }
            }
            By::Client => {
                for role in [Role::Publisher, Role::Subscriber] {
                    let handles = client.handles.iter().filter(|handle| handle.role == role);
                    let total = client.total(role);
                    if handles.clone().next().is_none() && total == Counts::default() {
                        // It has never been one.
                        continue;
                    }
                    let lags = handles.filter_map(|handle| lag_of_handle(client, handle, lag_of));
                    let lag = lags.reduce(plus);
                    add(&mut rows, of_client(client, role).into(), &total, lag);
                }
            }
        }
    }
    rows
}

fn add(rows: &mut BTreeMap<Key, Sum>, key: Key, counts: &Counts, lag: Option<Lag>) {
    match rows.entry(key) {
        Entry::Vacant(row) => {
            row.insert(Sum {
                counts: counts.clone(),
                lag,
            });
        }
        Entry::Occupied(mut row) => {
            let sum = row.get_mut();
            sum.counts += counts;
            sum.lag = sum.lag.into_iter().chain(lag).reduce(plus);
        }
    }
}

fn lag_of_handle(
    client: &ClientCounters,
    handle: &HandleCounters,
    lag_of: impl Fn(u64) -> Option<Lag>,
) -> Option<Lag> {
    let lanes = client.lanes.iter();
    let own = lanes.filter(|lane| (lane.role, lane.handle) == (handle.role, handle.handle));
    own.filter_map(|lane| lag_of(lane.lane)).reduce(plus)
}

fn plus(one: Lag, other: Lag) -> Lag {
    Lag {
        messages: one.messages.saturating_add(other.messages),
        bytes: one.bytes.saturating_add(other.bytes),
    }
}

fn of_client(client: &ClientCounters, role: Role) -> [String; 4] {
    [
        bus(client),
        client.name.clone(),
        client.pid.to_string(),
        end(role),
    ]
}

/// The start of a bus' number: enough to tell those of one machine apart.
fn bus(client: &ClientCounters) -> String {
    format!("{:08x}", client.bus >> 96)
}

fn end(role: Role) -> String {
    match role {
        Role::Publisher => "pub".into(),
        Role::Subscriber => "sub".into(),
    }
}
