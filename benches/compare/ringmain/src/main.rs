//! Ringmain as a contender: its public interface, messages in order, nothing lost.

mod body;
mod inlet;
mod outlet;

use std::marker::PhantomData;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use compare_harness::Workload::{Fanout, Frames, Rtt, Throughput};
use compare_harness::{
    Channel, Contender, Ends, Mode, Part, Size, Task, Wait, drive, drive_async, finish,
    play_blocking, tell_ready,
};
use ringmain::Client;
use ringmain::broker::Broker;
use ringmain::message::Bytes;

use body::{Block16, Block64, Block1024, Body, SizedBody};
use inlet::{Blocking, Futures, InReactor};
use outlet::{Batches, Single};

fn main() -> Result<()> {
    compare_harness::main::<Ringmain>()
}

struct Ringmain;

impl Contender for Ringmain {
    fn modes() -> Vec<Mode> {
        let mode = |wait, workloads| Mode::new("ringmain", wait, workloads).broker();
        let batch = |wait, workloads| {
            let mode = Mode::new(BATCH, wait, workloads).broker();
            mode.max_bytes(1024)
        };
        vec![
            mode(Wait::Spin, &[Rtt, Throughput]).pinned(),
            batch(Wait::Spin, &[Throughput]).pinned(),
            mode(Wait::Yield, &[Fanout, Frames]),
            batch(Wait::Yield, &[Fanout]),
            mode(Wait::Park, &[Rtt]).pinned(),
            mode(Wait::Park, &[Rtt, Throughput, Fanout, Frames]),
            mode(Wait::Async, &[Rtt]).pinned(),
            mode(Wait::Async, &[Rtt]).variant(IN_REACTOR).pinned(),
        ]
    }

    fn play<S: Size>(task: &Task, size: S) -> Result<()> {
        if task.part == Part::Broker {
            return serve(task);
        }
        let client = Client::builder().name("compare").connect(&address(task))?;
        match size.bytes() {
            16 => sized::<Block16, S>(task, size, &client),
            64 => sized::<Block64, S>(task, size, &client),
            1024 => sized::<Block1024, S>(task, size, &client),
            _ => single::<Bytes, S>(task, size, &client),
        }
    }
}

fn sized<B: SizedBody, S: Size>(task: &Task, size: S, client: &Client) -> Result<()> {
    if task.mode.contender != BATCH {
        return single::<B, S>(task, size, client);
    }
    match task.part {
        Part::Publish => {
            let mut outlet = Batches::<B>::open(client, TOPIC, task)?;
            finish(Some(drive::publish(task, size, &mut outlet)?))
        }
        _ => single::<B, S>(task, size, client),
    }
}

fn single<B: Body + ?Sized, S: Size>(task: &Task, size: S, client: &Client) -> Result<()> {
    if task.mode.wait == Wait::Async {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        return runtime.block_on(in_futures::<B>(task, size, client));
    }
    let ends = Handles {
        client,
        task,
        body: PhantomData::<B>,
    };
    play_blocking(task, size, ends)
}

/// Plays ping or echo in a runtime.
async fn in_futures<B: Body + ?Sized>(task: &Task, size: impl Size, client: &Client) -> Result<()> {
    let (own, other) = match task.part {
        Part::Echo => (Channel::There, Channel::Back),
        _ => (Channel::Back, Channel::There),
    };
    let mut outlet = Single::<B>::open(client, other.name(), task)?;
    if task.mode.variant == IN_REACTOR {
        let mut inlet = InReactor::<B>::open(client, own.name())?;
        return finish(
            drive_async::ping_or_echo(task, size, &mut outlet, &mut inlet, tell_ready).await?,
        );
    }
    let mut inlet = Futures::<B>::open(client, own.name())?;
    finish(drive_async::ping_or_echo(task, size, &mut outlet, &mut inlet, tell_ready).await?)
}

struct Handles<'a, B: ?Sized> {
    client: &'a Client,
    task: &'a Task,
    body: PhantomData<B>,
}

impl<B: Body + ?Sized, S: Size> Ends<S> for Handles<'_, B> {
    type Outlet = Single<B>;
    type Inlet = Blocking<B>;

    fn outlet(&mut self, channel: Channel) -> Result<Single<B>> {
        // Subscribers are there before: what is published from now on reaches them.
        Single::open(self.client, channel.name(), self.task)
    }

    fn inlet(&mut self, channel: Channel) -> Result<Blocking<B>> {
        Blocking::open(self.client, channel.name(), self.task)
    }
}

fn serve(task: &Task) -> Result<()> {
    let _broker = Broker::builder().listen(address(task).parse()?).start()?;
    tell_ready()?;
    loop {
        thread::park();
    }
}

fn address(task: &Task) -> String {
    format!("unix:{}", task.folder.join("bus").display())
}

const BATCH: &str = "ringmain-batch";
const IN_REACTOR: &str = "AsyncFd";
/// Of streams.
const TOPIC: &str = "there";
/// Longer than a loaded machine keeps a process from running.
const DEADLINE: Duration = Duration::from_secs(30);
