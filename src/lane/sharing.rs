//! A ring with several readers: how they come, leave, and part.

use std::sync::Arc;

use crate::ring::{CELL_BYTES, Position, Read, SEATS, Switch, Tail, bit};
use crate::segment::{Kind, SegmentError, SegmentOptions};
use crate::wire::LaneId;

use super::member::Subscriber;
use super::{Member, OwnMedium, Peer, PeerCursor, Seat, Seats, Writer};

/// A reader that has left a ring, as long as something there is left for it. Its seat is not given to others meanwhile.
pub(super) struct Leaver {
    lane: LaneId,
    seat: u32,
    cursor: Option<PeerCursor>,
    /// Who is to be told that its lane has ended.
    peer: Option<Peer>,
    _seat: Option<Seat>,
}

impl Writer {
    /// Those who read the ring.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        let all = std::iter::once(&self.first).chain(&self.others);
        all.filter(|member| !member.is_gone)
    }

    /// How many these are.
    #[inline]
    pub fn readers(&self) -> u32 {
        self.others.len() as u32 + u32::from(!self.first.is_gone)
    }

    /// The reader of a lane.
    pub fn member(&self, lane: LaneId) -> Option<&Member> {
        self.members().find(|member| member.lane == lane)
    }

    /// Whether several read the ring.
    #[inline]
    pub fn is_shared(&self) -> bool {
        !self.others.is_empty()
    }

    /// From now on others may come, and room is kept for saying that one leaves.
    pub fn share(&mut self) {
        self.producer.keep_room_to_leave();
    }

    /// The seats of the ring, where others may come.
    pub fn seats(&self) -> Option<&Arc<Seats>> {
        self.first.seat.as_ref().map(Seat::seats)
    }

    /// Whether a reader has its seat in this ring.
    pub fn is_for(&self, member: &Member) -> bool {
        let theirs = member.seat.as_ref().map(Seat::seats);
        self.seats()
            .zip(theirs)
            .is_some_and(|(own, theirs)| Arc::ptr_eq(own, theirs))
    }

    /// From now on nobody comes who was not told to.
    pub fn close_seats(&self) {
        if let Some(seats) = self.seats() {
            seats.close();
        }
    }

    /// Whether somebody else than the one who is written for may be read for.
    pub fn has_several_readers(&self) -> bool {
        self.is_shared() || !self.leavers.is_empty()
    }

    /// One more reader, which has a seat: it gets what is written from now on.
    pub fn join(&mut self, mut member: Member) {
        self.producer.abort();
        self.producer.join(member.index());
        member.untold = self.producer.dropped();
        // It knows none.
        self.defined.clear();
        self.ready_for = 0;
        self.others.push(member);
        self.count_once();
        if self.first.is_gone {
            let gone = std::mem::replace(&mut self.first, self.others.swap_remove(0));
            self.count_once();
            // Nobody else has its seat as long as it reads.
            let leaver = self
                .leavers
                .iter_mut()
                .find(|leaver| leaver.lane == gone.lane);
            if let Some(leaver) = leaver {
                leaver._seat = gone.seat;
            }
        }
    }

    /// Has the first member count messages for the others.
    fn count_once(&mut self) {
        self.first.counters.stand_alone();
        for member in &mut self.others {
            member.counters.follow(&self.first.counters);
        }
    }

    /// The subscriber of a lane has answered, whose reader may have left this ring meanwhile.
    pub fn attach_leaver(&mut self, lane: LaneId, cursor: &PeerCursor) {
        let leaver = self.leavers.iter_mut().find(|leaver| leaver.lane == lane);
        if let Some(leaver) = leaver {
            leaver.cursor = Some(cursor.clone());
            self.producer.attach(leaver.seat, cursor.clone());
        }
    }

    /// The subscriber of a lane has answered. What it has, if it does not read this ring.
    pub fn attach(
        &mut self,
        lane: LaneId,
        answer: (PeerCursor, Peer),
    ) -> Option<(PeerCursor, Peer)> {
        let mut all = std::iter::once(&mut self.first).chain(&mut self.others);
        let Some(member) = all.find(|member| member.lane == lane && !member.is_gone) else {
            return Some(answer);
        };
        let (cursor, peer) = answer;
        self.producer.attach(member.index(), cursor.clone());
        member.subscriber = Some(Subscriber { cursor, peer });
        member.wake();
        None
    }

    /// Nothing is written for this lane any more.
    pub fn part_from(&mut self, lane: LaneId, reads_on: ReadsOn) -> Parted {
        if self.member(lane).is_none() {
            return Parted::Unknown;
        }
        self.producer.abort();
        self.ready_for = 0;
        let is_last = self.members().count() == 1;
        if is_last {
            if self.close_unless_awaited() {
                return Parted::Last;
            }
            // Somebody is about to come, who was told of this ring.
            self.first.is_gone = true;
        }
        match self.take_out(lane) {
            Some(member) => self.let_go(member, reads_on),
            // It keeps its place, with its seat, until the one comes who is awaited.
            None if reads_on == ReadsOn::No || self.first.is_closed() => {
                self.producer.remove(self.first.index());
            }
            None => {
                let (seat, subscriber) = (self.first.index(), self.first.subscriber.take());
                self.end(lane, seat, subscriber, None);
            }
        }
        Parted::OneOfSeveral
    }

    /// Whether nobody reads the ring, and nobody is about to.
    pub fn is_deserted(&self) -> bool {
        self.members().next().is_none() && self.close_unless_awaited()
    }

    /// Whether nobody is about to come but those who are here, or were; none comes then.
    pub fn close_unless_awaited(&self) -> bool {
        let all = std::iter::once(&self.first).chain(&self.others);
        let here = all.map(|member| bit(member.index()));
        let present = here.fold(self.left_seats(), |all, seat| all | seat);
        self.seats()
            .is_none_or(|seats| seats.close_unless_awaited(present))
    }

    fn left_seats(&self) -> u64 {
        let seats = self.leavers.iter().map(|leaver| bit(leaver.seat));
        seats.fold(0, |all, seat| all | seat)
    }

    fn let_go(&mut self, member: Member, reads_on: ReadsOn) {
        let seat = member.index();
        if reads_on == ReadsOn::No || member.is_closed() {
            self.producer.remove(seat);
            return;
        }
        self.end(member.lane, seat, member.subscriber, member.seat);
    }

    /// Says that the lane with this seat has ended, and looks after its reader until that has come there.
    fn end(&mut self, lane: LaneId, seat: u32, subscriber: Option<Subscriber>, kept: Option<Seat>) {
        if self.producer.leave(Switch::ending(bit(seat))).is_none() {
            // Before the next message there will be room.
            self.ends |= bit(seat);
        }
        let (cursor, peer) = match subscriber {
            Some(Subscriber { cursor, peer }) => (Some(cursor), Some(peer)),
            None => (None, None),
        };
        if let Some(peer) = &peer {
            peer.ring();
        }
        self.leavers.push(Leaver {
            lane,
            seat,
            cursor,
            peer,
            _seat: kept,
        });
    }

    /// Those who have left and are not waited for: they have read everything, or have gone.
    pub fn forget_leaver(&mut self, lane: LaneId, reads_on: ReadsOn) {
        let (producer, ends) = (&mut self.producer, self.ends);
        self.leavers.retain(|leaver| {
            let is_closed = leaver.cursor.as_ref().is_some_and(PeerCursor::is_closed);
            if is_closed || leaver.lane == lane && reads_on == ReadsOn::No {
                producer.remove(leaver.seat);
            }
            producer.has(leaver.seat) || ends & bit(leaver.seat) != 0
        });
    }

    /// Forgets those who have left and have gone since; whether there were such.
    pub fn forget_leavers(&mut self) -> bool {
        let before = self.leavers.len();
        if before > 0 {
            let _ = self.producer.slowest();
            self.forget_leaver(0, ReadsOn::Yes);
        }
        self.leavers.len() < before
    }

    /// Says that lanes have ended, where there was no room for that.
    #[cold]
    pub(super) fn commit_ends(&mut self) -> bool {
        let done = self.producer.leave(Switch::ending(self.ends)).is_some();
        if done {
            self.ends = 0;
            let peers = self
                .leavers
                .iter()
                .filter_map(|leaver| leaver.peer.as_ref());
            peers.for_each(Peer::ring);
        }
        done
    }

    /// The readers that are well ahead of the slowest. One that is less than an eighth of the ring ahead cannot be told
    /// from the slowest: readers say how far they are each eighth.
    pub fn ahead(&mut self) -> Vec<LaneId> {
        let slowest = self.producer.slowest();
        let eighth = self.ring().capacity() as u64 / 8;
        let is_ahead = |member: &&Member| {
            let seen = self.producer.seen(member.index());
            seen.is_some_and(|seen| seen.0 >= slowest.0 + eighth)
        };
        let ahead = self.members().filter(is_ahead);
        ahead.map(Member::lane).collect()
    }

    /// Whether the slowest is nobody who is written for.
    pub fn is_held_by_leaver(&mut self) -> bool {
        if self.leavers.is_empty() {
            return false;
        }
        let slowest = self.producer.slowest();
        let mut members = self.members();
        members.all(|member| self.producer.seen(member.index()) > Some(slowest))
    }

    /// Has readers go on in another ring, which is made for them: those of these lanes to whom it can be sent.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn part(
        &mut self,
        lanes: &[LaneId],
        options: &SegmentOptions,
    ) -> Result<Split, SegmentError> {
        self.producer.abort();
        if self.ends != 0 && !self.commit_ends() || !self.producer.can_leave() {
            return Ok(Split::None);
        }
        let may_go = |member: &Member| lanes.contains(&member.lane) && member.cargo.is_some();
        if self.members().all(may_go) && !self.close_unless_awaited() {
            // Somebody is about to come, who was told of this ring. Nothing is sent then: by its number the next attempt would be
            // taken for this one.
            return Ok(Split::None);
        }
        let ring = OwnMedium::create(Kind::Ring, self.ring().capacity(), options)?;
        let handle = ring.handle()?;
        let number = ring_number(self.position());
        let goes = |member: &&Member| {
            let cargo = member.cargo.as_ref().filter(|_| member.seat.is_some());
            lanes.contains(&member.lane)
                && cargo.is_some_and(|cargo| cargo.send_memory(number, &handle).unwrap_or(false))
        };
        let going: Vec<_> = self.members().filter(goes).map(Member::lane).collect();
        let all_go = going.len() == 1 + self.others.len();
        let bits = |member: &Member| bit(member.index()) * u64::from(going.contains(&member.lane));
        let seats = self.members().map(bits).fold(0, |all, seat| all | seat);
        if seats == 0 {
            return Ok(Split::None);
        }
        let Some(producer) = self.producer.move_to(ring.clone(), seats) else {
            return Ok(Split::None);
        };
        self.ready_for = 0;
        let left = (self.ring().clone(), self.position());
        let seats = Seats::new(ring, seats);
        if all_go {
            for member in std::iter::once(&mut self.first).chain(&mut self.others) {
                member.move_to(&seats, left.clone());
            }
            // What is left to be read there needs no writer.
            let left = std::mem::replace(&mut self.producer, producer);
            left.close();
            self.leavers.clear();
            self.defined.clear();
            return Ok(Split::All);
        }
        let mut moved = Vec::new();
        for lane in going {
            if let Some(mut member) = self.take_out(lane) {
                let seat = member.index();
                self.leavers.push(Leaver {
                    lane,
                    seat,
                    cursor: member.cursor().cloned(),
                    peer: None,
                    _seat: member.move_to(&seats, left.clone()),
                });
                moved.push(member);
            }
        }
        let first = moved.swap_remove(0);
        let mut other = Self::over(producer, first);
        other.others = moved;
        other.count_once();
        other.attached = self.attached.clone();
        Ok(Split::Some(Box::new(other)))
    }

    /// Takes out one of several members.
    fn take_out(&mut self, lane: LaneId) -> Option<Member> {
        let mut member = if self.first.lane == lane && !self.others.is_empty() {
            let next = self.others.swap_remove(0);
            std::mem::replace(&mut self.first, next)
        } else {
            let index = self.others.iter().position(|other| other.lane == lane)?;
            self.others.swap_remove(index)
        };
        member.counters.stand_alone();
        self.count_once();
        Some(member)
    }

    /// Messages that the subscriber of a lane has not told to have read.
    pub fn unread_messages(&mut self, lane: LaneId) -> u64 {
        let _ = self.producer.slowest();
        let end = self.position();
        let ring = self.ring().clone();
        let all = std::iter::once(&mut self.first).chain(&mut self.others);
        let Some(member) = all.into_iter().find(|member| member.lane == lane) else {
            return 0;
        };
        let from = self.producer.seen(member.index()).unwrap_or(end);
        let before = member.unread_before(from);
        let from = member.before.last().map_or(from, |(_, end)| *end);
        before + Tail::count_messages(ring, from, end)
    }

    /// Messages that were dropped for the subscriber of a lane.
    pub fn dropped_messages(&self, lane: LaneId) -> u64 {
        let untold = self.member(lane).map_or(0, |member| member.untold);
        self.producer.dropped() - untold
    }
}

/// What has become of a writer whose readers were to go on in another ring.
pub enum Split {
    /// Nothing.
    None,
    /// They are read from another writer's.
    Some(Box<Writer>),
    /// All did, so the writer is that of the other ring now.
    All,
}

/// Whether the subscriber of a lane that has ended reads what is left for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadsOn {
    /// Maybe.
    Yes,
    /// It is gone.
    No,
}

/// What it means for a writer that a lane has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parted {
    /// Nothing: the lane is another one's.
    Unknown,
    /// It was one of several, or somebody else is about to come: the writer stays.
    OneOfSeveral,
    /// Nobody is left.
    Last,
}

/// By which number a ring goes by the courier: that of the position where it is said that readers go on there. Others that go
/// this way have lower ones.
pub(super) fn ring_number(at: Position) -> u64 {
    RING_NUMBERS | (at.0 / CELL_BYTES as u64)
}

const RING_NUMBERS: u64 = 1 << SEATS;
