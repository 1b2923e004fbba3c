//! What a client asks of its memory and its control thread, and what it is told where the system says no.

use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};

use ringmain::message::Bytes;
use ringmain::{Client, ClientBuilder, ConnectError, MemoryOptions, PinError, SegmentError};
use ringmain_tests::{Bus, Transport};

fn huge() -> MemoryOptions {
    MemoryOptions {
        huge_pages: true,
        ..MemoryOptions::default()
    }
}

/// Messages between two clients; gives what this process had mapped.
fn exchange(bus: &Bus, builder: impl Fn() -> ClientBuilder) -> String {
    let (publishing, receiving) = (
        builder().connect(bus.address()).unwrap(),
        builder().connect(bus.address()).unwrap(),
    );
    let mut subscriber = receiving.subscriber::<Bytes>("a/**").open().unwrap();
    let mut publisher = publishing
        .publisher::<Bytes>("a/**")
        .max_message_bytes(100_000)
        .open()
        .unwrap();
    for number in 0..50_u8 {
        // Every other one by the pool.
        let message = vec![number; [100, 100_000][usize::from(number % 2)]];
        publisher.publish("a/b", Bytes::new(&message)).unwrap();
        assert_eq!(&*subscriber.recv().unwrap(), &message[..]);
    }
    fs::read_to_string("/proc/self/smaps").unwrap()
}

#[test]
fn messages_pass_through_locked_memory() {
    let bus = Bus::start(Transport::Unix);
    let lock = MemoryOptions {
        lock: true,
        ..MemoryOptions::default()
    };
    match Client::builder().memory(lock).connect(bus.address()) {
        Ok(_) => drop(exchange(&bus, || Client::builder().memory(lock))),
        Err(ConnectError::Memory(error @ SegmentError::Lock { .. })) => {
            eprintln!("skipped: {error}");
        }
        Err(error) => panic!("{error}"),
    }
}

/// Changes what the whole system has set aside, where it may, and gives it back; under a lock that others who do take, too.
#[test]
fn messages_pass_through_huge_pages_and_a_lack_of_them_is_told_when_joining() {
    const PATH: &str = "/proc/sys/vm/nr_hugepages";
    let bus = Bus::start(Transport::Unix);
    let Ok(file) = File::options().write(true).open(PATH) else {
        eprintln!("skipped: this process cannot set huge pages aside");
        return;
    };
    file.lock().unwrap();
    let before = fs::read_to_string(PATH).unwrap();
    let set = |count: &str| {
        fs::write(PATH, count).is_ok() && fs::read_to_string(PATH).unwrap().trim() == count
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        if set("0") {
            let result = Client::builder().memory(huge()).connect(bus.address());
            let error = result.unwrap_err();
            assert!(
                matches!(
                    error,
                    ConnectError::Memory(SegmentError::HugePages { free: 0, .. })
                ),
                "{error:?}"
            );
            assert!(error.to_string().contains("vm.nr_hugepages"), "{error}");
        }
        if set("64") {
            let maps = exchange(&bus, || Client::builder().memory(huge()));
            // A ring, a segment of the pool, each on both sides.
            let count = maps.matches("KernelPageSize:     2048 kB").count();
            assert_eq!(count, 4, "{maps}");
        }
    }));
    fs::write(PATH, before).unwrap();
    outcome.unwrap();
}

#[cfg(feature = "named")]
#[test]
fn huge_pages_with_names_are_refused() {
    let bus = Bus::start(Transport::Unix);
    let builder = Client::builder()
        .memory(huge())
        .backend(ringmain::Backend::Named);
    assert!(matches!(
        builder.connect(bus.address()),
        Err(ConnectError::Memory(SegmentError::HugePagesNamed))
    ));
}

#[test]
fn the_control_thread_runs_where_it_is_told_to() {
    let bus = Bus::start(Transport::Unix);
    let error = Client::builder()
        .control_cpus(&[1023])
        .connect(bus.address())
        .unwrap_err();
    assert!(
        matches!(&error, ConnectError::Pin(PinError::NotAllowed { asked, .. }) if *asked == [1023]),
        "{error:?}"
    );
    let list = |status: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.map(|line| line.trim().to_owned())
    };
    // The first processor that this thread may use.
    let own = list(&fs::read_to_string("/proc/thread-self/status").unwrap()).unwrap();
    let first = own.split([',', '-']).next().unwrap().to_owned();
    let builder = Client::builder().control_cpus(&[first.parse().unwrap()]);
    let _client = builder.connect(bus.address()).unwrap();
    let bound = fs::read_dir("/proc/self/task").unwrap().any(|task| {
        let task = task.unwrap().path();
        // Threads of other tests end meanwhile.
        let read = |name| fs::read_to_string(task.join(name)).unwrap_or_default();
        read("comm").trim() == "ringmain" && list(&read("status")).as_deref() == Some(&first)
    });
    assert!(bound);
}
