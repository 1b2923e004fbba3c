//! How many instructions do a publish, a receive and a look at empty lanes take?
//!
//! Publisher and subscribers of an in-process bus, in one thread, counted by callgrind: exact, whatever else the machine
//! does. Each figure is for [`COUNT`] operations on messages of 48 bytes, with the loop that checks them.
//!
//! `cargo bench --features broker --bench instructions`; needs valgrind, and gungraun-runner in the version of gungraun.
//! It fails where a count exceeds its baseline, a number in this file, by more than [`TOLERANCE_PERCENT`]. Whoever makes a path
//! leaner lowers the number; whoever has to raise it says why in the commit.

#![allow(missing_docs, reason = "the macros write public items")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use ringmain::broker::Broker;
use ringmain::{Client, Overflow, Publisher, ResolvedTopic, Subscriber};

#[derive(Clone, ringmain::rkyv::Archive, ringmain::rkyv::Serialize, ringmain::Message)]
#[rkyv(crate = ringmain::rkyv)]
#[message(name = "bench.quote")]
struct Quote {
    bid: f64,
    ask: f64,
    bid_size: f64,
    ask_size: f64,
    ts_ns: u64,
    number: u64,
}

/// A publisher whose subscribers know it and have read everything.
struct Bus {
    publisher: Publisher<Quote>,
    topic: ResolvedTopic,
    quote: Quote,
    subscribers: Vec<Subscriber<Quote>>,
    _broker: Broker,
}

fn bus(subscribers: usize) -> Bus {
    bus_of(0, BLOCK, subscribers)
}

/// Whose publisher keeps the last value of each topic.
fn keeping_bus(subscribers: usize) -> Bus {
    bus_of(1, BLOCK, subscribers)
}

/// With one subscriber of this policy.
fn overflowing_bus(overflow: Overflow) -> Bus {
    bus_of(0, overflow, 1)
}

fn bus_of(history: u32, overflow: Overflow, subscribers: usize) -> Bus {
    let address = format!("memory:instructions-{}", std::process::id());
    let _broker = Broker::builder()
        .listen(address.parse().unwrap())
        .start()
        .unwrap();
    let client = Client::connect(&address).unwrap();
    let open = || {
        let builder = client.subscriber::<Quote>("bench");
        builder.overflow(overflow).open().unwrap()
    };
    let subscribers: Vec<_> = (0..subscribers).map(|_| open()).collect();
    let builder = client.publisher::<Quote>("bench").history(history);
    let mut publisher = builder.open().unwrap();
    let topic = publisher.resolve("bench").unwrap();
    let quote = Quote {
        bid: 1.1,
        ask: 1.2,
        bid_size: 1e6,
        ask_size: 2e6,
        ts_ns: 1,
        number: 0,
    };
    let mut bus = Bus {
        publisher,
        topic,
        quote,
        subscribers,
        _broker,
    };
    // More than a ring holds: whoever has read it has answered its publisher.
    for _ in 0..RINGFUL {
        publish(&mut bus, 1);
        for subscriber in &mut bus.subscribers {
            subscriber.recv().unwrap();
        }
    }
    // One that does not look twice yet costs its publisher a fence for each message; it says that it does when it has polled
    // for a while, or slept, and whether it had to before is a matter of luck.
    for subscriber in &mut bus.subscribers {
        let start = Instant::now();
        while start.elapsed() < SETTLED {
            assert!(subscriber.try_recv().unwrap().is_none());
        }
    }
    bus
}

fn full_bus() -> Bus {
    let mut bus = bus(1);
    publish(&mut bus, COUNT);
    bus
}

#[inline(never)]
fn publish(bus: &mut Bus, count: usize) {
    for number in 0..count {
        bus.quote.number = number as u64;
        let quote = black_box(&bus.quote);
        let delivery = bus.publisher.publish_to(&bus.topic, quote).unwrap();
        assert_eq!(delivery.lanes as usize, bus.subscribers.len());
    }
}

/// Fails beyond the baseline, in instructions for one operation.
fn at_most(baseline: u64) -> LibraryBenchmarkConfig {
    let limit = baseline * COUNT as u64 * (100 + TOLERANCE_PERCENT) / 100;
    let mut callgrind = Callgrind::with_args(["cache-sim=no"]);
    callgrind.hard_limits([(EventKind::Ir, limit)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

#[library_benchmark]
#[bench::one_lane(args = (1), setup = bus, config = at_most(135))]
#[bench::four_lanes(args = (4), setup = bus, config = at_most(196))]
#[bench::one_lane_and_history(args = (1), setup = keeping_bus, config = at_most(1464))]
#[bench::history_alone(args = (0), setup = keeping_bus, config = at_most(1237))]
#[bench::one_drop_oldest_lane(args = (Overflow::DropOldest), setup = overflowing_bus, config = at_most(1132))]
#[bench::one_conflate_lane(args = (Overflow::Conflate), setup = overflowing_bus, config = at_most(1420))]
fn publish_1000(mut bus: Bus) -> Bus {
    publish(&mut bus, COUNT);
    bus
}

#[library_benchmark]
#[bench::of_32(args = (1), setup = bus, config = at_most(91))]
fn publish_1000_in_batches(mut bus: Bus) -> Bus {
    let quotes = vec![bus.quote.clone(); BATCH];
    for _ in 0..COUNT / BATCH {
        let delivery = bus.publisher.publish_batch(&bus.topic, &quotes).unwrap();
        assert_eq!(delivery.lanes, 1);
    }
    bus
}

#[library_benchmark]
#[bench::one_lane(setup = full_bus, config = at_most(107))]
fn receive_1000(mut bus: Bus) -> Bus {
    for number in 0..COUNT {
        let sample = bus.subscribers[0].recv().unwrap();
        assert_eq!(sample.number.to_native(), number as u64);
    }
    bus
}

#[library_benchmark]
#[bench::one_lane(setup = full_bus, config = at_most(54))]
fn poll_1000(mut bus: Bus) -> Bus {
    let mut next = 0;
    while next < COUNT as u64 {
        let polled = bus.subscribers[0].poll(COUNT, |sample| {
            assert_eq!(sample.number.to_native(), next);
            next += 1;
        });
        assert!(polled.unwrap() > 0);
    }
    bus
}

// One by one, for a lane that conflates holds one message of a topic.
#[library_benchmark]
#[bench::one_lane(args = (BLOCK), setup = overflowing_bus, config = at_most(233))]
#[bench::one_drop_oldest_lane(args = (Overflow::DropOldest), setup = overflowing_bus, config = at_most(2117))]
#[bench::one_conflate_lane(args = (Overflow::Conflate), setup = overflowing_bus, config = at_most(3871))]
fn publish_and_receive_1000(mut bus: Bus) -> Bus {
    for number in 0..COUNT {
        bus.quote.number = number as u64;
        let quote = black_box(&bus.quote);
        bus.publisher.publish_to(&bus.topic, quote).unwrap();
        let sample = bus.subscribers[0].recv().unwrap();
        assert_eq!(sample.number.to_native(), number as u64);
    }
    bus
}

#[library_benchmark]
#[bench::one_lane(args = (1), setup = bus, config = at_most(110))]
fn poll_empty_1000(mut bus: Bus) -> Bus {
    for _ in 0..COUNT {
        assert!(black_box(bus.subscribers[0].try_recv()).unwrap().is_none());
    }
    bus
}

library_benchmark_group!(
    name = hot_path;
    benchmarks = publish_1000, publish_1000_in_batches, receive_1000, poll_1000,
        publish_and_receive_1000, poll_empty_1000
);

main!(library_benchmark_groups = hot_path);

/// Waited for, which does not happen here.
const BLOCK: Overflow = Overflow::Block {
    deadline: Duration::from_secs(1),
};
/// Longer than a subscriber polls until its publishers pass no fence.
const SETTLED: Duration = Duration::from_millis(100);
/// Operations of each benchmark.
const COUNT: usize = 1000;
/// Messages of 48 bytes that a ring of the default size holds, and more.
const RINGFUL: usize = 10_000;
/// Messages of a batch.
const BATCH: usize = 32;
/// How far a count may exceed its baseline.
const TOLERANCE_PERCENT: u64 = 5;
