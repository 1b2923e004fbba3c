//! What a subscriber does with input that does not decode.

use crate::message::ViewError;

use super::error::RecvError;
use super::sample::{self, Checked};
use super::subscriber::{Receive, Subscriber};

/// What a subscriber does with a message whose bytes are no value of its type, which only a publisher that breaks the rules
/// sends. In each case it is counted, by [`Subscriber::undecodable`] and in the lane's counters, and has a sequence number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Undecodable {
    /// Ends the lane: [`RecvError::Lane`] tells so, and nothing more comes from that publisher.
    #[default]
    EndLane,
    /// Says so with [`RecvError::Undecodable`], and goes on behind it.
    Report,
    /// Goes on behind it at once.
    Skip,
}

impl<T: ?Sized> Subscriber<T> {
    /// How many messages did not decode so far.
    pub fn undecodable(&self) -> u64 {
        self.undecodable.count
    }
}

impl<T: Receive + ?Sized> Subscriber<T> {
    /// Checks the message that was found in this lane; `None` if it is passed over.
    #[inline(never)]
    pub(super) fn check_any(&mut self, lane: usize) -> Result<Option<Checked<T::View>>, RecvError> {
        match sample::check::<T>(self.inbound_mut().lane(lane)) {
            Ok(checked) => Ok(Some(checked)),
            Err(cause) => self.pass_over(lane, cause).map(|()| None),
        }
    }

    /// Does with the message in this lane what was chosen.
    #[cold]
    fn pass_over(&mut self, lane: usize, cause: ViewError) -> Result<(), RecvError> {
        self.undecodable.count += 1;
        let choice = self.undecodable.choice;
        let found = self.inbound_mut().lane(lane);
        found.reader().counters().undecodable();
        let result = match choice {
            Undecodable::EndLane => return Err(self.inbound_mut().fault(lane, cause.into())),
            Undecodable::Skip => Ok(()),
            Undecodable::Report => Err(RecvError::Undecodable {
                publisher: found.publisher().name.clone(),
                topic: found
                    .reader()
                    .topic()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                sequence: found.sequence(),
                cause,
            }),
        };
        found.release();
        result
    }
}

/// What was chosen, and how often it happened.
#[derive(Debug, Default)]
pub(super) struct Undecoded {
    pub(super) choice: Undecodable,
    pub(super) count: u64,
}
