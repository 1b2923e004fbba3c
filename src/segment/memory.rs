//! What a client asks of the memory that its lanes lie in.

use std::fs;
use std::os::fd::OwnedFd;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statfs::{HUGETLBFS_MAGIC, TMPFS_MAGIC, fstatfs};

use super::{PAGE_BYTES, SegmentError};

/// What a client asks of the memory that its lanes lie in; see [`ClientBuilder::memory`](crate::ClientBuilder::memory).
///
/// ```
/// use ringmain::MemoryOptions;
///
/// let locked = MemoryOptions { lock: true, ..MemoryOptions::default() };
/// assert!(locked.prefault && !locked.huge_pages);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryOptions {
    /// What messages lie in is made of huge pages, of the system's default size, so that large payloads cost fewer misses of the TLB.
    /// The system has to have set them aside (`sysctl vm.nr_hugepages`), and each ring takes a whole number of them: with pages of
    /// 2 MiB a ring of 512 KiB takes one. Off unless set.
    pub huge_pages: bool,
    /// Memory is locked (`mlock`), so that it is never swapped out: what this client makes, and what it maps of its peers. It counts against
    /// RLIMIT_MEMLOCK, but for huge pages, which are never swapped out. Off unless set.
    pub lock: bool,
    /// Memory is entered into this process' page tables when it is made or mapped, and not page by page at the first
    /// message that lies there: the page faults of the first lap. Takes time in proportion to the size, in the control thread. On
    /// unless unset; Linux before 5.14 does not know it and goes without.
    pub prefault: bool,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self {
            huge_pages: false,
            lock: false,
            prefault: true,
        }
    }
}

/// Bytes of the pages that a memfd consists of.
///
/// # Errors
/// [`SegmentError::NotMemory`]: it is none.
pub(super) fn file_page_bytes(descriptor: &OwnedFd) -> Result<u64, SegmentError> {
    let stat = fstatfs(descriptor).map_err(SegmentError::system("fstatfs"))?;
    let ordinary = PAGE_BYTES as u64;
    match stat.filesystem_type() {
        TMPFS_MAGIC => Ok(ordinary),
        HUGETLBFS_MAGIC => Ok((stat.block_size() as u64).max(ordinary)),
        other => Err(SegmentError::NotMemory {
            file_system: other.0 as u64,
        }),
    }
}

/// The error for a lack of huge pages.
pub(super) fn no_huge_pages(asked: u64, page_bytes: u64, source: std::io::Error) -> SegmentError {
    let page_kib = page_bytes / 1024;
    let path = format!("/sys/kernel/mm/hugepages/hugepages-{page_kib}kB/free_hugepages");
    let free = fs::read_to_string(path).ok();
    SegmentError::HugePages {
        needed: asked.div_ceil(page_bytes.max(1)),
        page_bytes,
        free: free.and_then(|text| text.trim().parse().ok()).unwrap_or(0),
        source,
    }
}

/// The error for memory that cannot be locked.
pub(super) fn not_locked(asked: u64, source: std::io::Error) -> SegmentError {
    SegmentError::Lock {
        asked,
        limit: getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(limit, _)| limit),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::process::Command;

    use nix::sys::resource::setrlimit;
    use nix::unistd::{Uid, setuid};

    use super::super::*;
    use crate::sync::Ordering;

    const HUGE: MemoryOptions = MemoryOptions {
        huge_pages: true,
        lock: false,
        prefault: true,
    };
    const LOCKED: MemoryOptions = MemoryOptions {
        huge_pages: false,
        lock: true,
        prefault: true,
    };

    fn create(kind: Kind, data_len: usize, memory: MemoryOptions) -> Result<Segment, SegmentError> {
        let options = SegmentOptions {
            memory,
            ..SegmentOptions::default()
        };
        Segment::create(kind, data_len, &options)
    }

    fn open(segment: &Segment, max_len: u64) -> Result<ForeignSegment, SegmentError> {
        ForeignSegment::open(segment.handle().unwrap(), Kind::Ring, max_len)
    }

    /// Huge pages of the system's default size, set aside while it lives; nobody else who asks in this way changes them meanwhile.
    struct SetAside {
        file: File,
        before: u64,
    }

    impl SetAside {
        /// `None` where this process may not, or the system has no room.
        fn pages(count: u64) -> Option<Self> {
            let file = File::options().read(true).write(true).open(PATH).ok()?;
            file.lock().ok()?;
            let before = number(PATH)?;
            fs::write(PATH, count.to_string()).ok()?;
            let aside = Self { file, before };
            (number(PATH)? == count).then_some(aside)
        }
    }

    impl Drop for SetAside {
        fn drop(&mut self) {
            let _ = fs::write(PATH, self.before.to_string());
            let _ = self.file.unlock();
        }
    }

    fn number(path: &str) -> Option<u64> {
        fs::read_to_string(path).ok()?.trim().parse().ok()
    }

    const PATH: &str = "/proc/sys/vm/nr_hugepages";

    #[test]
    fn segments_lie_in_huge_pages() {
        let Some(_aside) = SetAside::pages(4) else {
            eprintln!("skipped: this process cannot set huge pages aside");
            return;
        };
        let owner = create(Kind::Ring, 3 << 20, HUGE).unwrap();
        assert_eq!(owner.data_len(), 3 << 20);
        owner.word((3 << 20) - 8).store(7, Ordering::Release);
        let reader = open(&owner, (3 << 20) + 4096).unwrap();
        reader.settle(HUGE).unwrap();
        assert_eq!(reader.data_len(), 3 << 20);
        let last = reader.try_word((3 << 20) - 8).unwrap();
        assert_eq!(last.load(Ordering::Acquire), 7);
        // Behind it, in the same page of the file.
        assert!(reader.try_word(3 << 20).is_none());
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        assert!(smaps.contains("KernelPageSize:     2048 kB"), "{smaps}");
        assert!(matches!(
            open(&owner, 2 << 20),
            Err(SegmentError::TooLarge { .. })
        ));
    }

    #[test]
    fn huge_pages_that_there_are_not_are_an_error() {
        let Some(_aside) = SetAside::pages(0) else {
            eprintln!("skipped: this process cannot give huge pages back");
            return;
        };
        let error = create(Kind::Ring, 3 << 20, HUGE).err().unwrap();
        let text = error.to_string();
        assert!(text.contains("sysctl vm.nr_hugepages"), "{text}");
        assert!(
            matches!(
                error,
                SegmentError::HugePages {
                    needed: 2,
                    page_bytes: 0x20_0000,
                    free: 0,
                    ..
                }
            ),
            "{error:?}"
        );
        // A few words take none.
        create(Kind::CursorPage, 8192, HUGE).unwrap();
    }

    #[test]
    fn a_file_of_huge_pages_that_is_not_allocated_is_refused() {
        use nix::fcntl::{FcntlArg, fcntl};
        use nix::sys::memfd::{MFdFlags, memfd_create};
        let flags = MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_HUGETLB;
        let Ok(descriptor) = memfd_create("test", flags) else {
            eprintln!("skipped: the system has no huge pages");
            return;
        };
        nix::unistd::ftruncate(&descriptor, 4 << 20).unwrap();
        fcntl(&descriptor, FcntlArg::F_ADD_SEALS(owner::NEEDED_SEALS)).unwrap();
        let handle = SegmentHandle::Descriptor(descriptor);
        assert!(matches!(
            ForeignSegment::open(handle, Kind::Ring, 4 << 20),
            Err(SegmentError::Sparse {
                len: 0x40_0000,
                allocated: 0
            })
        ));
    }

    #[test]
    fn both_sides_are_in_the_page_tables_at_once() {
        let owner = create(Kind::Ring, 4 << 20, MemoryOptions::default()).unwrap();
        let reader = open(&owner, u64::MAX).unwrap();
        assert!(resident_kib(reader.data_ptr()) < 4100);
        assert_eq!(resident_kib(owner.data_ptr()), 4100);
        reader.settle(MemoryOptions::default()).unwrap();
        assert_eq!(resident_kib(reader.data_ptr()), 4100);
    }

    /// Of the mapping in which `place` lies.
    fn resident_kib(place: *const u8) -> u64 {
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in smaps.lines() {
            let range = line.split(' ').next().and_then(|word| word.split_once('-'));
            let hex = |text| usize::from_str_radix(text, 16).ok();
            if let Some((start, end)) = range.and_then(|(a, b)| hex(a).zip(hex(b))) {
                inside = (start..end).contains(&(place as usize));
            } else if inside && let Some(rest) = line.strip_prefix("Rss:") {
                return rest.trim().trim_end_matches(" kB").parse().unwrap();
            }
        }
        panic!("{place:?} is not mapped");
    }

    #[test]
    fn locked_segments_are_locked_on_both_sides() {
        if nix::sys::resource::getrlimit(super::Resource::RLIMIT_MEMLOCK)
            .unwrap()
            .0
            < 1 << 20
        {
            eprintln!("skipped: this process may lock too little");
            return;
        }
        let locked = || {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
            line.unwrap()
                .trim()
                .trim_end_matches(" kB")
                .parse::<u64>()
                .unwrap()
        };
        let before = locked();
        let owner = create(Kind::Ring, 100 << 10, LOCKED).unwrap();
        assert!(locked() >= before + 104);
        let reader = open(&owner, u64::MAX).unwrap();
        reader.settle(LOCKED).unwrap();
        assert!(locked() >= before + 208);
    }

    /// In a process of its own, without privileges, since limits count for all threads, and root has none.
    #[test]
    fn memory_beyond_the_lock_limit_is_an_error() {
        const CHILD: &str = "RINGMAIN_TEST_LOCK_LIMIT";
        if std::env::var_os(CHILD).is_some() {
            setrlimit(super::Resource::RLIMIT_MEMLOCK, 64 << 10, 64 << 10).unwrap();
            if Uid::effective().is_root() {
                setuid(Uid::from_raw(65534)).unwrap();
            }
            let small = create(Kind::Ring, 16 << 10, LOCKED).unwrap();
            let error = create(Kind::Ring, 64 << 10, LOCKED).err().unwrap();
            assert!(error.to_string().contains("RLIMIT_MEMLOCK"), "{error}");
            assert!(
                matches!(
                    error,
                    SegmentError::Lock {
                        asked: 69_632,
                        limit: 65_536,
                        ..
                    }
                ),
                "{error:?}"
            );
            let large = create(Kind::Ring, 64 << 10, MemoryOptions::default()).unwrap();
            let reader = open(&large, u64::MAX).unwrap();
            assert!(matches!(
                reader.settle(LOCKED),
                Err(SegmentError::Lock { .. })
            ));
            drop(small);
            return;
        }
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["segment::memory::tests::memory_beyond_the_lock_limit_is_an_error"])
            .args(["--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success() && text.contains("1 passed"),
            "{:?}: {text}",
            child.status
        );
    }

    #[cfg(feature = "named")]
    #[test]
    fn named_segments_in_huge_pages_are_refused() {
        let options = SegmentOptions {
            backend: Backend::Named,
            memory: HUGE,
        };
        let error = Segment::create(Kind::Ring, 1, &options).err().unwrap();
        assert!(matches!(error, SegmentError::HugePagesNamed), "{error}");
    }
}
