//! Child processes that never outlive their parent.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid, getppid};

use crate::ending::Failure;

/// A child process; it ends with this value.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    ending: DeathSignal,
}

/// How a child is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeathSignal {
    /// So that it can clean up.
    Terminate,
    /// At once.
    Kill,
}

/// What the parent waits for.
#[derive(Debug)]
pub enum Event {
    /// A child wrote a line.
    Line {
        /// Which child.
        from: usize,
        /// Without its end.
        line: String,
    },
    /// A child closed its standard output: it ends.
    Closed {
        /// Which child.
        from: usize,
    },
    /// The parent is to end.
    Signal(Signal),
}

impl Process {
    /// Starts this program again, with the arguments of a hidden command; `number` stands in the events of the child.
    pub fn start<'a>(
        name: String,
        number: usize,
        args: impl IntoIterator<Item = &'a str>,
        file: Option<&Path>,
        events: &Sender<Event>,
    ) -> Result<Self, Failure> {
        let own = std::env::current_exe()
            .map_err(|error| Failure::text(format!("cannot find this program: {error}")))?;
        let ending = match number {
            BROKER => DeathSignal::Terminate,
            _ => DeathSignal::Kill,
        };
        let mut command = Command::new(own);
        command
            .args(args)
            .args(["--parent", &getpid().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if let Some(file) = file {
            command.arg("--ticks").arg(file);
        }
        let mut child = command
            .spawn()
            .map_err(|error| Failure::text(format!("cannot start the {name}: {error}")))?;
        let stdout = child.stdout.take();
        let process = Self {
            name,
            child,
            ending,
        };
        let events = events.clone();
        thread::Builder::new().spawn(move || {
            let lines = stdout.map(|stdout| BufReader::new(stdout).lines());
            for line in lines.into_iter().flatten().map_while(Result::ok) {
                let _ = events.send(Event::Line { from: number, line });
            }
            let _ = events.send(Event::Closed { from: number });
        })?;
        Ok(process)
    }

    /// Waits for its end. An error if it did not end well.
    pub fn end(&mut self) -> Result<(), Failure> {
        let status = self.child.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(self.died(status)),
        }
    }

    /// Asks it to end.
    pub fn terminate(&self) -> Result<(), Failure> {
        // Not waited for yet, so the number still belongs to it.
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM)?;
        Ok(())
    }

    /// The error for a child that ended too early.
    pub fn ended_early(&mut self) -> Failure {
        match self.child.wait() {
            Ok(status) => self.died(status),
            Err(error) => error.into(),
        }
    }

    fn died(&self, status: ExitStatus) -> Failure {
        Failure::text(format!("the {} ended too early: {status}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        // Not waited for, so the number still belongs to it.
        let _ = kill(Pid::from_raw(self.child.id() as i32), self.ending.signal());
        let _ = self.child.wait();
    }
}

impl DeathSignal {
    fn signal(self) -> Signal {
        match self {
            Self::Terminate => Signal::SIGTERM,
            Self::Kill => Signal::SIGKILL,
        }
    }
}

/// Ends this process when its parent ends.
pub fn die_with_parent(parent: i32, by: DeathSignal) -> Result<(), Failure> {
    set_pdeathsig(by.signal())?;
    // The parent may have ended before the line above.
    match getppid() == Pid::from_raw(parent) {
        true => Ok(()),
        false => Err(Failure::text("the parent process is gone")),
    }
}

/// The broker among the children.
pub const BROKER: usize = 0;
/// The publisher among the children.
pub const PUBLISHER: usize = 1;
/// The first subscriber among the children.
pub const SUBSCRIBERS: usize = 2;
