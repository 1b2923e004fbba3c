//! Parks and wakes a subscriber process through a real bus until enough turns went well.
//!
//! Usage: `wake_stress [fences] [TURNS]`. One process publishes a number on `ping`, waits for it on `pong` without sleeping, and
//! publishes the next after a delay that varies by nanoseconds; the other one parks whenever it finds nothing. So commits
//! meet the moment between raising the parked counter and the last look, in which a wake can be missed: by a publisher that
//! passes no fence, if not for the sleeper's second look; with `fences`, if not for a fence on both sides. A lost wake is a
//! time-out without a message.
//!
//! Without the second look, or without the publisher's fence, it fails.

use std::hint::black_box;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use ringmain::broker::Broker;
use ringmain::message::Bytes;
use ringmain::{Client, Publisher, Subscriber, Wait, wait_any};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => stress(DEFAULT_TURNS, "park"),
        ["echo", address, way] => echo(address, way),
        ["fences"] => stress(DEFAULT_TURNS, "fences"),
        [turns] => turns
            .parse()
            .map_or_else(|_| usage(), |turns| stress(turns, "park")),
        ["fences", turns] => turns
            .parse()
            .map_or_else(|_| usage(), |turns| stress(turns, "fences")),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: wake_stress [fences] [TURNS]");
    ExitCode::from(2)
}

/// The side that starts each turn.
fn stress(turns: u64, way: &str) -> ExitCode {
    let directory = tempfile::tempdir().expect("a directory for the socket");
    let address = format!("unix:{}", directory.path().join("bus.sock").display());
    let _broker = Broker::builder()
        .listen(address.parse().expect("it is an address"))
        .start()
        .expect("a broker");
    let client = Client::connect(&address).expect("a broker is there");
    let mut publisher = client
        .publisher::<Bytes>("ping")
        .open()
        .expect("a publisher");
    let mut subscriber = subscriber(&client, "pong", Wait::Spin);
    let mut other = Command::new(std::env::current_exe().expect("this program"))
        .args(["echo", &address, way])
        .stdout(Stdio::inherit())
        .spawn()
        .expect("a second process");
    let started = Instant::now();
    let lost = take_turns(&mut publisher, &mut subscriber, turns);
    let elapsed = started.elapsed();
    // It echoes until it is told to end.
    let _ = publisher.publish("ping", Bytes::new(&END.to_le_bytes()));
    if lost.is_some() {
        let _ = other.kill();
    }
    let other = other.wait().expect("it was started here");
    match lost {
        None if other.success() => {
            println!(
                "{turns} turns ({way}), none lost, {:.1} s",
                elapsed.as_secs_f64()
            );
            ExitCode::SUCCESS
        }
        None => ExitCode::FAILURE,
        Some(number) => {
            eprintln!("turn {number}: no answer within {PATIENCE:?}: a wake was lost");
            ExitCode::FAILURE
        }
    }
}

/// Gives the number of the turn that failed.
fn take_turns(
    publisher: &mut Publisher<Bytes>,
    subscriber: &mut Subscriber<Bytes>,
    turns: u64,
) -> Option<u64> {
    let ping = publisher.resolve("ping").expect("it is what was declared");
    // The other process may not have subscribed yet.
    let begin = Instant::now();
    while publisher
        .publish_to(&ping, Bytes::new(&0_u64.to_le_bytes()))
        .is_ok_and(|delivery| delivery.lanes == 0)
    {
        if begin.elapsed() > PATIENCE {
            return Some(0);
        }
        std::thread::yield_now();
    }
    let mut delays = Delays(0x9e37_79b9_7f4a_7c15);
    for number in 0..turns {
        if receive(subscriber) != Some(number) {
            return Some(number);
        }
        if number + 1 < turns {
            delays.pass();
            let next = (number + 1).to_le_bytes();
            publisher
                .publish_to(&ping, Bytes::new(&next))
                .expect("it is open");
        }
    }
    None
}

/// The side that answers. It sleeps in `recv`, or, for `fences`, in a `poll` of its own, which looks once.
fn echo(address: &str, way: &str) -> ExitCode {
    let client = Client::connect(address).expect("a broker is there");
    let mut publisher = client
        .publisher::<Bytes>("pong")
        .open()
        .expect("a publisher");
    let mut subscriber = subscriber(&client, "ping", Wait::Park);
    let pong = publisher.resolve("pong").expect("it is what was declared");
    loop {
        if way == "fences" {
            wait_any(&mut [&mut subscriber], Some(PATIENCE)).expect("there is memory");
        }
        match receive(&mut subscriber) {
            Some(END) => return ExitCode::SUCCESS,
            Some(number) => {
                publisher
                    .publish_to(&pong, Bytes::new(&number.to_le_bytes()))
                    .expect("it is open");
            }
            None => {
                eprintln!("no turn within {PATIENCE:?}: a wake was lost");
                return ExitCode::FAILURE;
            }
        }
    }
}

fn subscriber(client: &Client, topic: &str, wait: Wait) -> Subscriber<Bytes> {
    client
        .subscriber::<Bytes>(topic)
        .wait(wait)
        .open()
        .expect("a subscriber")
}

/// Delays that sweep the other side's way to sleep; now and then long enough for it to be asleep.
struct Delays(u64);

impl Delays {
    fn pass(&mut self) {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let mask = if self.0 >> 61 == 0 { 0xffff } else { 0xfff };
        for step in 0..self.0 & mask {
            black_box(step);
        }
    }
}

/// A message that comes late is a lost wake as well: the time-out would deliver what lies in the ring.
fn receive(subscriber: &mut Subscriber<Bytes>) -> Option<u64> {
    let started = Instant::now();
    let sample = subscriber
        .recv_timeout(PATIENCE)
        .expect("nothing is lost with `Block`")?;
    if started.elapsed() >= PATIENCE {
        return None;
    }
    sample
        .as_chunks::<8>()
        .0
        .first()
        .copied()
        .map(u64::from_le_bytes)
}

const DEFAULT_TURNS: u64 = 1_000_000;
/// Far above what a busy machine needs to schedule a process, far below for ever.
const PATIENCE: Duration = Duration::from_secs(20);
const END: u64 = u64::MAX;
