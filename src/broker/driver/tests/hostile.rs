//! Clients that break rules, hang, or are killed.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn a_client_that_breaks_the_protocol_is_dropped_and_harms_nobody() {
    let bus = Bus::new();
    let mut witness = bus.link();
    hello(&mut witness, "witness");
    let too_large = [0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0];
    let malformed = [&[16, 0, 0, 0, 0, 0, 0, 0][..], &[0xff; 16]].concat();
    let preamble = Versions::OURS.encode();
    let cases = [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        [&preamble[..], &too_large].concat(),
        [&preamble[..], &malformed].concat(),
        [&preamble[..], &[0xff; 64]].concat(),
    ];
    for (number, bytes) in cases.into_iter().enumerate() {
        let mut stream = bus.stream();
        stream.write_all(&bytes).unwrap();
        stream.set_nonblocking(false).unwrap();
        let mut answer = Vec::new();
        // An end, or a reset since the broker leaves some unread.
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer, preamble, "{number}");
        assert_answers(&mut witness, number as u64);
    }
    let mut impolite = bus.link();
    send(&mut impolite, ToBroker::Ping { request: 1 });
    assert_dropped(&mut impolite);
    assert_answers(&mut witness, 9);
}

#[test]
fn another_version_is_answered_with_both_ranges() {
    for_each_transport(|_, address| {
        let newer = Versions {
            lowest: 7,
            highest: 9,
        };
        let mut client = ClientLink::new(connect(address).unwrap(), newer, 1024);
        client.flush().unwrap();
        let expected = PreambleError::NoCommonVersion {
            ours: newer,
            theirs: Versions::OURS,
        };
        assert!(
            matches!(receive(&mut client), Err(LinkError::Preamble(error)) if error == expected)
        );
    });
}

#[test]
fn a_client_that_does_not_read_delays_nobody() {
    let bus = Bus::new();
    let (mut lazy, mut other) = (bus.link(), bus.link());
    hello(&mut lazy, "lazy");
    hello(&mut other, "other");
    // Answers that are not read fill the socket; beyond the limit of open requests the client is dropped.
    let mut request = 0;
    loop {
        request += 1;
        let ping = Outgoing {
            frame: ToBroker::Ping { request },
            descriptors: Vec::new(),
        };
        match lazy.try_send(ping).unwrap() {
            Progress::Closed => break,
            _ => assert_answers(&mut other, request),
        }
        assert!(request < 100_000, "the broker keeps answers without end");
    }
}

/// A child process that joins, gives its socket to a child of its own, then is killed: the link gives no end of file.
#[test]
#[allow(
    clippy::zombie_processes,
    reason = "the parent of `cat` is killed next"
)]
fn a_killed_client_is_noticed_although_its_socket_stays_open() {
    const CHILD: &str = "RINGMAIN_TEST_KILLED_CLIENT";
    if let Some(address) = std::env::var_os(CHILD) {
        let mut client = link(connect(&address.into_string().unwrap().parse().unwrap()).unwrap());
        hello(&mut client, "killed");
        let socket = client.as_fd().try_clone_to_owned().unwrap();
        // Lives as long as the pipe that it shares with this process.
        Command::new("cat").stdout(socket).spawn().unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    let bus = Bus::new();
    let mut witness = bus.link();
    hello(&mut witness, "witness");
    let name =
        "broker::driver::tests::hostile::a_killed_client_is_noticed_although_its_socket_stays_open";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact"])
        .env(CHILD, bus.broker.addresses()[0].to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let holds_the_socket_open = child.stdin.take();
    assert_eq!(
        child.wait().unwrap().signal(),
        Some(9),
        "the child did not join"
    );
    while clients(&mut witness).len() > 1 {}
    assert_eq!(clients(&mut witness), ["witness"]);
    drop(holds_the_socket_open);
}

/// In a process of its own, since the limit counts for all threads.
#[test]
fn a_broker_outlives_a_full_descriptor_table() {
    const CHILD: &str = "RINGMAIN_TEST_FULL_TABLE";
    if std::env::var_os(CHILD).is_none() {
        let name = "broker::driver::tests::hostile::a_broker_outlives_a_full_descriptor_table";
        let child = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact"])
            .env(CHILD, "1")
            .output();
        let child = child.unwrap();
        let text = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success() && text.contains("1 passed"),
            "{text}"
        );
        return;
    }
    use nix::sys::resource::{Resource, setrlimit};
    setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
    let bus = Bus::new();
    let mut connected = Vec::new();
    while let Ok(stream) = connect(&bus.broker.addresses()[0]) {
        connected.push(stream);
    }
    drop(connected);
    // What was in the queue is accepted and found closed. Meanwhile it may use up the table once more, for broker and client alike.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !joins(&bus.broker.addresses()[0]) {
        assert!(Instant::now() < deadline, "nobody can join any more");
        std::thread::yield_now();
    }
}

fn joins(address: &Address) -> bool {
    let Ok(stream) = connect(address) else {
        return false;
    };
    let mut link = link(stream);
    let hello = ToBroker::Hello { name: "one".into() };
    let sent = link.try_send(Outgoing {
        frame: hello,
        descriptors: Vec::new(),
    });
    sent.is_ok()
        && matches!(
            receive(&mut link),
            Ok(Received::Frame(ToClient::Welcome(_), _))
        )
}
