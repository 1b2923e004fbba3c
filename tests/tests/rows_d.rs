//! Reach: rows D of the list of features, by their numbers.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use ringmain::broker::Broker;
use ringmain::message::Bytes;
use ringmain::wire::{PREAMBLE_BYTES, PreambleError, Versions};
use ringmain::{Client, ConnectError};
use ringmain_tests::{Bus, Transport};

fn text(bytes: &str) -> &Bytes {
    Bytes::new(bytes.as_bytes())
}

#[test]
fn d1_d2_one_broker_listens_on_several_addresses_of_both_kinds() {
    let directory = tempfile::tempdir().unwrap();
    let unix = |name: &str| format!("unix:{}", directory.path().join(name).display());
    let addresses = [unix("a.sock"), unix("b.sock"), "memory:d1-d2".to_owned()];
    let mut builder = Broker::builder();
    for address in &addresses {
        builder = builder.listen(address.parse().unwrap());
    }
    let broker = builder.start().unwrap();
    let clients: Vec<_> = addresses
        .iter()
        .map(|address| Client::connect(address).unwrap())
        .collect();
    let mut subscribers: Vec<_> = clients
        .iter()
        .map(|client| client.subscriber::<Bytes>("t").open().unwrap())
        .collect();
    for (client, address) in clients.iter().zip(&addresses) {
        assert_eq!(client.incarnation(), clients[0].incarnation());
        let mut publisher = client.publisher::<Bytes>("t").open().unwrap();
        assert_eq!(publisher.publish("t", text(address)).unwrap().lanes, 3);
        for subscriber in &mut subscribers {
            assert_eq!(&*subscriber.recv().unwrap(), address.as_bytes());
        }
    }
    broker.shutdown();
    assert!(!directory.path().join("a.sock").exists());
    assert!(!directory.path().join("b.sock").exists());
}

#[test]
fn d3_a_bus_in_one_process_needs_no_file() {
    let bus = Bus::start(Transport::Memory);
    let mut subscriber = bus.client("one").subscriber::<Bytes>("t").open().unwrap();
    let mut publisher = bus.client("other").publisher::<Bytes>("t").open().unwrap();
    assert_eq!(publisher.publish("t", text("here")).unwrap().lanes, 1);
    assert_eq!(&*subscriber.recv().unwrap(), b"here");
    assert_eq!(std::fs::read_dir(bus.directory()).unwrap().count(), 0);
}

/// Versions that no build speaks yet.
const FUTURE: Versions = Versions {
    lowest: 700,
    highest: 701,
};

#[test]
fn d12_a_client_names_both_versions() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("future.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let broker = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&FUTURE.encode()).unwrap();
        let mut preamble = [0; PREAMBLE_BYTES];
        stream.read_exact(&mut preamble).unwrap();
        assert_eq!(Versions::decode(&preamble), Ok(Versions::OURS));
        // The client closes.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let error = Client::connect(&format!("unix:{}", path.display())).unwrap_err();
    broker.join().unwrap();
    assert!(matches!(error, ConnectError::Link(_)), "{error:?}");
    let told = error.to_string();
    let ours = Versions::OURS.to_string();
    assert!(
        told.contains("versions 700 to 701") && told.contains(&ours),
        "{told}"
    );
}

#[test]
fn d12_a_broker_tells_its_version_and_parts() {
    let bus = Bus::start(Transport::Unix);
    let path = bus.address().strip_prefix("unix:").unwrap().to_owned();
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(&FUTURE.encode()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let theirs = Versions::decode(answer[..].try_into().unwrap()).unwrap();
    assert_eq!(
        FUTURE.agree(theirs),
        Err(PreambleError::NoCommonVersion {
            ours: FUTURE,
            theirs: Versions::OURS
        })
    );
    // Others are served.
    bus.client("present").ping().unwrap();
}
