//! Who has an address, what is left of a broker.

use super::*;

#[test]
fn a_second_broker_is_refused_and_the_first_goes_on() {
    let bus = Bus::new();
    let error = Broker::builder()
        .listen(bus.broker.addresses()[0].clone())
        .start()
        .unwrap_err();
    assert!(
        matches!(&error, BrokerError::AddressInUse { path } if path.ends_with("bus.sock")),
        "{error}"
    );
    let error = Broker::builder()
        .listen(bus.broker.addresses()[1].clone())
        .start()
        .unwrap_err();
    assert!(matches!(error, BrokerError::Memory(_)), "{error}");
    hello(&mut bus.link(), "one");
}

#[test]
fn the_socket_of_a_killed_broker_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    // A process that another test starts now has a copy for a moment.
    while UnixStream::connect(&path).is_ok() {}
    std::fs::write(directory.path().join("bus.sock.lock"), "").unwrap();
    let address = Address::Unix(path);
    let broker = Broker::builder().listen(address.clone()).start().unwrap();
    hello(&mut link(connect(&address).unwrap()), "one");
    broker.shutdown();
}

#[test]
fn nothing_is_left_of_a_broker_that_ends() {
    let bus = Bus::new();
    let mut client = bus.link();
    hello(&mut client, "one");
    let addresses = bus.broker.addresses().to_vec();
    drop(bus.broker);
    assert_dropped(&mut client);
    assert_eq!(std::fs::read_dir(bus.directory.path()).unwrap().count(), 0);
    for address in addresses {
        assert!(connect(&address).is_err());
        Broker::builder().listen(address).start().unwrap();
    }
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let good = Address::Unix(directory.path().join("bus.sock"));
    let bad = Address::Tls {
        host: "localhost".into(),
        port: 1,
    };
    let error = Broker::builder()
        .listen(good)
        .listen(bad.clone())
        .start()
        .unwrap_err();
    assert!(matches!(error, BrokerError::NotSupported { address } if address == bad));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    assert!(matches!(
        Broker::builder().start(),
        Err(BrokerError::NoAddress)
    ));
}

#[test]
fn tcp_beyond_loopback_needs_to_be_allowed() {
    let start =
        |address: &str, builder: BrokerBuilder| builder.listen(address.parse().unwrap()).start();
    for address in ["tcp://0.0.0.0:0", "tcp://[::]:0"] {
        let error = start(address, Broker::builder()).unwrap_err();
        assert!(matches!(error, BrokerError::Exposed { .. }), "{error}");
        assert!(error.to_string().contains("--insecure-tcp"), "{error}");
    }
    let broker = start("tcp://0.0.0.0:0", Broker::builder().insecure_tcp()).unwrap();
    let Address::Tcp { port, .. } = &broker.addresses()[0] else {
        panic!("{:?}", broker.addresses())
    };
    assert_ne!(*port, 0);
    let taken = format!("tcp://127.0.0.1:{port}");
    let error = start(&taken, Broker::builder()).unwrap_err();
    assert!(matches!(error, BrokerError::PortInUse { .. }), "{error}");
    // Too long for a name, so that no server of names is asked: it might take its time, or make up an address.
    let host = "x".repeat(64);
    let error = start(&format!("tcp://{host}:1"), Broker::builder()).unwrap_err();
    assert!(matches!(error, BrokerError::Tcp { .. }), "{error}");
}
