//! The lanes of one relay, and its sleep.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::doorbell::Sleeper;
use crate::lane::{CursorPage, CursorPages, Peer, PeerPage};
use crate::link::{Descriptor, Peers};
use crate::ring::Ending;
use crate::segment::{SegmentError, SegmentHandle, SegmentOptions};
use crate::sync::{Ordering, fence};
use crate::wake::{Bell, BellReceiver, BellSender, Pidfd};
use crate::wire::{LaneId, Medium, reason};

use super::halves::{Half, PeerHalf, SinkPlan, open_source};
use super::packet::{Packet, Sizes};
use super::sink::{Eagerness, News, Sink};
use super::source::{Pumped, Source};
use super::stream::Outgoing;
use super::{FarError, LANE_BYTES};

/// The lanes of one relay: those that it reads for the other host, those that it writes for it.
pub struct Lanes {
    sources: BTreeMap<LaneId, Source>,
    /// Not read any more, but their publishers may not know it yet: their areas must not go to others.
    left: BTreeMap<LaneId, Source>,
    sinks: BTreeMap<LaneId, Sink>,
    pages: CursorPages,
    sleepers: Vec<(Arc<CursorPage>, Sleeper)>,
    bell: Bell,
    /// The processes of the publishers.
    peers: Peers,
    /// This process, as the other ends of all lanes are told.
    process: Descriptor,
    options: SegmentOptions,
    /// What all `sinks` cost.
    sink_bytes: usize,
    /// The source that was served last.
    turn: LaneId,
}

impl Lanes {
    pub fn new() -> io::Result<Self> {
        let options = SegmentOptions::default();
        let process = Pidfd::open(std::process::id()).map_err(io::Error::other)?;
        Ok(Self {
            sources: BTreeMap::new(),
            left: BTreeMap::new(),
            sinks: BTreeMap::new(),
            pages: CursorPages::create(options).map_err(io::Error::other)?,
            sleepers: Vec::new(),
            bell: Bell::new()?,
            peers: Peers::default(),
            process: Descriptor::new(process.into()),
            options,
            sink_bytes: 0,
            turn: 0,
        })
    }

    /// Takes what a publisher offers, to be sent; gives what the other side has to know to make the same.
    ///
    /// # Errors
    /// Why it cannot be, for the publisher.
    pub fn add_source(
        &mut self,
        lane: LaneId,
        medium: Medium,
        half: PeerHalf,
        process: Option<Descriptor>,
    ) -> Result<Sizes, String> {
        self.forget_ended();
        let (page, area) = self.pages.area().map_err(|error| reason(&error))?;
        let (source, sizes) = open_source(medium, half, area)?;
        if !self
            .sleepers
            .iter()
            .any(|(known, _)| Arc::ptr_eq(known, &page))
        {
            self.sleepers.push((page, Sleeper::default()));
        }
        if let Some(process) = process {
            self.peers.watch(process, lane);
        }
        self.sources.insert(lane, source);
        Ok(sizes)
    }

    /// What the publisher of a source gets: the cursor page; with the area. `None` if there is no such source.
    pub fn accept_source(&self, lane: LaneId) -> Option<Result<(Half, u32), SegmentError>> {
        let area = self.sources.get(&lane)?.area();
        let page = area.page().handle();
        let half = page.and_then(|page| self.half(page, None));
        Some(half.map(|half| (half, area.index())))
    }

    /// Makes a lane for what comes; gives what its subscriber gets.
    ///
    /// # Errors
    /// Why it cannot be made, for the publisher.
    pub fn add_sink(&mut self, lane: LaneId, plan: &SinkPlan) -> Result<Half, String> {
        if self.sinks.contains_key(&lane) {
            return Err("the lane is there already".into());
        }
        let bytes = self.sink_bytes + plan.cost();
        if bytes > LANE_BYTES {
            return Err(format!(
                "its lanes take {bytes} bytes, {LANE_BYTES} are the most for one client on another host"
            ));
        }
        let made = plan.make(&self.options).map_err(|error| reason(&error))?;
        let half = self.half(made.segment, made.history);
        let half = half.map_err(|error| reason(&error))?;
        self.sink_bytes = bytes;
        self.sinks.insert(lane, made.sink);
        Ok(half)
    }

    /// The subscriber of a sink has mapped its ring.
    ///
    /// # Errors
    /// Why its cursor page cannot be used.
    pub fn attach_sink(&mut self, lane: LaneId, half: PeerHalf, area: u32) -> Result<(), String> {
        let bell = BellSender::from_peer(half.bell).map_err(|error| reason(&error))?;
        let Some(sink) = self.sinks.get_mut(&lane) else {
            // All of it came, and its end, while nobody knew the bell: that may have found the subscriber asleep.
            bell.ring();
            return Ok(());
        };
        let page = Arc::new(PeerPage::open(half.segment).map_err(|error| reason(&error))?);
        let cursor = page
            .cursor(area)
            .ok_or_else(|| format!("it has no area {area}"))?;
        let peer = Peer::new(bell);
        sink.attach(cursor, peer);
        Ok(())
    }

    /// A lane is read, or written, no more.
    pub fn remove_sink(&mut self, lane: LaneId, ending: Ending) {
        if let Some(mut sink) = self.sinks.remove(&lane) {
            self.sink_bytes -= sink.cost();
            sink.close(ending);
        }
    }

    pub fn remove_source(&mut self, lane: LaneId) {
        if let Some(source) = self.sources.remove(&lane) {
            source.leave();
            self.left.insert(lane, source);
            self.forget_ended();
        }
    }

    /// Takes in a packet about a lane; one about a lane that has ended is ignored.
    ///
    /// # Errors
    /// The other side broke the rules.
    pub fn handle(&mut self, packet: Packet<'_>) -> Result<(), FarError> {
        match packet {
            Packet::Records { lane, .. }
            | Packet::Drops { lane, .. }
            | Packet::Parcel { lane, .. }
            | Packet::Value { lane, .. }
            | Packet::Vacated { lane, .. }
            | Packet::Complete { lane, .. }
            | Packet::Start { lane, .. } => {
                if let Some(sink) = self.sinks.get_mut(&lane) {
                    let cost = sink.cost();
                    sink.take(packet)?;
                    self.sink_bytes -= cost - sink.cost();
                }
            }
            Packet::Ended { lane, ending } => self.remove_sink(lane, ending),
            Packet::Cursor { lane, position } => {
                if let Some(source) = self.sources.get_mut(&lane) {
                    source.set_cursor(position)?;
                }
            }
            Packet::Left { lane } => self.remove_source(lane),
            Packet::Frame { .. } | Packet::Offer { .. } | Packet::Alive | Packet::Goodbye => {}
        }
        Ok(())
    }

    /// Appends what the other side is to get while there is room; whether there was something.
    pub fn pump(&mut self, out: &mut Outgoing) -> bool {
        let mut did = self.pump_news(out, Eagerness::Due);
        let behind = (Bound::Excluded(self.turn), Bound::Unbounded);
        let mut lanes: Vec<LaneId> = self.sources.range(behind).map(|(lane, _)| *lane).collect();
        lanes.extend(self.sources.range(..=self.turn).map(|(lane, _)| *lane));
        for lane in lanes {
            if !out.is_roomy() {
                break;
            }
            self.turn = lane;
            did |= self.pump_source(lane, out);
        }
        // Their publishers ring when they part.
        self.forget_ended();
        did
    }

    /// Appends all that a source has, whether there is room or not: at most what its ring takes.
    pub fn pump_all_of(&mut self, lane: LaneId, out: &mut Outgoing) {
        while self.pump_source(lane, out) {}
    }

    /// Appends what a source has, or a part of it; whether there was something.
    fn pump_source(&mut self, lane: LaneId, out: &mut Outgoing) -> bool {
        let Some(source) = self.sources.get_mut(&lane) else {
            return false;
        };
        match source.pump(lane, out.buffer()) {
            Ok(Pumped::Nothing) => return false,
            Ok(Pumped::Some) => {}
            Ok(Pumped::Last) => self.remove_source(lane),
            Err(violation) => {
                tracing::warn!(lane, %violation, "a publisher broke its lane: it ends for another host");
                self.end_source(lane, out);
            }
        }
        true
    }

    /// Notes which publishers' processes have exited; whether there were some.
    pub fn look_for_exits(&mut self) -> bool {
        let exited = self.peers.exited();
        for lane in &exited {
            let sources = [&mut self.sources, &mut self.left];
            for source in sources
                .into_iter()
                .filter_map(|sources| sources.get_mut(lane))
            {
                source.set_exited();
            }
        }
        !exited.is_empty()
    }

    /// What to poll: the bell, the publishers' processes.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.bell().as_fd()).chain(self.peers.processes())
    }

    /// Says that this side is about to sleep; `may_send`: whether it could send what it finds. Whether it may sleep;
    /// [`Lanes::retire`] must follow in either case.
    pub fn announce(&mut self, may_send: bool) -> bool {
        if !may_send {
            // Nothing that a ring can tell is of use before the socket takes data.
            return true;
        }
        // One fence, below, for all of them.
        for (page, sleeper) in &mut self.sleepers {
            sleeper.announce(page.parked(), || (), || false);
        }
        self.sinks.values_mut().for_each(Sink::announce);
        fence(Ordering::SeqCst);
        !self.sources.values().any(Source::has_something)
            && !self.sinks.values_mut().any(Sink::has_news)
    }

    pub fn retire(&mut self) {
        for (page, sleeper) in &mut self.sleepers {
            sleeper.retire(page.parked());
        }
        self.sinks.values_mut().for_each(Sink::retire);
        self.bell().drain();
    }

    /// Ends all lanes: what the other host would have read or written from here on is lost.
    pub fn close(&mut self) {
        let sinks: Vec<_> = self.sinks.keys().copied().collect();
        for lane in sinks {
            self.remove_sink(lane, Ending::TransportLost);
        }
        let sources: Vec<_> = self.sources.keys().copied().collect();
        sources
            .into_iter()
            .for_each(|lane| self.remove_source(lane));
    }

    /// Reads no more and tells nobody, for publishers that learn otherwise what has become of their lanes.
    pub fn forget_sources(&mut self) {
        self.sources.clear();
    }

    /// Ends what is still read: tells the other side that there may have been more.
    pub fn end_sources(&mut self, out: &mut Outgoing) {
        let sources: Vec<_> = self.sources.keys().copied().collect();
        for lane in sources {
            self.end_source(lane, out);
        }
    }

    /// Ends a source that has no memory of its own, which would say that it has ended, behind what is there.
    pub fn end_shared(&mut self, lane: LaneId, out: &mut Outgoing) {
        if self.sources.get(&lane).is_some_and(Source::is_shared) {
            self.pump_source(lane, out);
            let ending = Ending::Closed;
            Packet::Ended { lane, ending }.encode(out.buffer());
            // Its publisher looks at no cursor.
            self.sources.remove(&lane);
            self.peers.forget(lane);
        }
    }

    /// Ends one of those.
    pub fn end_source(&mut self, lane: LaneId, out: &mut Outgoing) {
        let ending = Ending::TransportLost;
        Packet::Ended { lane, ending }.encode(out.buffer());
        self.remove_source(lane);
    }

    fn forget_ended(&mut self) {
        for (lane, _) in self.left.extract_if(.., |_, source| source.has_ended()) {
            self.peers.forget(lane);
        }
    }

    /// Appends what the other side is to know of the readers; whether there was something.
    pub fn pump_news(&mut self, out: &mut Outgoing, eagerness: Eagerness) -> bool {
        let mut did = false;
        let mut left = Vec::new();
        for (&lane, sink) in &mut self.sinks {
            if !out.is_roomy() {
                break;
            }
            let packet = match sink.news(eagerness) {
                None => continue,
                Some(News::Cursor(position)) => Packet::Cursor {
                    lane,
                    position: position.0,
                },
                Some(News::Left) => {
                    left.push(lane);
                    Packet::Left { lane }
                }
            };
            packet.encode(out.buffer());
            did = true;
        }
        // Nobody reads what may still come, and the other side says nothing more of it.
        for lane in left {
            self.remove_sink(lane, Ending::Closed);
        }
        did
    }

    fn half(
        &self,
        segment: SegmentHandle,
        history: Option<SegmentHandle>,
    ) -> Result<Half, SegmentError> {
        let bell = self
            .bell
            .sender
            .try_clone()
            .map_err(|source| SegmentError::System {
                call: "dup",
                source,
            })?;
        Ok(Half::new(self.process.clone(), segment, bell, history))
    }

    fn bell(&self) -> &BellReceiver {
        &self.bell.receiver
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wake::Wait;

    /// It may have looked while the ring was empty, and sleep.
    #[test]
    fn a_subscriber_that_answers_when_its_lane_has_ended_is_rung() {
        let mut lanes = Lanes::new().unwrap();
        let sizes = Sizes {
            bytes: 4096,
            ..Sizes::default()
        };
        let plan = SinkPlan::new(Medium::Ring, false, sizes).unwrap();
        lanes.add_sink(1, &plan).unwrap();
        lanes.remove_sink(1, Ending::Closed);
        let page = CursorPage::create(&SegmentOptions::default()).unwrap();
        let bell = Bell::new().unwrap();
        let half = PeerHalf {
            segment: page.handle().unwrap(),
            bell: bell.sender.into(),
            history: None,
        };
        lanes.attach_sink(1, half, 0).unwrap();
        let rung = bell.receiver.wait(Some(Duration::ZERO)).unwrap();
        assert_eq!(rung, Wait::Rung);
    }
}
