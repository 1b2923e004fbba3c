//! Losses are told exactly, whatever the policy, the pace and the end (row C3, guarantee 4).

use std::time::Duration;

use ringmain::{Overflow, RecvError, SubscriberEvent};
use ringmain_tests::dice::Dice;
use ringmain_tests::{Bus, Tick, Transport, on_each_transport};

const RUNS: u64 = 100;

/// What a subscriber was given and told until its publisher was gone, or had parted from it.
#[derive(Debug, Default)]
struct Tally {
    got: u64,
    skipped: u64,
    lost: u64,
}

/// One run: publisher and subscriber pause as the seed says.
fn run(bus: &Bus, overflow: Overflow, seed: u64, end: &str) {
    let topic = format!("t{seed}");
    let client = bus.client("subscriber");
    let pattern = format!("{topic}/*");
    let builder = client.subscriber::<Tick>(&pattern);
    let mut subscriber = builder.overflow(overflow).events().open().unwrap();
    let mut publisher = bus.peer("seeded", &[&topic, &seed.to_string(), end]);
    publisher.expect("open");
    publisher.tell("go");

    let mut dice = Dice::new(!seed);
    let mut tally = Tally::default();
    loop {
        match subscriber.recv_timeout(Duration::from_secs(60)) {
            Ok(tick) => {
                let tick = tick.expect("something comes");
                tick.checked();
                tally.got += 1;
                tally.skipped += tick.skipped();
                let told = tally.got + tally.skipped + tally.lost;
                assert_eq!(tick.sequence() + 1, told, "{overflow:?} {seed} {tally:?}");
            }
            Err(RecvError::Gap(gap)) => tally.lost += gap.lost,
            Err(RecvError::Event(SubscriberEvent::PublisherGone { .. })) => break,
            Err(RecvError::Disconnected { .. }) => break,
            Err(RecvError::Event(_)) => {}
            Err(error) => panic!("{error} {overflow:?} {seed}"),
        }
        if dice.below(24) == 0 {
            std::thread::sleep(Duration::from_micros(dice.below(1_500)));
        }
    }
    let line = publisher.line();
    let numbers: Vec<u64> = line
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let (accounted, dropped) = (numbers[0], numbers[1]);
    assert_eq!(
        tally.got + tally.skipped + tally.lost,
        accounted,
        "{overflow:?} {seed} {end} {tally:?}"
    );
    if !matches!(overflow, Overflow::DropOldest | Overflow::Conflate) {
        assert_eq!(tally.lost, dropped, "{overflow:?} {seed} {end} {tally:?}");
    }
    publisher.wait_for_end();
}

fn runs(overflow: Overflow) {
    on_each_transport(|bus| {
        for seed in 0..RUNS {
            let end = match (bus.transport(), seed % 3) {
                (Transport::Unix, 1) => "exit",
                (Transport::Unix, 2) => "kill",
                // A thread cannot be killed; a killed process on another host takes with it what its relay has not sent.
                _ => "close",
            };
            run(bus, overflow, seed, end);
        }
    });
}

#[test]
fn c3_losses_are_exact_with_block() {
    runs(Overflow::Block {
        deadline: Duration::from_micros(200),
    });
}

#[test]
fn c3_losses_are_exact_with_drop_newest() {
    runs(Overflow::DropNewest);
}

#[test]
fn c3_losses_are_exact_with_drop_oldest() {
    runs(Overflow::DropOldest);
}

#[test]
fn c3_losses_are_exact_with_conflate() {
    runs(Overflow::Conflate);
}

#[test]
fn c3_losses_are_exact_with_disconnect() {
    runs(Overflow::Disconnect);
}
