//! The other side of a lane, as somebody to wake.

use std::sync::Arc;

use crate::doorbell::Waker;
use crate::sync::{AtomicU64, Ordering, fence};
use crate::wake::BellSender;

/// The other side of a lane, as somebody to wake.
pub struct Peer {
    bell: Arc<BellSender>,
    waker: Waker,
}

impl Peer {
    /// Nobody has been woken yet.
    pub fn new(bell: BellSender) -> Self {
        Self {
            bell: Arc::new(bell),
            waker: Waker::default(),
        }
    }

    /// To be called behind the event that the peer may sleep for. A system call only where it does sleep, and once for
    /// each of its sleeps; whether there was one.
    #[inline(always)]
    pub fn wake_if_parked(&mut self, parked: &AtomicU64) -> bool {
        let rings = self.waker.must_ring(parked, || fence(Ordering::SeqCst));
        if rings {
            self.bell.ring();
        }
        rings
    }

    /// Its sleeps are numbered anew.
    pub fn forget(&mut self) {
        self.waker = Waker::default();
    }

    /// The bell alone, to be rung by whoever.
    pub fn bell(&self) -> &Arc<BellSender> {
        &self.bell
    }

    /// Rings whether or not the peer sleeps.
    pub fn ring(&self) {
        self.bell.ring();
    }
}
