//! Every loss is told once, at its place, by whatever end the producer comes to.

use loom::thread;

use super::{LoomConsumer, LoomProducer, ends, explore, payload};
use crate::ring::{DropCause, Kind, Polled};

/// Two of these fill the ring.
const LEN_BYTES: usize = 32;

/// Explores a reader beside a producer that goes on.
pub fn run_open() {
    explore(3, || {
        let (mut producer, consumer) = ends();
        let writer = thread::spawn(move || send(&mut producer, 0..4));
        let mut reader = Reader::new(consumer);
        while reader.next_sequence() < 4 {
            if reader.step() == Step::Idle {
                thread::yield_now();
            }
        }
        writer.join().unwrap();
        assert_eq!(reader.step(), Step::Idle, "nothing is told twice");
    });
}

/// Explores a producer that closes its lane: what it sent before is accounted for by whoever sees that.
pub fn run_closed() {
    explore(3, || {
        let (mut producer, consumer) = ends();
        let writer = thread::spawn(move || {
            send(&mut producer, 0..3);
            producer.close();
        });
        let mut reader = Reader::new(consumer);
        while !reader.consumer.is_closed() {
            if reader.step() == Step::Idle {
                thread::yield_now();
            }
        }
        reader.drain();
        assert_eq!(reader.next_sequence(), 3, "records + gaps == sent");
        writer.join().unwrap();
    });
}

/// Explores a producer that dies without a word: joining it is what a pidfd is to processes.
pub fn run_dead() {
    explore(4, || {
        let (mut producer, consumer) = ends();
        let writer = thread::spawn(move || send(&mut producer, 0..4));
        let mut reader = Reader::new(consumer);
        for _ in 0..3 {
            reader.step();
        }
        writer.join().unwrap();
        reader.drain();
        assert_eq!(reader.next_sequence(), 4, "records + gaps == sent");
    });
}

/// What a publisher does whose policy is to drop.
fn send(producer: &mut LoomProducer, sequences: std::ops::Range<u64>) {
    for sequence in sequences {
        let staged = producer.stage_gap().and_then(|()| {
            producer.stage_copy(Kind::Message, &payload(sequence, LEN_BYTES), sequence)
        });
        if staged.is_ok() {
            producer.commit();
        } else {
            producer.abort();
            producer.count_drop(DropCause::Full, 1);
        }
    }
}

/// A reader that derives sequences as a lane does.
struct Reader {
    consumer: LoomConsumer,
    records: u64,
    missing: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Found,
    Idle,
}

impl Reader {
    fn new(consumer: LoomConsumer) -> Self {
        Self {
            consumer,
            records: 0,
            missing: 0,
        }
    }

    fn next_sequence(&self) -> u64 {
        self.records + self.missing
    }

    /// Takes what comes next; of an empty ring it reads the counters.
    fn step(&mut self) -> Step {
        let mut polled = self.consumer.poll().expect("the format is kept");
        if polled == Polled::Empty {
            let _ = self.consumer.publish();
            polled = self.consumer.poll_losses().expect("counters only rise");
        }
        match polled {
            Polled::Empty => return Step::Idle,
            Polled::Switch(switch) => panic!("{switch:?} where nobody leaves"),
            Polled::Gap(counts) => self.missing += counts.total(),
            Polled::Record(record) => {
                super::expect(&self.consumer, record, self.next_sequence(), LEN_BYTES);
                self.records += 1;
                let _ = self.consumer.release(record);
            }
        }
        Step::Found
    }

    /// Takes all that is left of a producer that does nothing any more.
    fn drain(&mut self) {
        while self.step() == Step::Found {}
    }
}
