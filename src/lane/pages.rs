//! The cursor pages of one reader of many lanes.

use std::sync::Arc;

use super::{CursorArea, CursorPage};
use crate::segment::{SegmentError, SegmentOptions};

/// The cursor pages of one reader: as many as its lanes need.
pub struct CursorPages {
    /// The newest last; never empty.
    pages: Vec<Arc<CursorPage>>,
    options: SegmentOptions,
    /// Whether areas that come back are kept as they are.
    kept: bool,
}

impl CursorPages {
    /// One page, no area used.
    pub fn create(options: SegmentOptions) -> Result<Self, SegmentError> {
        let first = Arc::new(CursorPage::create(&options)?);
        Ok(Self {
            pages: vec![first],
            options,
            kept: false,
        })
    }

    /// Takes an area, in a new page if all others are in use.
    pub fn area(&mut self) -> Result<(Arc<CursorPage>, CursorArea), SegmentError> {
        let pages = if self.kept { &[] } else { &self.pages[..] };
        for page in pages {
            if let Some(area) = page.area() {
                return Ok((page.clone(), area));
            }
        }
        let page = Arc::new(CursorPage::create(&self.options)?);
        self.pages.push(page.clone());
        let area = page.area().expect("a fresh page has free areas");
        Ok((page, area))
    }

    /// From now on areas are taken in new pages only: what stands in the others stays.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// Says on every page that the reader reads no more.
    pub fn close(&self) {
        self.pages.iter().for_each(|page| page.close());
    }
}
