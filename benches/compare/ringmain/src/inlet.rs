//! Subscribers as inlets.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::Result;
use compare_harness::{AsyncInlet, Inlet, Polling, Task, Wait as Waiting, Workload};
use ringmain::{Client, Overflow, RecvError, Sample, Subscriber, Wait, Waitable};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::DEADLINE;
use crate::body::Body;

/// Receives in the thread that asks.
pub struct Blocking<B: Body + ?Sized> {
    subscriber: Subscriber<B>,
    wait: Waiting,
    is_stream: bool,
}

/// Receives in futures.
pub struct Futures<B: Body + ?Sized>(Subscriber<B>);

/// Receives when the runtime's own reactor says that there is something.
pub struct InReactor<B: Body + ?Sized> {
    subscriber: Subscriber<B>,
    bell: AsyncFd<OwnedFd>,
}

fn subscribe<B: Body + ?Sized>(client: &Client, topic: &str, wait: Wait) -> Result<Subscriber<B>> {
    let overflow = Overflow::Block { deadline: DEADLINE };
    let builder = client.subscriber::<B>(topic).overflow(overflow);
    Ok(builder.wait(wait).open()?)
}

impl<B: Body + ?Sized> Blocking<B> {
    pub fn open(client: &Client, topic: &str, task: &Task) -> Result<Self> {
        let wait = match task.mode.wait {
            Waiting::Spin | Waiting::Yield => Wait::Spin,
            // A round trip measures the wake; in a stream there is little to wait for.
            Waiting::Park | Waiting::Async if task.workload == Workload::Rtt => Wait::Park,
            Waiting::Park | Waiting::Async => Wait::SpinThenPark,
        };
        Ok(Self {
            subscriber: subscribe(client, topic, wait)?,
            wait: task.mode.wait,
            is_stream: task.workload != Workload::Rtt,
        })
    }
}

/// Hands a message over.
#[inline(always)]
fn hand_over<B: Body + ?Sized>(
    received: Result<Sample<'_, B>, RecvError>,
    mut take: impl FnMut(&[u8]),
) -> Result<bool> {
    match received {
        Ok(sample) => {
            take(B::bytes(&sample));
            Ok(true)
        }
        Err(error) => Err(error.into()),
    }
}

impl<B: Body + ?Sized> Blocking<B> {
    /// Looks again and again, offering the core to others.
    #[inline(always)]
    fn poll(&mut self, mut take: impl FnMut(&Sample<'_, B>)) -> Result<usize, RecvError> {
        let mut polling = Polling::new(self.wait);
        loop {
            let count = self.subscriber.poll(MOST_AT_ONCE, &mut take)?;
            if count > 0 || !polling.pause() {
                return Ok(count);
            }
        }
    }
}

impl<B: Body + ?Sized> Inlet for Blocking<B> {
    #[inline(always)]
    fn receive(&mut self, mut take: impl FnMut(&[u8])) -> Result<bool> {
        if !self.is_stream {
            return hand_over(self.subscriber.recv(), take);
        }
        let take = |sample: &Sample<'_, B>| take(B::bytes(sample));
        let taken = match self.wait {
            Waiting::Yield => self.poll(take),
            // Nothing is lost: the last message comes.
            _ => (self.subscriber).poll_timeout(MOST_AT_ONCE, Duration::MAX, take),
        };
        match taken {
            Ok(count) => Ok(count > 0),
            // The numbers of the messages tell how many are missing.
            Err(RecvError::Gap(_)) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

impl<B: Body + ?Sized> Futures<B> {
    pub fn open(client: &Client, topic: &str) -> Result<Self> {
        Ok(Self(subscribe(client, topic, Wait::Park)?))
    }
}

impl<B: Body + ?Sized> AsyncInlet for Futures<B> {
    async fn receive(&mut self, take: impl FnMut(&[u8])) -> Result<bool> {
        hand_over(self.0.recv_async().await, take)
    }
}

impl<B: Body + ?Sized> InReactor<B> {
    pub fn open(client: &Client, topic: &str) -> Result<Self> {
        let subscriber: Subscriber<B> = subscribe(client, topic, Wait::Park)?;
        let bell = subscriber.as_fd().try_clone_to_owned()?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; this owns what it watches"
        )]
        let bell = AsyncFd::with_interest(bell, Interest::READABLE)?;
        Ok(Self { subscriber, bell })
    }
}

impl<B: Body + ?Sized> AsyncInlet for InReactor<B> {
    async fn receive(&mut self, mut take: impl FnMut(&[u8])) -> Result<bool> {
        loop {
            if let Some(sample) = self.subscriber.try_recv()? {
                take(B::bytes(&sample));
                return Ok(true);
            }
            if self.subscriber.announce() {
                self.bell.readable().await?.clear_ready();
            }
            self.subscriber.retire();
        }
    }
}

const MOST_AT_ONCE: usize = 256;
