//! How much memory a new segment may take.
//!
//! Asked before a segment is made, since the system answers an excess with a signal otherwise: `ftruncate` beyond
//! RLIMIT_FSIZE raises SIGXFSZ, and under a memory cgroup populating is killed, not refused. Best effort: what cannot be
//! read limits nothing, and somebody else may take the memory a moment later.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};

use super::SegmentError;

/// Checks that a file of `total_bytes` may be made.
///
/// # Errors
/// [`SegmentError::FileSizeLimit`].
pub(super) fn check_file_size(total_bytes: u64) -> Result<(), SegmentError> {
    let (limit, _) =
        getrlimit(Resource::RLIMIT_FSIZE).map_err(SegmentError::system("getrlimit"))?;
    match total_bytes > limit {
        true => Err(SegmentError::FileSizeLimit {
            asked: total_bytes,
            limit,
        }),
        false => Ok(()),
    }
}

/// Checks that there are `total_bytes` of ordinary memory; huge pages are not part of that.
///
/// # Errors
/// [`SegmentError::Memory`].
pub(super) fn check_memory(total_bytes: u64) -> Result<(), SegmentError> {
    match tightest(Path::new("/proc"), Path::new("/sys/fs/cgroup")) {
        Some(room) if total_bytes > room.bytes => Err(SegmentError::Memory {
            asked: total_bytes,
            available: room.bytes,
            source_of_limit: room.stated_by.display().to_string(),
        }),
        _ => Ok(()),
    }
}

#[derive(Debug, PartialEq)]
struct Room {
    bytes: u64,
    stated_by: PathBuf,
}

fn tightest(proc: &Path, cgroups: &Path) -> Option<Room> {
    let groups = fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
    let of_groups = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        if controllers.is_empty() {
            tightest_group(cgroups, path, &UNIFIED)
        } else if controllers.split(',').any(|name| name == "memory") {
            tightest_group(&cgroups.join("memory"), path, &LEGACY)
        } else {
            None
        }
    });
    of_groups
        .chain(of_system(&proc.join("meminfo")))
        .min_by_key(|room| room.bytes)
}

fn of_system(meminfo: &Path) -> Option<Room> {
    let text = fs::read_to_string(meminfo).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Room {
        bytes: kibibytes.saturating_mul(1024),
        stated_by: meminfo.to_owned(),
    })
}

struct Files {
    limit: &'static str,
    usage: &'static str,
    /// Cache that the kernel gives up before it kills; without it a long-running group always looks full.
    reclaimable: &'static str,
}

const UNIFIED: Files = Files {
    limit: "memory.max",
    usage: "memory.current",
    reclaimable: "inactive_file ",
};
const LEGACY: Files = Files {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file ",
};

/// The limits of all groups from the process' own up to the root apply.
fn tightest_group(root: &Path, path: &str, files: &Files) -> Option<Room> {
    let own = root.join(path.trim_start_matches('/'));
    own.ancestors()
        .take_while(|group| group.starts_with(root))
        .filter_map(|group| of_group(group, files))
        .min_by_key(|room| room.bytes)
}

fn of_group(group: &Path, files: &Files) -> Option<Room> {
    let number = |name: &str| {
        fs::read_to_string(group.join(name))
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    };
    let limit = number(files.limit)?;
    let usage = number(files.usage)?;
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let reclaimable = stat
        .lines()
        .find_map(|line| line.strip_prefix(files.reclaimable)?.trim().parse().ok())
        .unwrap_or(0);
    let bytes = limit.saturating_sub(usage.saturating_sub(reclaimable));
    Some(Room {
        bytes,
        stated_by: group.join(files.limit),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn room(files: &[(&str, &str)]) -> Option<(u64, String)> {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), files);
        let room = tightest(&root.path().join("proc"), &root.path().join("cgroup"))?;
        let stated_by = room
            .stated_by
            .strip_prefix(root.path())
            .unwrap()
            .display()
            .to_string();
        Some((room.bytes, stated_by))
    }

    #[test]
    fn available_memory_is_the_room_without_groups() {
        let files = [(
            "proc/meminfo",
            "MemTotal:  900 kB\nMemAvailable:   100 kB\n",
        )];
        assert_eq!(room(&files), Some((102_400, "proc/meminfo".into())));
    }

    #[test]
    fn a_parent_group_limits_its_children() {
        let files = [
            ("proc/meminfo", "MemAvailable: 100 kB\n"),
            ("proc/self/cgroup", "0::/a/b\n"),
            ("cgroup/a/b/memory.max", "max\n"),
            ("cgroup/a/b/memory.current", "10\n"),
            ("cgroup/a/memory.max", "5000\n"),
            ("cgroup/a/memory.current", "4000\n"),
            ("cgroup/a/memory.stat", "anon 1\ninactive_file 500\n"),
        ];
        assert_eq!(room(&files), Some((1500, "cgroup/a/memory.max".into())));
    }

    #[test]
    fn a_legacy_group_limits() {
        let files = [
            ("proc/self/cgroup", "4:cpu:/x\n3:hugetlb,memory:/x\n"),
            ("cgroup/memory/x/memory.limit_in_bytes", "1000\n"),
            ("cgroup/memory/x/memory.usage_in_bytes", "1200\n"),
        ];
        assert_eq!(
            room(&files),
            Some((0, "cgroup/memory/x/memory.limit_in_bytes".into()))
        );
    }

    #[test]
    fn what_cannot_be_read_limits_nothing() {
        assert_eq!(room(&[("proc/self/cgroup", "nonsense\n0::\n")]), None);
    }

    #[test]
    fn more_memory_than_there_is_names_the_bytes() {
        let asked = u64::MAX / 2;
        assert!(
            matches!(check_memory(asked), Err(SegmentError::Memory { asked: a, .. }) if a == asked)
        );
    }
}
