//! One lane of a subscriber.

use std::sync::Arc;

use crate::client::error::{LaneFault, RecvError};
use crate::client::gap::{Gap, GapCause};
use crate::lane::{Attachments, CannotHold, CursorPage, LaneReader, MappedRegion};
use crate::message::MessageType;
use crate::ring::Ending;
use crate::segment::fork::ProcessMark;
use crate::wire::{HandleId, LaneId, LaneRefusal};

/// What the control thread tells a subscriber.
pub(in crate::client) enum ReaderCommand {
    Add(Box<InLane>),
    /// The publisher's process has exited: the lane is to be read to its end.
    End {
        lane: LaneId,
    },
    /// A lane that was to come does not.
    Refused {
        publisher: String,
        refusal: LaneRefusal,
    },
}

impl ReaderCommand {
    /// Whether it tells of this lane, and that is a history to be looked at.
    pub(in crate::client) fn is_look(&self, lane: LaneId) -> bool {
        matches!(self, Self::Add(of) if of.lane == lane && of.reader.is_history())
    }
}

/// A lane of a subscriber.
pub(in crate::client) struct InLane {
    pub(super) lane: LaneId,
    pub(super) reader: LaneReader,
    mark: ProcessMark,
    publisher: Arc<PublisherIdentity>,
    pub(super) page: Arc<CursorPage>,
    /// Whether the publisher's process has exited.
    pub(super) ended: bool,
    /// Whether it was told that the lane ended before its publisher did.
    pub(super) told_lost: bool,
    /// Whose lane it was before.
    origin: Origin,
    /// An earlier lane of the same publisher that is not read to its end yet: this one comes after it, or the
    /// publisher's messages would not arrive in order.
    pub(super) behind: Option<LaneId>,
}

/// Whose lane it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Origin {
    /// Nobody's.
    Own,
    /// Nobody's, but if this member of a queue group goes, somebody reads on.
    Shared,
    /// That of another member, which may have taken what comes here.
    Inherited,
}

/// Who publishes on a lane.
#[derive(Debug)]
pub(in crate::client) struct PublisherIdentity {
    /// Its client's number, its handle there.
    pub(in crate::client) id: (u64, HandleId),
    pub(in crate::client) name: String,
    pub(in crate::client) message_type: MessageType,
}

impl InLane {
    pub(in crate::client) fn new(
        lane: LaneId,
        reader: LaneReader,
        mark: ProcessMark,
        publisher: PublisherIdentity,
        page: Arc<CursorPage>,
    ) -> Self {
        Self {
            lane,
            reader,
            mark,
            publisher: Arc::new(publisher),
            page,
            ended: false,
            told_lost: false,
            origin: Origin::Own,
            behind: None,
        }
    }

    pub(in crate::client) fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    pub(in crate::client) fn origin(&self) -> Origin {
        self.origin
    }

    /// How the lane has ended, if it has: nothing comes behind what is visible after this.
    pub(super) fn ending(&self) -> Option<Ending> {
        if self.ended {
            Some(self.reader.ending_by_exit())
        } else {
            self.reader.ending()
        }
    }

    pub(in crate::client) fn lane(&self) -> LaneId {
        self.lane
    }

    pub(in crate::client) fn reader(&self) -> &LaneReader {
        &self.reader
    }

    pub(in crate::client) fn take_regions(&mut self) -> Result<Vec<MappedRegion>, CannotHold> {
        self.reader.take_regions()
    }

    pub(in crate::client) fn attachments(&mut self) -> Option<&mut Attachments> {
        self.reader.attachments()
    }

    #[inline]
    pub(in crate::client) fn sequence(&self) -> u64 {
        self.reader.sequence()
    }

    /// Gives back the message that the last poll found.
    #[inline(always)]
    pub(in crate::client) fn release(&mut self) {
        // A forked child's copy must not move the cursor: its parent may still read the record.
        if !self.mark.is_forked() {
            self.reader.release();
        }
    }

    /// For reading messages in a row.
    #[inline(always)]
    pub(in crate::client) fn reader_mut(&mut self) -> &mut LaneReader {
        &mut self.reader
    }

    /// Tells a forked child.
    #[inline(always)]
    pub(in crate::client) fn mark(&self) -> ProcessMark {
        self.mark
    }

    /// Counts messages that were passed, of so many bytes together, and gives them back if that `is_due`, or later.
    #[inline]
    pub(in crate::client) fn end_run(&mut self, messages: u64, len_bytes: usize, is_due: bool) {
        if !self.mark.is_forked() {
            self.reader.end_run(messages, len_bytes, is_due);
        }
    }

    pub(in crate::client) fn publisher(&self) -> &Arc<PublisherIdentity> {
        &self.publisher
    }
}

/// What a subscriber is told of a lane that was to come and does not.
pub(super) fn refused(publisher: String, refusal: LaneRefusal) -> RecvError {
    match refusal {
        LaneRefusal::TransportLost => RecvError::Gap(Gap {
            lost: 0,
            first_sequence: 0,
            cause: GapCause::TransportLost,
            publisher,
        }),
        refusal => RecvError::Lane {
            publisher,
            cause: LaneFault::Refused(refusal),
        },
    }
}

/// News that are kept until the subscriber asks.
pub(in crate::client) const MOST_REFUSED: usize = 1024;
