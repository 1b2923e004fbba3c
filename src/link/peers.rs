//! The processes at the other ends of lanes.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::Descriptor;
use crate::wake::has_exited;
use crate::wire::LaneId;

/// The processes at the other ends of lanes, each watched once however many lanes lead there.
#[derive(Default)]
pub struct Peers {
    processes: BTreeMap<u32, Process>,
    /// Of each lane, the process.
    lanes: BTreeMap<LaneId, u32>,
}

struct Process {
    pidfd: Descriptor,
    lanes: BTreeSet<LaneId>,
}

impl Peers {
    /// Watches the process at the other end of a lane.
    pub fn watch(&mut self, pidfd: Descriptor, lane: LaneId) {
        let Some(pid) = pid_of(&pidfd) else {
            // Reaped already, or another process' /proc.
            self.insert(unused_pid(lane), pidfd, lane);
            return;
        };
        let reused = |process: &Process| has_exited(process.pidfd.as_fd());
        if self.processes.get(&pid).is_some_and(reused) {
            self.insert(unused_pid(lane), pidfd, lane);
        } else if pid != std::process::id() {
            self.insert(pid, pidfd, lane);
        }
    }

    /// The lane has ended.
    pub fn forget(&mut self, lane: LaneId) {
        if let Some(pid) = self.lanes.remove(&lane)
            && let Some(process) = self.processes.get_mut(&pid)
        {
            process.lanes.remove(&lane);
            if process.lanes.is_empty() {
                self.processes.remove(&pid);
            }
        }
    }

    /// Whether the process at the other end of a lane, which is watched, has exited.
    pub fn has_exited(&self, lane: LaneId) -> bool {
        let pid = self.lanes.get(&lane);
        let process = pid.and_then(|pid| self.processes.get(pid));
        process.is_some_and(|process| has_exited(process.pidfd.as_fd()))
    }

    /// What to poll.
    pub fn processes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.processes.values().map(|process| process.pidfd.as_fd())
    }

    /// Lanes of processes that have exited; they are forgotten.
    pub fn exited(&mut self) -> Vec<LaneId> {
        let exited = self
            .processes
            .extract_if(.., |_, process| has_exited(process.pidfd.as_fd()));
        let lanes: Vec<_> = exited.flat_map(|(_, process)| process.lanes).collect();
        for lane in &lanes {
            self.lanes.remove(lane);
        }
        lanes
    }

    fn insert(&mut self, pid: u32, pidfd: Descriptor, lane: LaneId) {
        // A pidfd that has not exited pins its number: an equal number is the same process.
        let process = self.processes.entry(pid).or_insert_with(|| Process {
            pidfd,
            lanes: BTreeSet::new(),
        });
        process.lanes.insert(lane);
        self.lanes.insert(lane, pid);
    }
}

/// A number that no process has: they end at 2^22.
fn unused_pid(lane: LaneId) -> u32 {
    u32::MAX - (lane as u32 & 0x3fff_ffff)
}

/// The number of a pidfd's process; `None` once it is reaped.
fn pid_of(pidfd: &Descriptor) -> Option<u32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    line.trim().parse().ok().filter(|pid| *pid != 0)
}
