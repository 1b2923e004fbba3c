//! Somebody who waits costs nothing.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use ringmain::Wait;
use ringmain_tests::{Tick, on_each_transport};

#[test]
fn an_idle_subscriber_that_parks_uses_no_cpu() {
    on_each_transport(|bus| {
        let client = bus.client("idle");
        let mut publisher = client.publisher::<Tick>("t").open().unwrap();
        for wait in [Wait::Park, Wait::SpinThenPark] {
            let mut subscriber = client.subscriber::<Tick>("t").wait(wait).open().unwrap();
            // With a lane that has been read and is dry.
            publisher.publish("t", &Tick::new(1)).unwrap();
            subscriber.recv().unwrap();
            let before = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
            assert!(
                subscriber
                    .recv_timeout(Duration::from_millis(500))
                    .unwrap()
                    .is_none()
            );
            let after = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
            let cpu = (after.user_time() - before.user_time())
                + (after.system_time() - before.system_time());
            assert!(cpu.num_milliseconds() < 50, "{wait:?}: {cpu} of 500 ms");
            let sleeps = after.voluntary_context_switches() - before.voluntary_context_switches();
            assert!(sleeps < 20, "{wait:?}: {sleeps} sleeps in one wait");
        }
    });
}
