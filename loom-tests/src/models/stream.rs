//! Messages of many lengths arrive in order, whole, over two laps with pads.

use loom::thread;

use super::{append, ends, expect, explore, poll};

/// Ends of the records: 48, 96, pad, 176, 192, 240, pad, 288: more than two laps of 128, pads of 32 and 16 bytes.
const LENGTHS: [usize; 6] = [32, 20, 32, 0, 17, 16];

/// Explores it.
pub fn run() {
    explore(3, || {
        let (mut producer, mut consumer) = ends();
        let writer = thread::spawn(move || {
            for (number, len) in (0..).zip(LENGTHS) {
                while !append(&mut producer, number, len) {
                    thread::yield_now();
                }
            }
        });
        for (number, len) in (0..).zip(LENGTHS) {
            let record = loop {
                match poll(&mut consumer) {
                    Some(record) => break record,
                    None => thread::yield_now(),
                }
            };
            expect(&consumer, record, number, len);
            let _ = consumer.release(record);
        }
        writer.join().unwrap();
        assert_eq!(poll(&mut consumer), None, "nothing that was not sent");
    });
}
