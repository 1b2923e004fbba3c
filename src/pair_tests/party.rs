//! A client of the wired test: its session, with what the control thread would keep.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::client::session::{Effect, OwnHalf, PeerSegment, Reply, Session};
use crate::message::{Bytes, Message, MessageType};
use crate::wire::{
    Decoder, Frame, HandleId, HistoryUse, LaneId, Medium, Overflow, PublisherSpec, SubscriberSpec,
    ToBroker, ToClient, encode,
};

/// Descriptors: processes count from 1,000 on, segments are 1, bells 2.
pub(super) type Descriptor = u32;

/// One direction of a link. Descriptors go with the bytes, as in a socket.
pub(super) struct Stream<F> {
    pub(super) bytes: VecDeque<u8>,
    pub(super) descriptors: VecDeque<Descriptor>,
    pub(super) decoder: Decoder<F>,
}

impl<F: Frame> Stream<F> {
    pub(super) fn new() -> Self {
        let decoder = Decoder::new(FRAME_BYTES);
        Self {
            bytes: VecDeque::new(),
            descriptors: VecDeque::new(),
            decoder,
        }
    }

    pub(super) fn send(&mut self, frame: &F, descriptors: Vec<Descriptor>) {
        self.bytes
            .extend(encode(frame, descriptors.len(), FRAME_BYTES).unwrap());
        self.descriptors.extend(descriptors);
    }

    pub(super) fn deliver(&mut self, most: usize) -> Vec<(F, Vec<Descriptor>)> {
        let count = most.min(self.bytes.len());
        let piece: Vec<u8> = self.bytes.drain(..count).collect();
        self.decoder.push(&piece);
        let mut frames = Vec::new();
        while let Some(decoded) = self.decoder.pull().unwrap() {
            frames.push((
                decoded.frame,
                self.descriptors.drain(..decoded.descriptors).collect(),
            ));
        }
        frames
    }
}

/// A client: its session with what the control thread would keep.
pub(super) struct Party {
    pub(super) session: Session<Descriptor>,
    pub(super) up: Stream<ToBroker>,
    pub(super) down: Stream<ToClient>,
    pub(super) connected: bool,
    pub(super) next_handle: HandleId,
    pub(super) next_request: u64,
    /// Patterns of subscribers that the answer to their opening says nothing of.
    pub(super) added_later: BTreeMap<HandleId, BTreeSet<String>>,
    /// Open publishers and subscribers: their topic, or patterns.
    pub(super) publishers: BTreeMap<HandleId, String>,
    pub(super) subscribers: BTreeMap<HandleId, Vec<String>>,
    /// Requests to open, by what they open.
    pub(super) opening: BTreeMap<u64, HandleId>,
    /// Lanes of publishers, with whether the subscriber has answered.
    pub(super) writers: BTreeMap<LaneId, (HandleId, bool)>,
    pub(super) readers: BTreeMap<LaneId, HandleId>,
    pub(super) applied: u64,
    pub(super) epoch_index: Option<u32>,
}

impl Party {
    pub(super) fn new(index: usize) -> Self {
        Self {
            session: Session::new(format!("party {index}")),
            up: Stream::new(),
            down: Stream::new(),
            connected: true,
            next_handle: 1,
            next_request: 1,
            added_later: BTreeMap::new(),
            publishers: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            opening: BTreeMap::new(),
            writers: BTreeMap::new(),
            readers: BTreeMap::new(),
            applied: 0,
            epoch_index: None,
        }
    }

    pub(super) fn leave(&mut self) {
        self.connected = false;
        self.publishers.clear();
        self.subscribers.clear();
        self.writers.clear();
        self.readers.clear();
    }

    pub(super) fn ids(&mut self, opens: bool) -> (u64, HandleId) {
        let (request, handle) = (self.next_request, self.next_handle);
        self.next_request += 1;
        self.next_handle += 1;
        if opens {
            self.opening.insert(request, handle);
        }
        (request, handle)
    }

    pub(super) fn open_publisher(&mut self, topic: &str) {
        if self.connected && self.publishers.len() < 3 {
            let (request, publisher) = self.ids(true);
            let spec = PublisherSpec {
                topic: topic.to_owned(),
                message_type: bytes(),
                max_message_bytes: 1000,
                block_cap: None,
                history: 0,
                conflates: true,
            };
            self.publishers.insert(publisher, topic.to_owned());
            self.session.request(ToBroker::OpenPublisher {
                request,
                publisher,
                spec,
            });
        }
    }

    pub(super) fn open_subscriber(&mut self, pattern: &str) {
        if self.connected && self.subscribers.len() < 3 {
            let (request, subscriber) = self.ids(true);
            let spec = SubscriberSpec {
                patterns: vec![pattern.to_owned()],
                message_type: None,
                overflow: Overflow::DropNewest,
                ring_bytes: 0,
                self_delivery: true,
                excludes: Vec::new(),
                queue: None,
                history: HistoryUse::None,
            };
            self.subscribers.insert(subscriber, spec.patterns.clone());
            self.session.request(ToBroker::OpenSubscriber {
                request,
                subscriber,
                spec,
            });
        }
    }

    pub(super) fn close_publisher(&mut self) {
        if let Some((publisher, _)) = self.publishers.pop_first() {
            let lanes: BTreeSet<_> = self
                .session
                .close_publisher(publisher)
                .into_iter()
                .collect();
            self.writers.retain(|lane, _| !lanes.contains(lane));
        }
    }

    pub(super) fn close_subscriber(&mut self) {
        if let Some((subscriber, _)) = self.subscribers.pop_first() {
            let lanes: BTreeSet<_> = self
                .session
                .close_subscriber(subscriber)
                .into_iter()
                .collect();
            self.readers.retain(|lane, _| !lanes.contains(lane));
        }
    }

    pub(super) fn change(&mut self, add: Option<&str>, remove: Option<&str>) {
        if !self.connected {
            return;
        }
        let Some((&subscriber, patterns)) = self.subscribers.first_key_value() else {
            return;
        };
        let mut patterns = patterns.clone();
        if let Some(add) = add {
            self.added_later
                .entry(subscriber)
                .or_default()
                .insert(add.to_owned());
        }
        patterns.extend(
            add.filter(|add| !patterns.iter().any(|old| old == add))
                .map(str::to_owned),
        );
        patterns.retain(|old| Some(old.as_str()) != remove);
        if patterns.is_empty() {
            return;
        }
        self.subscribers.insert(subscriber, patterns);
        let (request, _) = self.ids(false);
        let list = |pattern: Option<&str>| pattern.map(str::to_owned).into_iter().collect();
        let (add, remove) = (list(add), list(remove));
        self.session.request(ToBroker::ChangePatterns {
            request,
            subscriber,
            add,
            remove,
        });
    }

    pub(super) fn transmit(&mut self) {
        while let Some(outgoing) = self.session.poll_transmit() {
            self.up.send(&outgoing.frame, outgoing.descriptors);
        }
    }

    /// Gives the handles whose opening was answered.
    pub(super) fn receive(
        &mut self,
        frame: ToClient,
        descriptors: Vec<Descriptor>,
    ) -> Vec<HandleId> {
        let mut opened = Vec::new();
        for effect in self.session.handle(frame, descriptors).unwrap() {
            match effect {
                Effect::Welcomed(welcome, segment) => {
                    assert_eq!(segment, PeerSegment::Descriptor(1));
                    self.epoch_index = Some(welcome.epoch_index);
                }
                Effect::Reply(request, reply) => {
                    assert!(matches!(reply, Reply::Opened(_)), "{reply:?}");
                    opened.extend(self.opening.remove(&request));
                }
                Effect::AddWriter(route) if self.publishers.contains_key(&route.publisher) => {
                    self.session.offer(
                        route.lane,
                        OwnHalf {
                            courier: None,
                            begin: None,
                            medium: Medium::Ring,
                            segment: PeerSegment::Descriptor(1),
                            bell: 2,
                            history: None,
                        },
                    );
                    self.writers.insert(route.lane, (route.publisher, false));
                }
                Effect::AddWriter(route) => self.session.forget_writer(route.lane),
                Effect::ChangeWriter(route) => assert!(self.writers.contains_key(&route.lane)),
                Effect::AttachWriter { lane, half, .. } => {
                    assert!(half.process >= 1000 && half.bell == 2);
                    if let Some((_, answered)) = self.writers.get_mut(&lane) {
                        *answered = true;
                    }
                }
                Effect::EndWriter { lane, .. } => drop(self.writers.remove(&lane)),
                Effect::AddReader(offer) if self.subscribers.contains_key(&offer.subscriber) => {
                    assert!(offer.half.process >= 1000 && offer.half.bell == 2);
                    self.session
                        .accept(offer.lane, 1, PeerSegment::Descriptor(1), 2);
                    self.readers.insert(offer.lane, offer.subscriber);
                }
                Effect::AddReader(offer) => self.session.forget_reader(offer.lane),
                Effect::EndReader { lane, .. } => drop(self.readers.remove(&lane)),
                Effect::Applied(epoch) => self.applied = epoch,
                Effect::RefusedReader { refusal, .. } => panic!("{refusal}"),
                // Nobody sleeps here.
                Effect::WakeReader { .. } => {}
                Effect::AnswerTopics { .. } => panic!("nobody asked"),
            }
        }
        opened
    }
}

fn bytes() -> MessageType {
    Bytes::message_type().clone()
}

const FRAME_BYTES: u32 = 256 * 1024;
