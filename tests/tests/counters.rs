//! Row F3: counters agree exactly with what happened.

use std::future::Future;
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use ringmain::counters::{self, ClientCounters, Counts, LaneCounters, Role};
use ringmain::message::Bytes;
use ringmain::{Client, Clock, Overflow, Publisher, RecvError, Subscriber, Waitable};
use ringmain_tests::{
    Bus, Tick, Transport, eventually, on_each_local_transport, on_each_transport,
};

/// The smallest ring holds four of these at most.
const LARGE: usize = 860;

/// The counters of a client of this process.
fn of(client: &Client) -> ClientCounters {
    let scan = counters::scan_process(std::process::id()).unwrap();
    let id = (client.incarnation(), client.id());
    let mut clients = scan.clients.into_iter();
    clients
        .find(|found| (found.bus, found.client) == id)
        .unwrap()
}

/// The only lane of a client.
fn lane(client: &Client) -> LaneCounters {
    let mut found = of(client).lanes;
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Two clients with a lane from the first to the second, each of which knows that the other one does.
struct Pair {
    pump: Client,
    tank: Client,
    publisher: Publisher<Bytes>,
    subscriber: Subscriber<Bytes>,
}

impl Pair {
    fn on(bus: &Bus, overflow: Overflow) -> Self {
        let (pump, tank) = (bus.client("pump"), bus.client("tank"));
        let subscriber = tank
            .subscriber("tank/**")
            .overflow(overflow)
            .open()
            .unwrap();
        let publisher = pump
            .publisher("tank/*")
            .ring_bytes(4096)
            .max_message_bytes(LARGE)
            .open()
            .unwrap();
        let mut pair = Self {
            pump,
            tank,
            publisher,
            subscriber,
        };
        // A publisher that can wake has the subscriber's answer.
        while lane(&pair.pump).counts.wakes == 0 {
            pair.publish(0);
            pair.subscriber.recv().unwrap();
            pair.subscriber.announce();
            pair.publish(0);
            pair.subscriber.retire();
            pair.subscriber.recv().unwrap();
        }
        pair
    }

    /// Whether it was not dropped.
    fn publish(&mut self, len_bytes: usize) -> bool {
        let message = vec![7; len_bytes];
        let delivery = self
            .publisher
            .publish("tank/1", Bytes::new(&message))
            .unwrap();
        assert_eq!(delivery.lanes + delivery.dropped, 1);
        delivery.lanes == 1
    }

    /// Takes what was published, so many messages, and nothing else; gives messages, losses.
    fn drain(&mut self, published: u64) -> (u64, u64) {
        let (mut got, mut lost) = (0, 0);
        while got + lost < published {
            match self.subscriber.recv() {
                Ok(_) => got += 1,
                Err(RecvError::Gap(gap)) => lost += gap.lost,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(self.subscriber.try_recv().unwrap().is_none());
        (got, lost)
    }

    /// What both ends count while `script` runs.
    fn counted(&mut self, script: impl FnOnce(&mut Self)) -> (Counts, Counts) {
        let before = (self.written(), self.read());
        script(self);
        (
            self.written().since(&before.0),
            self.read().since(&before.1),
        )
    }

    fn written(&self) -> Counts {
        of(&self.pump).total(Role::Publisher)
    }

    fn read(&self) -> Counts {
        of(&self.tank).total(Role::Subscriber)
    }
}

#[test]
fn f3_messages_and_bytes_agree_with_what_was_sent() {
    on_each_transport(|bus| {
        let mut pair = Pair::on(bus, Overflow::DropNewest);
        let (written, read) = pair.counted(|pair| {
            for length in 0..100 {
                assert!(pair.publish(length));
                assert_eq!(pair.subscriber.recv().unwrap().len(), length);
            }
        });
        for counts in [&written, &read] {
            assert_eq!((counts.messages, counts.bytes), (100, 99 * 100 / 2));
            assert_eq!((counts.dropped(), counts.stalls), (0, 0));
            assert_eq!(counts.latency.count(), 0);
            // The one who sleeps is a relay on the way to another host, and it does not follow this script.
            if bus.transport() != Transport::Tcp {
                assert_eq!((counts.wakes, counts.wakes_saved()), (0, 100));
            }
        }
        let (of_pump, of_tank) = (lane(&pair.pump), lane(&pair.tank));
        assert_eq!(of_pump.lane, of_tank.lane);
        assert_eq!(of_pump.position, of_tank.position);
        let shown = (
            of_pump.peer.as_str(),
            of_pump.topics.as_str(),
            of_pump.message_type.as_str(),
        );
        assert_eq!(shown, ("tank", "tank/**", "bytes v1"));
        let shown = (
            of_tank.peer.as_str(),
            of_tank.topics.as_str(),
            of_tank.message_type.as_str(),
        );
        assert_eq!(shown, ("pump", "tank/*", "bytes v1"));
        assert_eq!((of_pump.ring_bytes, of_tank.ring_bytes), (4096, 4096));
    });
}

#[test]
fn f3_drops_agree_by_cause_on_both_sides() {
    on_each_transport(|bus| {
        let block = Overflow::Block {
            deadline: Duration::from_millis(20),
        };
        for policy in [Overflow::DropNewest, block] {
            let mut pair = Pair::on(bus, policy);
            let (mut sent, mut dropped, mut drained) = (0, 0, (0, 0));
            let mut taken = Duration::ZERO;
            let (written, read) = pair.counted(|pair| {
                for _ in 0..12 {
                    let started = Instant::now();
                    match pair.publish(LARGE) {
                        true => sent += 1,
                        false => dropped += 1,
                    }
                    taken += started.elapsed();
                }
                drained = pair.drain(12);
            });
            assert_eq!(drained, (sent, dropped));
            assert!(dropped >= 8);
            for counts in [&written, &read] {
                assert_eq!((counts.messages, counts.bytes), (sent, LARGE as u64 * sent));
                let by_cause = match policy {
                    Overflow::DropNewest => (dropped, 0),
                    _ => (0, dropped),
                };
                assert_eq!((counts.dropped_full, counts.dropped_deadline), by_cause);
            }
            if policy == Overflow::DropNewest {
                assert_eq!(
                    (written.stalls, written.parks, written.blocked_ns),
                    (0, 0, 0)
                );
            } else {
                // The others were not waited for: the lane was stalled.
                assert_eq!(written.stalls, 1);
                assert!(
                    Duration::from_millis(20) <= written.blocked() && written.blocked() <= taken
                );
            }
        }
    });
}

#[test]
fn f3_what_gave_way_to_newer_messages_is_counted_by_the_subscriber() {
    on_each_local_transport(|bus| {
        for policy in [Overflow::DropOldest, Overflow::Conflate] {
            let mut pair = Pair::on(bus, policy);
            let (mut got, mut lost, mut skipped) = (0, 0, 0);
            let (written, read) = pair.counted(|pair| {
                for _ in 0..5000 {
                    assert!(pair.publish(LARGE));
                }
                while got + lost + skipped < 5000 {
                    match pair.subscriber.recv() {
                        Ok(sample) => {
                            got += 1;
                            skipped += sample.skipped();
                        }
                        Err(RecvError::Gap(gap)) => lost += gap.lost,
                        Err(error) => panic!("{error}"),
                    }
                }
                assert!(pair.subscriber.try_recv().unwrap().is_none());
            });
            let bytes = |messages| LARGE as u64 * messages;
            assert_eq!((written.messages, written.bytes), (5000, bytes(5000)));
            assert_eq!((written.dropped(), written.conflated), (0, 0));
            assert_eq!((read.messages, read.bytes), (got, bytes(got)));
            assert_eq!(
                (read.dropped_full, read.dropped_deadline, read.conflated),
                (lost, 0, skipped)
            );
            match policy {
                Overflow::Conflate => assert_eq!((got, skipped), (1, 4999)),
                _ => assert!(lost > 0 && skipped == 0, "{lost} {skipped}"),
            }
        }
    });
}

#[test]
fn f3_sleeps_and_wakes_agree_with_a_script() {
    on_each_local_transport(|bus| {
        let mut pair = Pair::on(bus, Overflow::DropNewest);
        let (written, read) = pair.counted(|pair| {
            for _ in 0..5 {
                assert!(pair.subscriber.announce());
                // One of three wakes.
                for _ in 0..3 {
                    assert!(pair.publish(8));
                }
                pair.subscriber.retire();
                assert_eq!(pair.drain(3), (3, 0));
                // Awake: nobody has to be woken.
                assert!(pair.publish(8));
                assert_eq!(pair.drain(1), (1, 0));
            }
        });
        assert_eq!(
            (written.messages, written.wakes, written.wakes_saved()),
            (20, 5, 15)
        );
        assert_eq!((read.messages, read.parks, read.wakes), (20, 5, 0));
    });
}

#[test]
fn f3_a_publisher_that_waits_for_room_counts_it_and_is_woken_once() {
    on_each_local_transport(|bus| {
        let mut pair = Pair::on(
            bus,
            Overflow::Block {
                deadline: Duration::from_secs(60),
            },
        );
        let before = (pair.written(), pair.read());
        let Pair {
            pump,
            tank,
            publisher,
            subscriber,
        } = &mut pair;
        let mut received = 0;
        std::thread::scope(|scope| {
            let publishing = scope.spawn(|| {
                for _ in 0..5 {
                    publisher
                        .publish("tank/1", Bytes::new(&[7; LARGE]))
                        .unwrap();
                }
            });
            eventually("the publisher sleeps", || {
                lane(pump).counts.parks > before.0.parks
            });
            while !publishing.is_finished() {
                received += u64::from(subscriber.try_recv().unwrap().is_some());
            }
        });
        while subscriber.try_recv().unwrap().is_some() {
            received += 1;
        }
        assert_eq!(received, 5);
        let written = lane(pump).counts.since(&before.0);
        let read = of(tank).total(Role::Subscriber).since(&before.1);
        assert_eq!(
            (written.messages, written.dropped(), written.stalls),
            (5, 0, 0)
        );
        assert!(written.blocked_ns > 0);
        assert!(
            (1..=written.parks).contains(&read.wakes),
            "{written:?} {read:?}"
        );
    });
}

#[test]
fn f3_the_time_of_each_stamped_message_is_in_the_histogram() {
    on_each_transport(|bus| {
        let client = bus.client("both");
        let mut subscriber = client.subscriber::<Tick>("t").open().unwrap();
        let open = |clock| client.publisher::<Tick>("t").timestamps(clock).open();
        let mut publishers = [Clock::Realtime, Clock::Monotonic].map(|clock| open(clock).unwrap());
        let mut plain = client.publisher::<Tick>("t").open().unwrap();
        let started = Instant::now();
        for number in 0..50 {
            for publisher in &mut publishers {
                publisher.publish("t", &Tick::new(number)).unwrap();
                subscriber.recv().unwrap();
            }
            plain.publish("t", &Tick::new(number)).unwrap();
            subscriber.recv().unwrap();
        }
        let longest = started.elapsed();
        let counts = of(&client).total(Role::Subscriber);
        // Another host's monotonic clock says nothing of the latency here.
        let told = match bus.transport() {
            Transport::Unix | Transport::Memory => 100,
            Transport::Tcp => 50,
        };
        assert_eq!((counts.messages, counts.latency.count()), (150, told));
        let median = counts.latency.quantile(0.5).unwrap();
        assert!(median <= longest + longest / 8, "{median:?} of {longest:?}");
    });
}

#[test]
fn f3_what_a_closed_handle_has_counted_stays() {
    on_each_transport(|bus| {
        let mut pair = Pair::on(bus, Overflow::DropNewest);
        assert!(pair.publish(10));
        assert_eq!(pair.drain(1), (1, 0));
        let (written, read) = (pair.written(), pair.read());
        let Pair {
            pump,
            tank,
            publisher,
            subscriber,
        } = pair;
        drop(subscriber);
        eventually("the publisher's lane ends with the next message", || {
            of(&tank).handles.is_empty()
        });
        assert_eq!(of(&tank).closed_subscribers, read);
        drop(publisher);
        eventually("the publisher is closed", || of(&pump).handles.is_empty());
        let closed = of(&pump);
        assert_eq!(
            (closed.closed_publishers.messages, closed.lanes.len()),
            (written.messages, 0)
        );
        assert_eq!(closed.closed_publishers.bytes, written.bytes);
    });
}

#[test]
fn f3_patterns_are_shown_as_they_are_now() {
    on_each_transport(|bus| {
        let mut pair = Pair::on(bus, Overflow::DropNewest);
        let counts = pair.written();
        pair.subscriber.add_pattern("tank/1").unwrap();
        pair.subscriber.remove_pattern("tank/**").unwrap();
        assert!(pair.publish(1));
        assert_eq!(lane(&pair.pump).topics, "tank/1");
        let handles = of(&pair.tank).handles;
        assert_eq!(handles[0].topics, "tank/1");
        // Nothing that was counted is lost by it.
        assert_eq!(pair.written().since(&counts).messages, 1);
    });
}

#[test]
fn f3_the_wait_of_a_future_that_is_dropped_is_counted() {
    on_each_transport(|bus| {
        let mut pair = Pair::on(
            bus,
            Overflow::Block {
                deadline: Duration::from_secs(60),
            },
        );
        let before = pair.written();
        let message = [7; LARGE];
        let is_pending = |publisher: &mut Publisher<Bytes>| {
            let mut future = Box::pin(publisher.publish_async("tank/1", Bytes::new(&message)));
            let mut context = Context::from_waker(Waker::noop());
            let mut is_pending = || future.as_mut().poll(&mut context).is_pending();
            // Before the first sleep readers have to know that somebody sleeps who cannot look twice.
            is_pending() && {
                thread::sleep(Duration::from_millis(2));
                is_pending()
            }
        };
        assert!((0..10).any(|_| is_pending(&mut pair.publisher)));
        let counted = pair.written().since(&before);
        assert_eq!((counted.dropped_deadline, counted.parks), (1, 1));
        assert!(counted.blocked_ns > 0);
    });
}
