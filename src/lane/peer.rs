//! The other side of a lane, as somebody to wake.

use crate::doorbell::Waker;
use crate::sync::AtomicU64;
use crate::wake::{Asymmetry, BellSender};

/// The other side of a lane, as somebody to wake.
pub struct Peer {
    bell: BellSender,
    waker: Waker,
    barrier: Asymmetry,
}

impl Peer {
    /// `sleeper_pays`: what the peer's page says about its barrier.
    pub fn new(bell: BellSender, sleeper_pays: bool) -> Self {
        Self {
            bell,
            waker: Waker::default(),
            barrier: if sleeper_pays {
                Asymmetry::of_process()
            } else {
                Asymmetry::None
            },
        }
    }

    /// To be called behind the event that the peer may sleep for. A system call only where it does sleep, and once for
    /// each of its sleeps; whether there was one.
    #[inline]
    pub fn wake_if_parked(&mut self, parked: &AtomicU64) -> bool {
        let barrier = self.barrier;
        let rings = self.waker.must_ring(parked, || barrier.light());
        if rings {
            self.bell.ring();
        }
        rings
    }

    /// Rings whether or not the peer sleeps.
    pub fn ring(&self) {
        self.bell.ring();
    }
}
