//! Many subscribers that wait in futures cost neither threads nor timers. A program of its own: it counts threads.

use ringmain_tests::{Tick, on_each_transport, usage};

const COUNT: u32 = 1000;

#[test]
fn a_thousand_subscribers_wait_in_two_threads_without_a_timer() {
    if !usage::may_open(16 * 1024) {
        return;
    }
    on_each_transport(|bus| {
        let mut many = bus.peer("many-async", &["t", &COUNT.to_string(), "3"]);
        let client = bus.client("publisher");
        many.expect("waiting");
        many.tell("count sleeps");
        let sleeps: u32 = many.line().parse().unwrap();
        assert!(sleeps < 50, "{sleeps} threads fell asleep while all waited");
        many.tell("count threads");
        let threads: u32 = many.line().parse().unwrap();
        // On the second transport the reactor's is there already.
        assert!(threads <= 1, "{threads} threads more");
        let mut publisher = client
            .publisher::<Tick>("t")
            .ring_bytes(4096)
            .max_message_bytes(200)
            .open()
            .unwrap();
        for number in 0..3 {
            let delivery = publisher.publish("t", &Tick::new(number)).unwrap();
            assert_eq!((delivery.lanes, delivery.dropped), (COUNT, 0));
        }
        many.tell("receive");
        many.expect("received");
        many.finish();
    });
}
