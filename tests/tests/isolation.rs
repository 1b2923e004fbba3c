//! Each segment is writable by one process: the kernel sees to it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use memmap2::MmapOptions;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::unistd::Pid;
use ringmain_tests::{Bus, Peer, Transport, usage};

/// A publisher with a subscriber, each in a process of its own, a lane between them in use.
fn lane(bus: &Bus) -> (Peer, Peer) {
    let mut subscriber = bus.peer("subscriber", &["t", "block-30000"]);
    subscriber.expect("open");
    let mut publisher = bus.peer("publisher", &["t"]);
    publisher.expect("open");
    use_it(&mut publisher, &mut subscriber, 0);
    (publisher, subscriber)
}

/// Sends more than a ring takes, so that each end must see what the other writes.
fn use_it(publisher: &mut Peer, subscriber: &mut Peer, round: u64) {
    let (from, to) = (round * 20_000, (round + 1) * 20_000);
    subscriber.tell(&to.to_string());
    publisher.tell(&format!("{from} {to}"));
    publisher.expect("lanes 20000 dropped 0");
    subscriber.expect(&format!("got {to} lost 0"));
}

/// The shared mappings of memfds in a process: for each inode, whether some mapping can be written.
fn mappings(pid: Pid) -> BTreeMap<String, bool> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut found = BTreeMap::new();
    for line in maps.lines().filter(|line| line.contains("/memfd:ringmain")) {
        let fields: Vec<_> = line.split_whitespace().collect();
        assert!(fields[1].ends_with('s'), "{line}");
        *found.entry(fields[4].to_owned()).or_default() |= fields[1].contains('w');
    }
    found
}

/// The memfds that a process holds, opened anew for writing.
fn reopened(pid: Pid) -> Vec<File> {
    let directory = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    directory
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let target = std::fs::read_link(path).unwrap();
            target.to_string_lossy().starts_with("/memfd:ringmain")
        })
        .map(|path| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)
                .unwrap()
        })
        .collect()
}

#[test]
fn each_segment_is_mapped_writable_in_one_process_only() {
    let bus = Bus::start(Transport::Unix);
    let (publisher, subscriber) = lane(&bus);
    let broker = bus.broker_process().unwrap();
    let processes = [&publisher, &subscriber, broker].map(|peer| mappings(peer.pid().unwrap()));
    let mut writers: BTreeMap<&String, usize> = BTreeMap::new();
    let mut readers: BTreeMap<&String, usize> = BTreeMap::new();
    for (inode, writable) in processes.iter().flatten() {
        *if *writable {
            &mut writers
        } else {
            &mut readers
        }
        .entry(inode)
        .or_default() += 1;
    }
    assert!(writers.values().all(|count| *count == 1), "{processes:?}");
    assert!(
        readers.keys().all(|inode| writers.contains_key(inode)),
        "{processes:?}"
    );
    let [publisher, subscriber, broker] = &processes;
    // Publisher: its ring, its counters, and the others' cursor page and epochs. Subscriber: the other way round.
    let count = |process: &BTreeMap<String, bool>, writable| {
        process.values().filter(|w| **w == writable).count()
    };
    assert_eq!((count(publisher, true), count(publisher, false)), (2, 2));
    assert_eq!((count(subscriber, true), count(subscriber, false)), (2, 2));
    assert_eq!((count(broker, true), count(broker, false)), (1, 0));
}

#[test]
fn nobody_can_write_map_cut_grow_or_punch_a_segment_of_another_process() {
    let bus = Bus::start(Transport::Unix);
    let (mut publisher, mut subscriber) = lane(&bus);
    let mut checked = 0;
    for peer in [&publisher, &subscriber, bus.broker_process().unwrap()] {
        for file in reopened(peer.pid().unwrap()) {
            let length = file.metadata().unwrap().len();
            assert!(
                MmapOptions::new().map_raw(&file).is_err(),
                "a writable mapping"
            );
            let read_only = MmapOptions::new().map_raw_read_only(&file).unwrap();
            assert_eq!(read_only.len() as u64, length);
            assert!(file.write_at(b"x", 0).is_err(), "a write");
            assert!(file.write_at(b"x", length).is_err(), "a write at the end");
            assert!(file.set_len(0).is_err(), "cutting");
            assert!(file.set_len(length * 2).is_err(), "growing");
            let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            assert!(fallocate(&file, punch, 0, 4096).is_err(), "punching");
            let more = fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE));
            assert!(more.is_err(), "another seal, which would stop the owner");
            checked += 1;
        }
    }
    // A ring, a cursor page, the epochs, the counters of two clients.
    assert!(checked >= 5, "{checked}");
    use_it(&mut publisher, &mut subscriber, 1);
}

#[test]
fn a_receiver_closes_the_descriptors_of_foreign_segments() {
    let bus = Bus::start(Transport::Unix);
    let (publisher, subscriber) = lane(&bus);
    for peer in [&publisher, &subscriber] {
        // What it owns: ring or cursor page, counters.
        assert_eq!(reopened(peer.pid().unwrap()).len(), 2);
    }
}

#[test]
fn no_descriptor_is_inherited_by_programs_that_a_client_starts() {
    let bus = Bus::start(Transport::Unix);
    let (publisher, subscriber) = lane(&bus);
    let mut checked = 0;
    for peer in [&publisher, &subscriber, bus.broker_process().unwrap()] {
        let pid = peer.pid().unwrap();
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
            let entry = entry.unwrap();
            let target = std::fs::read_link(entry.path()).unwrap();
            let target = target.to_string_lossy();
            if !["socket:", "anon_inode:", "/memfd:ringmain"]
                .iter()
                .any(|kind| target.starts_with(kind))
            {
                continue;
            }
            let number = entry.file_name().into_string().unwrap();
            if usage::is_inherited(Pid::this(), &number) {
                // The test's own, handed down: its standard error may be a socket.
                continue;
            }
            assert!(!usage::is_inherited(pid, &number), "{number}: {target}");
            checked += 1;
        }
    }
    assert!(checked > 12, "{checked}");
}
