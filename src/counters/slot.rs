//! Access to a page of counters.
#![allow(unsafe_code)]
//! The one invariant: `page` points to a page that `_keep` keeps alive, and that is accessed as the atomic words of [`Page`]
//! alone.

use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::segment::{PAGE_BYTES, Segment};

use super::page::Page;

/// A page of counters that this process writes.
#[derive(Clone)]
pub(super) struct Slot {
    page: NonNull<Page>,
    _keep: Keep,
}

#[derive(Clone)]
enum Keep {
    Segment { _segment: Arc<Segment> },
    Private { _page: Arc<Page> },
}

impl Slot {
    /// Page `index` of a segment.
    ///
    /// # Panics
    /// When there is no such page.
    pub(super) fn of(segment: &Arc<Segment>, index: usize) -> Self {
        let last_word = index * PAGE_BYTES + PAGE_BYTES - 8;
        assert!(
            segment.try_word(last_word).is_some(),
            "the page lies in the segment"
        );
        let start = segment.data_ptr().wrapping_add(index * PAGE_BYTES);
        Self {
            page: NonNull::new(start.cast()).expect("a mapping does not lie at address 0"),
            _keep: Keep::Segment {
                _segment: segment.clone(),
            },
        }
    }

    /// A page that nobody else sees, for when there is no memory to share.
    pub(super) fn private() -> Self {
        // SAFETY: `Page` consists of integers, for which zeros are values.
        let page: Arc<Page> = Arc::new(unsafe { std::mem::zeroed() });
        Self {
            page: NonNull::from(&*page),
            _keep: Keep::Private { _page: page },
        }
    }
}

impl Deref for Slot {
    type Target = Page;

    #[inline(always)]
    fn deref(&self) -> &Page {
        // SAFETY: mapped or allocated as long as `self` lives, page-aligned or made as a `Page`; atomics may be changed
        // by others meanwhile.
        unsafe { self.page.as_ref() }
    }
}

// SAFETY: atomic access from any thread; what `_keep` holds is `Send` and `Sync`.
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}
