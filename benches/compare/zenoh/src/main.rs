//! Zenoh as a contender: peer to peer, without router and scouting; subscribers listen, the publisher connects to each.
//!
//! Payloads lie in shared memory, and control goes over a Unix socket; or, as another way, all goes over that socket.

use std::sync::mpsc::{self, Receiver as Done};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use compare_harness::Workload::{Fanout, Frames, Rtt, Throughput};
use compare_harness::{
    Contender, Echo, Inlet, Mode, Outlet, PATIENCE, Part, Receiver, Size, Task, Told, Wait, drive,
    finish, tell_ready,
};
use zenoh::bytes::ZBytes;
use zenoh::handlers::FifoChannelHandler;
use zenoh::pubsub::{Publisher, Subscriber};
use zenoh::qos::CongestionControl;
use zenoh::sample::Sample;
use zenoh::shm::{
    BlockOn, GarbageCollect, PosixShmProviderBackend, ShmProvider, ShmProviderBuilder,
};
use zenoh::{Config, Session, Wait as _};

fn main() -> Result<()> {
    compare_harness::main::<Zenoh>()
}

struct Zenoh;

impl Contender for Zenoh {
    fn modes() -> Vec<Mode> {
        let mode = |variant| {
            let mode = Mode::new("zenoh", Wait::Async, &[Rtt, Throughput, Fanout, Frames]);
            mode.variant(variant)
        };
        vec![mode(SHARED_MEMORY), mode("socket")]
    }

    fn play<S: Size>(task: &Task, size: S) -> Result<()> {
        match task.part {
            Part::Echo => echo(task, size),
            Part::Ping => {
                let session = open(task, None, 1)?;
                let mut inlet = In(session.declare_subscriber(BACK).wait().map_err(text)?);
                let mut outlet = Out::open(&session, THERE, task, Sends::AtOnce)?;
                outlet.await_subscribers()?;
                finish(Some(drive::ping(task, size, &mut outlet, &mut inlet)?))
            }
            Part::Subscribe { index } => subscribe(task, size, index),
            _ => {
                let session = open(task, None, task.subscribers)?;
                let mut outlet = Out::open(&session, THERE, task, Sends::InBatches)?;
                outlet.await_subscribers()?;
                finish(Some(drive::publish(task, size, &mut outlet)?))
            }
        }
    }
}

/// Answers where questions come in: in the callback.
fn echo(task: &Task, size: impl Size) -> Result<()> {
    let session = open(task, Some(0), 0)?;
    let mut outlet = Out::open(&session, BACK, task, Sends::AtOnce)?;
    let mut echo = Echo::new(size);
    let done = in_callback(&session, move |message| {
        echo.take(message);
        Ok(match echo.is_over()? {
            true => Some(None),
            false => {
                outlet.send(|bytes| echo.fill(bytes))?;
                None
            }
        })
    })?;
    tell_ready()?;
    finish(done.recv()??)
}

/// Counts where messages come in: in the callback.
fn subscribe(task: &Task, size: impl Size, index: usize) -> Result<()> {
    let session = open(task, Some(index), 0)?;
    let mut receiver = Receiver::new(size);
    let done = in_callback(&session, move |message| {
        receiver.take(message);
        Ok(receiver.is_over().then(|| Some(receiver.told())))
    })?;
    tell_ready()?;
    finish(done.recv()??)
}

/// Calls `take` with each message, on the session's thread, until it has a result.
fn in_callback(
    session: &Session,
    mut take: impl FnMut(&[u8]) -> Result<Option<Option<Told>>> + Send + Sync + 'static,
) -> Result<Done<Result<Option<Told>>>> {
    let (to_done, done) = mpsc::channel();
    let mut is_done = false;
    let callback = move |sample: Sample| {
        if is_done {
            return;
        }
        if let Some(result) = take(&sample.payload().to_bytes()).transpose() {
            is_done = true;
            let _ = to_done.send(result);
        }
    };
    let subscriber = session.declare_subscriber(THERE).callback_mut(callback);
    subscriber.background().wait().map_err(text)?;
    Ok(done)
}

/// A session that listens at the address of this number, or connects to so many.
fn open(task: &Task, listens_at: Option<usize>, connections: usize) -> Result<Session> {
    let address = |index| {
        format!(
            "unixsock-stream/{}",
            task.folder.join(format!("zenoh-{index}")).display()
        )
    };
    let listen: Vec<_> = listens_at.map(address).into_iter().collect();
    let connect: Vec<_> = (0..connections).map(address).collect();
    let mut config = Config::default();
    let settings = [
        ("mode", "\"peer\"".to_owned()),
        ("scouting/multicast/enabled", "false".to_owned()),
        ("scouting/gossip/enabled", "false".to_owned()),
        (
            "transport/shared_memory/enabled",
            (task.mode.variant == SHARED_MEMORY).to_string(),
        ),
        ("listen/endpoints", format!("{listen:?}")),
        ("connect/endpoints", format!("{connect:?}")),
    ];
    for (key, value) in settings {
        config.insert_json5(key, &value).map_err(text)?;
    }
    zenoh::open(config).wait().map_err(text)
}

/// Whether a message waits for others, to leave with them.
#[derive(PartialEq)]
enum Sends {
    AtOnce,
    InBatches,
}

struct Out {
    publisher: Publisher<'static>,
    pool: Option<ShmProvider<PosixShmProviderBackend>>,
    len: usize,
}

impl Out {
    fn open(session: &Session, key: &'static str, task: &Task, sends: Sends) -> Result<Self> {
        let publisher = session
            .declare_publisher(key)
            .congestion_control(CongestionControl::Block)
            .express(sends == Sends::AtOnce)
            .wait()
            .map_err(text)?;
        let pool_bytes = (16 * task.size_bytes).max(LEAST_POOL_BYTES);
        let pool = match &*task.mode.variant {
            SHARED_MEMORY => {
                let pool = ShmProviderBuilder::default_backend(pool_bytes).wait();
                Some(pool.map_err(text)?)
            }
            _ => None,
        };
        Ok(Self {
            publisher,
            pool,
            len: task.size_bytes,
        })
    }

    fn await_subscribers(&self) -> Result<()> {
        while !self
            .publisher
            .matching_status()
            .wait()
            .map_err(text)?
            .matching()
        {
            thread::sleep(Duration::from_millis(1));
        }
        // It tells of the first one only.
        thread::sleep(Duration::from_millis(300));
        Ok(())
    }
}

impl Outlet for Out {
    fn send(&mut self, fill: impl FnOnce(&mut [u8])) -> Result<()> {
        let message = match &self.pool {
            Some(pool) => {
                let chunk = pool
                    .alloc(self.len)
                    .with_policy::<BlockOn<GarbageCollect>>();
                let mut chunk = chunk.wait().map_err(|error| anyhow!("{error:?}"))?;
                fill(&mut chunk);
                ZBytes::from(chunk)
            }
            None => {
                let mut message = vec![0; self.len];
                fill(&mut message);
                ZBytes::from(message)
            }
        };
        self.publisher.put(message).wait().map_err(text)
    }
}

struct In(Subscriber<FifoChannelHandler<Sample>>);

impl Inlet for In {
    fn receive(&mut self, mut take: impl FnMut(&[u8])) -> Result<bool> {
        let sample = self.0.recv_timeout(PATIENCE).map_err(text)?;
        if let Some(sample) = &sample {
            take(&sample.payload().to_bytes());
        }
        Ok(sample.is_some())
    }
}

fn text(error: zenoh::Error) -> anyhow::Error {
    anyhow!("{error}")
}

const SHARED_MEMORY: &str = "shared memory";
const THERE: &str = "there";
const BACK: &str = "back";
const LEAST_POOL_BYTES: usize = 16 * 1024 * 1024;
