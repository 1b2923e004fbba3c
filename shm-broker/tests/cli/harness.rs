//! Runs the binary; waits for what it writes, with a deadline.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// A bus of its own, in a directory of its own.
pub struct Bus {
    /// Ends before the directory does.
    pub broker: Running,
    pub directory: TempDir,
}

/// A command under way; killed at the end.
pub struct Running {
    child: Child,
    pub stdin: Option<ChildStdin>,
    pub stdout: Option<Lines>,
    pub stderr: Lines,
}

/// What a command writes, line by line.
pub struct Lines(Receiver<String>);

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: Vec<String>,
    pub stderr: String,
}

impl Bus {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut broker = Running::start(&["serve", "--bus", &address(&directory)]);
        let line = broker.line();
        assert_eq!(line, format!("listening on {}", address(&directory)));
        Self { broker, directory }
    }

    pub fn address(&self) -> String {
        address(&self.directory)
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("bus.sock")
    }

    pub fn client(&self) -> ringmain::Client {
        ringmain::Client::connect(&self.address()).unwrap()
    }

    /// Starts a command on this bus.
    pub fn spawn(&self, args: &[&str]) -> Running {
        let address = self.address();
        Running::start(&[args, &["--bus", &address]].concat())
    }

    /// Runs a command on this bus.
    pub fn run(&self, args: &[&str]) -> Ended {
        self.spawn(args).end()
    }

    /// Starts `sub` and waits until it is there.
    pub fn subscribe(&self, args: &[&str]) -> Running {
        let before = self.subscribers();
        let running = self.spawn(&[&["sub"], args].concat());
        until(|| self.subscribers() > before);
        running
    }

    fn subscribers(&self) -> usize {
        let listing = self.client().list("**", ringmain::ListTopics::Declared);
        listing.unwrap().subscribers.len()
    }
}

impl Running {
    pub fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[])
    }

    /// With another directory for temporary files.
    pub fn start_in(args: &[&str], temporary: &Path) -> Self {
        Self::start_with(args, &[("TMPDIR", temporary.to_str().unwrap())])
    }

    /// With these variables in its environment.
    pub fn start_with(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_shm-broker"))
            .args(args)
            .env_remove("RINGMAIN_BUS")
            .env_remove("RINGMAIN_LOG")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take(),
            stdout: child.stdout.take().map(Lines::of),
            stderr: Lines::of(child.stderr.take().unwrap()),
            child,
        }
    }

    /// The next line of standard output.
    pub fn line(&mut self) -> String {
        let next = self.stdout.as_mut().and_then(Lines::next);
        next.unwrap_or_else(|| panic!("it ended: {:?}", self.stderr.rest()))
    }

    pub fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        drop(self.stdin.take());
        let stdout = self.stdout.as_mut().map(Lines::rest).unwrap_or_default();
        let stderr = self.stderr.rest().join("\n");
        until(|| self.has_ended());
        Ended {
            code: self.child.wait().unwrap().code(),
            stdout,
            stderr,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines() {
                // Without a reader of the lines, the pipe closes.
                if line.is_err() || sender.send(line.unwrap()).is_err() {
                    break;
                }
            }
        });
        Self(receiver)
    }

    /// The next line, or `None` at the end.
    pub fn next(&mut self) -> Option<String> {
        match self.0.recv_timeout(DEADLINE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("nothing was written for {DEADLINE:?}"),
        }
    }

    /// Waits for a line that contains a text.
    pub fn find(&mut self, text: &str) -> String {
        loop {
            let line = self.next();
            let line = line.unwrap_or_else(|| panic!("it ended without {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// All lines up to the end.
    pub fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

impl Ended {
    /// Its output, if it ended well.
    #[track_caller]
    pub fn done(self) -> Vec<String> {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// Its complaint, if it ended with this code.
    #[track_caller]
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.stderr
    }
}

/// Waits for something that nobody tells.
#[track_caller]
pub fn until(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "it did not happen in {DEADLINE:?}");
        thread::yield_now();
    }
}

pub fn run(args: &[&str]) -> Ended {
    Running::start(args).end()
}

fn address(directory: &TempDir) -> String {
    format!("unix:{}", directory.path().join("bus.sock").display())
}

const DEADLINE: Duration = Duration::from_secs(60);
