//! What the machine can do without a bus.
//!
//! A mailbox for round trips, a ring for streams, a ring that all subscribers read for fan-out; a socket and eventfds where the
//! processes sleep. Each has one fixed length of messages, no topics, no policies, no checks, and trusts everybody.

mod asleep;
mod bells;
mod mailbox;
mod memory;
mod ring;

use anyhow::Result;
use compare_harness::Workload::{Fanout, Frames, Rtt, Throughput};
use compare_harness::{
    Channel, Contender, Ends, Mode, Part, Size, Task, Wait, Workload, play_blocking,
};

use mailbox::Mailbox;
use ring::{RingReader, RingWriter};

fn main() -> Result<()> {
    compare_harness::main::<Raw>()
}

struct Raw;

impl Contender for Raw {
    fn modes() -> Vec<Mode> {
        let mode = |wait, workloads| Mode::new("raw", wait, workloads);
        let asleep = |wait, variant| mode(wait, &[Rtt]).variant(variant).pinned();
        vec![
            mode(Wait::Spin, &[Rtt, Throughput]).pinned(),
            mode(Wait::Yield, &[Fanout, Frames]),
            Mode::new(BATCH, Wait::Spin, &[Throughput])
                .max_bytes(1024)
                .pinned(),
            Mode::new(BATCH, Wait::Yield, &[Fanout]),
            asleep(Wait::Park, EVENTFD),
            mode(Wait::Park, &[Rtt]).variant(EVENTFD),
            asleep(Wait::Park, SOCKET),
            asleep(Wait::Async, EVENTFD),
            asleep(Wait::Async, SOCKET),
        ]
    }

    fn play<S: Size>(task: &Task, size: S) -> Result<()> {
        match (task.workload, &*task.mode.variant) {
            (Workload::Rtt, EVENTFD) => asleep::by_eventfd(task, size),
            (Workload::Rtt, SOCKET) => asleep::over_a_socket(task, size),
            (Workload::Rtt, _) => play_blocking(task, size, Mailboxes { task, size }),
            _ => play_blocking(task, size, Rings { task, size }),
        }
    }
}

struct Mailboxes<'a, S> {
    task: &'a Task,
    size: S,
}

impl<S: Size> Ends<S> for Mailboxes<'_, S> {
    type Outlet = Mailbox<S>;
    type Inlet = Mailbox<S>;

    fn outlet(&mut self, channel: Channel) -> Result<Mailbox<S>> {
        Mailbox::map(&self.task.folder, self.size, channel)
    }

    fn inlet(&mut self, channel: Channel) -> Result<Mailbox<S>> {
        Mailbox::map(&self.task.folder, self.size, channel)
    }
}

struct Rings<'a, S> {
    task: &'a Task,
    size: S,
}

impl<S: Size> Ends<S> for Rings<'_, S> {
    type Outlet = RingWriter<S>;
    type Inlet = RingReader<S>;

    fn outlet(&mut self, _: Channel) -> Result<RingWriter<S>> {
        let Task {
            folder,
            subscribers,
            mode,
            ..
        } = self.task;
        let batch = match &*mode.contender {
            BATCH => 32,
            _ => 1,
        };
        RingWriter::map(folder, self.size, *subscribers, mode.wait, batch)
    }

    fn inlet(&mut self, _: Channel) -> Result<RingReader<S>> {
        let Task {
            folder,
            subscribers,
            mode,
            part,
            ..
        } = self.task;
        let reader = match part {
            Part::Subscribe { index } => *index,
            _ => 0,
        };
        RingReader::map(folder, self.size, *subscribers, mode.wait, reader)
    }
}

const BATCH: &str = "raw-batch";
const EVENTFD: &str = "eventfd";
const SOCKET: &str = "socketpair";
