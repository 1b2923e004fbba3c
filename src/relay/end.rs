//! What an end of a relay does with control frames: near ones that go far, far ones that go near.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use crate::link::Outgoing;
use crate::wire::{Frame, HandleId, LaneId, Medium, RouteChange};

use super::FarError;
use super::lanes::Lanes;
use super::packet::{Packet, Sizes};
use super::stream;

/// Which side a relay stands on. Descriptors end here: what they stand for is carried over instead.
pub trait End {
    /// Frames that come over the link of this host.
    type Near: Frame;
    /// Frames that come from the other host.
    type Far: Frame;

    /// Takes a frame of this host.
    fn near(&mut self, frame: Self::Near, descriptors: Vec<OwnedFd>, relay: &mut Ways<'_, Self>)
    where
        Self: Sized;

    /// Takes a frame of the other host; with a lane that is offered, its sizes.
    ///
    /// # Errors
    /// It cannot come here.
    fn far(
        &mut self,
        frame: Self::Far,
        sizes: Sizes,
        relay: &mut Ways<'_, Self>,
    ) -> Result<(), FarError>
    where
        Self: Sized;

    /// The other host is gone without a goodbye.
    fn lost(&mut self, relay: &mut Ways<'_, Self>)
    where
        Self: Sized;

    /// The far side is done or gone, and this relay ends: before its lanes do.
    fn parting(&mut self, relay: &mut Ways<'_, Self>)
    where
        Self: Sized;

    /// All frames that were given to [`Ways::send_near`] have been handed to the link.
    fn sent_near(&mut self, relay: &mut Ways<'_, Self>)
    where
        Self: Sized;
}

/// Where an end's frames go.
pub struct Ways<'a, E: End> {
    pub lanes: &'a mut Lanes,
    pub near: &'a mut Vec<Outgoing<E::Far>>,
    /// Offers of histories, for this host, whose values are still to come: whoever gets one looks at once.
    pub held: &'a mut BTreeMap<LaneId, Outgoing<E::Far>>,
    pub far: &'a mut stream::Outgoing,
}

impl<E: End> Ways<'_, E> {
    /// Sends a frame to this host.
    pub fn send_near(&mut self, frame: E::Far, descriptors: Vec<crate::link::Descriptor>) {
        self.near.push(Outgoing { frame, descriptors });
    }

    /// Sends the offer of a lane to this host; where the lane is a history, once that has come.
    pub fn send_near_offer(
        &mut self,
        (lane, medium): (LaneId, Medium),
        frame: E::Far,
        descriptors: Vec<crate::link::Descriptor>,
    ) {
        match medium {
            Medium::History => drop(self.held.insert(lane, Outgoing { frame, descriptors })),
            _ => self.send_near(frame, descriptors),
        }
    }

    /// Sends a held offer, since nothing more comes in its lane.
    pub fn release(&mut self, lane: LaneId) {
        self.near.extend(self.held.remove(&lane));
    }

    /// Sends a frame to the other host.
    pub fn send_far(&mut self, frame: &E::Near) {
        self.send_packet(frame, |archive| Packet::Frame { archive });
    }

    /// Sends a frame that offers a lane.
    pub fn send_far_offer(&mut self, frame: &E::Near, sizes: Sizes) {
        self.send_packet(frame, |archive| Packet::Offer { sizes, archive });
    }

    fn send_packet(&mut self, frame: &E::Near, packet: impl FnOnce(&[u8]) -> Packet<'_>) {
        match frame.archive() {
            Ok(archive) => packet(&archive).encode(self.far.buffer()),
            // What was decoded can be encoded.
            Err(error) => tracing::error!(%error, "a frame cannot be passed on"),
        }
    }
}

/// The lanes that the broker has decided, with their publishers.
#[derive(Default)]
pub struct Routed(BTreeMap<LaneId, RoutedLane>);

struct RoutedLane {
    publisher: HandleId,
    offered: bool,
}

impl Routed {
    /// Takes in what a frame of routes changes.
    pub fn change(&mut self, changes: &[RouteChange]) {
        for change in changes {
            match change {
                RouteChange::Set(route) => {
                    let publisher = route.publisher;
                    let fresh = || RoutedLane {
                        publisher,
                        offered: false,
                    };
                    self.0.entry(route.lane).or_insert_with(fresh);
                }
                RouteChange::Remove { lane, .. } => self.remove(*lane),
            }
        }
    }

    /// A lane has no route any more.
    pub fn remove(&mut self, lane: LaneId) {
        self.0.remove(&lane);
    }

    /// The publisher of a lane.
    pub fn publisher(&self, lane: LaneId) -> Option<HandleId> {
        self.0.get(&lane).map(|lane| lane.publisher)
    }

    /// The publisher's side has said what becomes of the lane.
    pub fn set_offered(&mut self, lane: LaneId) {
        if let Some(lane) = self.0.get_mut(&lane) {
            lane.offered = true;
        }
    }

    /// Lanes of which the publisher's side has said nothing yet.
    pub fn not_offered(&self) -> impl Iterator<Item = LaneId> {
        let lanes = self.0.iter().filter(|(_, lane)| !lane.offered);
        lanes.map(|(id, _)| *id)
    }

    /// A publisher has closed: gives its lanes.
    pub fn close(&mut self, publisher: HandleId) -> Vec<LaneId> {
        let closed = self.0.extract_if(.., |_, lane| lane.publisher == publisher);
        closed.map(|(lane, _)| lane).collect()
    }
}

/// Bytes that the next message of a publisher can take at most, with what may stand before it: below that much free room
/// it may have to wait.
pub fn news_above(ring_bytes: u64, max_message_bytes: u64) -> u64 {
    let record = max_message_bytes.saturating_add(PRELUDE_BYTES);
    // A pad before it can be as long as the record.
    ring_bytes.saturating_sub(record.saturating_mul(2))
}

/// More than a gap, a topic and the headers take.
const PRELUDE_BYTES: u64 = 2048;
