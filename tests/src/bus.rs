//! A bus for one test, on one transport.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use ringmain::Client;
use ringmain::broker::Broker;
use tempfile::TempDir;

use crate::Peer;

/// How the parties of a test reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Broker and peers are processes, connected by a Unix socket.
    Unix,
    /// Broker and peers are threads of the test.
    Memory,
    /// Broker and peers are processes, each peer connected by TCP as if it were on another host.
    Tcp,
}

/// A bus for one test; ends with it.
pub struct Bus {
    transport: Transport,
    address: String,
    /// Of transports `Unix` and `Tcp`.
    broker_process: Option<Peer>,
    /// Of transport `Memory`.
    broker: Option<Broker>,
    directory: TempDir,
}

/// Runs a test on every transport.
pub fn on_each_transport(test: impl Fn(&mut Bus)) {
    on_each_of(&[Transport::Unix, Transport::Memory, Transport::Tcp], test);
}

/// Runs a test on every transport of one host: for lanes that go on without a broker.
pub fn on_each_local_transport(test: impl Fn(&mut Bus)) {
    on_each_of(&[Transport::Unix, Transport::Memory], test);
}

/// Runs a test on every transport whose parties are processes: only those can be killed, stopped, or fork.
pub fn on_each_transport_of_processes(test: impl Fn(&mut Bus)) {
    on_each_of(&[Transport::Unix, Transport::Tcp], test);
}

fn on_each_of(transports: &[Transport], test: impl Fn(&mut Bus)) {
    for &transport in transports {
        eprintln!("--- {transport:?}");
        test(&mut Bus::start(transport));
    }
}

impl Bus {
    /// A bus with a broker that is ready.
    pub fn start(transport: Transport) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let directory = tempfile::tempdir().unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut bus = Self {
            transport,
            address: match transport {
                Transport::Unix => format!("unix:{}", directory.path().join("bus.sock").display()),
                Transport::Memory => format!("memory:test-{}-{number}", std::process::id()),
                // The broker says which port it has got.
                Transport::Tcp => "tcp://127.0.0.1:0".into(),
            },
            broker_process: None,
            broker: None,
            directory,
        };
        bus.start_broker();
        bus
    }

    /// Starts the broker, again after [`Bus::kill_broker`].
    pub fn start_broker(&mut self) {
        match self.transport {
            Transport::Unix | Transport::Tcp => {
                let mut process = Peer::process("broker", &[&self.address]);
                self.address = process.expect_start("ready");
                self.broker_process = Some(process);
            }
            Transport::Memory => {
                let address = self.address.parse().unwrap();
                self.broker = Some(Broker::builder().listen(address).start().unwrap());
            }
        }
    }

    /// Ends the broker: SIGKILL where it is a process.
    pub fn kill_broker(&mut self) {
        if let Some(mut process) = self.broker_process.take() {
            process.kill();
        }
        self.broker = None;
    }

    /// The broker's process, where it is one.
    pub fn broker_process(&self) -> Option<&Peer> {
        self.broker_process.as_ref()
    }

    /// How the parties reach each other.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Where the bus is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A directory that ends with the bus.
    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// A client in the test's process.
    pub fn client(&self, name: &str) -> Client {
        Client::builder().name(name).connect(&self.address).unwrap()
    }

    /// Another party, in a process of its own, or a thread where there is no other way.
    pub fn peer(&self, role: &str, arguments: &[&str]) -> Peer {
        let all = [&[self.address.as_str()], arguments].concat();
        match self.transport {
            Transport::Unix | Transport::Tcp => Peer::process(role, &all),
            Transport::Memory => Peer::thread(role, &all),
        }
    }
}
