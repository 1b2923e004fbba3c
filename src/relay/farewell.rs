//! How a relay parts from a side that is still there.

use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::FarError;
use super::end::End;
use super::packet::Packet;
use super::stream::Arrived;
use super::turn::{IN_FLIGHT_RETRY, Relay};
use crate::link::Progress;

impl<E: End> Relay<E> {
    /// The far side is done: what it has said before is passed on, or a lane that it has filled would have no reader.
    pub(super) fn finish_near(&mut self) {
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

    /// The near side is done: what it has left in its rings is sent, then the other side closes. Someone waits for this,
    /// so there is one deadline for all of it, or a peer that takes a little now and then could draw it out.
    pub(super) fn say_goodbye(&mut self) -> Result<(), FarError> {
        let deadline = Instant::now() + self.pulse.patience();
        let mut said = false;
        loop {
            let did = self.lanes.pump(&mut self.outgoing);
            if !did && !said && self.outgoing.is_roomy() {
                self.lanes.end_sources(&mut self.outgoing);
                Packet::Goodbye.encode(self.outgoing.buffer());
                said = true;
            }
            self.outgoing.flush(&self.far)?;
            if said && self.outgoing.unsent() == 0 {
                break;
            }
            if self.outgoing.unsent() > 0 {
                self.wait_far(PollFlags::POLLOUT, deadline)?;
            }
        }
        let _ = self.far.shutdown(Shutdown::Write);
        self.await_end(deadline)
    }

    /// Reads until the other side has closed, which it does when it has taken everything.
    fn await_end(&mut self, deadline: Instant) -> Result<(), FarError> {
        loop {
            match self.incoming.fill(&self.far)? {
                Arrived::End => return Ok(()),
                Arrived::Nothing => {}
                Arrived::Some => while self.incoming.next()?.is_some() {},
            }
            self.wait_far(PollFlags::POLLIN, deadline)?;
        }
    }

    fn wait_far(&self, flags: PollFlags, deadline: Instant) -> Result<(), FarError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(FarError::Silent(self.pulse.patience()));
        }
        let mut polled = [PollFd::new(self.far.as_fd(), flags)];
        let wait = left.min(WAIT_STEP);
        match ppoll(&mut polled, Some(TimeSpec::from(wait)), None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(FarError::Wait(error.into())),
        }
    }
}

const WAIT_STEP: Duration = Duration::from_millis(100);
