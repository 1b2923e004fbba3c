//! What both contenders have in common: two ends, and how an end waits.

use std::hint::spin_loop;
use std::thread;

use super::message::{Seen, Stamp};
use super::report::LaneCost;
use crate::ending::Failure;

/// Where messages go in.
pub trait Outlet {
    /// Sends a message, waiting for room where there is none. It may stay here until the batch is full.
    fn send(&mut self, stamp: Stamp) -> Result<(), Failure>;
    /// Sends what has stayed here.
    fn flush(&mut self) -> Result<(), Failure>;
    /// What the lane of a stalled subscriber has cost.
    fn cost_of_stall(&self) -> Result<LaneCost, Failure> {
        Ok(LaneCost::default())
    }
}

/// Where messages come out.
pub trait Inlet {
    /// Waits for a message, and reads all of it.
    fn receive(&mut self) -> Result<Seen, Failure>;
    /// Waits for a message; reads it, and those that are there already if that is done in runs.
    #[inline(always)]
    fn receive_run(
        &mut self,
        mut take: impl FnMut(Seen) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        take(self.receive()?)
    }
}

/// How the raw ring waits: it polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// There is a core for each process.
    Alone,
    /// There is not: others may need this one.
    Crowded,
}

impl Idle {
    /// A little rest between two looks: who polls right behind a writer steals its lines.
    #[inline]
    pub fn pause(self) {
        for _ in 0..PAUSES {
            spin_loop();
        }
        if self == Self::Crowded {
            thread::yield_now();
        }
    }
}

/// What was best for a stream of 64 bytes.
const PAUSES: u32 = 64;
