//! The two ends of what carries messages, as contenders provide them.

use std::future::Future;
use std::hint::spin_loop;
use std::thread;
use std::time::Instant;

use anyhow::Result;

use crate::stream::PATIENCE;
use crate::task::Wait;

/// Where messages go in.
pub trait Outlet {
    /// Sends one message, which `fill` writes, in place where that is possible. Waits for room where there is none.
    fn send(&mut self, fill: impl FnOnce(&mut [u8])) -> Result<()>;
    /// Sends what stayed here until there is enough.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Where messages come out.
pub trait Inlet {
    /// Waits, and hands over one message or several; false if nothing came for [`PATIENCE`].
    fn receive(&mut self, take: impl FnMut(&[u8])) -> Result<bool>;
}

/// An [`Outlet`] of a runtime. It never keeps messages back.
pub trait AsyncOutlet {
    fn send(&mut self, message: &[u8]) -> impl Future<Output = Result<()>>;
    /// Waits until all that was sent has left.
    fn flush(&mut self) -> impl Future<Output = Result<()>> {
        async { Ok(()) }
    }
}

/// An [`Inlet`] of a runtime.
pub trait AsyncInlet {
    fn receive(&mut self, take: impl FnMut(&[u8])) -> impl Future<Output = Result<bool>>;
}

/// One direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Questions, and streams.
    There,
    /// Answers.
    Back,
}

impl Channel {
    pub fn name(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Back => "back",
        }
    }
}

/// How one side waits by looking again and again.
#[derive(Debug)]
pub struct Polling {
    offers_core: bool,
    looks: u32,
    since: Option<Instant>,
}

impl Polling {
    pub fn new(wait: Wait) -> Self {
        Self {
            offers_core: wait != Wait::Spin,
            looks: 0,
            since: None,
        }
    }

    /// Between two looks that found nothing; false if that has gone on for [`PATIENCE`].
    #[inline(always)]
    pub fn pause(&mut self) -> bool {
        self.looks = self.looks.wrapping_add(1);
        if self.offers_core && self.looks > LOOKS_ALONE {
            thread::yield_now();
        } else {
            spin_loop();
        }
        !self.looks.is_multiple_of(LOOKS_AT_THE_CLOCK) || self.is_patient()
    }

    #[cold]
    fn is_patient(&mut self) -> bool {
        let now = Instant::now();
        now - *self.since.get_or_insert(now) < PATIENCE
    }
}

const LOOKS_ALONE: u32 = 64;
const LOOKS_AT_THE_CLOCK: u32 = 1024;
