//! What a process uses, as the kernel counts it.

use std::fs;

use nix::fcntl::OFlag;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::Pid;

/// Number of open descriptors.
pub fn descriptors(pid: Pid) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Whether a process may open so many descriptors, if it asks for as many as it can get; says so if not, for a test that
/// cannot run then.
pub fn may_open(count: u64) -> bool {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < count {
        eprintln!("skipped: it takes {count} descriptors, {hard} are the most here (ulimit -Hn)");
    }
    hard >= count
}

/// Number of shared mappings of memfds.
pub fn segments(pid: Pid) -> usize {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    maps.lines().filter(|line| line.contains("/memfd:")).count()
}

/// Number of threads.
pub fn threads(pid: Pid) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

/// How often threads of this process have fallen asleep, of those that still live.
pub fn sleeps() -> u64 {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let sleeps = threads.map(|thread| {
        let path = thread.unwrap().path().join("status");
        let status = fs::read_to_string(path).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.map_or(0, |count| count.trim().parse().unwrap())
    });
    sleeps.sum()
}

/// Resident memory in bytes.
pub fn rss_bytes(pid: Pid) -> u64 {
    field_kib(&format!("/proc/{pid}/status"), "VmRSS:") * 1024
}

/// Address space in use, in bytes.
pub fn virtual_bytes(pid: Pid) -> u64 {
    field_kib(&format!("/proc/{pid}/status"), "VmSize:") * 1024
}

/// Memory in bytes, each shared page divided by the number of processes that map it.
pub fn pss_bytes(pid: Pid) -> u64 {
    field_kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:") * 1024
}

/// Whether all threads of the process are stopped; its first one may be so while another still runs.
pub fn is_stopped(pid: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads
        .map(|thread| thread.unwrap().path().join("status"))
        .all(|path| {
            // A thread that ends meanwhile does not run either.
            let status = fs::read_to_string(path).unwrap_or_default();
            let state = status.lines().find_map(|line| line.strip_prefix("State:"));
            state.is_none_or(|state| state.trim().starts_with('T'))
        })
}

fn field_kib(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.unwrap().trim().strip_suffix(" kB").unwrap();
    value.trim().parse().unwrap()
}

/// Whether programs that a process starts inherit its descriptor `number`, as it may have inherited it itself.
pub fn is_inherited(pid: Pid, number: &str) -> bool {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & OFlag::O_CLOEXEC.bits() == 0)
}

/// Shuts down every stream socket that this process has made: the links of its clients, not their bells, and not what it
/// was started with, which may be sockets, too.
pub fn cut_links() {
    let sockets = fs::read_to_string("/proc/self/net/unix").unwrap();
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let number = entry.unwrap().file_name().to_string_lossy().into_owned();
        let target = fs::read_link(format!("/proc/self/fd/{number}")).unwrap_or_default();
        let target = target.to_string_lossy();
        let Some(inode) = target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'))
        else {
            continue;
        };
        // Columns: number, references, protocol, flags, type (1 is a stream), state, inode, path.
        let is_stream = sockets.lines().any(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            columns.get(4) == Some(&"0001") && columns.get(6) == Some(&inode)
        });
        if is_stream && !is_inherited(Pid::this(), &number) {
            shutdown(number.parse().unwrap(), Shutdown::Both).unwrap();
        }
    }
}
