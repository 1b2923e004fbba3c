//! The loop of a relay: what comes from either side goes to the other.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use rkyv::util::AlignedVec;

use crate::link::{Link, Outgoing as Frame, Progress, Received};
use crate::wire::{Frame as _, LaneId, Versions};

use super::FarError;
use super::end::{End, Ways};
use super::lanes::Lanes;
use super::packet::{Packet, Sizes};
use super::pulse::{Due, Pulse};
use super::sink::Eagerness;
use super::stream::{Arrived, Incoming, Outgoing};

/// One connection to another host.
pub struct Relay<E: End> {
    end: E,
    pub(super) near: Link<E::Near, E::Far>,
    pub(super) near_progress: Progress,
    /// The near side has closed; what it has said before is still to be read.
    near_hung_up: bool,
    /// The near link may have frames that have come and were not taken: its socket does not tell of those.
    near_left_unread: bool,
    /// Frames that the near link has not been given yet.
    pub(super) to_near: VecDeque<Frame<E::Far>>,
    /// See [`Ways::held`].
    held: BTreeMap<LaneId, Frame<E::Far>>,
    pub(super) far: TcpStream,
    pub(super) incoming: Incoming,
    pub(super) outgoing: Outgoing,
    pub(super) lanes: Lanes,
    pub(super) pulse: Pulse,
    started: Instant,
    /// Whether a frame has come: whoever only says that it lives would keep its place for ever.
    has_joined: bool,
}

/// Why a relay ends.
pub(super) enum Stop {
    /// The near side is done.
    Near,
    /// The far side has said goodbye.
    Goodbye,
    Failed(FarError),
}

/// What is ready.
#[derive(Clone, Copy, Default)]
struct Ready {
    near: bool,
    far: bool,
}

impl<E: End> Relay<E> {
    pub fn new(
        end: E,
        near: UnixStream,
        far: TcpStream,
        patience: Duration,
        frame_bytes: u32,
    ) -> io::Result<Self> {
        near.set_nonblocking(true)?;
        let now = Instant::now();
        Ok(Self {
            end,
            near: Link::new(near, Versions::OURS, frame_bytes),
            near_progress: Progress::Blocked,
            near_hung_up: false,
            near_left_unread: false,
            to_near: VecDeque::new(),
            held: BTreeMap::new(),
            far,
            incoming: Incoming::new(frame_bytes),
            outgoing: Outgoing::new(),
            lanes: Lanes::new()?,
            pulse: Pulse::new(patience, now),
            started: now,
            has_joined: false,
        })
    }

    /// Runs until one of the sides is done, or the connection broke.
    pub fn run(mut self) {
        let stop = self.carry();
        match stop {
            Stop::Near => {
                if let Err(error) = self.say_goodbye() {
                    tracing::warn!(%error, "the other host may not have got everything");
                }
            }
            Stop::Goodbye => self.finish_near(),
            Stop::Failed(error) => {
                tracing::warn!(%error, "the connection to another host ends");
                self.with_ways(E::lost);
                self.finish_near();
            }
        }
        self.with_ways(E::parting);
        // Whatever the other side has ended by itself is not among them any more.
        self.lanes.close();
        // A child that was forked meanwhile may hold the socket, too: closing alone would not tell the other side.
        let _ = self.far.shutdown(Shutdown::Both);
    }

    fn carry(&mut self) -> Stop {
        let mut idle_since = None;
        loop {
            let did = match self.turn(Duration::ZERO) {
                Ok(did) => did,
                Err(stop) => return stop,
            };
            let now = Instant::now();
            let quiet = match self.keep_alive(now) {
                Ok(quiet) => quiet,
                Err(error) => return Stop::Failed(error),
            };
            let Some(quiet) = quiet.filter(|_| !did) else {
                idle_since = None;
                continue;
            };
            if now.duration_since(*idle_since.get_or_insert(now)) < SPIN {
                // Whoever is to be waited for may need this core.
                std::thread::yield_now();
                continue;
            }
            if let Err(stop) = self.sleep(quiet) {
                return stop;
            }
            idle_since = None;
        }
    }

    /// Looks at everything once; whether there was something.
    fn turn(&mut self, timeout: Duration) -> Result<bool, Stop> {
        let ready = self.poll(timeout).map_err(FarError::Wait)?;
        let mut did = ready.far && self.receive_far()?;
        did |= ready.near && self.receive_near()?;
        did |= self.lanes.look_for_exits();
        did |= self.lanes.pump(&mut self.outgoing);
        did |= self.flush()?;
        Ok(did)
    }

    /// Tells the peer that this side lives if it was not told anything for a while, also where there is always something
    /// else to do. How long nothing of the kind is due; `None`: it was said just now.
    fn keep_alive(&mut self, now: Instant) -> Result<Option<Duration>, FarError> {
        let patience = self.pulse.patience();
        if !self.to_near.is_empty() {
            // It is not listened to meanwhile.
            self.pulse.heard(now);
        }
        if !self.has_joined && now.duration_since(self.started) > patience {
            return Err(FarError::NotJoined(patience));
        }
        match self.pulse.due(now) {
            Due::GiveUp => Err(FarError::Silent(patience)),
            Due::Speak => {
                // Behind what the socket does not take it would tell nothing new.
                if self.outgoing.unsent() == 0 {
                    self.lanes.pump_news(&mut self.outgoing, Eagerness::All);
                    Packet::Alive.encode(self.outgoing.buffer());
                }
                self.pulse.spoke(now);
                Ok(None)
            }
            Due::Nothing(quiet) => Ok(Some(quiet)),
        }
    }

    /// Sleeps until something may have happened, as long as `wait` at most.
    fn sleep(&mut self, wait: Duration) -> Result<(), Stop> {
        let wait = match self.near_progress {
            Progress::TooManyInFlight => wait.min(IN_FLIGHT_RETRY),
            _ => wait,
        };
        let result = if self.lanes.announce(self.outgoing.is_roomy()) {
            self.turn_after(wait)
        } else {
            Ok(())
        };
        self.lanes.retire();
        result
    }

    fn turn_after(&mut self, wait: Duration) -> Result<(), Stop> {
        self.poll(wait)
            .map(drop)
            .map_err(|error| FarError::Wait(error).into())
    }

    fn poll(&mut self, timeout: Duration) -> io::Result<Ready> {
        let flags = |reads: bool, writes: bool| {
            let read = if reads {
                PollFlags::POLLIN
            } else {
                PollFlags::empty()
            };
            let write = if writes {
                PollFlags::POLLOUT
            } else {
                PollFlags::empty()
            };
            read | write
        };
        // Nothing is read that the other side does not take: the far stream while frames wait for the near link, the near
        // link while packets wait for the far stream. (Packets of records always have room.)
        let far = flags(self.to_near.is_empty(), self.outgoing.unsent() > 0);
        let near = flags(
            self.outgoing.is_roomy(),
            self.near_progress == Progress::Blocked,
        );
        // The near link without a flag wakes for its end, which must not wait for a peer that takes nothing. The far
        // stream would, too, but its end has to wait.
        let mut polled = vec![PollFd::new(self.near.as_fd(), near)];
        if !far.is_empty() {
            polled.push(PollFd::new(self.far.as_fd(), far));
        }
        if !timeout.is_zero() {
            let others = self.lanes.descriptors();
            polled.extend(others.map(|other| PollFd::new(other, PollFlags::POLLIN)));
        }
        match ppoll(&mut polled, Some(TimeSpec::from(timeout)), None) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Ready::default()),
            Err(error) => return Err(error.into()),
        }
        let revents = |index: usize| {
            let polled: Option<&PollFd<'_>> = polled.get(index);
            polled
                .and_then(PollFd::revents)
                .unwrap_or(PollFlags::POLLIN)
        };
        self.near_hung_up |= revents(0).contains(PollFlags::POLLHUP);
        Ok(Ready {
            near: self.near_hung_up
                || near.contains(PollFlags::POLLIN)
                    && (self.near_left_unread || !revents(0).is_empty()),
            far: far.contains(PollFlags::POLLIN) && !revents(1).is_empty(),
        })
    }

    fn receive_far(&mut self) -> Result<bool, Stop> {
        let arrived = self.incoming.fill(&self.far).map_err(FarError::from)?;
        if arrived == Arrived::Some {
            self.pulse.heard(Instant::now());
        }
        let mut to_near = Vec::new();
        let result = self.take_packets(&mut to_near);
        self.to_near.extend(to_near);
        result?;
        if arrived == Arrived::End {
            return Err(FarError::Gone.into());
        }
        Ok(arrived == Arrived::Some)
    }

    fn take_packets(&mut self, to_near: &mut Vec<Frame<E::Far>>) -> Result<(), Stop> {
        while let Some(packet) = self.incoming.next().map_err(FarError::from)? {
            let (archive, sizes) = match packet {
                Packet::Frame { archive } => (archive, Sizes::default()),
                Packet::Offer { sizes, archive } => (archive, sizes),
                Packet::Goodbye => return Err(Stop::Goodbye),
                packet => {
                    self.lanes.handle(packet)?;
                    if let Packet::Complete { lane, .. } | Packet::Ended { lane, .. } = packet {
                        to_near.extend(self.held.remove(&lane));
                    }
                    continue;
                }
            };
            let mut aligned = AlignedVec::with_capacity(archive.len());
            aligned.extend_from_slice(archive);
            let frame = E::Far::from_archive(&aligned).map_err(FarError::Frame)?;
            self.has_joined = true;
            let mut ways = Ways {
                lanes: &mut self.lanes,
                near: to_near,
                held: &mut self.held,
                far: &mut self.outgoing,
            };
            let before = ways.far.unsent();
            self.end.far(frame, sizes, &mut ways)?;
            self.outgoing
                .count_answers(before)
                .map_err(FarError::from)?;
        }
        Ok(())
    }

    fn receive_near(&mut self) -> Result<bool, Stop> {
        let mut did = false;
        self.near_left_unread = true;
        for _ in 0..FRAMES_PER_TURN {
            // What one that has closed has left is no more than its socket holds.
            if !self.outgoing.is_roomy() && !self.near_hung_up {
                break;
            }
            match self.near.try_recv().map_err(FarError::from)? {
                Received::Frame(frame, descriptors) => {
                    self.with_ways(|end, ways| end.near(frame, descriptors, ways));
                    did = true;
                }
                Received::Later => {
                    self.near_left_unread = false;
                    break;
                }
                Received::Closed => return Err(Stop::Near),
            }
        }
        Ok(did)
    }

    fn flush(&mut self) -> Result<bool, Stop> {
        let mut did = self.flush_near()?;
        if self.outgoing.unsent() > 0 {
            let sent = self.outgoing.flush(&self.far).map_err(FarError::from)?;
            if sent > 0 {
                self.pulse.spoke(Instant::now());
                did = true;
            }
        }
        Ok(did)
    }

    pub(super) fn flush_near(&mut self) -> Result<bool, Stop> {
        let mut did = false;
        if self.near_progress != Progress::Sent {
            self.near_progress = self.near.flush().map_err(FarError::from)?;
        }
        while self.near_progress == Progress::Sent
            && let Some(frame) = self.to_near.pop_front()
        {
            self.near_progress = self.near.try_send(frame).map_err(FarError::from)?;
            did = true;
        }
        if self.near_progress == Progress::Closed {
            // What it has sent before is still to be received; the end comes behind it.
            self.to_near.clear();
        }
        if self.to_near.is_empty() {
            let before = self.outgoing.unsent();
            self.with_ways(E::sent_near);
            self.outgoing
                .count_answers(before)
                .map_err(FarError::from)?;
        }
        Ok(did)
    }

    fn with_ways(&mut self, f: impl FnOnce(&mut E, &mut Ways<'_, E>)) {
        let mut near = Vec::new();
        let mut ways = Ways {
            lanes: &mut self.lanes,
            near: &mut near,
            held: &mut self.held,
            far: &mut self.outgoing,
        };
        f(&mut self.end, &mut ways);
        self.to_near.extend(near);
    }
}

impl<T: Into<FarError>> From<T> for Stop {
    fn from(error: T) -> Self {
        Self::Failed(error.into())
    }
}

/// How long a relay looks on before it sleeps: about as long as a wake takes.
const SPIN: Duration = Duration::from_micros(50);
/// So that a busy link does not keep the lanes waiting.
const FRAMES_PER_TURN: usize = 32;
pub(super) const IN_FLIGHT_RETRY: Duration = Duration::from_millis(10);
