//! Waiting on several handles at once, or in an event loop of the application's own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::publisher::Publisher;
use super::subscriber::{Receive, Subscriber};

/// A handle that can be waited on together with others: by [`wait_any`], or in an event loop like this:
///
/// 1. [`announce`](Self::announce) the sleep; false means that it must not come about: as a rule there is something already.
/// 2. If all may sleep, poll the descriptors of all ([`AsFd`]) for reading.
/// 3. [`retire`](Self::retire), in every case; then receive with `try_recv` until there is nothing more, or try to
///    publish again.
///
/// The descriptor is the handle's bell: it becomes readable when somebody rings, which peers do only for a sleep that is
/// announced, once for each. Without the announcement a wake is lost; without the end of it, peers ring for nobody. Never
/// read from the descriptor, write to it, or change its flags: `retire` takes the wake out. It is readable at times when
/// there is nothing, and it is the same for as long as the handle lives, so a reactor may register it once, level- or
/// edge-triggered.
///
/// | handle | sleeps until |
/// |---|---|
/// | [`Subscriber`] | a message, a gap or the end of a lane may be there |
/// | [`Publisher`] | room may be there for the message that the last call refused with [`WouldBlock`] |
/// | [`Timer`] | it expires |
///
/// A [`Client`](crate::Client) has no descriptor: its thread serves its link.
///
/// [`WouldBlock`]: crate::PublishError::WouldBlock
pub trait Waitable: AsFd {
    /// Says that the caller is about to sleep on the descriptor. Whether it may: not if there is something, nor for a
    /// millisecond from the first time on, until the peers of a publisher, or of a subscriber that has polled or slept in its own
    /// thread, know that they have to look after it. From then on they do, which costs them a fence for each message, as long as
    /// the handle lives.
    fn announce(&mut self) -> bool;
    /// The sleep is over, or did not come about.
    fn retire(&mut self);
    /// Whether the handle may have something.
    fn is_ready(&mut self) -> bool;
}

/// Waits until some handle may have something, at most `timeout`; gives the indices of those, none when the time is over.
///
/// ```
/// use std::time::Duration;
/// use ringmain::{Timer, Waitable, wait_any};
///
/// let mut soon = Timer::after(Duration::from_millis(1))?;
/// let mut late = Timer::after(Duration::from_secs(60))?;
/// let handles: &mut [&mut dyn Waitable] = &mut [&mut soon, &mut late];
/// assert_eq!(wait_any(handles, None)?, [0]);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// The system refuses to wait, which it does when it has no memory.
pub fn wait_any(
    handles: &mut [&mut dyn Waitable],
    timeout: Option<Duration>,
) -> io::Result<Vec<usize>> {
    // A time beyond the clock's range is no limit.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let ready = wait_once(handles, deadline)?;
        if !ready.is_empty() || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(ready);
        }
    }
}

fn wait_once(
    handles: &mut [&mut dyn Waitable],
    deadline: Option<Instant>,
) -> io::Result<Vec<usize>> {
    let mut may_sleep = true;
    for handle in handles.iter_mut() {
        may_sleep &= handle.announce();
    }
    let result = if may_sleep {
        poll(handles, deadline)
    } else {
        Ok(())
    };
    handles.iter_mut().for_each(|handle| handle.retire());
    result?;
    let ready = handles
        .iter_mut()
        .enumerate()
        .filter_map(|(index, handle)| handle.is_ready().then_some(index));
    Ok(ready.collect())
}

fn poll(handles: &[&mut dyn Waitable], deadline: Option<Instant>) -> io::Result<()> {
    let mut polled: Vec<_> = handles
        .iter()
        .map(|handle| PollFd::new(handle.as_fd(), PollFlags::POLLIN))
        .collect();
    let left =
        deadline.map(|deadline| TimeSpec::from(deadline.saturating_duration_since(Instant::now())));
    match ppoll(&mut polled, left, None) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Something to be waited on that is ready at a time.
#[derive(Debug)]
pub struct Timer {
    timer: TimerFd,
}

impl Timer {
    /// Ready once, after this time.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn after(time: Duration) -> io::Result<Self> {
        Self::new(Expiration::OneShot, time)
    }

    /// Ready again and again, each time this long after the time before.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn every(period: Duration) -> io::Result<Self> {
        Self::new(Expiration::Interval, period)
    }

    /// How often it has become ready since this was asked last.
    ///
    /// # Errors
    /// The system refuses, which it has no reason to.
    pub fn expirations(&mut self) -> io::Result<u64> {
        let mut count = [0; 8];
        match nix::unistd::read(self.timer.as_fd(), &mut count) {
            Ok(_) => Ok(u64::from_ne_bytes(count)),
            Err(Errno::EAGAIN) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn new(expiration: impl FnOnce(TimeSpec) -> Expiration, time: Duration) -> io::Result<Self> {
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        // Zero would disarm it.
        let time = TimeSpec::from(time.max(Duration::from_nanos(1)));
        timer.set(expiration(time), TimerSetTimeFlags::empty())?;
        Ok(Self { timer })
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

impl Waitable for Timer {
    fn announce(&mut self) -> bool {
        true
    }

    fn retire(&mut self) {}

    fn is_ready(&mut self) -> bool {
        let mut polled = [PollFd::new(self.timer.as_fd(), PollFlags::POLLIN)];
        ppoll(&mut polled, Some(TimeSpec::from(Duration::ZERO)), None).is_ok_and(|ready| ready > 0)
    }
}

impl<T: Receive + ?Sized> AsFd for Subscriber<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inbound().bell.as_fd()
    }
}

impl<T: Receive + ?Sized> Waitable for Subscriber<T> {
    fn announce(&mut self) -> bool {
        self.inbound_mut().announce()
    }

    fn retire(&mut self) {
        self.inbound_mut().retire();
    }

    fn is_ready(&mut self) -> bool {
        self.inbound_mut().has_something()
    }
}

impl<T: ?Sized> AsFd for Publisher<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.outbound().bell.as_fd()
    }
}

impl<T: ?Sized> Waitable for Publisher<T> {
    fn announce(&mut self) -> bool {
        self.outbound_mut().announce_elsewhere()
    }

    fn retire(&mut self) {
        self.outbound_mut().retire();
    }

    fn is_ready(&mut self) -> bool {
        self.outbound_mut().may_go_on()
    }
}
