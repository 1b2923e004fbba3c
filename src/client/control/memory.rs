//! Makes what this side gives to a lane, maps what the other side gives.
//!
//! Errors are texts: they travel to the peer as the reason why there is no lane.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::lane::{MAX_RING_BYTES, OwnMedium, Peer, PeerCursor, PeerMedium, PeerPage, Reader};
use crate::link::Descriptor;
use crate::ring::Read;
use crate::segment::{Kind, SegmentError, SegmentHandle, SegmentOptions};
use crate::topic::Pattern;
use crate::wake::BellSender;
use crate::wire::{Route, reason};

use crate::client::inbound::{InLane, PublisherIdentity, SubscriberPort};
use crate::client::session::{Offer, PeerSegment};
use crate::client::shared::PublisherPort;

pub(super) type NewWriter = (OwnMedium, PeerSegment<Descriptor>, Descriptor, Vec<Pattern>);
pub(super) type NewReader = (InLane, u32, PeerSegment<Descriptor>, Descriptor);

/// Makes the ring of a publisher's new lane.
pub(super) fn make_writer(
    port: &PublisherPort,
    route: &Route,
    options: &SegmentOptions,
) -> Result<NewWriter, String> {
    let patterns = patterns(route)?;
    let asked = usize::try_from(route.ring_bytes)
        .ok()
        .and_then(usize::checked_next_power_of_two);
    let capacity = asked
        .filter(|asked| *asked <= MAX_RING_BYTES)
        .ok_or_else(|| {
            format!(
                "{} bytes were asked for, {MAX_RING_BYTES} are the most",
                route.ring_bytes
            )
        })?
        .max(port.ring_bytes);
    let ring = OwnMedium::create(Kind::Ring, capacity, options).map_err(|error| reason(&error))?;
    let segment = lend(ring.handle()).map_err(|error| reason(&error))?;
    let bell = port
        .mailbox
        .bell()
        .try_clone()
        .map_err(|error| reason(&error))?;
    Ok((ring, segment, Arc::new(OwnedFd::from(bell)), patterns))
}

/// Maps the cursor page that a subscriber answers with; gives its bell twice, the first within the peer.
pub(super) fn attach(
    segment: PeerSegment<Descriptor>,
    bell: Descriptor,
    area: u32,
) -> Result<(PeerCursor, Peer, BellSender), String> {
    let page = open(segment)
        .and_then(PeerPage::open)
        .map_err(|error| reason(&error))?;
    let cursor = page
        .cursor(area)
        .ok_or_else(|| format!("it has no area {area}"))?;
    let (bell, copy) = bells(bell)?;
    let peer = Peer::new(bell);
    Ok((cursor, peer, copy))
}

/// Maps the ring that a publisher offers, and takes an area for it.
pub(super) fn make_reader(
    port: &SubscriberPort,
    offer: Offer<Descriptor>,
) -> Result<NewReader, String> {
    let Offer {
        lane,
        publisher_id: id,
        publisher_name: name,
        publisher,
        half,
        ..
    } = offer;
    let message_type = publisher.message_type;
    message_type.validate().map_err(|error| reason(&error))?;
    let ring = open(half.segment)
        .and_then(|handle| PeerMedium::open(Kind::Ring, handle))
        .map_err(|error| reason(&error))?;
    let (bell, _) = bells(half.bell)?;
    let (page, area) = port.area().map_err(|error| reason(&error))?;
    let (index, segment) = (
        area.index(),
        lend(page.handle()).map_err(|error| reason(&error))?,
    );
    let own_bell = port
        .mailbox
        .bell()
        .try_clone()
        .map_err(|error| reason(&error))?;
    let counters = port.counters.lane(
        lane,
        &name,
        &publisher.topic,
        &message_type.to_string(),
        ring.capacity(),
    );
    let reader = Reader::new(ring, area, Peer::new(bell), counters);
    let lane = InLane::new(
        lane,
        reader,
        port.mark,
        PublisherIdentity {
            id,
            name,
            message_type,
        },
        page,
    );
    Ok((lane, index, segment, Arc::new(own_bell.into())))
}

/// The patterns of a route.
pub(super) fn patterns(route: &Route) -> Result<Vec<Pattern>, String> {
    parse(&route.patterns)
}

/// What a route leaves out.
pub(super) fn excludes(route: &Route) -> Result<Vec<Pattern>, String> {
    parse(&route.excludes)
}

fn parse(texts: &[String]) -> Result<Vec<Pattern>, String> {
    let patterns = texts.iter().map(|text| Pattern::try_from(text.as_str()));
    patterns
        .collect::<Result<_, _>>()
        .map_err(|error| reason(&error))
}

/// A segment of this process, to be sent.
fn lend(
    handle: Result<SegmentHandle, SegmentError>,
) -> Result<PeerSegment<Descriptor>, SegmentError> {
    Ok(match handle? {
        SegmentHandle::Descriptor(descriptor) => PeerSegment::Descriptor(Arc::new(descriptor)),
        SegmentHandle::Named(name) => PeerSegment::Named(name),
    })
}

/// A segment of a peer, to be mapped.
pub(super) fn open(segment: PeerSegment<Descriptor>) -> Result<SegmentHandle, SegmentError> {
    Ok(match segment {
        PeerSegment::Descriptor(descriptor) => SegmentHandle::Descriptor(owned(descriptor)?),
        PeerSegment::Named(name) => SegmentHandle::Named(name),
    })
}

fn owned(descriptor: Descriptor) -> Result<OwnedFd, SegmentError> {
    Arc::try_unwrap(descriptor)
        .or_else(|shared| shared.try_clone())
        .map_err(|source| SegmentError::System {
            call: "dup",
            source,
        })
}

/// A peer's bell, twice.
fn bells(descriptor: Descriptor) -> Result<(BellSender, BellSender), String> {
    let descriptor = owned(descriptor).map_err(|error| reason(&error))?;
    let bell = BellSender::from_peer(descriptor).map_err(|error| reason(&error))?;
    let copy = bell.try_clone().map_err(|error| reason(&error))?;
    Ok((bell, copy))
}
