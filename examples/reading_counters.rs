//! Shows who is slow: subscribers that are behind, lanes that lose messages, publishers that have waited.
//!
//! Needs no broker: the counters lie in the memory of the clients.

use ringmain::counters::{self, Role};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scan = counters::scan()?;
    let lags = scan.lags();
    for client in &scan.clients {
        let (written, read) = (
            client.total(Role::Publisher),
            client.total(Role::Subscriber),
        );
        println!(
            "{} (process {}): {} messages published, {} received, {} lost",
            client.name,
            client.pid,
            written.messages,
            read.messages,
            read.dropped()
        );
        for lane in &client.lanes {
            if lane.role == Role::Publisher {
                let lag = lags.get(&(client.bus, lane.lane));
                println!(
                    "  to {} ({}): {} behind, {} dropped, waited {:?}, woken for {} of {} messages",
                    lane.peer,
                    lane.topics,
                    lag.map_or_else(|| "unknown".into(), |lag| lag.messages.to_string()),
                    lane.counts.dropped(),
                    lane.counts.blocked(),
                    lane.counts.wakes,
                    lane.counts.messages,
                );
            } else if let Some(p99) = lane.counts.latency.quantile(0.99) {
                println!("  from {}: 99 % within {p99:?}", lane.peer);
            }
        }
    }
    for fault in &scan.faults {
        eprintln!("{fault}");
    }
    Ok(())
}
