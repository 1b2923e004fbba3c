//! Regions that are used again.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::lane::{Body, Home, Region, RegionError};
use crate::segment::{PAGE_BYTES, SegmentError};

/// Gives regions, and takes them back to be given again when nobody reads them any more: neither here nor where they were
/// received. A process that is killed reads nothing.
///
/// Clones are the same registry. Used by any thread; nothing happens on its own: regions that nobody needs are given up when
/// one is asked for, or by [`sweep`](RegionRegistry::sweep).
///
/// ```
/// use ringmain::RegionRegistry;
///
/// let registry = RegionRegistry::new();
/// let frame = registry.allocate(1 << 20, "frame")?.share();
/// drop(frame);
/// assert_eq!(registry.bytes(), 1 << 20);
/// let again = registry.allocate(1 << 19, "frame")?;
/// assert_eq!((again.len(), registry.bytes()), (1 << 19, 1 << 20));
/// # Ok::<(), ringmain::RegionError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RegionRegistry(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    idle: Duration,
    limit: usize,
    on_free: Option<Callback>,
}

type Callback = Box<dyn Fn(&str, usize) + Send + Sync>;

#[derive(Default)]
struct State {
    /// Bytes of all regions that there are.
    bytes: usize,
    /// By tag, those that are not in use in this process.
    returned: HashMap<Arc<str>, Vec<Returned>>,
}

struct Returned {
    body: Body,
    since: Instant,
}

/// Where regions of one tag go back to.
struct Shelf {
    registry: Weak<Inner>,
    tag: Arc<str>,
}

impl RegionRegistry {
    /// Regions are kept for ten seconds; there is no limit but memory.
    pub fn new() -> Self {
        Self::with(Duration::from_secs(10), usize::MAX, None)
    }

    /// As `new`, but what was not used for so long is given up, and all regions together have at most `limit` bytes.
    pub fn with_limits(idle: Duration, limit: usize) -> Self {
        Self::with(idle, limit, None)
    }

    /// As [`with_limits`](Self::with_limits); `on_free` is called for each region that is given up, with its tag and the bytes of
    /// its memory, by the thread that gave it up.
    pub fn with_callback(
        idle: Duration,
        limit: usize,
        on_free: impl Fn(&str, usize) + Send + Sync + 'static,
    ) -> Self {
        Self::with(idle, limit, Some(Box::new(on_free)))
    }

    fn with(idle: Duration, limit: usize, on_free: Option<Callback>) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::default(),
            idle,
            limit,
            on_free,
        }))
    }

    /// A region of `len` bytes: the smallest with this tag that has been taken back and is long enough, else a new one.
    /// What was written in one that was used before is still there. Does not block.
    ///
    /// # Errors
    /// [`RegionError`]: no memory, a length of 0, or the limit.
    pub fn allocate(&self, len: usize, tag: &str) -> Result<Region, RegionError> {
        if len == 0 {
            return Err(SegmentError::Length { asked: 0 }.into());
        }
        let mut freed = Freed::default();
        let reused = {
            let mut state = self.0.lock();
            let reused = state.reuse(len, tag);
            state.expire(self.0.idle, &mut freed);
            if reused.is_none() {
                state.make_room(len, self.0.limit, &mut freed)?;
            }
            reused
        };
        self.0.tell(freed);
        if let Some(body) = reused {
            return Ok(Region::from_body(body.resized(len)));
        }
        let shelf = Shelf {
            registry: Arc::downgrade(&self.0),
            tag: tag.into(),
        };
        let body = Body::create(len, Some(Arc::new(shelf)))
            .inspect_err(|_| self.0.lock().bytes -= pages(len))?;
        Ok(Region::from_body(body))
    }

    /// Gives up what was not used for longer than regions are kept; how many regions those were.
    pub fn sweep(&self) -> usize {
        let mut freed = Freed::default();
        self.0.lock().expire(self.0.idle, &mut freed);
        let count = freed.0.len();
        self.0.tell(freed);
        count
    }

    /// Bytes of the memory of all its regions, whoever uses them.
    pub fn bytes(&self) -> usize {
        self.0.lock().bytes
    }
}

impl Default for RegionRegistry {
    fn default() -> Self {
        Self::new()
    }
}

/// What is given up: told, and dropped, without the lock.
#[derive(Default)]
struct Freed(Vec<(Arc<str>, Body)>);

impl State {
    /// The smallest of those that are long enough and that nobody reads.
    fn reuse(&mut self, len: usize, tag: &str) -> Option<Body> {
        let returned = self.returned.get_mut(tag)?;
        let fits = |body: &mut Body| body.capacity() >= len && body.is_free();
        let mut best: Option<usize> = None;
        for index in 0..returned.len() {
            let capacity = returned[index].body.capacity();
            let is_better = best.is_none_or(|best| capacity < returned[best].body.capacity());
            if is_better && fits(&mut returned[index].body) {
                best = Some(index);
            }
        }
        best.map(|index| returned.swap_remove(index).body)
    }

    /// Gives up what was not used for so long.
    fn expire(&mut self, idle: Duration, freed: &mut Freed) {
        self.give_up(freed, |returned| returned.since.elapsed() >= idle);
    }

    /// Makes sure that so many more bytes are within the limit, and counts them.
    fn make_room(
        &mut self,
        len: usize,
        limit: usize,
        freed: &mut Freed,
    ) -> Result<(), RegionError> {
        let asked = pages(len);
        let fits = |bytes: usize| bytes.checked_add(asked).is_some_and(|bytes| bytes <= limit);
        if !fits(self.bytes) {
            self.give_up(freed, |returned| returned.body.is_free());
        }
        if !fits(self.bytes) {
            return Err(RegionError::Limit {
                asked,
                used: self.bytes,
                limit,
            });
        }
        self.bytes += asked;
        Ok(())
    }

    fn give_up(&mut self, freed: &mut Freed, which: impl Fn(&mut Returned) -> bool) {
        for (tag, returned) in &mut self.returned {
            for gone in returned.extract_if(.., |returned| which(returned)) {
                self.bytes -= gone.body.capacity();
                freed.0.push((tag.clone(), gone.body));
            }
        }
        self.returned.retain(|_, returned| !returned.is_empty());
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, freed: Freed) {
        for (tag, body) in freed.0 {
            if let Some(on_free) = &self.on_free {
                on_free(&tag, body.capacity());
            }
        }
    }
}

impl Home for Shelf {
    fn take_back(&self, body: Body) {
        let Some(registry) = self.registry.upgrade() else {
            return;
        };
        let since = Instant::now();
        let mut state = registry.lock();
        let returned = state.returned.entry(self.tag.clone()).or_default();
        returned.push(Returned { body, since });
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegionRegistry")
            .field("bytes", &self.lock().bytes)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// The length of the memory of a region of `len` bytes.
fn pages(len: usize) -> usize {
    len.checked_next_multiple_of(PAGE_BYTES).unwrap_or(len)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::lane::Onlooker;

    const PAGE: usize = PAGE_BYTES;

    struct Reader(Arc<AtomicBool>);

    impl Onlooker for Reader {
        fn is_done(&self, _: u64) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn the_smallest_that_is_long_enough_is_reused_within_its_tag() {
        let registry = RegionRegistry::new();
        for (len, tag) in [
            (3 * PAGE, "a"),
            (2 * PAGE, "a"),
            (PAGE, "a"),
            (2 * PAGE, "b"),
        ] {
            let mut region = registry.allocate(len, tag).unwrap();
            region[0] = (len / PAGE) as u8;
            std::mem::forget(region.share().clone());
        }
        // All of them are in use.
        assert_eq!(registry.bytes(), 8 * PAGE);
        let regions: Vec<_> = [(3, "a"), (2, "a"), (1, "a"), (2, "b")]
            .map(|(pages, tag)| registry.allocate(pages * PAGE, tag).unwrap())
            .into();
        assert_eq!(registry.bytes(), 16 * PAGE);
        for (mark, mut region) in (1..).zip(regions) {
            region[0] = mark;
        }
        assert_eq!(registry.allocate(PAGE + 1, "a").unwrap()[0], 2);
        assert_eq!(registry.allocate(1, "b").unwrap()[0], 4);
        let fresh = registry.allocate(1, "c").unwrap();
        assert_eq!((fresh[0], fresh.len()), (0, 1));
        assert_eq!(registry.bytes(), 17 * PAGE);
    }

    #[test]
    fn what_somebody_may_read_is_not_reused() {
        let registry = RegionRegistry::new();
        let is_done = Arc::new(AtomicBool::new(false));
        let mut region = registry.allocate(PAGE, "a").unwrap();
        region[0] = 7;
        let region = region.share();
        region.show_to(Box::new(Reader(is_done.clone())));
        let region = region.try_unshare().unwrap_err();
        let other = region.clone();
        drop(region);
        assert_eq!(registry.allocate(PAGE, "a").unwrap()[0], 0);
        drop(other);
        let first = registry.allocate(PAGE, "a").unwrap();
        assert_eq!(first[0], 0);
        is_done.store(true, Ordering::Relaxed);
        assert_eq!(registry.allocate(PAGE, "a").unwrap()[0], 7);
    }

    #[test]
    fn a_region_is_written_again_when_nobody_reads_it() {
        let is_done = Arc::new(AtomicBool::new(false));
        let region = Region::new(10).unwrap().share();
        region.show_to(Box::new(Reader(is_done.clone())));
        let region = region.try_unshare().unwrap_err();
        let clone = region.clone();
        is_done.store(true, Ordering::Relaxed);
        let region = region.try_unshare().unwrap_err();
        drop(clone);
        let mut region = region.try_unshare().unwrap();
        region.copy_from_slice(&[1; 10]);
        assert_eq!(&region[..], [1; 10]);
    }

    #[test]
    fn idle_regions_are_given_up_and_told() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = told.clone();
        let on_free = move |tag: &str, len| log.lock().unwrap().push((tag.to_owned(), len));
        let registry = RegionRegistry::with_callback(Duration::ZERO, usize::MAX, on_free);
        drop(registry.allocate(PAGE, "a").unwrap());
        drop(registry.allocate(2 * PAGE, "b").unwrap().share());
        assert_eq!((registry.sweep(), registry.sweep()), (1, 0));
        assert_eq!(registry.bytes(), 0);
        let told = told.lock().unwrap();
        assert_eq!(*told, [("a".to_owned(), PAGE), ("b".to_owned(), 2 * PAGE)]);
    }

    #[test]
    fn the_limit_is_kept_and_what_nobody_needs_makes_room() {
        let registry = RegionRegistry::with_limits(Duration::from_secs(600), 4 * PAGE);
        let kept = registry.allocate(2 * PAGE, "a").unwrap();
        drop(registry.allocate(2 * PAGE, "b").unwrap());
        let other = registry.allocate(PAGE, "c").unwrap();
        assert_eq!(registry.bytes(), 3 * PAGE);
        let error = registry.allocate(2 * PAGE, "c").unwrap_err();
        assert!(
            matches!(error, RegionError::Limit { used, .. } if used == 3 * PAGE),
            "{error}"
        );
        drop((kept, other));
        assert!(registry.allocate(4 * PAGE, "d").is_ok());
        assert!(matches!(
            registry.allocate(0, "d"),
            Err(RegionError::Segment(_))
        ));
        assert!(registry.allocate(usize::MAX, "d").is_err());
    }

    #[test]
    fn regions_outlive_their_registry() {
        let registry = RegionRegistry::new();
        let mut region = registry.allocate(PAGE, "a").unwrap();
        drop(registry);
        region[0] = 1;
        assert_eq!(region.share()[0], 1);
    }
}
