//! Working memory of an encoder, kept from one message to the next.
//!
//! The one invariant of the unsafe lines here: every call is passed on to one handle of the arena, made at the first call and
//! kept for all of a serialization, so the arena's own guarantees are those of [`ScratchHandle`].
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::fmt;
use std::ptr::NonNull;

use rkyv::ser::Allocator;
use rkyv::ser::allocator::{Arena, ArenaHandle};

/// Memory that [`Message::encode`](super::Message::encode) works in.
///
/// One per publisher: it grows to what the largest message needs, after which encoding allocates nothing. A message
/// without lists of variable-size elements uses none of it.
pub struct Scratch {
    arena: Arena,
}

/// The scratch memory of one serialization.
///
/// It touches the arena only when the value needs working memory: a flat message, of 20 instructions, does not pay for it.
pub struct ScratchHandle<'a> {
    arena: Option<&'a mut Arena>,
    handle: Option<ArenaHandle<'a>>,
}

impl Scratch {
    /// Makes a small one, of 1 KiB.
    pub fn new() -> Self {
        Self {
            arena: Arena::with_capacity(START_BYTES),
        }
    }

    #[inline]
    pub(super) fn handle(&mut self) -> ScratchHandle<'_> {
        ScratchHandle {
            arena: Some(&mut self.arena),
            handle: None,
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Scratch").finish_non_exhaustive()
    }
}

impl<'a> ScratchHandle<'a> {
    fn acquired(&mut self) -> &mut ArenaHandle<'a> {
        if let Some(arena) = self.arena.take() {
            self.handle = Some(arena.acquire());
        }
        self.handle
            .as_mut()
            .expect("a handle is made when the arena is taken, and kept")
    }
}

// SAFETY: `push_alloc` gives what the arena's one handle gives: unaliased memory that fits the layout.
unsafe impl<E> Allocator<E> for ScratchHandle<'_> {
    unsafe fn push_alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, E> {
        // SAFETY: the caller's promise, a layout of non-zero size, is the one that the handle asks for.
        unsafe { self.acquired().push_alloc(layout) }
    }

    unsafe fn pop_alloc(&mut self, pointer: NonNull<u8>, layout: Layout) -> Result<(), E> {
        // SAFETY: the caller's promises are those that the handle asks for, and `pointer` came from that handle.
        unsafe { self.acquired().pop_alloc(pointer, layout) }
    }
}

const START_BYTES: usize = 1024;
