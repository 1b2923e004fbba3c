//! What segments promise; on every backend, where the backend can.
#![allow(unsafe_code)]
//! The one invariant of the unsafe code here: nothing that must fail is used if it succeeds.

use crate::sync::Ordering;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mprotect};
use nix::unistd::ftruncate;

use super::*;

const MAX_LEN: u64 = 1 << 20;

fn for_each_backend(test: impl Fn(&SegmentOptions)) {
    test(&SegmentOptions::default());
    #[cfg(feature = "named")]
    test(&named());
}

#[cfg(feature = "named")]
fn named() -> SegmentOptions {
    SegmentOptions {
        backend: Backend::Named,
        ..SegmentOptions::default()
    }
}

fn segment() -> Segment {
    Segment::create(Kind::Ring, 10_000, &SegmentOptions::default()).unwrap()
}

fn descriptor(segment: &Segment) -> OwnedFd {
    match segment.handle().unwrap() {
        SegmentHandle::Descriptor(descriptor) => descriptor,
        SegmentHandle::Named(name) => panic!("{name} is not a descriptor"),
    }
}

fn open(descriptor: OwnedFd) -> Result<ForeignSegment, SegmentError> {
    ForeignSegment::open(SegmentHandle::Descriptor(descriptor), Kind::Ring, MAX_LEN)
}

fn memfd(len: i64, seals: SealFlag) -> OwnedFd {
    let descriptor =
        memfd_create("test", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap();
    ftruncate(&descriptor, len).unwrap();
    fallocate(&descriptor, FallocateFlags::empty(), 0, len.max(1)).unwrap();
    ftruncate(&descriptor, len).unwrap();
    fcntl(&descriptor, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    descriptor
}

#[test]
fn a_reader_sees_what_the_owner_writes_at_any_time() {
    for_each_backend(|options| {
        let owner = Segment::create(Kind::Ring, 10_000, options).unwrap();
        owner.word(8).store(7, Ordering::Release);
        let reader = ForeignSegment::open(owner.handle().unwrap(), Kind::Ring, MAX_LEN).unwrap();
        assert_eq!((owner.data_len(), reader.data_len()), (12_288, 12_288));
        assert_eq!(
            (
                reader.try_word(0).unwrap().load(Ordering::Relaxed),
                reader.try_word(8).unwrap().load(Ordering::Relaxed)
            ),
            (0, 7)
        );
        owner.word(12_280).store(9, Ordering::Release);
        assert_eq!(reader.try_word(12_280).unwrap().load(Ordering::Relaxed), 9);
        let seven = reader.data_ptr().wrapping_add(8).cast::<u64>();
        // SAFETY: within the data, aligned since the data is; nobody writes now.
        assert_eq!(unsafe { seven.read_volatile() }, 7);
        drop(owner);
        assert_eq!(reader.try_word(8).unwrap().load(Ordering::Relaxed), 7);
    });
}

#[test]
fn words_out_of_bounds_do_not_exist() {
    for_each_backend(|options| {
        let owner = Segment::create(Kind::Ring, 4096, options).unwrap();
        let reader = ForeignSegment::open(owner.handle().unwrap(), Kind::Ring, MAX_LEN).unwrap();
        for offset in [1, 4, 4092, 4096, usize::MAX - 7, usize::MAX] {
            assert!(
                owner.try_word(offset).is_none() && reader.kept_word(offset).is_none(),
                "{offset}"
            );
        }
        assert!(reader.kept_word(4088).is_some());
    });
}

#[test]
fn a_receiver_cannot_write() {
    let owner = segment();
    let descriptor = descriptor(&owner);
    let len = NonZeroUsize::new(4096).unwrap();
    let map = |prot, descriptor: &OwnedFd| {
        // SAFETY: a new mapping at an address that the kernel chooses.
        unsafe { mmap(None, len, prot, MapFlags::MAP_SHARED, descriptor, 0) }
    };
    assert_eq!(
        map(ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, &descriptor),
        Err(Errno::EPERM)
    );
    let readable = map(ProtFlags::PROT_READ, &descriptor).unwrap();
    let writable = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the mapping of the line above; must fail, so nothing changes.
    let protected = unsafe { mprotect(readable, 4096, writable) };
    assert_eq!(protected, Err(Errno::EACCES));
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    if let Ok(reopened) = OpenOptions::new().read(true).write(true).open(path) {
        let reopened = OwnedFd::from(reopened);
        assert_eq!(
            map(ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, &reopened),
            Err(Errno::EPERM)
        );
    }
    for len in [0, 4096, 1 << 20] {
        assert_eq!(ftruncate(&descriptor, len), Err(Errno::EPERM), "{len}");
    }
    let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    assert_eq!(fallocate(&descriptor, hole, 4096, 4096), Err(Errno::EPERM));
    // SAFETY: the mapping from above; must fail.
    assert!(unsafe { madvise(readable, 4096, MmapAdvise::MADV_REMOVE) }.is_err());
    assert_eq!(
        fcntl(&descriptor, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)),
        Err(Errno::EPERM)
    );
    assert!(File::from(descriptor).write(b"x").is_err());
    owner.word(0).store(1, Ordering::Relaxed);
}

#[test]
fn the_owner_itself_cannot_punch_holes() {
    let owner = segment();
    let page = NonNull::new(owner.data_ptr()).unwrap().cast();
    // SAFETY: the first page of the data; must fail, so nothing changes.
    assert!(unsafe { madvise(page, 4096, MmapAdvise::MADV_REMOVE) }.is_err());
}

#[test]
fn each_missing_seal_is_refused() {
    let needed = owner::NEEDED_SEALS;
    for missing in needed.iter() {
        let error = open(memfd(8192, needed - missing)).err().unwrap();
        let SegmentError::Seals {
            found,
            needed: told,
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!(told, needed.bits() as u32);
        // The system may add seals of its own: `vm.memfd_noexec` does.
        assert_eq!(found & told, (needed - missing).bits() as u32);
    }
}

#[test]
fn more_seals_than_needed_are_accepted() {
    let needed = owner::NEEDED_SEALS | SealFlag::F_SEAL_WRITE;
    assert!(matches!(
        open(memfd(8192, needed)),
        Err(SegmentError::Magic {
            found: [0, 0, 0, 0, 0, 0, 0, 0]
        })
    ));
}

#[test]
fn wrong_lengths_are_refused() {
    let refused = |len| open(memfd(len, owner::NEEDED_SEALS)).err().unwrap();
    assert!(matches!(
        refused(0),
        SegmentError::TooSmall {
            len: 0,
            least: 8192
        }
    ));
    assert!(matches!(
        refused(4096),
        SegmentError::TooSmall {
            len: 4096,
            least: 8192
        }
    ));
    assert!(matches!(
        refused(8200),
        SegmentError::NotPages {
            len: 8200,
            page: 4096
        }
    ));
    assert!(
        matches!(refused(MAX_LEN as i64 + 4096), SegmentError::TooLarge { len, limit: MAX_LEN } if len == MAX_LEN + 4096)
    );
}

#[test]
fn sparse_segments_are_refused() {
    let descriptor = memfd(4096, SealFlag::empty());
    ftruncate(&descriptor, 1 << 16).unwrap();
    fcntl(&descriptor, FcntlArg::F_ADD_SEALS(owner::NEEDED_SEALS)).unwrap();
    assert!(matches!(
        open(descriptor),
        Err(SegmentError::Sparse {
            len: 0x1_0000,
            allocated: 4096
        })
    ));
}

#[test]
fn a_header_that_states_another_length_is_refused() {
    let owner = segment();
    let reader = ForeignSegment::open(owner.handle().unwrap(), Kind::Ring, MAX_LEN).unwrap();
    let mut bytes = reader.header_bytes();
    bytes[16..24].copy_from_slice(&4096_u64.to_le_bytes());
    let file = memfd_create("test", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap();
    let mut file = File::from(file);
    file.write_all(&bytes).unwrap();
    file.write_all(&[1; 8192 - HEADER_BYTES]).unwrap();
    let descriptor = OwnedFd::from(file);
    fcntl(&descriptor, FcntlArg::F_ADD_SEALS(owner::NEEDED_SEALS)).unwrap();
    assert!(matches!(
        open(descriptor),
        Err(SegmentError::TotalBytes {
            stated: 4096,
            len: 8192
        })
    ));
}

#[test]
fn another_kind_is_refused() {
    for_each_backend(|options| {
        let owner = Segment::create(Kind::Epochs, 1, options).unwrap();
        let error = ForeignSegment::open(owner.handle().unwrap(), Kind::Ring, MAX_LEN)
            .err()
            .unwrap();
        assert!(matches!(
            error,
            SegmentError::WrongKind {
                found: 3,
                expected: Kind::Ring
            }
        ));
    });
}

#[test]
fn what_is_larger_than_the_receiver_accepts_is_refused() {
    for_each_backend(|options| {
        let owner = Segment::create(Kind::Ring, 8192, options).unwrap();
        let error = ForeignSegment::open(owner.handle().unwrap(), Kind::Ring, 8192)
            .err()
            .unwrap();
        assert!(matches!(
            error,
            SegmentError::TooLarge {
                len: 12_288,
                limit: 8192
            }
        ));
    });
}

#[test]
fn descriptors_that_are_no_memory_are_refused() {
    let file = File::open("/proc/self/maps").unwrap();
    assert!(matches!(
        open(file.into()),
        Err(SegmentError::NotMemory { .. })
    ));
    let (pipe, _other) = nix::unistd::pipe().unwrap();
    assert!(matches!(open(pipe), Err(SegmentError::NotMemory { .. })));
}

#[test]
fn names_of_others_are_refused() {
    for name in [
        "",
        "/ringmain-",
        "/etc",
        "/ringmain-../../../../../../../../etc/pass",
        "/ringmain-0123456789abcdef0123456789abcde\0",
    ] {
        let handle = SegmentHandle::Named(name.into());
        let error = ForeignSegment::open(handle, Kind::Ring, MAX_LEN)
            .err()
            .unwrap();
        assert!(
            matches!(
                error,
                SegmentError::Name { .. } | SegmentError::NamedUnsupported { .. }
            ),
            "{name}: {error}"
        );
    }
}

#[test]
fn impossible_lengths_are_errors() {
    for_each_backend(|options| {
        for asked in [0, usize::MAX, isize::MAX as usize] {
            let error = Segment::create(Kind::Ring, asked, options).err().unwrap();
            assert!(
                matches!(error, SegmentError::Length { asked: a } if a == asked),
                "{error}"
            );
        }
        assert!(matches!(
            Segment::create(Kind::Ring, isize::MAX as usize / 2, options),
            Err(SegmentError::Memory { .. } | SegmentError::FileSizeLimit { .. })
        ));
    });
}

/// In a process of its own, since limits count for all threads.
#[test]
fn the_file_size_limit_is_an_error_and_not_a_signal() {
    const CHILD: &str = "RINGMAIN_TEST_FILE_SIZE_LIMIT";
    if std::env::var_os(CHILD).is_some() {
        use nix::sys::resource::{Resource, setrlimit};
        setrlimit(Resource::RLIMIT_FSIZE, 64 * 1024, 64 * 1024).unwrap();
        for_each_backend(|options| {
            assert!(Segment::create(Kind::Ring, 32 * 1024, options).is_ok());
            let error = Segment::create(Kind::Ring, 64 * 1024, options)
                .err()
                .unwrap();
            assert!(matches!(
                error,
                SegmentError::FileSizeLimit {
                    asked: 69_632,
                    limit: 65_536
                }
            ));
        });
        return;
    }
    let name = "segment::tests::the_file_size_limit_is_an_error_and_not_a_signal";
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
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
fn a_named_segment_is_removed_with_its_owner() {
    let owner = Segment::create(Kind::Ring, 1, &named()).unwrap();
    let SegmentHandle::Named(name) = owner.handle().unwrap() else {
        panic!("not named")
    };
    let path = format!("/dev/shm{name}");
    assert!(std::path::Path::new(&path).exists());
    drop(owner);
    assert!(!std::path::Path::new(&path).exists());
}
