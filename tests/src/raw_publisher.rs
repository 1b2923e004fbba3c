//! A publisher on another host that says what no relay would, and a bus that it must not harm.

use std::time::Duration;

use ringmain::broker::Broker;
use ringmain::message::{Bytes, Message, MessageType};
use ringmain::wire::{Medium, PublisherSpec, RouteChange, SegmentSource, ToBroker, ToClient};
use ringmain::{Client, Publisher, Subscriber};

use crate::eventually;
use crate::raw_remote::{RawPacket, RawRemote};

/// How long a silent peer is waited for here.
pub const PATIENCE: Duration = Duration::from_millis(800);

/// A broker, and two clients that do nothing wrong.
pub struct Bystanders {
    _broker: Broker,
    /// Where it listens to other hosts.
    pub address: String,
    /// One of the two.
    pub client: Client,
    publisher: Publisher<Bytes>,
    subscriber: Subscriber<Bytes>,
}

impl Bystanders {
    /// A bus of this name.
    pub fn new(name: &str) -> Self {
        let broker = Broker::builder()
            .listen(format!("memory:hostile-{name}").parse().unwrap())
            .listen("tcp://127.0.0.1:0".parse().unwrap())
            .peer_timeout(PATIENCE)
            .start()
            .unwrap();
        let client = Client::connect(&broker.addresses()[0].to_string()).unwrap();
        let publisher = client.publisher::<Bytes>("good").open().unwrap();
        let subscriber = client.subscriber::<Bytes>("good").open().unwrap();
        Self {
            address: broker.addresses()[1].to_string(),
            _broker: broker,
            client,
            publisher,
            subscriber,
        }
    }

    /// Messages go as they should.
    pub fn assert_well(&mut self) {
        let delivery = self.publisher.publish("good", Bytes::new(b"x")).unwrap();
        assert_eq!((delivery.lanes, delivery.dropped), (1, 0));
        assert_eq!(&*self.subscriber.recv().unwrap(), b"x");
        self.client.ping().unwrap();
    }

    /// Nobody else is left.
    pub fn assert_alone(&self) {
        eventually("the others are gone", || {
            self.client.clients().unwrap().len() == 1
        });
    }
}

fn type_of_bytes() -> MessageType {
    <Bytes as Message>::message_type().clone()
}

/// Joins as a publisher to `t`; gives the lane to the one subscriber there is.
pub fn open_publisher(bus: &Bystanders) -> (RawRemote, u64) {
    let mut raw = RawRemote::join(&bus.address);
    let spec = PublisherSpec {
        topic: "t".into(),
        message_type: type_of_bytes(),
        max_message_bytes: 64,
        block_cap: None,
        history: 0,
        conflates: true,
    };
    raw.send_frame(&ToBroker::OpenPublisher {
        request: 1,
        publisher: 1,
        spec,
    });
    loop {
        if let ToClient::Routes { changes, .. } = raw.frame().unwrap() {
            let [RouteChange::Set(route)] = &changes[..] else {
                panic!("{changes:?}")
            };
            return (raw, route.lane);
        }
    }
}

/// Offers a lane of so many bytes, behind a history, if there is one, with its bytes and how many values of each topic it
/// keeps.
pub fn offer(
    raw: &mut RawRemote,
    lane: u64,
    medium: Medium,
    bytes: u64,
    history: Option<(u64, u64)>,
) {
    let frame = ToBroker::OfferLane {
        lane,
        medium,
        segment: SegmentSource::Descriptor,
        history: history.map(|_| SegmentSource::Descriptor),
        courier: false,
        begin: None,
    };
    raw.send_offer(&frame, bytes, history);
}

/// The records of a topic definition and of messages with it.
pub fn records(messages: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut record = |kind: u64, payload: &[u8]| {
        bytes.extend((kind | (payload.len() as u64) << 32).to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
        bytes.extend_from_slice(payload);
        bytes.resize(bytes.len().next_multiple_of(16), 0);
    };
    record(3, b"t");
    (0..messages).for_each(|_| record(1, &[7; 64]));
    bytes
}

/// A record of a lossy ring.
pub fn parcel(lane: u64, number: u64, position: u64, len: usize) -> RawPacket {
    let body = [&position.to_le_bytes()[..], &vec![7; len]].concat();
    (10, lane, number, body)
}

/// A value of a table, of one message.
pub fn value(lane: u64, sequence: u64, number: u64, slot: u32, len: usize) -> RawPacket {
    let mut body = number.to_le_bytes().to_vec();
    body.extend([slot, 1].map(u32::to_le_bytes).concat());
    body.resize(16 + len, 7);
    (11, lane, sequence, body)
}
