//! Counters as JSON.

use std::time::Duration;

use ringmain::counters::{ClientCounters, Counts, Role, Scan};
use serde_json::{Value, json};

/// All that was found; with `per_second` of each lane if there is an earlier scan.
pub fn scan(scan: &Scan, since: Option<(&Scan, Duration)>) -> Value {
    let lags = scan.lags();
    let clients = scan.clients.iter().map(|client| {
        let handles = client.handles.iter().map(|handle| {
            json!({
                "role": role(handle.role),
                "handle": handle.handle,
                "topics": handle.topics,
                "type": type_name(&handle.message_type),
                "opened_ns": handle.opened_ns,
                "counts": counts(&client.handle_total(handle)),
            })
        });
        let lanes = client.lanes.iter().map(|lane| {
            let earlier = since.map(|(earlier, time)| {
                let before = of_lane(earlier, client, lane.role, lane.lane);
                (lane.counts.since(&before.unwrap_or_default()), time)
            });
            let lag = lags.get(&(client.bus, lane.lane));
            let mut value = json!({
                "role": role(lane.role),
                "handle": lane.handle,
                "lane": lane.lane,
                "peer": lane.peer,
                "topics": lane.topics,
                "type": type_name(&lane.message_type),
                "ring_bytes": lane.ring_bytes,
                "opened_ns": lane.opened_ns,
                "position": lane.position,
                "lag": lag.map(|lag| json!({ "messages": lag.messages, "bytes": lag.bytes })),
                "counts": counts(&lane.counts),
            });
            if let Some((since, time)) = earlier {
                value["per_second"] = rates(&since, time);
            }
            value
        });
        json!({
            "bus": format!("{:032x}", client.bus),
            "client": client.client,
            "name": client.name,
            "pid": client.pid,
            "program": client.program,
            "settled": client.is_settled,
            "published": counts(&client.total(Role::Publisher)),
            "received": counts(&client.total(Role::Subscriber)),
            "handles": handles.collect::<Value>(),
            "lanes": lanes.collect::<Value>(),
        })
    });
    let faults = scan.faults.iter();
    let faults = faults.map(|fault| json!({ "pid": fault.pid, "reason": fault.reason }));
    json!({
        "clients": clients.collect::<Value>(),
        "hidden_processes": scan.hidden_processes,
        "faults": faults.collect::<Value>(),
    })
}

fn of_lane(scan: &Scan, client: &ClientCounters, role: Role, lane: u64) -> Option<Counts> {
    let same = |other: &&ClientCounters| {
        (other.pid, other.bus, other.client) == (client.pid, client.bus, client.client)
    };
    let found = scan.clients.iter().find(same)?;
    let mut lanes = found.lanes.iter();
    let found = lanes.find(|other| (other.role, other.lane) == (role, lane))?;
    Some(found.counts.clone())
}

fn counts(counts: &Counts) -> Value {
    let quantile = |share| {
        let time = counts.latency.quantile(share);
        time.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    };
    json!({
        "messages": counts.messages,
        "bytes": counts.bytes,
        "dropped_full": counts.dropped_full,
        "dropped_deadline": counts.dropped_deadline,
        "wakes": counts.wakes,
        "wakes_saved": counts.wakes_saved(),
        "parks": counts.parks,
        "blocked_ns": counts.blocked_ns,
        "stalls": counts.stalls,
        "conflated": counts.conflated,
        "undecodable": counts.undecodable,
        "expired": counts.expired,
        "latency": {
            "count": counts.latency.count(),
            "p50_ns": quantile(0.5),
            "p99_ns": quantile(0.99),
            "p999_ns": quantile(0.999),
            "max_ns": quantile(1.0),
        },
    })
}

fn rates(since: &Counts, time: Duration) -> Value {
    let rate = |count: u64| count as f64 / time.as_secs_f64();
    json!({
        "messages": rate(since.messages),
        "bytes": rate(since.bytes),
        "dropped": rate(since.dropped()),
        "conflated": rate(since.conflated),
        "wakes": rate(since.wakes),
        "parks": rate(since.parks),
        "blocked_ns": rate(since.blocked_ns),
    })
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Publisher => "publisher",
        Role::Subscriber => "subscriber",
    }
}

/// `null` for a subscriber that takes every type.
fn type_name(name: &str) -> Option<&str> {
    (!name.is_empty()).then_some(name)
}
