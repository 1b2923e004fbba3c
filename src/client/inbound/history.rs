//! Looking at what publishers have kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::error::{LaneFault, RecvError};
use crate::client::last_values::LookError;
use crate::lane::Unpacked;
use crate::topic::Topic;

use super::{Inbound, PublisherIdentity};

impl Inbound {
    /// Waits until so many lanes have come, or do not come, at most until the deadline.
    pub(in crate::client) fn await_lanes(&mut self, lanes: u32, deadline: Instant) {
        loop {
            // What is told of those that do not come is counted, and of no use else.
            let refused = self.poll().is_err();
            self.absent += u32::from(refused);
            let come = self.lanes.len() as u32 + self.absent;
            let left = deadline.saturating_duration_since(Instant::now());
            if come >= lanes || left.is_zero() || self.mark.is_forked() {
                return;
            }
            if !refused && !self.port.mailbox.has_news(self.seen) {
                // An error is a passing lack of memory: look again, which is what follows.
                let _ = self.bell.wait(Some(left.min(LOOK_AGAIN)));
                self.bell.drain();
            }
        }
    }

    /// Learns which publishers have come and gone.
    pub(in crate::client) fn take_changes(&mut self) -> Result<(), LookError> {
        if self.mark.is_forked() {
            return Err(LookError::Forked);
        }
        // Whoever looks at histories is not told why one is not there.
        while !matches!(self.poll(), Ok(_) | Err(RecvError::BrokerGone)) {}
        Ok(())
    }

    /// Looks a topic up in what the publisher of a lane has kept. `None`: there is no such lane.
    #[expect(clippy::type_complexity, reason = "it says what is found")]
    pub(in crate::client) fn find(
        &mut self,
        index: usize,
        topic: &Topic,
    ) -> Option<Result<Option<(Unpacked, Arc<PublisherIdentity>)>, LaneFault>> {
        let lane = self.lanes.get_mut(index)?;
        let publisher = lane.publisher().clone();
        let found = lane.reader.history().map(|history| history.find(topic));
        Some(match found {
            Some(Ok(Some(parcel))) => Ok(Some((parcel, publisher))),
            Some(Err(error)) => Err(error.into()),
            _ => Ok(None),
        })
    }

    /// What a publisher keeps is of no use.
    pub(in crate::client) fn look_fault(&mut self, index: usize, cause: LaneFault) -> LookError {
        match self.fault(index, cause) {
            RecvError::Lane { publisher, cause } => LookError::Publisher { publisher, cause },
            _ => unreachable!("a fault is one of a lane"),
        }
    }
}

/// A second look, should a bell not have been heard.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
