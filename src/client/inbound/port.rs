//! Where a subscriber is reached by the control thread.

use std::sync::{Arc, Mutex, PoisonError};

use crate::client::mailbox::Mailbox;
use crate::counters::HandleSlot;
use crate::lane::{CursorArea, CursorPage};
use crate::segment::{SegmentError, SegmentOptions};

use super::ReaderCommand;

/// What the control thread needs of a subscriber.
pub(in crate::client) struct SubscriberPort {
    pub(in crate::client) mailbox: Mailbox<ReaderCommand>,
    /// Its cursor pages, the newest last.
    pages: Mutex<Vec<Arc<CursorPage>>>,
    options: SegmentOptions,
    pub(in crate::client) counters: Arc<HandleSlot>,
}

impl SubscriberPort {
    pub(in crate::client) fn new(
        mailbox: Mailbox<ReaderCommand>,
        options: SegmentOptions,
        counters: Arc<HandleSlot>,
    ) -> Result<Self, SegmentError> {
        let first = Arc::new(CursorPage::create(&options)?);
        Ok(Self {
            mailbox,
            pages: Mutex::new(vec![first]),
            options,
            counters,
        })
    }

    /// Takes an area, in a new page if all others are in use.
    pub(in crate::client) fn area(&self) -> Result<(Arc<CursorPage>, CursorArea), SegmentError> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        for page in pages.iter() {
            if let Some(area) = page.area() {
                return Ok((page.clone(), area));
            }
        }
        let page = Arc::new(CursorPage::create(&self.options)?);
        pages.push(page.clone());
        let area = page.area().expect("a fresh page has free areas");
        Ok((page, area))
    }

    pub(super) fn close(&self) {
        for page in self
            .pages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            page.close();
        }
    }
}
