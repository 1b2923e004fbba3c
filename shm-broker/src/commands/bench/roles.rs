//! What each process of a benchmark does: `bench-role`, hidden.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use clap::Args;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::bus::{self, BusInlet, BusOutlet};
use super::ends::{Inlet, Outlet};
use super::measure;
use super::message::{Body, with_body};
use super::raw::memory::{Mailbox, RingReader, RingWriter};
use super::raw::socket::{SocketReader, SocketWriter};
use super::raw::tcp::{PacketReader, PacketWriter};
use super::report::Told;
use super::task::{Contender, Part, Task, Transport, Waiting};
use crate::commands::children::{DeathSignal, die_with_parent};
use crate::ending::{Ending, Failure, Outcome};
use crate::output;

/// One process of a benchmark. What the raw contender needs is its standard input.
#[derive(Debug, Args)]
pub struct BenchRole {
    #[arg(long)]
    parent: i32,
    task: String,
}

/// How a role tells what it has found.
pub type Tell<'a> = &'a mut dyn FnMut(&Told) -> Result<(), Failure>;

impl BenchRole {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        die_with_parent(self.parent, DeathSignal::Kill)?;
        let task: Task = serde_json::from_str(&self.task)?;
        let endpoint = io::stdin().as_fd().try_clone_to_owned()?;
        run(&task, endpoint, &mut |told| {
            output::print(serde_json::to_string(told)?)
        })?;
        Ok(Ending::Done)
    }
}

/// Does the task, on this thread.
pub fn run(task: &Task, endpoint: OwnedFd, tell: Tell<'_>) -> Result<(), Failure> {
    if let Some(core) = task.core {
        let mut cores = CpuSet::new();
        cores.set(core)?;
        // Before the client starts its thread, which inherits it.
        sched_setaffinity(Pid::from_raw(0), &cores)?;
    }
    match task.contender {
        Contender::Ringmain => with_body!(task.size_bytes, over_the_bus(task, tell)),
        Contender::Raw => with_body!(task.size_bytes, without_a_bus(task, endpoint, tell)),
    }
}

fn over_the_bus<B: Body>(body: B, task: &Task, tell: Tell<'_>) -> Result<(), Failure> {
    let client = bus::connect(task)?;
    let outlet = |topic| BusOutlet::new(body, &client, topic, task);
    let inlet = |topic| BusInlet::new(body, &client, topic, task);
    match task.part {
        Part::Ping => play(task, outlet(PING)?, Some(inlet(PONG)?), tell),
        Part::Echo => play(task, outlet(PONG)?, Some(inlet(PING)?), tell),
        Part::Publish => play::<_, BusInlet<B>>(task, outlet(STREAM)?, None, tell),
        Part::Subscribe { .. } => measure::subscribe(task, inlet(STREAM)?, tell),
        Part::Stall => measure::stall(task, inlet(STREAM)?, tell),
    }
}

fn without_a_bus<B: Body>(
    body: B,
    task: &Task,
    endpoint: OwnedFd,
    tell: Tell<'_>,
) -> Result<(), Failure> {
    let (readers, idle) = (task.subscribers, task.idle());
    if task.transport == Transport::Tcp {
        let stream = TcpStream::from(endpoint);
        return match task.part {
            Part::Ping | Part::Echo => {
                let outlet = PacketWriter::single(stream.try_clone()?, body);
                play(task, outlet, Some(PacketReader::new(stream, body)), tell)
            }
            Part::Publish => {
                let outlet = match task.rate {
                    None => PacketWriter::stream(stream, body),
                    Some(_) => PacketWriter::single(stream, body),
                };
                play::<_, PacketReader<TcpStream, B>>(task, outlet, None, tell)
            }
            Part::Subscribe { .. } => {
                measure::subscribe(task, PacketReader::new(stream, body), tell)
            }
            Part::Stall => Err(only_a_bus()),
        };
    }
    match task.part {
        Part::Ping | Part::Echo if task.wait != Waiting::Spin => {
            let stream = UnixStream::from(endpoint);
            let outlet = SocketWriter::new(stream.try_clone()?, body, 1);
            play(task, outlet, Some(SocketReader::new(stream, body)), tell)
        }
        Part::Ping => {
            let [there, back] = Mailbox::pair(&endpoint, body)?;
            play(task, there, Some(back), tell)
        }
        Part::Echo => {
            let [there, back] = Mailbox::pair(&endpoint, body)?;
            play(task, back, Some(there), tell)
        }
        Part::Publish => {
            let outlet = RingWriter::new(&endpoint, body, readers as usize, task.batch, idle)?;
            play::<_, RingReader<B>>(task, outlet, None, tell)
        }
        Part::Subscribe { index } => {
            let (index, readers) = (index as usize, readers as usize);
            let inlet = RingReader::new(&endpoint, body, index, readers, idle)?;
            measure::subscribe(task, inlet, tell)
        }
        Part::Stall => Err(only_a_bus()),
    }
}

fn only_a_bus() -> Failure {
    Failure::text("only on a bus does a subscriber stall")
}

/// Plays a part that sends.
fn play<O: Outlet, I: Inlet>(
    task: &Task,
    outlet: O,
    inlet: Option<I>,
    tell: Tell<'_>,
) -> Result<(), Failure> {
    match (task.part, inlet) {
        (Part::Ping, Some(inlet)) => measure::ping(task, outlet, inlet, tell),
        (Part::Echo, Some(inlet)) => measure::echo(outlet, inlet, tell),
        _ => measure::publish(task, outlet, tell),
    }
}

const PING: &str = "bench/ping";
const PONG: &str = "bench/pong";
const STREAM: &str = "bench/stream";
