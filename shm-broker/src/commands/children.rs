//! Child processes that never outlive their parent.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, getpid, getppid};

use crate::ending::Failure;
use crate::signals;

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
    /// Starts this program again, with the arguments of a hidden command that takes `--parent`; `number` stands in the
    /// events of the child.
    pub fn start(
        name: String,
        number: usize,
        ending: DeathSignal,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        stdin: Stdio,
        events: &Sender<Event>,
    ) -> Result<Self, Failure> {
        let own = std::env::current_exe()
            .map_err(|error| Failure::text(format!("cannot find this program: {error}")))?;
        let mut command = Command::new(own);
        command
            .args(args)
            .args(["--parent", &getpid().to_string()])
            .stdin(stdin)
            .stdout(Stdio::piped());
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

    /// Waits until it has stopped itself, and kills it. An error if it ended instead.
    pub fn kill_stopped(&mut self) -> Result<(), Failure> {
        let id = Id::Pid(Pid::from_raw(self.child.id() as i32));
        // Whoever has ended is left there, to be waited for as a child.
        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        match waitid(id, flags)? {
            WaitStatus::Stopped(..) => {
                self.child.kill()?;
                self.child.wait()?;
                Ok(())
            }
            _ => Err(self.ended_early()),
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

/// SIGINT and SIGTERM become events, so that children, and what lies in directories, go before this process does.
pub fn watch_signals(events: Sender<Event>) -> Result<(), Failure> {
    let signals = signals::both();
    signals.thread_block()?;
    thread::Builder::new().spawn(move || {
        while let Ok(signal) = signals.wait() {
            let _ = events.send(Event::Signal(signal));
        }
    })?;
    Ok(())
}
