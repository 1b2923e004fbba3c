//! Segments with names in `/dev/shm`.
//!
//! What this backend loses against memfd stands at [`Backend::Named`](super::Backend::Named).

use nix::fcntl::OFlag;
use nix::sys::mman::shm_open;
use nix::sys::stat::{Mode, fstat};
use shared_memory::{ShmemConf, ShmemError};

use super::foreign::check_extent;
use super::mapping::{Keep, Mapping};
use super::owner::allocate;
use super::{Incarnation, PAGE_BYTES, SegmentError};

/// Makes a named mapping of `total` bytes; it is removed from `/dev/shm` when it is dropped.
pub(super) fn create(
    total: usize,
    incarnation: Incarnation,
) -> Result<(Keep, String), SegmentError> {
    let name = format!("{PREFIX}{:032x}", incarnation.0);
    let map = ShmemConf::new()
        .os_id(&name)
        .size(total)
        .create()
        .map_err(named_error("shared_memory create"))?;
    let descriptor = shm_open(name.as_str(), OFlag::O_RDWR, Mode::empty())
        .map_err(SegmentError::system("shm_open"))?;
    allocate(&descriptor, total)?;
    Ok((Keep::Named(map), name))
}

/// Maps what a peer named. The crate maps it writable; nothing here writes it.
pub(super) fn open(name: String, max_len: u64) -> Result<Mapping, SegmentError> {
    let digits = name.strip_prefix(PREFIX).unwrap_or_default();
    if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(SegmentError::Name { name });
    }
    let descriptor = shm_open(name.as_str(), OFlag::O_RDONLY, Mode::empty())
        .map_err(SegmentError::system("shm_open"))?;
    let len = check_extent(
        &fstat(&descriptor).map_err(SegmentError::system("fstat"))?,
        max_len,
        PAGE_BYTES as u64,
    )?;
    let map = ShmemConf::new()
        .os_id(&name)
        .open()
        .map_err(named_error("shared_memory open"))?;
    // Without seals the file may have changed since; what is mapped is what counts.
    if map.len() != len {
        return Err(SegmentError::TotalBytes {
            stated: len as u64,
            len: map.len() as u64,
        });
    }
    Mapping::new(Keep::Named(map)).ok_or(SegmentError::TooSmall {
        len: len as u64,
        least: len as u64 + 1,
    })
}

fn named_error(call: &'static str) -> impl FnOnce(ShmemError) -> SegmentError {
    move |error| {
        let source = match error {
            ShmemError::MapCreateFailed(code)
            | ShmemError::MapOpenFailed(code)
            | ShmemError::UnknownOsError(code) => std::io::Error::from_raw_os_error(code as i32),
            other => std::io::Error::other(other),
        };
        SegmentError::System { call, source }
    }
}

const PREFIX: &str = "/ringmain-";
