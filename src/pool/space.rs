//! Which part of which segment each chunk has.

use std::fmt;

use offset_allocator::{Allocation, Allocator, ext::min_allocator_size};

use super::place::{CHUNK_ALIGN_BYTES, LAST_SEGMENT};
use super::{Idle, Place, SegmentId};

/// Which part of which segment each chunk has; nothing of it is in shared memory.
#[derive(Debug)]
pub(super) struct Space {
    /// By id, which rise.
    segments: Vec<Segment>,
    /// Of these the first ones, so many, are used; the others only when there is no room there.
    used: usize,
    limit: u64,
    bytes: u64,
    next: SegmentId,
}

#[derive(Debug)]
struct Segment {
    id: SegmentId,
    bytes: u64,
    layout: Layout,
    /// Chunks in it.
    chunks: u32,
    /// Whether it was used since idle segments were looked for last.
    touched: bool,
}

enum Layout {
    /// For one chunk.
    Whole,
    /// For many.
    Parts(Box<Parts>),
}

/// A segment for many chunks.
struct Parts {
    allocator: Allocator,
    /// Parts that were freed lately, of so many units: who sends messages of one length wants them again, and warm.
    spare: Vec<(u32, Allocation)>,
}

/// A segment that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Bytes of its data, a multiple of 4,096.
    pub bytes: u64,
    /// Whether it is for one chunk.
    whole: bool,
}

/// Why a pool cannot grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// The limit does not allow it.
    Limit {
        /// What is needed, in bytes.
        asked: u64,
        /// Bytes of all segments there are.
        used: u64,
        /// What is allowed, in bytes.
        limit: u64,
    },
    /// There are as many segments already as there can be.
    Segments(usize),
}

/// The memory of one chunk.
pub(super) struct Part {
    pub(super) place: Place,
    /// What it takes of a segment.
    pub(super) bytes: u64,
    allocation: Option<Allocation>,
}

impl Space {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            segments: Vec::new(),
            used: 0,
            limit,
            bytes: 0,
            next: 0,
        }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Memory for `len` bytes at a multiple of `align`; `None` if no segment that is used has it.
    pub(super) fn allocate(&mut self, len: u64, align: u64) -> Option<Part> {
        let mut segments = self.segments[..self.used].iter_mut();
        segments.find_map(|segment| segment.allocate(len, align))
    }

    /// Uses one more segment from now on, until idle ones are looked for; whether there is one.
    pub(super) fn use_more(&mut self) -> bool {
        let more = self.used < self.segments.len();
        self.used += usize::from(more);
        more
    }

    pub(super) fn free(&mut self, part: Part) {
        let id = part.place.segment;
        let Ok(index) = self
            .segments
            .binary_search_by_key(&id, |segment| segment.id)
        else {
            debug_assert!(false, "a segment is kept as long as something lies in it");
            return;
        };
        let segment = &mut self.segments[index];
        segment.chunks -= 1;
        if let (Layout::Parts(parts), Some(allocation)) = (&mut segment.layout, part.allocation) {
            parts.free((part.bytes / CHUNK_ALIGN_BYTES) as u32, allocation);
        }
    }

    /// Segments double, so that there are few of them, up to a size that is worth giving up; what is longer than half of the next
    /// one has a segment of its own.
    pub(super) fn plan(&self, len: u64, align: u64) -> Result<Plan, Shortage> {
        if self.segments.len() >= MOST_SEGMENTS || self.next > LAST_SEGMENT {
            return Err(Shortage::Segments(self.segments.len()));
        }
        let left = self.limit.saturating_sub(self.bytes);
        let shared = |segment: &&Segment| matches!(segment.layout, Layout::Parts(_));
        let doublings = self.segments.iter().filter(shared).count().min(16) as u32;
        let next = (FIRST_BYTES << doublings).min(MOST_SHARED_BYTES);
        let next = next.min(left / PAGE_BYTES * PAGE_BYTES);
        let needed = units_for(len, align).map(|units| u64::from(units) * CHUNK_ALIGN_BYTES);
        if needed.is_some_and(|needed| needed <= next / 2) {
            return Ok(Plan {
                bytes: next,
                whole: false,
            });
        }
        let whole = len.max(1).checked_next_multiple_of(PAGE_BYTES);
        match whole.filter(|whole| *whole <= left) {
            Some(bytes) => Ok(Plan { bytes, whole: true }),
            None => Err(Shortage::Limit {
                asked: whole.unwrap_or(len),
                used: self.bytes,
                limit: self.limit,
            }),
        }
    }

    pub(super) fn add(&mut self, plan: Plan) -> SegmentId {
        let id = self.next;
        self.next += 1;
        self.bytes += plan.bytes;
        let units = u32::try_from(plan.bytes / CHUNK_ALIGN_BYTES).unwrap_or(u32::MAX);
        self.segments.push(Segment {
            id,
            bytes: plan.bytes,
            layout: match plan.whole {
                true => Layout::Whole,
                false => {
                    let parts = (plan.bytes / BYTES_PER_PART) as u32 + 4;
                    Layout::Parts(Box::new(Parts {
                        allocator: Allocator::with_max_allocs(units, parts),
                        spare: Vec::with_capacity(MOST_SPARE),
                    }))
                }
            },
            chunks: 0,
            touched: true,
        });
        self.used = self.segments.len();
        id
    }

    pub(super) fn take_idle(&mut self, idle: Idle) -> Vec<SegmentId> {
        let mut taken = Vec::new();
        self.segments.retain_mut(|segment| {
            let touched = std::mem::take(&mut segment.touched) && idle == Idle::Stale;
            let stays = segment.chunks > 0 || touched;
            if !stays {
                taken.push(segment.id);
                self.bytes -= segment.bytes;
            }
            stays
        });
        // What lies close together is in the processor's caches, and leaves segments that can be given up.
        self.used = self.segments.len().min(1);
        taken
    }
}

impl Segment {
    fn allocate(&mut self, len: u64, align: u64) -> Option<Part> {
        let (unit, bytes, allocation) = match &mut self.layout {
            // Less than half of it would be a waste.
            Layout::Whole if self.chunks == 0 && len <= self.bytes && len > self.bytes / 2 => {
                (0, self.bytes, None)
            }
            Layout::Whole => return None,
            Layout::Parts(parts) => {
                let units = units_for(len, align)?;
                let allocation = parts.allocate(units)?;
                let unit = allocation.offset.next_multiple_of(units_of(align));
                let bytes = u64::from(units) * CHUNK_ALIGN_BYTES;
                (unit, bytes, Some(allocation))
            }
        };
        self.chunks += 1;
        self.touched = true;
        Some(Part {
            place: Place::new(self.id, unit),
            bytes,
            allocation,
        })
    }
}

impl Parts {
    fn allocate(&mut self, units: u32) -> Option<Allocation> {
        if let Some(index) = self.spare.iter().rposition(|(other, _)| *other == units) {
            return Some(self.spare.swap_remove(index).1);
        }
        self.allocator.allocate(units).or_else(|| {
            // Parts of other lengths may make one together.
            for (_, spare) in self.spare.drain(..) {
                self.allocator.free(spare);
            }
            self.allocator.allocate(units)
        })
    }

    fn free(&mut self, units: u32, allocation: Allocation) {
        if self.spare.len() == MOST_SPARE {
            let (_, oldest) = self.spare.remove(0);
            self.allocator.free(oldest);
        }
        self.spare.push((units, allocation));
    }
}

/// Units of memory for `len` bytes wherever they begin, in sizes that the allocator has exactly: a part that fits is found, and one
/// that was freed fits what is as long. `None` if no shared segment has so many.
fn units_for(len: u64, align: u64) -> Option<u32> {
    let units = len.max(1).div_ceil(CHUNK_ALIGN_BYTES);
    let units = units.checked_add(u64::from(units_of(align) - 1))?;
    let most = MOST_SHARED_BYTES / CHUNK_ALIGN_BYTES;
    (units <= most).then(|| min_allocator_size(units as u32))
}

fn units_of(align: u64) -> u32 {
    debug_assert!(align.is_power_of_two() && align <= PAGE_BYTES);
    (align / CHUNK_ALIGN_BYTES).max(1) as u32
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "Whole",
            Self::Parts(_) => "Parts",
        })
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {:?}", self.bytes, self.place)
    }
}

/// Of the first segment.
const FIRST_BYTES: u64 = 4 << 20;
/// Of the largest one that many chunks share.
const MOST_SHARED_BYTES: u64 = 64 << 20;
/// Of a page, which data begins with.
const PAGE_BYTES: u64 = 4096;
/// The allocator has room for as many parts: chunks are longer, as a rule, and its own account stays small.
const BYTES_PER_PART: u64 = 1024;
/// Of each segment.
const MOST_SPARE: usize = 8;
/// Segments at a time: bounds what readers have to map, who know those, too, that were given up and not told of yet.
const MOST_SEGMENTS: usize = 2048;
