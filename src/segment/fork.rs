//! Tells a forked child from the process that made a handle.
#![allow(unsafe_code)]
//! The one invariant: the page below is mapped once, never unmapped, and accessed through one `AtomicU64` only; the
//! kernel empties it in a child (`MADV_WIPEONFORK`).
//!
//! A child shares mappings, sockets and bells with its parent, so an operation of a handle that it inherited would make
//! two writers where there has to be one. Handles take a [`ProcessMark`] when they are made and ask it first. A child can
//! make handles of its own: those get a mark of their own.

use crate::sync::{AtomicU64, Ordering};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::{fmt, io};

use memmap2::MmapMut;
use nix::sys::mman::{MmapAdvise, madvise};

use super::PAGE_BYTES;

/// Remembers the process in which it was made.
#[derive(Clone, Copy)]
pub(crate) struct ProcessMark {
    /// The process' number while it lives; 0 in a child until that takes a mark.
    word: &'static AtomicU64,
    /// The number when the mark was made; never 0.
    number: u64,
}

impl ProcessMark {
    /// The mark of this process.
    ///
    /// # Errors
    /// The system has no page left, or no `MADV_WIPEONFORK` (Linux before 4.14).
    pub(crate) fn here() -> io::Result<Self> {
        let word = word()?;
        // Relaxed here and below: the word orders nothing, and `fork` lets a child see all of its thread's past.
        let number = match word.load(Ordering::Relaxed) {
            0 => {
                let next = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
                match word.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => next,
                    Err(of_another_thread) => of_another_thread,
                }
            }
            number => number,
        };
        Ok(Self { word, number })
    }

    /// Whether this process is a child, or a child's child, of the one in which the mark was made. One relaxed load.
    #[inline]
    pub(crate) fn is_forked(self) -> bool {
        self.word.load(Ordering::Relaxed) != self.number
    }
}

impl fmt::Debug for ProcessMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProcessMark({})", self.number)
    }
}

fn word() -> io::Result<&'static AtomicU64> {
    static WORD: OnceLock<&'static AtomicU64> = OnceLock::new();
    if let Some(word) = WORD.get() {
        return Ok(word);
    }
    // Two threads may both come here; the page of one is used, the other's is a page lost once.
    let page = wiped_page()?;
    Ok(WORD.get_or_init(|| page))
}

fn wiped_page() -> io::Result<&'static AtomicU64> {
    let page = Box::leak(Box::new(MmapMut::map_anon(PAGE_BYTES)?));
    let start = NonNull::from(&mut page[0]);
    // SAFETY: the range is a private anonymous mapping of exactly this length, made above; the advice changes nothing
    // about it in this process.
    unsafe { madvise(start.cast(), PAGE_BYTES, MmapAdvise::MADV_WIPEONFORK) }?;
    // SAFETY: mapped for ever (leaked), page-aligned, and nobody else has a pointer into it.
    Ok(unsafe { AtomicU64::from_ptr(start.as_ptr().cast()) })
}

/// In a plain static, which a child inherits: so no number is given twice along a line of descent.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

#[cfg(test)]
mod tests {
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    use super::*;

    #[test]
    fn a_forked_child_knows_that_it_is_one() {
        let mark = ProcessMark::here().unwrap();
        assert!(!mark.is_forked());
        // SAFETY: the child calls nothing but loads, `ProcessMark::here` (no lock, no allocation: the page is there) and
        // `_exit`.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let inherited = mark.is_forked();
                let own = ProcessMark::here().is_ok_and(|own| !own.is_forked());
                let still = mark.is_forked();
                // SAFETY: ends the child without running anything of the parent's.
                unsafe {
                    libc::_exit(i32::from(inherited) | i32::from(own) << 1 | i32::from(still) << 2)
                }
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 7));
                assert!(!mark.is_forked());
            }
        }
    }
}
