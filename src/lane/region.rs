//! Memory that is attached to messages.
//!
//! # Safety
//! The invariant: the bytes of a region are written through a `Region` only, of which there is one, and only while nobody
//! else can read them: before it is shared for the first time, or when all that it was shared with have said that they
//! read it no more. Of another process' region that is trust, as of all that is read in place.
#![allow(unsafe_code)]

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::pool_reader::Kept;
use crate::segment::{ForeignSegment, Kind, Segment, SegmentError, SegmentHandle, SegmentOptions};

/// Memory of this process that can be attached to messages; nobody else reads it.
///
/// It derefs to its bytes. When they are written, [`share`](Region::share) makes of it what can be attached.
///
/// ```
/// use ringmain::Region;
///
/// let mut region = Region::new(1 << 20)?;
/// region[..4].copy_from_slice(b"data");
/// let region = region.share();
/// assert_eq!((&region[..4], region.len()), (&b"data"[..], 1 << 20));
/// # Ok::<(), ringmain::RegionError>(())
/// ```
pub struct Region(Shared);

/// Memory that can be attached to messages, and is not written any more. Clones are the same memory.
///
/// It derefs to its bytes. When all clones are dropped it goes back to the [registry](crate::RegionRegistry) that it is of, or is given
/// up; receivers keep what they have.
#[derive(Clone)]
pub struct SharedRegion(Arc<Shared>);

/// A region that came with a message. It derefs to its bytes.
///
/// The memory is that of the publisher, or a copy where it came from another host. It stays what it is as long as this value
/// lives, whatever becomes of the sample, the subscriber and the publisher.
pub struct MappedRegion(Memory);

/// Why there is no region.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegionError {
    /// The memory cannot be had.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// More than the registry may have.
    #[error(
        "a region of {asked} bytes is asked for, {used} of {limit} are in use: raise the limit, or wait until receivers have dropped theirs"
    )]
    Limit {
        /// Bytes asked for.
        asked: usize,
        /// Bytes of all regions of the registry that cannot be reused.
        used: usize,
        /// The registry's limit in bytes.
        limit: usize,
    },
}

/// Somebody who may read a region.
pub trait Onlooker: Send {
    /// Whether it reads the region of this number no more, and never will.
    fn is_done(&self, number: u64) -> bool;
}

/// The memory, with all who may read it.
pub struct Body {
    segment: Segment,
    /// Bytes that were asked for.
    len: usize,
    number: u64,
    onlookers: Mutex<Vec<Box<dyn Onlooker>>>,
    home: Option<Arc<dyn Home>>,
}

/// Where regions go that nobody needs here any more.
pub trait Home: Send + Sync {
    /// Takes it back.
    fn take_back(&self, region: Body);
}

struct Shared {
    /// `None` only while it is dropped.
    body: Option<Body>,
}

enum Memory {
    Mapped {
        segment: Arc<ForeignSegment>,
        len: usize,
        /// Says when it is dropped that nobody here reads it any more.
        _kept: Kept,
    },
    Copied(Box<[u8]>),
}

impl Region {
    /// Zeroed memory of `len` bytes; rounded up to pages of 4,096 where it lies, which [`len`](slice::len) does not show.
    ///
    /// # Errors
    /// [`RegionError::Segment`]: the length is 0, or the memory is not there.
    pub fn new(len: usize) -> Result<Self, RegionError> {
        Ok(Self::from_body(Body::create(len, None)?))
    }

    pub(crate) fn from_body(body: Body) -> Self {
        Self(Shared { body: Some(body) })
    }

    /// The same memory, to be attached to messages.
    pub fn share(self) -> SharedRegion {
        SharedRegion(Arc::new(self.0))
    }
}

impl Body {
    /// Fresh memory of `len` bytes, which goes home when nobody here needs it.
    pub fn create(len: usize, home: Option<Arc<dyn Home>>) -> Result<Self, SegmentError> {
        let options = SegmentOptions::default();
        let segment = Segment::create(Kind::Region, len, &options)?;
        // Relaxed: only that no two are equal matters.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            segment,
            len,
            number,
            onlookers: Mutex::default(),
            home,
        })
    }

    /// The same memory, used as `len` bytes, at most [`capacity`](Self::capacity).
    pub fn resized(mut self, len: usize) -> Self {
        self.len = len.min(self.capacity());
        self
    }

    /// Bytes that it may be used as.
    pub fn capacity(&self) -> usize {
        self.segment.data_len()
    }

    /// Whether nobody can be reading it but who has this value.
    pub fn is_free(&mut self) -> bool {
        let number = self.number;
        let onlookers = self.onlookers.get_mut();
        let onlookers = onlookers.unwrap_or_else(PoisonError::into_inner);
        onlookers.retain(|onlooker| !onlooker.is_done(number));
        onlookers.is_empty()
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: within the segment, which lives as long as `self`; it began as zeros, and by the invariant nobody
        // writes it while `self` is borrowed.
        unsafe { slice::from_raw_parts(self.segment.data_ptr(), self.len) }
    }
}

impl SharedRegion {
    /// Its number, by which those know it who have got it.
    pub(crate) fn number(&self) -> u64 {
        self.body().number
    }

    /// What others need to map it.
    pub(crate) fn handle(&self) -> Result<SegmentHandle, SegmentError> {
        self.body().segment.handle()
    }

    /// Somebody is about to get it.
    pub(crate) fn show_to(&self, onlooker: Box<dyn Onlooker>) {
        let onlookers = self.body().onlookers.lock();
        let mut onlookers = onlookers.unwrap_or_else(PoisonError::into_inner);
        let number = self.body().number;
        onlookers.retain(|other| !other.is_done(number));
        onlookers.push(onlooker);
    }

    /// The region to be written again, if this is the last clone and nobody who got it reads it any more; else `self`.
    ///
    /// # Errors
    /// `self`: somebody may be reading it.
    pub fn try_unshare(self) -> Result<Region, Self> {
        let mut shared = Arc::try_unwrap(self.0).map_err(Self)?;
        match shared.body.as_mut().expect(TAKEN).is_free() {
            true => Ok(Region(shared)),
            false => Err(Self(Arc::new(shared))),
        }
    }

    fn body(&self) -> &Body {
        self.0.body()
    }
}

impl Shared {
    fn body(&self) -> &Body {
        self.body.as_ref().expect(TAKEN)
    }
}

impl MappedRegion {
    /// Memory of another process, the first bytes of it, so many if it has as many. `kept` is dropped with it.
    pub(super) fn mapped(segment: Arc<ForeignSegment>, len: usize, kept: Kept) -> Self {
        let len = len.min(segment.data_len());
        Self(Memory::Mapped {
            segment,
            len,
            _kept: kept,
        })
    }

    /// What was copied on the way.
    pub(crate) fn copied(bytes: Box<[u8]>) -> Self {
        Self(Memory::Copied(bytes))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && let Some(home) = body.home.clone()
        {
            home.take_back(body);
        }
    }
}

impl Deref for Region {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.body().bytes()
    }
}

impl DerefMut for Region {
    fn deref_mut(&mut self) -> &mut [u8] {
        let body = self.0.body.as_mut().expect(TAKEN);
        // SAFETY: as in `Body::bytes`; `&mut self` is the only access in this process, and others have none, by the
        // invariant.
        unsafe { slice::from_raw_parts_mut(body.segment.data_ptr(), body.len) }
    }
}

impl Deref for SharedRegion {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.body().bytes()
    }
}

impl Deref for MappedRegion {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            // SAFETY: `mapped` has found so many bytes in it; it stays mapped as long as `self`, and its owner does not
            // write it before `_kept` is dropped.
            Memory::Mapped { segment, len, .. } => unsafe {
                slice::from_raw_parts(segment.data_ptr(), *len)
            },
            Memory::Copied(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("len", &self.len()).finish()
    }
}

impl fmt::Debug for SharedRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRegion")
            .field("len", &self.len())
            .finish()
    }
}

impl fmt::Debug for MappedRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedRegion")
            .field("len", &self.len())
            .finish()
    }
}

const TAKEN: &str = "a region has its memory until it is dropped";
/// Numbers of regions; those of pools are below.
static NEXT: AtomicU64 = AtomicU64::new(FIRST_REGION);
/// The number of the first region of a process.
pub const FIRST_REGION: u64 = 1 << 32;
