//! busrt as a contender: a broker behind a Unix socket, asynchronous clients, topics.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result};
use busrt::broker::{Broker, ServerConfig};
use busrt::client::AsyncClient;
use busrt::ipc::{Client, Config};
use busrt::{EventChannel, OpConfirm, QoS};
use compare_harness::Workload::{Fanout, Rtt, Throughput};
use compare_harness::{
    AsyncInlet, AsyncOutlet, Channel, Contender, Mode, PATIENCE, Part, Size, Task, Told, Wait,
    drive_async, finish, tell_ready,
};

fn main() -> Result<()> {
    compare_harness::main::<Busrt>()
}

struct Busrt;

impl Contender for Busrt {
    fn modes() -> Vec<Mode> {
        // The broker disconnects subscribers whose queue is full. It gets a deep one; and in the other way, as many messages
        // are on their way as the broker has confirmed.
        let mode = |workloads| Mode::new("busrt", Wait::Async, workloads).broker();
        vec![
            mode(&[Rtt, Throughput, Fanout]),
            mode(&[Throughput, Fanout]).variant(CONFIRMED),
        ]
    }

    fn play<S: Size>(task: &Task, size: S) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut client = None;
            let told = play(task, size, &mut client).await?;
            // The client's tasks go on meanwhile.
            tokio::task::spawn_blocking(move || finish(told)).await?
        })
    }
}

/// The client is left behind, for what it has not sent yet.
async fn play(task: &Task, size: impl Size, client: &mut Option<Client>) -> Result<Option<Told>> {
    if task.part == Part::Broker {
        return serve(task).await;
    }
    let name = format!("{:?}", task.part);
    let config = Config::new(&address(task), &name)
        .timeout(LIMIT)
        .queue_size(8192)
        .buf_size(BUFFER_BYTES);
    let client = client.insert(Client::connect(&config).await?);
    let told = match task.part {
        Part::Ping | Part::Echo => {
            let (own, other) = match task.part {
                Part::Echo => (Channel::There, Channel::Back),
                _ => (Channel::Back, Channel::There),
            };
            let mut inlet = In::open(client, own).await?;
            let mut outlet = Out::new(client, other, QoS::Realtime);
            drive_async::ping_or_echo(task, size, &mut outlet, &mut inlet, tell_ready).await?
        }
        Part::Publish => {
            let quality = match &*task.mode.variant {
                CONFIRMED => QoS::Processed,
                _ => QoS::No,
            };
            let mut outlet = Out::new(client, Channel::There, quality);
            Some(drive_async::publish(task, size, &mut outlet, tokio::time::sleep).await?)
        }
        _ => {
            let mut inlet = In::open(client, Channel::There).await?;
            tell_ready()?;
            Some(drive_async::subscribe(size, &mut inlet).await?)
        }
    };
    Ok(told)
}

async fn serve(task: &Task) -> Result<Option<Told>> {
    let mut broker = Broker::new();
    broker.set_queue_size(DEPTH);
    let config = ServerConfig::default()
        .timeout(LIMIT)
        .buf_size(BUFFER_BYTES);
    broker.spawn_unix_server(&address(task), config).await?;
    tell_ready()?;
    std::future::pending().await
}

fn address(task: &Task) -> String {
    task.folder.join("busrt.sock").display().to_string()
}

struct Out<'a> {
    client: &'a mut Client,
    channel: Channel,
    quality: QoS,
    /// What the broker has not confirmed yet.
    open: VecDeque<OpConfirm>,
}

impl<'a> Out<'a> {
    fn new(client: &'a mut Client, channel: Channel, quality: QoS) -> Self {
        Self {
            client,
            channel,
            quality,
            open: VecDeque::new(),
        }
    }

    async fn confirm(&mut self, most_open: usize) -> Result<()> {
        while self.open.len() > most_open {
            if let Some(Some(confirmed)) = self.open.pop_front() {
                confirmed.await??;
            }
        }
        Ok(())
    }
}

impl AsyncOutlet for Out<'_> {
    async fn send(&mut self, message: &[u8]) -> Result<()> {
        let (topic, quality) = (self.channel.name(), self.quality);
        let confirm = self.client.publish(topic, message.into(), quality).await?;
        if confirm.is_some() {
            self.open.push_back(confirm);
            self.confirm(MOST_OPEN).await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.confirm(0).await
    }
}

struct In(EventChannel);

impl In {
    async fn open(client: &mut Client, channel: Channel) -> Result<Self> {
        let subscribed = client.subscribe(channel.name(), QoS::Processed).await?;
        subscribed.context("it is confirmed")?.await??;
        let events = client.take_event_channel();
        Ok(Self(events.context("it is taken once")?))
    }
}

impl AsyncInlet for In {
    async fn receive(&mut self, mut take: impl FnMut(&[u8])) -> Result<bool> {
        if let Ok(frame) = self.0.try_recv() {
            take(frame.payload());
            return Ok(true);
        }
        match tokio::time::timeout(PATIENCE, self.0.recv()).await {
            Ok(frame) => {
                take(frame?.payload());
                Ok(true)
            }
            Err(_) => Ok(false),
        }
    }
}

const CONFIRMED: &str = "confirmed";
const MOST_OPEN: usize = 128;
const DEPTH: usize = 1 << 20;
const BUFFER_BYTES: usize = 64 * 1024;
const LIMIT: Duration = Duration::from_secs(15);
