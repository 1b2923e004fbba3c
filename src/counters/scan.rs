//! Finds the counters of all processes.
//!
//! A memfd shows its name in `/proc/PID/fd`, but so could any file of a hostile process, and opening some files can block for
//! ever. So a candidate is opened without touching what is behind it (`O_PATH`), and really opened only if the kernel says that it
//! lies where all memfds lie, on a mount of the kernel's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use std::{fs, io, thread};

use nix::fcntl::{OFlag, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, fstat};
use thiserror::Error;

use crate::segment::{ForeignSegment, Kind as SegmentKind, PAGE_BYTES, SegmentHandle};
use crate::sync::Ordering;

use super::page::Kind;
use super::reading::{Row, Words, changes, follow_leaders, printable, row};
use super::snapshot::{ClientCounters, HandleCounters, LaneCounters, Role, Scan};

/// Why a process' counters were not read.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
#[error("process {pid} has counters that cannot be read: {reason}")]
pub struct ScanError {
    /// The process.
    pub pid: u32,
    /// What is wrong with them.
    pub reason: String,
}

/// The counters of all processes that the caller may look at: those of its user, as a rule.
///
/// Takes time in proportion to the number of descriptors that are open in the system: some milliseconds. Neither waits for
/// anybody nor makes anybody wait, not even if processes die, or lie.
///
/// # Errors
/// `/proc` cannot be read.
pub fn scan() -> io::Result<Scan> {
    let mut scanner = Scanner::new()?;
    let mut pids: Vec<u32> = fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    // A parent before its forked children, which have its descriptors.
    pids.sort_unstable();
    for pid in pids {
        match scanner.process(pid) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                scanner.scan.hidden_processes += 1;
            }
            // It has ended meanwhile.
            Err(_) => {}
        }
    }
    Ok(scanner.finish())
}

/// The counters of one process.
///
/// # Errors
/// There is no such process, or the caller may not look at it.
pub fn scan_process(pid: u32) -> io::Result<Scan> {
    let mut scanner = Scanner::new()?;
    scanner.process(pid)?;
    Ok(scanner.finish())
}

struct Scanner {
    scan: Scan,
    /// The mount of all memfds.
    mount: u64,
    /// Segments that were read, by the kernel's numbers: a forked child has its parent's descriptors, too.
    seen: BTreeSet<(u64, u64)>,
}

/// What a process has.
#[derive(Default)]
struct Look {
    /// By bus and number.
    clients: BTreeMap<(u128, u64), Found>,
    seen: BTreeSet<(u64, u64)>,
    faults: Vec<String>,
}

/// The segments of one client.
#[derive(Default)]
struct Found {
    segments: Vec<(u64, ForeignSegment)>,
}

impl Scanner {
    fn new() -> io::Result<Self> {
        let own = memfd_create("ringmain-probe", MFdFlags::MFD_CLOEXEC)?;
        let mount = mount_of(&own)
            .ok_or_else(|| io::Error::other("/proc/self/fdinfo names no mount of a memfd"))?;
        Ok(Self {
            scan: Scan::default(),
            mount,
            seen: BTreeSet::new(),
        })
    }

    fn process(&mut self, pid: u32) -> io::Result<()> {
        let mut look = self.look(pid)?;
        if !look.faults.is_empty() {
            // A segment that is being made has no seals and no client for some microseconds.
            thread::sleep(LOOK_AGAIN);
            look = self.look(pid)?;
        }
        let program = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
        let program = printable(program.trim_ascii_end());
        let clients = look.clients.into_iter();
        let clients = clients.map(|(id, found)| found.read(pid, &program, id));
        self.scan.clients.extend(clients);
        let room = MOST_FAULTS.saturating_sub(self.scan.faults.len());
        let faults = look.faults.into_iter().take(room);
        let faults = faults.map(|reason| ScanError { pid, reason });
        self.scan.faults.extend(faults);
        self.seen.extend(look.seen);
        Ok(())
    }

    /// Maps what a process has.
    fn look(&self, pid: u32) -> io::Result<Look> {
        let mut look = Look::default();
        let mut pages = 0;
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            // It may end, or close the descriptor, at any time.
            let Ok(entry) = entry else { break };
            if !is_named(&entry.path()) {
                continue;
            }
            let Some((file, id)) = self.open(&entry.path()) else {
                continue;
            };
            if self.seen.contains(&id) || !look.seen.insert(id) {
                continue;
            }
            let handle = SegmentHandle::Descriptor(file);
            let most = (MOST_PAGES_OF_SEGMENT + 1) * PAGE_BYTES;
            match ForeignSegment::open(handle, SegmentKind::Counters, most as u64) {
                Ok(segment) => {
                    pages += segment.pages();
                    look.take(segment);
                }
                Err(error) => look.faults.push(error.to_string()),
            }
            if pages > MOST_PAGES || look.faults.len() > MOST_FAULTS {
                look.faults.push("there are too many".into());
                break;
            }
        }
        Ok(look)
    }

    /// Opens what is named like counters; `None` if it is gone, or is something else. With the kernel's numbers of it.
    fn open(&self, path: &Path) -> Option<(OwnedFd, (u64, u64))> {
        let probe = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
        // From here on it is clear which file is meant, whatever its process does with its descriptors.
        if mount_of(&probe) != Some(self.mount) {
            return None;
        }
        let file = File::open(format!("/proc/self/fd/{}", probe.as_raw_fd())).ok()?;
        let stat = fstat(&file).ok()?;
        Some((file.into(), (stat.st_dev, stat.st_ino)))
    }

    fn finish(mut self) -> Scan {
        self.scan
            .clients
            .sort_by_key(|client| (client.pid, client.bus, client.client));
        self.scan
    }
}

impl Look {
    fn take(&mut self, segment: ForeignSegment) {
        match row(&segment, 0).filter(|row| row.kind == Kind::Client) {
            Some(row) => {
                let client = self.clients.entry((row.bus, row.client)).or_default();
                client.segments.push((row.segment, segment));
            }
            None => self.faults.push("a segment without a client".into()),
        }
    }
}

impl Found {
    fn read(mut self, pid: u32, program: &str, (bus, client): (u128, u64)) -> ClientCounters {
        self.segments.sort_by_key(|(number, _)| *number);
        let mut read = self.read_once(pid, program, bus, client);
        for _ in 1..MOST_TRIES {
            if read.is_settled {
                break;
            }
            read = self.read_once(pid, program, bus, client);
        }
        read
    }

    fn read_once(&self, pid: u32, program: &str, bus: u128, client: u64) -> ClientCounters {
        let changes_now = || match self.segments.first() {
            Some((0, first)) => changes(first),
            _ => None,
        };
        let mut read = ClientCounters {
            pid,
            program: program.to_owned(),
            bus,
            client,
            name: String::new(),
            closed_publishers: Default::default(),
            closed_subscribers: Default::default(),
            handles: Vec::new(),
            lanes: Vec::new(),
            is_settled: false,
        };
        let before = changes_now();
        let mut rows = Vec::new();
        for (_, segment) in &self.segments {
            rows.extend((0..segment.pages()).filter_map(|page| row(segment, page)));
        }
        read.is_settled = before.is_some() && before == changes_now();
        follow_leaders(&mut rows);
        rows.into_iter().for_each(|row| read.take(row));
        read.handles
            .sort_by_key(|handle| (handle.role, handle.handle));
        read.lanes
            .sort_by_key(|lane| (lane.role, lane.handle, lane.lane));
        read
    }
}

impl ClientCounters {
    fn take(&mut self, row: Row) {
        match row.kind {
            Kind::Client if self.name.is_empty() => self.name = row.name,
            Kind::Client => {}
            Kind::Publisher if row.handle == 0 => self.closed_publishers += &row.counts,
            Kind::Subscriber if row.handle == 0 => self.closed_subscribers += &row.counts,
            Kind::Publisher => self.handles.push(handle(Role::Publisher, row)),
            Kind::Subscriber => self.handles.push(handle(Role::Subscriber, row)),
            Kind::PublisherLane => self.lanes.push(lane(Role::Publisher, row)),
            Kind::SubscriberLane => self.lanes.push(lane(Role::Subscriber, row)),
        }
    }
}

impl Words for ForeignSegment {
    fn pages(&self) -> usize {
        self.data_len() / PAGE_BYTES
    }

    fn word(&self, page: usize, offset: usize) -> u64 {
        let word = self.try_word(page * PAGE_BYTES + offset);
        word.map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

fn handle(role: Role, row: Row) -> HandleCounters {
    HandleCounters {
        role,
        handle: row.handle,
        topics: row.topics,
        message_type: row.message_type,
        opened_ns: row.opened_ns,
        counts: row.counts,
    }
}

fn lane(role: Role, row: Row) -> LaneCounters {
    LaneCounters {
        role,
        handle: row.handle,
        lane: row.lane,
        peer: row.name,
        topics: row.topics,
        message_type: row.message_type,
        ring_bytes: row.ring_bytes,
        opened_ns: row.opened_ns,
        position: row.position,
        counts: row.counts,
    }
}

/// Whether a descriptor shows the name that counters have.
fn is_named(descriptor: &Path) -> bool {
    fs::read_link(descriptor).is_ok_and(|target| target.as_os_str() == COUNTERS_LINK)
}

/// The mount that an own descriptor's file lies on.
fn mount_of(descriptor: &OwnedFd) -> Option<u64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd())).ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    line.trim().parse().ok()
}

/// What a descriptor of counters links to; see [`SegmentKind::memfd_name`].
const COUNTERS_LINK: &str = "/memfd:ringmain-counters (deleted)";
/// Pages of the largest segment that is read; clients make none with more than a quarter.
const MOST_PAGES_OF_SEGMENT: usize = 4096;
/// Pages of one process that are read, four times what all lanes of a client need: bounds what it can make the reader spend.
const MOST_PAGES: usize = 64 * 1024;
/// Longer than the making of a segment takes, as a rule.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// Faults that are told: whoever makes up more has nothing more to say.
const MOST_FAULTS: usize = 256;
/// A client whose lanes come and go all the time must not keep the reader.
const MOST_TRIES: usize = 8;
