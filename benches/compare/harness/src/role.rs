//! A contender's program: it says what it offers, or plays one part.

use std::env;
use std::io::{self, Read, Write};
use std::process::exit;

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::drive;
use crate::ends::{Channel, Inlet, Outlet};
use crate::message::{Any, Fixed, Size};
use crate::task::{Mode, Part, Task, Told, Touch};

/// What a contender's program is made of.
pub trait Contender {
    /// The ways in which it can be run.
    fn modes() -> Vec<Mode>;
    /// Plays the task's part. Receivers and brokers call [`tell_ready`] when they are there, and everybody but a broker calls
    /// [`finish`] at the end, before anything is closed.
    fn play<S: Size>(task: &Task, size: S) -> Result<()>;
}

/// A contender whose ends block.
pub trait Ends<S: Size> {
    type Outlet: Outlet;
    type Inlet: Inlet;
    /// Opens an outlet, and waits until those that are to receive are there.
    fn outlet(&mut self, channel: Channel) -> Result<Self::Outlet>;
    /// Opens an inlet: whatever is sent from now on comes out there.
    fn inlet(&mut self, channel: Channel) -> Result<Self::Inlet>;
    /// Is the broker: calls [`tell_ready`], then does not come back.
    fn serve(&mut self) -> Result<()> {
        bail!("there is no broker")
    }
}

/// The program: `modes` prints what there is, as JSON; `play TASK` plays a part.
pub fn main<C: Contender>() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["modes"] => print(&serde_json::to_string(&C::modes())?),
        ["play", task] => {
            play::<C>(&serde_json::from_str(task)?)?;
            // Without what libraries do at the end: some wait for time-outs then.
            exit(0)
        }
        _ => bail!("started by the comparison only: `modes` or `play TASK`"),
    }
}

fn play<C: Contender>(task: &Task) -> Result<()> {
    // No part outlives who has started it.
    set_pdeathsig(Signal::SIGKILL)?;
    if let Some(core) = task.core {
        let mut cores = CpuSet::new();
        cores.set(core)?;
        // Before any thread is started, which inherits it.
        sched_setaffinity(Pid::from_raw(0), &cores)?;
    }
    ensure!(
        task.size_bytes.is_multiple_of(8) && task.size_bytes >= 16,
        "{} bytes are no size of a message",
        task.size_bytes
    );
    let played = match (task.size_bytes, task.touch) {
        (16, _) => C::play(task, Fixed::<16>),
        (64, _) => C::play(task, Fixed::<64>),
        (1024, _) => C::play(task, Fixed::<1024>),
        (bytes, touch) => {
            let touched = match touch {
                Touch::Full => bytes,
                Touch::Line => bytes.min(64),
            };
            C::play(task, Any { bytes, touched })
        }
    };
    played.with_context(|| format!("part {:?}", task.part))
}

/// Plays a part between ends that block.
pub fn play_blocking<S: Size>(task: &Task, size: S, mut ends: impl Ends<S>) -> Result<()> {
    match task.part {
        Part::Broker => ends.serve(),
        Part::Echo => {
            let mut inlet = ends.inlet(Channel::There)?;
            tell_ready()?;
            let mut outlet = ends.outlet(Channel::Back)?;
            finish(drive::ping_or_echo(task, size, &mut outlet, &mut inlet)?)
        }
        Part::Ping => {
            let mut inlet = ends.inlet(Channel::Back)?;
            let mut outlet = ends.outlet(Channel::There)?;
            finish(drive::ping_or_echo(task, size, &mut outlet, &mut inlet)?)
        }
        Part::Subscribe { .. } => {
            let mut inlet = ends.inlet(Channel::There)?;
            tell_ready()?;
            finish(Some(drive::subscribe(size, &mut inlet)?))
        }
        Part::Publish => {
            let mut outlet = ends.outlet(Channel::There)?;
            finish(Some(drive::publish(task, size, &mut outlet)?))
        }
    }
}

/// Tells the result, if there is one, and stays until all are done: what a sender has in its queues goes with it.
pub fn finish(told: Option<Told>) -> Result<()> {
    if let Some(told) = told {
        tell(&told)?;
    }
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Says that this part is there.
pub fn tell_ready() -> Result<()> {
    tell(&Told::Ready)
}

fn tell(told: &Told) -> Result<()> {
    print(&serde_json::to_string(told)?)
}

fn print(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
