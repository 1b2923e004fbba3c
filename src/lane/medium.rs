//! What lanes lie in: rings and tables, in segments.
//!
//! # Safety
//! The invariant: `control` and `ring` point into the mapping that the same value keeps alive, `capacity` bytes of ring
//! behind one control page. Offsets are below `capacity` by the contract of [`ring::Read`]. Words that the peer may
//! write now are accessed as atomics only.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use rkyv::util::AlignedVec;

use crate::ring::{self, Control, SeatWord};
use crate::segment::{
    ForeignSegment, Kind, MemoryOptions, Segment, SegmentError, SegmentHandle, SegmentOptions,
};
use crate::sync::{AtomicU64, Ordering};
use crate::table;

use super::{MAX_RING_BYTES, MIN_RING_BYTES};

/// A ring, or a table, that this process writes; clones share the memory.
#[derive(Clone)]
pub struct OwnMedium {
    view: View,
    segment: Arc<Segment>,
}

/// A ring, or a table, of another process; clones share the memory.
#[derive(Clone)]
pub struct PeerMedium {
    view: View,
    segment: Arc<ForeignSegment>,
}

/// What both have: a mapped ring.
trait Memory {
    fn view(&self) -> &View;
}

#[derive(Clone, Copy)]
struct View {
    control: NonNull<u8>,
    ring: NonNull<u8>,
    capacity: usize,
}

// SAFETY: the memory is accessed through atomics, and by the ring's protocol; the mapping moves along.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl OwnMedium {
    /// A fresh one of `capacity` bytes, a power of two between `MIN_RING_BYTES` and `MAX_RING_BYTES`; `kind` is that of its
    /// segment.
    pub fn create(
        kind: Kind,
        capacity: usize,
        options: &SegmentOptions,
    ) -> Result<Self, SegmentError> {
        debug_assert!(
            capacity.is_power_of_two() && (MIN_RING_BYTES..=MAX_RING_BYTES).contains(&capacity)
        );
        let segment = Segment::create(kind, CONTROL_BYTES + capacity, options)?;
        let view = View::new(segment.data_ptr(), capacity);
        Ok(Self {
            view,
            segment: Arc::new(segment),
        })
    }

    /// What the subscriber needs to map it.
    pub fn handle(&self) -> Result<SegmentHandle, SegmentError> {
        self.segment.handle()
    }
}

impl PeerMedium {
    /// Maps what a publisher offers.
    pub fn open(kind: Kind, handle: SegmentHandle) -> Result<Self, SegmentError> {
        let limit = MAX_RING_BYTES + CONTROL_BYTES + crate::segment::PAGE_BYTES;
        let segment = ForeignSegment::open(handle, kind, limit as u64)?;
        Self::over(kind, Arc::new(segment))
    }

    /// A ring that is mapped already.
    pub fn of(segment: Arc<ForeignSegment>) -> Result<Self, SegmentError> {
        Self::over(Kind::Ring, segment)
    }

    fn over(kind: Kind, segment: Arc<ForeignSegment>) -> Result<Self, SegmentError> {
        let capacity = segment.data_len() - CONTROL_BYTES.min(segment.data_len());
        if !capacity.is_power_of_two() || capacity < MIN_RING_BYTES {
            return Err(SegmentError::Shape {
                kind,
                data_len: segment.data_len() as u64,
            });
        }
        Ok(Self {
            view: View::new(segment.data_ptr().cast_mut(), capacity),
            segment,
        })
    }

    /// Has the memory as this process wants it.
    pub fn settle(&self, memory: MemoryOptions) -> Result<(), SegmentError> {
        self.segment.settle(memory)
    }
}

impl View {
    fn new(data: *mut u8, capacity: usize) -> Self {
        let control = NonNull::new(data).expect("a mapping does not lie at address 0");
        // SAFETY: the data is one control page longer than the ring.
        let ring = unsafe { control.add(CONTROL_BYTES) };
        Self {
            control,
            ring,
            capacity,
        }
    }

    #[inline(always)]
    fn ring_word(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(offset + 8 <= self.capacity && offset.is_multiple_of(8));
        // SAFETY: in bounds, for `offset` is a multiple of 8 below a capacity that is one too.
        let word = unsafe { self.ring.add(offset) }.cast::<AtomicU64>();
        // SAFETY: mapped and aligned as long as `self` lives; the peer, if it writes here, does so atomically, and what a
        // hostile one does to the value is checked by the caller.
        unsafe { word.as_ref() }
    }

    #[inline(always)]
    fn control(&self, word: Control) -> &AtomicU64 {
        // SAFETY: `Control` values are offsets within one page.
        let word = unsafe { self.control.add(word as usize) }.cast::<AtomicU64>();
        // SAFETY: as in `ring_word`.
        unsafe { word.as_ref() }
    }

    fn seat(&self, seat: u32, word: SeatWord) -> &AtomicU64 {
        assert!(seat < ring::SEATS);
        // SAFETY: `SEATS` seats lie within the page.
        let word = unsafe {
            self.control
                .add(SEATS_AT + seat as usize * SEAT_BYTES + word as usize)
        };
        // SAFETY: as in `ring_word`.
        unsafe { word.cast::<AtomicU64>().as_ref() }
    }

    fn copy_out(&self, offset: usize, out: &mut [u8]) {
        assert!(offset <= self.capacity && out.len() <= self.capacity - offset);
        // Relaxed: ordered by the record's commit word. Whole words, for the payload is padded to 16 bytes.
        let word = |at: usize| {
            self.ring_word(offset + at)
                .load(Ordering::Relaxed)
                .to_ne_bytes()
        };
        let behind = out.len() / 8 * 8;
        let (words, rest) = out.as_chunks_mut::<8>();
        for (index, bytes) in words.iter_mut().enumerate() {
            *bytes = word(8 * index);
        }
        if !rest.is_empty() {
            rest.copy_from_slice(&word(behind)[..rest.len()]);
        }
    }
}

impl<M: Memory> ring::Read for M {
    #[inline(always)]
    fn capacity(&self) -> usize {
        self.view().capacity
    }

    #[inline(always)]
    fn commit_word(&self, offset: usize) -> &AtomicU64 {
        self.view().ring_word(offset)
    }

    #[inline(always)]
    fn load_detail(&self, offset: usize) -> u64 {
        self.view().ring_word(offset + 8).load(Ordering::Relaxed)
    }

    fn copy_out(&self, offset: usize, out: &mut [u8]) {
        self.view().copy_out(offset, out);
    }

    #[inline(always)]
    fn control(&self, word: Control) -> &AtomicU64 {
        self.view().control(word)
    }

    fn seat(&self, seat: u32, word: SeatWord) -> &AtomicU64 {
        self.view().seat(seat, word)
    }
}

impl Memory for OwnMedium {
    #[inline(always)]
    fn view(&self) -> &View {
        &self.view
    }
}

impl Memory for PeerMedium {
    #[inline(always)]
    fn view(&self) -> &View {
        &self.view
    }
}

/// A ring that this process writes, while that is kept by somebody.
#[derive(Clone, Copy)]
pub struct OwnCells<'a> {
    view: View,
    _kept: PhantomData<&'a OwnMedium>,
}

/// What this process writes.
trait OwnMemory: Memory {}

impl OwnMemory for OwnMedium {}
impl OwnMemory for OwnCells<'_> {}

impl Memory for OwnCells<'_> {
    #[inline(always)]
    fn view(&self) -> &View {
        &self.view
    }
}

impl ring::Cells for OwnMedium {
    type Cells<'a> = OwnCells<'a>;

    #[inline(always)]
    fn cells(&self) -> OwnCells<'_> {
        OwnCells {
            view: self.view,
            _kept: PhantomData,
        }
    }
}

impl<M: OwnMemory> ring::Write for M {
    #[inline(always)]
    fn store_detail(&self, offset: usize, detail: u64) {
        self.view()
            .ring_word(offset + 8)
            .store(detail, Ordering::Relaxed);
    }

    #[inline(always)]
    fn prefetch(&self, offset: usize) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint; it reads and writes nothing, and does not fault. Processors that do not know it pass over it.
        unsafe {
            std::arch::asm!("prefetchw [{} + {}]", in(reg) self.view().ring.as_ptr(), in(reg) offset, options(nostack, preserves_flags));
        }
    }

    #[inline]
    fn copy_in(&self, offset: usize, bytes: &[u8]) {
        let View { ring, capacity, .. } = *self.view();
        assert!(offset <= capacity && bytes.len() <= capacity - offset);
        // SAFETY: in bounds.
        let start = unsafe { ring.add(offset) };
        // SAFETY: in bounds; the record is not committed, so no reader looks here, and `bytes` lies elsewhere, for a
        // ring is never copied into itself.
        unsafe {
            start
                .as_ptr()
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        }
    }
}

impl<M: Memory> table::Words for M {
    #[inline]
    fn words(&self) -> &[AtomicU64] {
        let view = self.view();
        // SAFETY: mapped and aligned as long as `self` lives, `capacity` bytes of it, a multiple of 8; whoever writes here
        // does so atomically, as tables do.
        unsafe { slice::from_raw_parts(view.ring.as_ptr().cast(), view.capacity / 8) }
    }
}

impl table::WordsMut for OwnMedium {}

// SAFETY: `ring` starts a page-aligned part of one mapping, `capacity` bytes long, writable, and kept by `segment`.
unsafe impl ring::InPlace for OwnMedium {
    #[inline(always)]
    fn address(&self, offset: usize) -> *mut u8 {
        self.view.ring.as_ptr().wrapping_add(offset)
    }
}

// SAFETY: as above; kept by whoever has lent it.
unsafe impl ring::InPlace for OwnCells<'_> {
    #[inline(always)]
    fn address(&self, offset: usize) -> *mut u8 {
        self.view.ring.as_ptr().wrapping_add(offset)
    }
}

// SAFETY: as above, read-only, which is enough where there is no `Write`.
unsafe impl ring::InPlace for PeerMedium {
    #[inline(always)]
    fn address(&self, offset: usize) -> *mut u8 {
        self.view.ring.as_ptr().wrapping_add(offset)
    }
}

/// What a lossy ring gives is copied to where a value can be read in place.
impl<const ALIGNMENT: usize> ring::lossy::Buffer for AlignedVec<ALIGNMENT> {
    #[inline]
    fn lend(&mut self, len_bytes: usize) -> &mut [u8] {
        self.resize(len_bytes, 0);
        self.as_mut_slice()
    }
}

/// Bytes of the control page in front of the ring. The ring itself is page-aligned then.
const CONTROL_BYTES: usize = 4096;
/// Where the seats lie in the control page.
const SEATS_AT: usize = 2048;
const SEAT_BYTES: usize = 32;
const _: () = assert!(SEATS_AT + ring::SEATS as usize * SEAT_BYTES <= CONTROL_BYTES);
