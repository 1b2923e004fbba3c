//! Where a subscriber is reached by the control thread.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client::mailbox::Mailbox;
use crate::counters::HandleSlot;
use crate::lane::{CursorArea, CursorPage, CursorPages};
use crate::segment::fork::ProcessMark;
use crate::segment::{SegmentError, SegmentOptions};
use crate::topic::{Pattern, Selection};

use super::ReaderCommand;

/// What the control thread needs of a subscriber.
pub(in crate::client) struct SubscriberPort {
    pub(in crate::client) mailbox: Mailbox<ReaderCommand>,
    pages: Mutex<CursorPages>,
    /// Where the subscriber was opened.
    pub(in crate::client) mark: ProcessMark,
    pub(in crate::client) counters: Arc<HandleSlot>,
    /// What it takes of what publishers have kept; what they publish they select themselves.
    selection: Mutex<Selection>,
    /// Whether the subscriber is a member of a queue group.
    pub(in crate::client) shares: bool,
}

impl SubscriberPort {
    pub(in crate::client) fn new(
        mailbox: Mailbox<ReaderCommand>,
        options: SegmentOptions,
        mark: ProcessMark,
        counters: Arc<HandleSlot>,
        selection: Selection,
    ) -> Result<Self, SegmentError> {
        Ok(Self {
            mailbox,
            pages: Mutex::new(CursorPages::create(options)?),
            mark,
            counters,
            selection: Mutex::new(selection),
            shares: false,
        })
    }

    /// The same, of a member of a queue group.
    pub(in crate::client) fn of_member(mut self) -> Self {
        self.shares = true;
        self
    }

    /// From now on no areas are given out: those that come back still say how far their lanes were read.
    pub(super) fn keep_areas(&self) {
        self.pages().keep();
    }

    /// Takes an area, in a new page if all others are in use.
    pub(in crate::client) fn area(&self) -> Result<(Arc<CursorPage>, CursorArea), SegmentError> {
        self.pages().area()
    }

    /// What it takes.
    pub(in crate::client) fn selection(&self) -> Selection {
        let selection = self.selection.lock();
        selection.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It takes other patterns from now on.
    pub(in crate::client) fn set_patterns(&self, patterns: Vec<Pattern>) {
        let mut selection = self
            .selection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        selection.patterns = patterns;
    }

    pub(super) fn close(&self) {
        self.pages().close();
    }

    fn pages(&self) -> MutexGuard<'_, CursorPages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
