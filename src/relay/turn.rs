//! The loop of a relay: what comes from either side goes to the other.

use std::collections::VecDeque;
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
use crate::wire::{Frame as _, Versions};

use super::FarError;
use super::end::{End, Ring, Ways};
use super::lanes::Lanes;
use super::packet::Packet;
use super::pulse::{Due, Pulse};
use super::sink::Eagerness;
use super::stream::{Arrived, Incoming, Outgoing};

/// One connection to another host.
pub struct Relay<E: End> {
    end: E,
    near: Link<E::Near, E::Far>,
    near_progress: Progress,
    /// Frames that the near link has not been given yet.
    to_near: VecDeque<Frame<E::Far>>,
    far: TcpStream,
    incoming: Incoming,
    outgoing: Outgoing,
    lanes: Lanes,
    pulse: Pulse,
    started: Instant,
}

/// Why a relay ends.
enum Stop {
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
            to_near: VecDeque::new(),
            far,
            incoming: Incoming::new(frame_bytes),
            outgoing: Outgoing::new(),
            lanes: Lanes::new()?,
            pulse: Pulse::new(patience, now),
            started: now,
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
        // Whatever the other side has ended by itself is not among them any more.
        self.lanes.close();
    }

    fn carry(&mut self) -> Stop {
        let mut idle_since = None;
        loop {
            let did = match self.turn(Duration::ZERO) {
                Ok(did) => did,
                Err(stop) => return stop,
            };
            if did {
                idle_since = None;
                continue;
            }
            let now = Instant::now();
            if now.duration_since(*idle_since.get_or_insert(now)) < SPIN {
                // Whoever is to be waited for may need this core.
                std::thread::yield_now();
                continue;
            }
            match self.sleep(now) {
                Ok(()) => idle_since = None,
                Err(stop) => return stop,
            }
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

    /// Sleeps until something may have happened, or it is time to say something.
    fn sleep(&mut self, now: Instant) -> Result<(), Stop> {
        let wait = match self.pulse.due(now) {
            Due::GiveUp => return Err(FarError::Silent(self.pulse.patience()).into()),
            Due::Speak => {
                // Behind what the socket does not take it would tell nothing new.
                if self.outgoing.unsent() == 0 {
                    self.lanes.pump_news(&mut self.outgoing, Eagerness::All);
                    Packet::Alive.encode(self.outgoing.buffer());
                }
                self.pulse.spoke(now);
                return Ok(());
            }
            Due::Nothing(wait) => wait,
        };
        if !self.incoming.is_greeted() && now.duration_since(self.started) > self.pulse.patience() {
            return Err(FarError::Silent(self.pulse.patience()).into());
        }
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
        // A descriptor without a flag would wake for its end only, which must wait, too.
        let streams = [(self.far.as_fd(), far), (self.near.as_fd(), near)];
        let polled_streams = streams.iter().filter(|(_, flags)| !flags.is_empty());
        let mut polled: Vec<_> = polled_streams
            .map(|(stream, flags)| PollFd::new(*stream, *flags))
            .collect();
        if !timeout.is_zero() {
            let others = self.lanes.descriptors();
            polled.extend(others.map(|other| PollFd::new(other, PollFlags::POLLIN)));
        }
        match ppoll(&mut polled, Some(TimeSpec::from(timeout)), None) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Ready::default()),
            Err(error) => return Err(error.into()),
        }
        let far_index = 0;
        let near_index = usize::from(!far.is_empty());
        let is_ready = |index: usize, flags: PollFlags| {
            flags.contains(PollFlags::POLLIN) && polled[index].any().unwrap_or(true)
        };
        Ok(Ready {
            far: is_ready(far_index, far),
            near: is_ready(near_index, near),
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
            match packet {
                Packet::Frame {
                    ring_bytes,
                    news_above,
                    archive,
                } => {
                    let mut aligned = AlignedVec::with_capacity(archive.len());
                    aligned.extend_from_slice(archive);
                    let frame = E::Far::from_archive(&aligned).map_err(FarError::Frame)?;
                    let ring = Ring {
                        bytes: ring_bytes,
                        news_above,
                    };
                    let mut ways = Ways {
                        lanes: &mut self.lanes,
                        near: to_near,
                        far: &mut self.outgoing,
                    };
                    self.end.far(frame, ring, &mut ways)?;
                }
                Packet::Goodbye => return Err(Stop::Goodbye),
                packet => self.lanes.handle(packet)?,
            }
        }
        Ok(())
    }

    fn receive_near(&mut self) -> Result<bool, Stop> {
        let mut did = false;
        for _ in 0..FRAMES_PER_TURN {
            if !self.outgoing.is_roomy() {
                break;
            }
            match self.near.try_recv().map_err(FarError::from)? {
                Received::Frame(frame, descriptors) => {
                    self.with_ways(|end, ways| end.near(frame, descriptors, ways));
                    did = true;
                }
                Received::Later => break,
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

    fn flush_near(&mut self) -> Result<bool, Stop> {
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
            self.with_ways(E::sent_near);
        }
        Ok(did)
    }

    fn with_ways(&mut self, f: impl FnOnce(&mut E, &mut Ways<'_, E>)) {
        let mut near = Vec::new();
        let mut ways = Ways {
            lanes: &mut self.lanes,
            near: &mut near,
            far: &mut self.outgoing,
        };
        f(&mut self.end, &mut ways);
        self.to_near.extend(near);
    }

    /// The far side is done: what it has said before is passed on, or a lane that it has filled would have no reader.
    fn finish_near(&mut self) {
        let deadline = Instant::now() + self.pulse.patience();
        while Instant::now() < deadline && self.flush_near().is_ok() {
            let flags = match self.near_progress {
                Progress::Sent if self.to_near.is_empty() => return,
                Progress::Closed => return,
                Progress::Blocked => PollFlags::POLLOUT,
                Progress::Sent | Progress::TooManyInFlight => PollFlags::empty(),
            };
            let mut polled = [PollFd::new(self.near.as_fd(), flags)];
            let _ = ppoll(&mut polled, Some(TimeSpec::from(IN_FLIGHT_RETRY)), None);
        }
    }

    /// The near side is done: what it has left in its rings is sent, then the other side closes.
    fn say_goodbye(&mut self) -> Result<(), FarError> {
        let mut said = false;
        let mut progress = Instant::now();
        loop {
            let did = self.lanes.pump(&mut self.outgoing);
            if !did && !said && self.outgoing.is_roomy() {
                self.lanes.end_sources(&mut self.outgoing);
                Packet::Goodbye.encode(self.outgoing.buffer());
                said = true;
            }
            if self.outgoing.flush(&self.far)? > 0 {
                progress = Instant::now();
            }
            if said && self.outgoing.unsent() == 0 {
                break;
            }
            if progress.elapsed() > self.pulse.patience() {
                return Err(FarError::Silent(self.pulse.patience()));
            }
            if self.outgoing.unsent() > 0 {
                self.wait_far(PollFlags::POLLOUT)?;
            }
        }
        let _ = self.far.shutdown(Shutdown::Write);
        self.await_end()
    }

    /// Reads until the other side has closed, which it does when it has taken everything.
    fn await_end(&mut self) -> Result<(), FarError> {
        let deadline = Instant::now() + self.pulse.patience();
        loop {
            match self.incoming.fill(&self.far) {
                Ok(Arrived::End) => return Ok(()),
                Ok(Arrived::Nothing) => self.wait_far(PollFlags::POLLIN)?,
                Ok(Arrived::Some) => while self.incoming.next()?.is_some() {},
                Err(error) => return Err(error.into()),
            }
            if Instant::now() > deadline {
                return Err(FarError::Silent(self.pulse.patience()));
            }
        }
    }

    fn wait_far(&self, flags: PollFlags) -> Result<(), FarError> {
        let mut polled = [PollFd::new(self.far.as_fd(), flags)];
        match ppoll(&mut polled, Some(TimeSpec::from(WAIT_STEP)), None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(FarError::Wait(error.into())),
        }
    }
}

impl<T: Into<FarError>> From<T> for Stop {
    fn from(error: T) -> Self {
        Self::Failed(error.into())
    }
}

/// How long a relay looks on before it sleeps: longer than the barrier that a sleep costs.
const SPIN: Duration = Duration::from_micros(50);
/// So that a busy link does not keep the lanes waiting.
const FRAMES_PER_TURN: usize = 32;
const IN_FLIGHT_RETRY: Duration = Duration::from_millis(10);
const WAIT_STEP: Duration = Duration::from_millis(100);
