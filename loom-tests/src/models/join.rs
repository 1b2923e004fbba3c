//! A reader that comes to a ring in use gets all that is committed from then on, and nothing older.

use loom::thread;

use super::{LoomConsumer, append, ends, expect, explore, poll};
use crate::{
    ring::{Consumer, Seated, give_seat, seated},
    storage::{LoomCursor, LoomRing},
};

/// Of messages 0 to 3, which are a lap. No two equal ones behind each other at its end, or the producer clears the header where
/// the next lap begins ahead, before the reader is there.
const LENGTHS: [usize; 4] = [16, 16, 0, 32];
const LEN_BYTES: usize = 16;
const LANE: u64 = 7;

/// Explores it.
pub fn run() {
    explore(3, || {
        let (mut producer, mut first) = ends();
        // Where the other one begins, an older record stood.
        for number in 0..3 {
            assert!(append(&mut producer, number, LENGTHS[number as usize]));
            let record = poll(&mut first).expect("just committed");
            let _ = (first.release(record), first.publish());
        }
        let ring = producer.storage().clone();
        give_seat(&ring, 1, LANE);
        let writer = thread::spawn(move || {
            assert!(append(&mut producer, 3, LENGTHS[3]));
            producer.join(1);
            assert!(append(&mut producer, 4, LEN_BYTES));
        });
        // A look, no wait: whoever yields has seen all that was older.
        let mut second = begin(&ring);
        let mut found = second.as_mut().and_then(poll);
        writer.join().unwrap();
        if found.is_none() {
            let second = second.get_or_insert_with(|| begin(&ring).expect("all is said"));
            found = poll(second);
        }
        let (second, found) = (second.expect("begun"), found.expect("all is there"));
        expect(&second, found, 4, LEN_BYTES);
    });
}

/// The reader of the seat, if that says where it begins.
fn begin(ring: &LoomRing) -> Option<LoomConsumer> {
    match seated(ring, 1, LANE) {
        Seated::Waits => None,
        Seated::At(from, told) => {
            let mut second = Consumer::new(ring.clone(), LoomCursor::new());
            second.begin(1, from, told);
            Some(second)
        }
        other => panic!("{other:?} in this reader's seat"),
    }
}
