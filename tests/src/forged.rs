//! Segments as a hostile peer makes them.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use memmap2::MmapRaw;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

/// A memfd made like a segment, up to a point.
#[derive(Debug)]
pub struct Forged(File);

impl Forged {
    /// A ring of `data_bytes`, its control page included, allocated and with a good header.
    pub fn ring(data_bytes: u64) -> Self {
        Self::new(1, 0xa481_3dad_319b_2a8a, data_bytes)
    }

    /// A cursor page, allocated and with a good header.
    pub fn cursor_page(data_bytes: u64) -> Self {
        Self::new(2, 0x1acf_afdb_9973_004b, data_bytes)
    }

    /// Counters, allocated and with a good header, named as they have to be.
    pub fn counters(data_bytes: u64) -> Self {
        Self::named("ringmain-counters", 4, 0x87d89d8984c2c9b5, data_bytes)
    }

    /// Bytes that are claimed, but not there.
    pub fn sparse(self, data_bytes: u64) -> Self {
        self.0.set_len(PAGE_BYTES + data_bytes).unwrap();
        self.write(16, &(PAGE_BYTES + data_bytes).to_le_bytes())
    }

    /// Writes bytes, the header's too.
    pub fn write(self, at: u64, bytes: &[u8]) -> Self {
        self.0.write_all_at(bytes, at).unwrap();
        self
    }

    /// Writes bytes behind the header page.
    pub fn write_data(self, at: u64, bytes: &[u8]) -> Self {
        self.write(PAGE_BYTES + at, bytes)
    }

    /// A mapping to write to when it is sealed, as its owner has one; see [`poke`].
    pub fn mapped(&self) -> MmapRaw {
        MmapRaw::map_raw(&self.0).unwrap()
    }

    /// Seals it as a segment has to be.
    pub fn sealed(self) -> Self {
        let seals = SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_GROW
            // F_SEAL_FUTURE_WRITE, which nix does not name.
            | SealFlag::from_bits_retain(0x10)
            | SealFlag::F_SEAL_SEAL;
        fcntl(&self.0, FcntlArg::F_ADD_SEALS(seals)).unwrap();
        self
    }

    fn new(kind: u32, layout_hash: u64, data_bytes: u64) -> Self {
        Self::named("forged", kind, layout_hash, data_bytes)
    }

    fn named(name: &str, kind: u32, layout_hash: u64, data_bytes: u64) -> Self {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create(name, flags).unwrap());
        let total = PAGE_BYTES + data_bytes;
        fallocate(&file, FallocateFlags::empty(), 0, total as i64).unwrap();
        Self(file)
            .write(0, b"RINGSEG\0")
            .write(8, &1_u32.to_le_bytes())
            .write(12, &kind.to_le_bytes())
            .write(16, &total.to_le_bytes())
            .write(24, &layout_hash.to_le_bytes())
    }
}

impl AsFd for Forged {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Writes bytes behind the header page of a mapped segment.
pub fn poke(mapping: &MmapRaw, at: u64, bytes: &[u8]) {
    let memory = OpenOptions::new().write(true).open("/proc/self/mem");
    let address = mapping.as_ptr() as u64 + PAGE_BYTES + at;
    memory.unwrap().write_all_at(bytes, address).unwrap();
}

/// A bell, and the end at which its rings arrive.
pub fn bell() -> (OwnedFd, OwnedFd) {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socketpair(AddressFamily::Unix, SockType::Datagram, None, flags).unwrap()
}

const PAGE_BYTES: u64 = 4096;
