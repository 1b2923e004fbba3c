//! Where a subscriber is reached by the control thread.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client::mailbox::Mailbox;
use crate::counters::HandleSlot;
use crate::lane::{CursorArea, CursorPage, CursorPages};
use crate::segment::fork::ProcessMark;
use crate::segment::{SegmentError, SegmentOptions};

use super::ReaderCommand;

/// What the control thread needs of a subscriber.
pub(in crate::client) struct SubscriberPort {
    pub(in crate::client) mailbox: Mailbox<ReaderCommand>,
    pages: Mutex<CursorPages>,
    /// Where the subscriber was opened.
    pub(in crate::client) mark: ProcessMark,
    pub(in crate::client) counters: Arc<HandleSlot>,
}

impl SubscriberPort {
    pub(in crate::client) fn new(
        mailbox: Mailbox<ReaderCommand>,
        options: SegmentOptions,
        mark: ProcessMark,
        counters: Arc<HandleSlot>,
    ) -> Result<Self, SegmentError> {
        Ok(Self {
            mailbox,
            pages: Mutex::new(CursorPages::create(options)?),
            mark,
            counters,
        })
    }

    /// Takes an area, in a new page if all others are in use.
    pub(in crate::client) fn area(&self) -> Result<(Arc<CursorPage>, CursorArea), SegmentError> {
        self.pages().area()
    }

    pub(super) fn close(&self) {
        self.pages().close();
    }

    fn pages(&self) -> MutexGuard<'_, CursorPages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
