//! t2_bus as a contender: a server behind a Unix socket that confirms each message.

use std::path::PathBuf;
use std::task::Poll;

use anyhow::{Context, Result, anyhow};
use compare_harness::Workload::{Fanout, Rtt, Throughput};
use compare_harness::{
    AsyncInlet, AsyncOutlet, Channel, Contender, Mode, PATIENCE, Part, Size, Task, Told, Wait,
    drive_async, finish, tell_ready,
};
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use t2_bus::prelude::{BusResult, Client, Connector, PubMsg, ServerBuilder, Subscription};

fn main() -> Result<()> {
    compare_harness::main::<T2Bus>()
}

struct T2Bus;

impl Contender for T2Bus {
    fn modes() -> Vec<Mode> {
        let mode = Mode::new("t2_bus", Wait::Async, &[Rtt, Throughput, Fanout]);
        // It refuses frames of a mebibyte.
        vec![mode.broker().max_bytes(512 * 1024)]
    }

    fn play<S: Size>(task: &Task, size: S) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(async {
            if task.part == Part::Broker {
                return serve(task).await;
            }
            let connector = Connector::new_unix(address(task));
            let client = connector.connect().await.map_err(text)?;
            let told = play(task, size, &client).await?;
            // The client's tasks go on meanwhile.
            tokio::task::spawn_blocking(move || finish(told)).await?
        })
    }
}

async fn play(task: &Task, size: impl Size, client: &Client) -> Result<Option<Told>> {
    let told = match task.part {
        Part::Ping | Part::Echo => {
            let (own, other) = match task.part {
                Part::Echo => (Channel::There, Channel::Back),
                _ => (Channel::Back, Channel::There),
            };
            let mut inlet = In::open(client, own).await?;
            let mut outlet = Out::new(client, other);
            drive_async::ping_or_echo(task, size, &mut outlet, &mut inlet, tell_ready).await?
        }
        Part::Publish => {
            let mut outlet = Out::new(client, Channel::There);
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

async fn serve(task: &Task) -> Result<()> {
    let server = ServerBuilder::new().serve_unix_socket(address(task));
    let _stopper = server.build().await.map_err(text)?;
    tell_ready()?;
    std::future::pending().await
}

fn address(task: &Task) -> PathBuf {
    task.folder.join("t2_bus.sock")
}

struct Out<'a> {
    client: &'a Client,
    channel: Channel,
    /// What the server has not confirmed yet.
    open: FuturesUnordered<LocalBoxFuture<'a, BusResult<usize>>>,
}

impl<'a> Out<'a> {
    fn new(client: &'a Client, channel: Channel) -> Self {
        Self {
            client,
            channel,
            open: FuturesUnordered::new(),
        }
    }

    async fn confirm(&mut self, most_open: usize) -> Result<()> {
        while self.open.len() > most_open {
            let confirmed = self.open.next().await;
            confirmed.context("there are some")?.map_err(text)?;
        }
        Ok(())
    }
}

impl AsyncOutlet for Out<'_> {
    async fn send(&mut self, message: &[u8]) -> Result<()> {
        let message = message.to_vec();
        let sent = self.client.publish_bytes(self.channel.name(), message);
        self.open.push(Box::pin(sent));
        // Its first poll hands it to the client's task, so the order is kept. Those that are confirmed are found before.
        while let Poll::Ready(Some(confirmed)) = futures::poll!(self.open.next()) {
            confirmed.map_err(text)?;
        }
        self.confirm(MOST_OPEN).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.confirm(0).await
    }
}

struct In(Subscription<PubMsg>);

impl In {
    async fn open(client: &Client, channel: Channel) -> Result<Self> {
        let subscription = client.subscribe_bytes(channel.name()).await;
        Ok(Self(subscription.map_err(text)?))
    }
}

impl AsyncInlet for In {
    async fn receive(&mut self, mut take: impl FnMut(&[u8])) -> Result<bool> {
        match tokio::time::timeout(PATIENCE, self.0.recv()).await {
            Ok(message) => {
                let message: Vec<u8> = message.context("the server is gone")?.payload.into();
                take(&message);
                Ok(true)
            }
            Err(_) => Ok(false),
        }
    }
}

fn text(error: impl std::fmt::Debug) -> anyhow::Error {
    anyhow!("{error:?}")
}

const MOST_OPEN: usize = 64;
