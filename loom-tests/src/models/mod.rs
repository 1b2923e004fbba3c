//! The models: each explores one promise of floor 0.

use crate::{
    ring::{Consumer, Kind, Polled, Producer, Read, Record},
    storage::{LoomCursor, LoomRing},
};

pub mod batch;
pub mod doorbell;
pub mod gaps;
pub mod hint;
pub mod join;
pub mod lossy;
pub mod pool;
pub mod room;
pub mod store_buffer;
pub mod stream;
pub mod switch;
pub mod table;

/// A model and its name.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// What the command line and the table of mutants call it.
    pub name: &'static str,
    /// Explores it; panics if one execution breaks the promise.
    pub run: fn(),
}

impl Model {
    /// Every model.
    pub const ALL: [Model; 31] = [
        Model::new("stream", stream::run),
        Model::new("batch", batch::run),
        Model::new("batch_behind_pad", batch::run_behind_pad),
        Model::new("gaps_open", gaps::run_open),
        Model::new("gaps_closed", gaps::run_closed),
        Model::new("gaps_dead", gaps::run_dead),
        Model::new("join", join::run),
        Model::new("switch", switch::run),
        Model::new("switch_over", switch::run_over),
        Model::new("lossy", lossy::run),
        Model::new("lossy_resumed", lossy::run_resumed),
        Model::new("lossy_followed", lossy::run_followed),
        Model::new("doorbell", doorbell::run),
        Model::new("doorbell_two_wakers", doorbell::run_two_wakers),
        Model::new("room", room::run),
        Model::new("store_buffer", store_buffer::run),
        Model::new("second_look", store_buffer::run_with_second_look),
        Model::new("table_whole", table::run_whole),
        Model::new("table_newest", table::run_newest),
        Model::new("table_history", table::run_history),
        Model::new("table_moved", table::run_moved),
        Model::new("table_news", table::run_news),
        Model::new("table_seen", table::run_seen),
        Model::new("pool_read", pool::run_read),
        Model::new("pool_hold", pool::run_hold),
        Model::new("pool_hold_reused", pool::run_reused),
        Model::new("pool_left", pool::run_left),
        Model::new("hint", hint::run),
        Model::new("hint_read", hint::run_read),
        Model::new("hint_copied", hint::run_copied),
        Model::new("hint_table", hint::run_table),
    ];

    /// The model of that name.
    pub fn named(name: &str) -> Option<Model> {
        Self::ALL.into_iter().find(|model| model.name == name)
    }

    const fn new(name: &'static str, run: fn()) -> Self {
        Self { name, run }
    }
}

type LoomProducer = Producer<LoomRing, LoomCursor>;
type LoomConsumer = Consumer<LoomRing, LoomCursor>;

/// Explores `model` with at most `preemptions` preemptions in one execution.
fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    // A reader that waits for what never comes ends here, as a failure.
    builder.max_branches = 5_000;
    builder.check(model);
}

/// Both ends of a fresh ring.
fn ends() -> (LoomProducer, LoomConsumer) {
    let (ring, cursor) = (LoomRing::new(), LoomCursor::new());
    let mut producer = Producer::new(ring.clone());
    producer.attach(0, cursor.clone());
    (producer, Consumer::new(ring, cursor))
}

/// Payload of message `number`: every byte tells number and place.
fn payload(number: u64, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (number * 37 + at as u64 + 1) as u8)
        .collect()
}

/// Appends a message, whose detail is its number, if there is room.
fn append(producer: &mut LoomProducer, number: u64, len: usize) -> bool {
    let room = producer.stage_copy(Kind::Message, &payload(number, len), number);
    if room.is_ok() {
        producer.commit();
    }
    room.is_ok()
}

/// The record that the reader stands at, if it is committed; a gap is a failure.
fn poll(consumer: &mut LoomConsumer) -> Option<Record> {
    match consumer.poll().expect("the producer keeps the format") {
        Polled::Record(record) => Some(record),
        Polled::Empty => None,
        Polled::Switch(switch) => panic!("{switch:?} where nobody leaves"),
        Polled::Gap(counts) => panic!("a gap of {} where nothing was dropped", counts.total()),
    }
}

/// Demands that `record` is message `number` with its payload.
fn expect(consumer: &LoomConsumer, record: Record, number: u64, len: usize) {
    assert_eq!((record.kind, record.detail), (Kind::Message, number));
    let mut bytes = vec![0; record.len_bytes];
    consumer.storage().copy_out(record.offset, &mut bytes);
    assert_eq!(bytes, payload(number, len), "payload of message {number}");
}
