//! Publishers as outlets.

use anyhow::{Result, ensure};
use compare_harness::{AsyncOutlet, Outlet, Task, Wait};
use ringmain::{Client, Delivery, Publisher, ResolvedTopic, Retry};

use crate::body::{Body, SizedBody};

/// Publishes messages one by one.
pub struct Single<B: Body + ?Sized> {
    publisher: Publisher<B>,
    topic: ResolvedTopic,
    draft: B::Draft,
    subscribers: usize,
}

/// Publishes messages in batches.
pub struct Batches<B: SizedBody> {
    single: Single<B>,
    drafts: Vec<B>,
    filled: usize,
}

impl<B: Body + ?Sized> Single<B> {
    pub fn open(client: &Client, topic: &str, task: &Task) -> Result<Self> {
        // What a subscriber may have unread of large messages is a share of this; as many bytes as a ring has, or four messages, so
        // that both sides can be at work in memory that caches still hold.
        let share = USUAL_RING_BYTES.max(4 * (task.size_bytes + PAGE_BYTES));
        let mut builder = client
            .publisher::<B>(topic)
            .max_message_bytes(task.size_bytes + HEADER_BYTES)
            .pool_bytes((share * (task.subscribers + 1)) as u64);
        if matches!(task.mode.wait, Wait::Spin | Wait::Yield) {
            builder = builder.retry(Retry::Yield);
        }
        let mut publisher = builder.open()?;
        Ok(Self {
            topic: publisher.resolve(topic)?,
            publisher,
            draft: B::draft(task.size_bytes),
            subscribers: task.subscribers,
        })
    }
}

/// Everybody gets everything, or it is an error.
#[inline(always)]
fn expect(delivery: Delivery, subscribers: usize) -> Result<()> {
    let Delivery { lanes, dropped, .. } = delivery;
    ensure!(
        lanes as usize == subscribers && dropped == 0,
        "a message went to {lanes} of {subscribers} subscribers"
    );
    Ok(())
}

impl<B: Body + ?Sized> Outlet for Single<B> {
    #[inline(always)]
    fn send(&mut self, fill: impl FnOnce(&mut [u8])) -> Result<()> {
        let delivery = B::publish(&mut self.publisher, &self.topic, &mut self.draft, fill)?;
        expect(delivery, self.subscribers)
    }
}

impl<B: Body + ?Sized> AsyncOutlet for Single<B> {
    async fn send(&mut self, message: &[u8]) -> Result<()> {
        // There is always room: the answer to the last one has come.
        Outlet::send(self, |bytes| bytes.copy_from_slice(message))
    }
}

impl<B: SizedBody> Batches<B> {
    pub fn open(client: &Client, topic: &str, task: &Task) -> Result<Self> {
        Ok(Self {
            single: Single::open(client, topic, task)?,
            drafts: (0..BATCH).map(|_| B::draft(task.size_bytes)).collect(),
            filled: 0,
        })
    }
}

impl<B: SizedBody> Outlet for Batches<B> {
    #[inline(always)]
    fn send(&mut self, fill: impl FnOnce(&mut [u8])) -> Result<()> {
        fill(self.drafts[self.filled].bytes_of());
        self.filled += 1;
        match self.filled == BATCH {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<()> {
        let drafts = &self.drafts[..self.filled];
        self.filled = 0;
        if drafts.is_empty() {
            return Ok(());
        }
        let Single {
            publisher,
            topic,
            subscribers,
            ..
        } = &mut self.single;
        let delivery = publisher.publish_batch(topic, drafts)?;
        expect(delivery, *subscribers)
    }
}

const BATCH: usize = 32;
/// What a message may have beside its bytes.
const HEADER_BYTES: usize = 64;
const PAGE_BYTES: usize = 4096;
/// What a ring has by default.
const USUAL_RING_BYTES: usize = 512 * 1024;
