//! How a reader leaves a ring that others read, too.

use crate::ring::{Polled, Position, Switch};
use crate::segment::{Kind, PAGE_BYTES};

use super::reader::cargo_error;
use super::sharing::ring_number;
use super::{CargoError, LaneError, MAX_RING_BYTES, Next, PeerMedium, Reader};

impl Reader {
    /// This reader leaves the ring: it goes on in another one, or has no ring any more.
    #[cold]
    pub(super) fn leave_ring(&mut self, mut switch: Switch) -> Result<Next, LaneError> {
        while self.moves < MOST_IN_A_ROW {
            self.moves += 1;
            if switch.ends() {
                self.has_ended = true;
                let published = self.consumer.pass_switch();
                self.wake(published);
                return Ok(Next::Empty);
            }
            self.go_on()?;
            match self.consumer.poll()? {
                Polled::Switch(next) => switch = next,
                polled => return self.found(polled),
            }
        }
        Err(LaneError::Switches)
    }

    fn go_on(&mut self) -> Result<(), LaneError> {
        let Position(position) = self.consumer.position();
        let cargo = self.cargo.as_mut();
        let number = ring_number(Position(position));
        let limit = (MAX_RING_BYTES + 2 * PAGE_BYTES) as u64;
        let memory = cargo
            .ok_or(CargoError::NoCourier)
            .and_then(|cargo| {
                let memory = cargo.memory(number, Kind::Ring, limit)?;
                cargo.retire(number)?;
                Ok(memory)
            })
            .and_then(|memory| Ok(PeerMedium::of(memory)?))
            .map_err(|error| cargo_error(&error))?;
        if !self.consumer.go_on_in(memory) {
            return Err(LaneError::Switch { position });
        }
        self.rings += 1;
        // The other ring names its topics anew.
        self.topics.clear();
        self.known = None;
        // So are the publisher's sleeps. It may be in one that waits for the end of the ring that was left: the cursor moved without a look
        // at that.
        self.publisher.forget();
        self.publisher.ring();
        Ok(())
    }
}

/// A publisher has a ring read on elsewhere when it has something to write there, but for what others have to do with it.
const MOST_IN_A_ROW: u32 = 64;
