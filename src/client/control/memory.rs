//! Makes what this side gives to a lane, maps what the other side gives.
//!
//! Errors are texts: they travel to the peer as the reason why there is no lane.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::lane::{
    Account, CargoReceiver, CargoSender, CopyReader, CopyWriter, HistoryReader, LaneReader,
    MAX_RING_BYTES, OwnMedium, Peer, PeerCursor, PeerMedium, PeerPage, Reader, Snapshot, Writer,
};
use crate::link::Descriptor;
use crate::ring::{CELL_BYTES, Read};
use crate::segment::{Kind, MemoryOptions, SegmentError, SegmentHandle, SegmentOptions};
use crate::topic::{Pattern, Selection};
use crate::wake::{BellSender, Courier, CourierReceiver};
use crate::wire::{HistoryUse, Medium, Overflow, Route, reason};

use crate::client::inbound::{InLane, Origin, PublisherIdentity, SubscriberPort};
use crate::client::outbound::{CopyLane, OutLane, WriterCommand};
use crate::client::session::{Offer, OwnHalf, PeerSegment};
use crate::client::shared::PublisherPort;

pub(super) type NewReader = (InLane, u32, PeerSegment<Descriptor>, Descriptor);

/// Makes what a publisher's new lane lies in. Gives what the publisher is told, if anything, and what the subscriber gets.
pub(super) fn make_writer(
    port: &PublisherPort,
    route: &Route,
    options: &SegmentOptions,
) -> Result<(Option<WriterCommand>, OwnHalf<Descriptor>), String> {
    let kept = port
        .history
        .as_ref()
        .filter(|_| route.history != HistoryUse::None);
    let history = kept.map(|history| lend(history.memory().handle()));
    let history = history.transpose().map_err(|error| reason(&error))?;
    let (medium, segment, command) = match (route.history, history) {
        (HistoryUse::Only, Some(history)) => (Medium::History, history, None),
        (HistoryUse::Only, None) => return Err("nothing is kept".into()),
        (_, history) => {
            let (cargo, receiver) = make_courier(route)?.unzip();
            let (medium, memory, command) = make_lane(port, route, options, cargo)?;
            let segment = lend(memory.handle()).map_err(|error| reason(&error))?;
            let mut half = half(port, medium, segment, history)?;
            half.courier = receiver;
            return Ok((Some(command), half));
        }
    };
    Ok((command, half(port, medium, segment, None)?))
}

/// What descriptors go by, where they can: not to another host, and not in a lane that another member of a queue group may
/// read to its end, who has not got what came before.
fn make_courier(route: &Route) -> Result<Option<(CargoSender, Descriptor)>, String> {
    let keeps = !matches!(route.overflow, Overflow::DropOldest | Overflow::Conflate);
    if route.far || route.queue.is_some() || !keeps {
        return Ok(None);
    }
    let Courier { sender, receiver } = Courier::new().map_err(|error| reason(&error))?;
    Ok(Some((CargoSender::new(sender), Arc::new(receiver.into()))))
}

/// The smallest ring for a lane: it holds what waits for it.
fn ring_bytes(port: &PublisherPort, route: &Route) -> Result<usize, String> {
    let selection = Selection {
        patterns: patterns(route)?,
        excludes: excludes(route)?,
    };
    let waiting = port.waitlist.ring_bytes(|topic| selection.takes(topic));
    // With the header behind the last record.
    let waiting = (waiting + CELL_BYTES).next_power_of_two();
    Ok(port.ring_bytes.max(waiting))
}

fn half(
    port: &PublisherPort,
    medium: Medium,
    segment: PeerSegment<Descriptor>,
    history: Option<PeerSegment<Descriptor>>,
) -> Result<OwnHalf<Descriptor>, String> {
    let bell = port.mailbox.bell().try_clone();
    let bell = bell.map_err(|error| reason(&error))?;
    Ok(OwnHalf {
        medium,
        segment,
        bell: Arc::new(OwnedFd::from(bell)),
        courier: None,
        begin: None,
        history,
    })
}

fn make_lane(
    port: &PublisherPort,
    route: &Route,
    options: &SegmentOptions,
    cargo: Option<CargoSender>,
) -> Result<(Medium, OwnMedium, WriterCommand), String> {
    let (medium, kind, least) = match route.overflow {
        Overflow::DropOldest => (Medium::LossyRing, Kind::Ring, port.lossy_bytes),
        Overflow::Conflate => (Medium::Table, Kind::Table, port.table_bytes),
        _ => (Medium::Ring, Kind::Ring, ring_bytes(port, route)?),
    };
    let asked = usize::try_from(route.ring_bytes)
        .ok()
        .and_then(usize::checked_next_power_of_two);
    let capacity = asked
        .map(|asked| asked.max(least))
        .filter(|bytes| *bytes <= MAX_RING_BYTES)
        .ok_or_else(|| {
            format!(
                "{} bytes are needed, {MAX_RING_BYTES} are the most",
                route.ring_bytes.max(least as u64)
            )
        })?;
    let memory = OwnMedium::create(kind, capacity, options).map_err(|error| reason(&error))?;
    let counters = port.counters.lane(
        route.lane,
        &route.subscriber_name,
        &route.patterns.join(" "),
        &port.message_type,
        memory.capacity(),
    );
    let copy = |writer| {
        Ok::<_, String>(WriterCommand::Copy(Box::new(CopyLane {
            lane: route.lane,
            subscriber: route.subscriber_name.as_str().into(),
            writer,
            selection: Selection {
                patterns: patterns(route)?,
                excludes: excludes(route)?,
            },
        })))
    };
    let command = match medium {
        Medium::LossyRing => copy(CopyWriter::lossy(memory.clone(), counters)),
        Medium::Table => {
            let writer = CopyWriter::table(memory.clone(), counters);
            copy(writer.map_err(|error| reason(&error))?)
        }
        _ => {
            let writer = Writer::new(memory.clone(), counters).with_cargo(cargo);
            let mut lane = OutLane::new(
                route.lane,
                &route.subscriber_name,
                writer,
                patterns(route)?,
                route.overflow,
            );
            lane.has_snapshot = port.history.is_some() && route.history == HistoryUse::Snapshot;
            Ok(WriterCommand::Add(Box::new(
                lane.excluding(excludes(route)?),
            )))
        }
    }?;
    Ok((medium, memory, command))
}

/// Maps the cursor page that a subscriber answers with; gives its bell twice, the first within the peer.
pub(super) fn attach(
    segment: PeerSegment<Descriptor>,
    bell: Descriptor,
    area: u32,
    options: MemoryOptions,
) -> Result<(PeerCursor, Peer, BellSender), String> {
    let page = open(segment)
        .and_then(PeerPage::open)
        .map_err(|error| reason(&error))?;
    page.settle(options).map_err(|error| reason(&error))?;
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
    options: MemoryOptions,
) -> Result<NewReader, String> {
    let Offer {
        lane,
        publisher_id: id,
        publisher_name: name,
        publisher,
        medium,
        half,
        history,
        courier,
        inherited,
        ..
    } = offer;
    let message_type = publisher.message_type;
    message_type.validate().map_err(|error| reason(&error))?;
    let kind = match medium {
        Medium::Ring | Medium::LossyRing => Kind::Ring,
        Medium::Table | Medium::History => Kind::Table,
    };
    let memory = open_medium(kind, half.segment, options)?;
    let history = history.map(|history| open_medium(Kind::Table, history, options));
    let history = history.transpose()?;
    let (bell, _) = bells(half.bell)?;
    let cargo = courier.map(open_courier).transpose()?;
    let (origin, from) = beginning(port, inherited)?;
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
        memory.capacity(),
    );
    let peer = Peer::new(bell);
    let reader = match medium {
        Medium::Ring => {
            let mut reader = Reader::new(memory.clone(), area, peer, counters).with_cargo(cargo);
            if origin != Origin::Own {
                reader.keep_account(from);
            }
            LaneReader::Ring(reader)
        }
        _ if origin != Origin::Own => return Err("lanes of queue groups are rings".into()),
        Medium::LossyRing => {
            let reader = CopyReader::lossy(memory.clone(), area, peer, counters);
            LaneReader::Copy(Box::new(reader))
        }
        Medium::Table => {
            let reader = CopyReader::table(memory.clone(), area, peer, counters);
            LaneReader::Copy(Box::new(reader.map_err(|error| reason(&error))?))
        }
        Medium::History => {
            let reader = HistoryReader::new(memory.clone(), area, peer, counters);
            LaneReader::History(Box::new(reader.map_err(|error| reason(&error))?))
        }
    };
    let reader = match history {
        Some(history) => {
            let snapshot = Snapshot::new(history, memory, port.selection());
            LaneReader::behind(snapshot.map_err(|error| reason(&error))?, reader)
        }
        None => reader,
    };
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
    )
    .with_origin(origin);
    Ok((lane, index, segment, Arc::new(own_bell.into())))
}

/// Whose lane it was, and where that one has stopped.
fn beginning(
    port: &SubscriberPort,
    inherited: Option<(Option<PeerSegment<Descriptor>>, u32)>,
) -> Result<(Origin, Account), String> {
    match inherited {
        None if !port.shares => Ok((Origin::Own, Account::default())),
        None => Ok((Origin::Shared, Account::default())),
        Some(_) if !port.shares => Err("the subscriber is in no queue group".into()),
        Some((None, _)) => Ok((Origin::Inherited, Account::default())),
        Some((Some(page), area)) => {
            let page = open(page).and_then(PeerPage::open);
            let account = page.map_err(|error| reason(&error))?.account(area);
            Ok((Origin::Inherited, account.map_err(|error| reason(&error))?))
        }
    }
}

/// The patterns of a route.
pub(super) fn patterns(route: &Route) -> Result<Vec<Pattern>, String> {
    parse(&route.patterns)
}

/// What a route leaves out.
fn excludes(route: &Route) -> Result<Vec<Pattern>, String> {
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

/// The memory of a publisher, mapped.
fn open_medium(
    kind: Kind,
    segment: PeerSegment<Descriptor>,
    options: MemoryOptions,
) -> Result<PeerMedium, String> {
    let medium = open(segment)
        .and_then(|handle| PeerMedium::open(kind, handle))
        .map_err(|error| reason(&error))?;
    medium.settle(options).map_err(|error| reason(&error))?;
    Ok(medium)
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

/// A peer's courier.
fn open_courier(descriptor: Descriptor) -> Result<CargoReceiver, String> {
    let descriptor = owned(descriptor).map_err(|error| reason(&error))?;
    let courier = CourierReceiver::from_peer(descriptor).map_err(|error| reason(&error))?;
    Ok(CargoReceiver::new(courier))
}

/// A peer's bell, twice.
fn bells(descriptor: Descriptor) -> Result<(BellSender, BellSender), String> {
    let descriptor = owned(descriptor).map_err(|error| reason(&error))?;
    let bell = BellSender::from_peer(descriptor).map_err(|error| reason(&error))?;
    let copy = bell.try_clone().map_err(|error| reason(&error))?;
    Ok((bell, copy))
}
