//! Makes what this side gives to a lane, maps what the other side gives.
//!
//! Errors are texts: they travel to the peer as the reason why there is no lane.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::counters::LaneSlot;
use crate::lane::{
    Account, Apart, CargoReceiver, CargoSender, CopyReader, CopyWriter, HistoryReader, LaneReader,
    MAX_RING_BYTES, Member, OwnMedium, Peer, PeerArea, PeerMedium, PeerPage, Reader, Seats,
    Snapshot, Writer,
};
use crate::link::Descriptor;
use crate::ring::{CELL_BYTES, Read, SEATS, bit};
use crate::segment::{Kind, MemoryOptions, SegmentError, SegmentHandle, SegmentOptions};
use crate::topic::{Pattern, Selection};
use crate::wake::{BellSender, Courier, CourierReceiver};
use crate::wire::{HistoryUse, Medium, Overflow, Route, reason};

use crate::client::inbound::{InLane, Origin, PublisherIdentity, SubscriberPort};
use crate::client::open_rings::Stream;
use crate::client::outbound::{CopyLane, Newcomer, OutLane, WriterCommand};
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
            let lane = make_lane(port, route, options, cargo)?;
            let segment = lend(lane.memory.handle()).map_err(|error| reason(&error))?;
            let mut half = half(port, lane.medium, segment, history)?;
            (half.courier, half.begin) = (receiver, lane.begin);
            return Ok((Some(lane.command), half));
        }
    };
    Ok((command, half(port, medium, segment, None)?))
}

/// What descriptors go by, where they can: not to another host, and not in a lane that another member of a queue group may
/// read to its end, who has not got what came before.
fn make_courier(route: &Route) -> Result<Option<(CargoSender, Descriptor)>, String> {
    if route.far || route.queue.is_some() {
        return Ok(None);
    }
    let Courier { sender, receiver } = Courier::new().map_err(|error| reason(&error))?;
    Ok(Some((CargoSender::new(sender), Arc::new(receiver.into()))))
}

/// What waits for a lane takes so much in a ring, in bytes.
fn waiting_bytes(port: &PublisherPort, route: &Route) -> Result<usize, String> {
    let selection = Selection {
        patterns: patterns(route)?,
        excludes: excludes(route)?,
    };
    Ok(port.waitlist.ring_bytes(|topic| selection.takes(topic)))
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

/// What a publisher's lane lies in, and what the publisher is told.
struct NewLane {
    medium: Medium,
    memory: OwnMedium,
    command: WriterCommand,
    /// The subscriber's seat, where it comes to others.
    begin: Option<u32>,
}

fn make_lane(
    port: &PublisherPort,
    route: &Route,
    options: &SegmentOptions,
    cargo: Option<CargoSender>,
) -> Result<NewLane, String> {
    let (medium, kind, least) = match route.overflow {
        Overflow::DropOldest => (Medium::LossyRing, Kind::Ring, port.lossy_bytes),
        Overflow::Conflate => (Medium::Table, Kind::Table, port.table_bytes),
        _ => return make_ring(port, route, options, cargo),
    };
    let capacity = capacity(route, least)?;
    let memory = OwnMedium::create(kind, capacity, options).map_err(|error| reason(&error))?;
    let counters = lane_counters(port, route, capacity);
    let writer = match medium {
        Medium::LossyRing => CopyWriter::lossy(memory.clone(), counters),
        _ => CopyWriter::table(memory.clone(), counters).map_err(|error| reason(&error))?,
    };
    let command = WriterCommand::Copy(Box::new(CopyLane {
        lane: route.lane,
        subscriber: route.subscriber_name.as_str().into(),
        writer: writer.with_cargo(cargo),
        selection: Selection {
            patterns: patterns(route)?,
            excludes: excludes(route)?,
        },
    }));
    Ok(NewLane {
        medium,
        memory,
        command,
        begin: None,
    })
}

/// A ring of its own, or a seat in one that others read who take the same.
fn make_ring(
    port: &PublisherPort,
    route: &Route,
    options: &SegmentOptions,
    cargo: Option<CargoSender>,
) -> Result<NewLane, String> {
    let waiting = waiting_bytes(port, route)?;
    // Where large messages need not be copied, the ring is for short ones.
    let for_messages = match cargo {
        Some(_) => port.pooled_ring_bytes,
        None => port.ring_bytes,
    };
    // With the header behind the last record.
    let least = for_messages.max((waiting + CELL_BYTES).next_power_of_two());
    let capacity = capacity(route, least)?;
    let counters = lane_counters(port, route, capacity);
    let member =
        |cargo| Member::new(route.lane, &route.subscriber_name, counters).with_cargo(cargo);
    let (patterns, excludes) = (patterns(route)?, excludes(route)?);
    // Who leaves a ring needs a courier. What is kept, or waits, is for one subscriber alone.
    let rings = port.rings.as_ref();
    let rings = rings.filter(|_| cargo.is_some() && route.history == HistoryUse::None);
    let stream = Stream::new(route, capacity);
    let seat = rings.filter(|_| waiting == 0);
    if let Some(seat) = seat.and_then(|rings| rings.seat(&stream, route.lane)) {
        return Ok(NewLane {
            medium: Medium::Ring,
            memory: seat.seats().ring().clone(),
            begin: Some(seat.index()),
            command: WriterCommand::Join(Box::new(Newcomer {
                member: member(cargo).with_seat(seat),
                patterns,
                excludes,
                overflow: route.overflow,
            })),
        });
    }
    let memory = OwnMedium::create(Kind::Ring, capacity, options);
    let memory = memory.map_err(|error| reason(&error))?;
    let writer = match rings {
        None => Writer::new(memory.clone(), member(cargo)),
        Some(rings) => {
            let seats = Seats::new(memory.clone(), bit(0));
            rings.open(stream, &seats);
            let mut writer =
                Writer::new(memory.clone(), member(cargo).with_seat(seats.of_first(0)));
            writer.share();
            writer
        }
    };
    let mut lane = OutLane::new(route.lane, writer, patterns, route.overflow);
    lane.has_snapshot = port.history.is_some() && route.history == HistoryUse::Snapshot;
    Ok(NewLane {
        medium: Medium::Ring,
        memory,
        command: WriterCommand::Add(Box::new(lane.excluding(excludes))),
        begin: None,
    })
}

/// Bytes of what a lane lies in.
fn capacity(route: &Route, least: usize) -> Result<usize, String> {
    let asked = usize::try_from(route.ring_bytes)
        .ok()
        .and_then(usize::checked_next_power_of_two);
    asked
        .map(|asked| asked.max(least))
        .filter(|bytes| *bytes <= MAX_RING_BYTES)
        .ok_or_else(|| {
            format!(
                "{} bytes are needed, {MAX_RING_BYTES} are the most",
                route.ring_bytes.max(least as u64)
            )
        })
}

fn lane_counters(port: &PublisherPort, route: &Route, capacity: usize) -> LaneSlot {
    port.counters.lane(
        route.lane,
        &route.subscriber_name,
        &route.patterns.join(" "),
        &port.message_type,
        capacity,
    )
}

/// Maps the cursor page that a subscriber answers with; gives its bell twice, the first within the peer.
pub(super) fn attach(
    segment: PeerSegment<Descriptor>,
    bell: Descriptor,
    area: u32,
    options: MemoryOptions,
) -> Result<(Arc<PeerArea>, Peer, BellSender), String> {
    let page = open(segment)
        .and_then(PeerPage::open)
        .map_err(|error| reason(&error))?;
    page.settle(options).map_err(|error| reason(&error))?;
    let area = Arc::new(page)
        .area(area)
        .ok_or_else(|| format!("it has no area {area}"))?;
    let (bell, copy) = bells(bell)?;
    let peer = Peer::new(bell);
    Ok((Arc::new(area), peer, copy))
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
        begin,
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
    let cargo = courier.map(|courier| open_courier(courier, options));
    let cargo = cargo.transpose()?;
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
            let mut reader =
                Reader::new(memory.clone(), area, peer, counters).with_cargo(cargo, port.mark);
            if origin != Origin::Own {
                reader.keep_account(from);
            }
            match begin {
                None => LaneReader::Ring(reader),
                Some(seat) if seat < SEATS && origin == Origin::Own => {
                    LaneReader::Apart(Box::new(Apart::waiting(reader, seat, lane)))
                }
                Some(seat) => return Err(format!("a ring has no seat {seat} for this lane")),
            }
        }
        _ if origin != Origin::Own => return Err("lanes of queue groups are rings".into()),
        Medium::LossyRing => {
            let reader = CopyReader::lossy(memory.clone(), area, peer, counters);
            LaneReader::Copy(Box::new(reader.with_cargo(cargo, port.mark)))
        }
        Medium::Table => {
            let reader = CopyReader::table(memory.clone(), area, peer, counters);
            let reader = reader.map_err(|error| reason(&error))?;
            LaneReader::Copy(Box::new(reader.with_cargo(cargo, port.mark)))
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
fn open_courier(descriptor: Descriptor, options: MemoryOptions) -> Result<CargoReceiver, String> {
    let descriptor = owned(descriptor).map_err(|error| reason(&error))?;
    let courier = CourierReceiver::from_peer(descriptor).map_err(|error| reason(&error))?;
    Ok(CargoReceiver::new(courier).with_memory(options))
}

/// A peer's bell, twice.
fn bells(descriptor: Descriptor) -> Result<(BellSender, BellSender), String> {
    let descriptor = owned(descriptor).map_err(|error| reason(&error))?;
    let bell = BellSender::from_peer(descriptor).map_err(|error| reason(&error))?;
    let copy = bell.try_clone().map_err(|error| reason(&error))?;
    Ok((bell, copy))
}
