//! Aeron IPC as a contender: client and media driver in C, the driver in a process of its own.

use std::ffi::CString;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use compare_harness::Workload::{Fanout, Frames, Rtt, Throughput};
use compare_harness::{
    Channel, Contender, Ends, Inlet, Mode, Outlet, Polling, Size, Task, Wait, play_blocking,
    tell_ready,
};
use rusteron_client::{
    Aeron, AeronContext, AeronExclusivePublication, AeronHeader, AeronSubscription, Handlers,
};
use rusteron_media_driver::bindings::aeron_threading_mode_enum;
use rusteron_media_driver::{AeronDriver, AeronDriverContext};

fn main() -> Result<()> {
    compare_harness::main::<AeronIpc>()
}

struct AeronIpc;

impl Contender for AeronIpc {
    fn modes() -> Vec<Mode> {
        let mode = |wait, workloads| Mode::new("aeron", wait, workloads).broker();
        // The publisher may be half a term ahead, and the driver's conductor moves that limit, so short terms fit the cache but
        // stop a publisher between two of its turns. Which is better depends on the machine.
        vec![
            mode(Wait::Spin, &[Rtt, Throughput]).pinned(),
            mode(Wait::Yield, &[Throughput, Fanout, Frames]),
            mode(Wait::Yield, &[Throughput, Fanout])
                .variant(SHORT_TERMS)
                .max_bytes(16 * 1024),
        ]
    }

    fn play<S: Size>(task: &Task, size: S) -> Result<()> {
        play_blocking(task, size, Streams { task, client: None })
    }
}

struct Streams<'a> {
    task: &'a Task,
    client: Option<Aeron>,
}

impl Streams<'_> {
    fn folder(&self) -> Result<CString> {
        let folder = self.task.folder.join("aeron");
        Ok(CString::new(folder.as_os_str().as_encoded_bytes())?)
    }

    fn uri(&self) -> Result<CString> {
        let term = match (&*self.task.mode.variant, self.task.size_bytes) {
            (SHORT_TERMS, _) => "1m",
            // A message is at most an eighth of a term.
            (_, ..=TWO_MEBIBYTES) => "16m",
            _ => "128m",
        };
        Ok(CString::new(format!(
            "aeron:ipc?term-length={term}|mtu={MTU_BYTES}"
        ))?)
    }

    fn client(&mut self) -> Result<Aeron> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let context = AeronContext::new()?;
        context.set_dir(&self.folder()?)?;
        let client = Aeron::new(&context)?;
        client.start()?;
        self.client = Some(client.clone());
        Ok(client)
    }
}

fn stream_id(channel: Channel) -> i32 {
    match channel {
        Channel::There => 1,
        Channel::Back => 2,
    }
}

impl<S: Size> Ends<S> for Streams<'_> {
    type Outlet = Out;
    type Inlet = In;

    fn outlet(&mut self, channel: Channel) -> Result<Out> {
        let publication = self
            .client()?
            .async_add_exclusive_publication(&self.uri()?, stream_id(channel))?
            .poll_blocking(LIMIT)?;
        while !publication.is_connected() {
            thread::sleep(Duration::from_millis(1));
        }
        // Until all clients have heard of each other.
        thread::sleep(Duration::from_millis(100));
        Ok(Out {
            publication,
            message: vec![0; self.task.size_bytes],
            wait: self.task.mode.wait,
        })
    }

    fn inlet(&mut self, channel: Channel) -> Result<In> {
        let subscription = self
            .client()?
            .async_add_subscription(
                &self.uri()?,
                stream_id(channel),
                Handlers::NONE,
                Handlers::NONE,
            )?
            .poll_blocking(LIMIT)?;
        Ok(In {
            subscription,
            pieces: Vec::with_capacity(self.task.size_bytes),
            message_bytes: self.task.size_bytes,
            wait: self.task.mode.wait,
        })
    }

    fn serve(&mut self) -> Result<()> {
        let context = AeronDriverContext::new()?;
        context.set_dir(&self.folder()?)?;
        context.set_dir_delete_on_start(true)?;
        context.set_term_buffer_sparse_file(false)?;
        // One thread for all its work, for it has no core of its own.
        context.set_threading_mode(aeron_threading_mode_enum::AERON_THREADING_MODE_SHARED)?;
        let driver = AeronDriver::new(&context)?;
        driver.start(false)?;
        tell_ready()?;
        loop {
            thread::park();
        }
    }
}

struct Out {
    publication: AeronExclusivePublication,
    message: Vec<u8>,
    wait: Wait,
}

impl Outlet for Out {
    #[inline(always)]
    fn send(&mut self, fill: impl FnOnce(&mut [u8])) -> Result<()> {
        let mut polling = Polling::new(self.wait);
        if self.message.len() > MOST_IN_PLACE {
            fill(&mut self.message);
            loop {
                match self.publication.offer(&self.message) {
                    Ok(_) => return Ok(()),
                    Err(error) if error.is_retryable() => polling.pause(),
                    Err(error) => bail!("{error:?}"),
                };
            }
        }
        loop {
            match self.publication.try_claim_owned(self.message.len()) {
                Ok(mut claim) => {
                    fill(claim.data());
                    claim.commit()?;
                    return Ok(());
                }
                Err(error) if error.is_retryable() => polling.pause(),
                Err(error) => bail!("{error:?}"),
            };
        }
    }
}

struct In {
    subscription: AeronSubscription,
    /// Of a message that comes in pieces.
    pieces: Vec<u8>,
    message_bytes: usize,
    wait: Wait,
}

impl Inlet for In {
    #[inline(always)]
    fn receive(&mut self, mut take: impl FnMut(&[u8])) -> Result<bool> {
        let mut polling = Polling::new(self.wait);
        let mut has_come = false;
        loop {
            if self.message_bytes <= MOST_IN_PLACE {
                let whole = |message: &[u8], _: AeronHeader| {
                    take(message);
                    has_come = true;
                };
                self.subscription.poll_fn(whole, FRAGMENTS)?;
            } else {
                let pieces = &mut self.pieces;
                let piece = |piece: &[u8], header: AeronHeader| {
                    let flags = header
                        .get_values()
                        .map_or(0, |values| values.frame().flags());
                    if flags & BEGINS != 0 {
                        pieces.clear();
                    }
                    pieces.extend_from_slice(piece);
                    if flags & ENDS != 0 {
                        take(pieces);
                        has_come = true;
                    }
                };
                self.subscription.poll_fn(piece, FRAGMENTS)?;
            }
            if has_come {
                return Ok(true);
            }
            if !polling.pause() {
                return Ok(false);
            }
        }
    }
}

const SHORT_TERMS: &str = "1 MiB terms";
const TWO_MEBIBYTES: usize = 2 * 1024 * 1024;
/// The most that a piece of a message may be; its header is in there.
const MTU_BYTES: usize = 32 * 1024;
/// Longer messages come in pieces, and cannot be written in place.
const MOST_IN_PLACE: usize = MTU_BYTES - 32;
const FRAGMENTS: usize = 64;
/// Flags of a piece.
const BEGINS: u8 = 0x80;
const ENDS: u8 = 0x40;
const LIMIT: Duration = Duration::from_secs(10);
