//! Another party of a test, driven by lines of text.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{eventually, roles, usage};

/// Another party of a test. It says what it does in lines; some roles take lines, too.
pub struct Peer {
    role: String,
    lines: Receiver<String>,
    input: Input,
    body: Body,
}

/// What a role talks to its test with.
pub struct Script {
    /// Lines from the test.
    pub input: Box<dyn BufRead>,
    say: Box<dyn FnMut(String)>,
}

enum Input {
    Process(Option<std::process::ChildStdin>),
    Thread(Option<std::io::PipeWriter>),
}

enum Body {
    Process(Child),
    Thread(Option<JoinHandle<()>>),
}

impl Script {
    /// What the program `peer` talks with.
    pub fn stdio() -> Self {
        let say = |line| {
            let mut out = std::io::stdout().lock();
            // A test that has failed does not listen.
            let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        };
        Self {
            input: Box::new(BufReader::new(std::io::stdin())),
            say: Box::new(say),
        }
    }

    /// Says something to the test.
    pub fn say(&mut self, line: impl ToString) {
        (self.say)(line.to_string());
    }

    /// Waits for a line from the test; `None` when it has nothing more to say.
    pub fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.input.read_line(&mut line) {
            Ok(length) if length > 0 => Some(line.trim_end().to_owned()),
            _ => None,
        }
    }
}

impl Peer {
    /// A role in a process of its own.
    pub fn process(role: &str, arguments: &[&str]) -> Self {
        Self::start(Command::new(program()), role, arguments)
    }

    /// A role in a process of its own, in a network namespace.
    pub fn process_in(namespace: &str, role: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(program());
        Self::start(command, role, arguments)
    }

    fn start(mut command: Command, role: &str, arguments: &[&str]) -> Self {
        let mut child = command
            .arg(role)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let output = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let input = Input::Process(child.stdin.take());
        Self {
            role: role.to_owned(),
            lines,
            input,
            body: Body::Process(child),
        }
    }

    /// A role in a thread of the test.
    pub fn thread(role: &str, arguments: &[&str]) -> Self {
        let (sender, lines): (Sender<String>, _) = channel();
        let (reader, writer) = std::io::pipe().unwrap();
        let name = role.to_owned();
        let arguments: Vec<String> = arguments
            .iter()
            .map(|argument| argument.to_string())
            .collect();
        let body = std::thread::spawn(move || {
            let say = move |line| drop(sender.send(line));
            let mut script = Script {
                input: Box::new(BufReader::new(reader)),
                say: Box::new(say),
            };
            roles::run(&name, &arguments, &mut script);
        });
        let (input, body) = (Input::Thread(Some(writer)), Body::Thread(Some(body)));
        Self {
            role: role.to_owned(),
            lines,
            input,
            body,
        }
    }

    /// The next line, if it has said one.
    pub fn next_line(&mut self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// The next line that it says; the test fails if it says nothing for five minutes, which is long for whatever a role does
    /// between two lines, on a loaded machine, too.
    pub fn line(&mut self) -> String {
        self.lines
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|error| panic!("{} says nothing: {error}", self.role))
    }

    /// Waits for this line.
    pub fn expect(&mut self, expected: &str) {
        let line = self.line();
        assert_eq!(line, expected, "from {}", self.role);
    }

    /// Waits for a line that begins so; gives the rest of it.
    pub fn expect_start(&mut self, start: &str) -> String {
        let line = self.line();
        match line.strip_prefix(start) {
            Some(rest) => rest.trim().to_owned(),
            None => panic!("{} says {line:?}, not {start:?}", self.role),
        }
    }

    /// Says a line to it.
    pub fn tell(&mut self, line: &str) {
        match &mut self.input {
            Input::Process(Some(input)) => writeln!(input, "{line}").unwrap(),
            Input::Thread(Some(input)) => writeln!(input, "{line}").unwrap(),
            _ => panic!("{} was told that nothing more comes", self.role),
        }
    }

    /// Its process, if it has one of its own.
    pub fn pid(&self) -> Option<Pid> {
        match &self.body {
            Body::Process(child) => Some(Pid::from_raw(child.id() as i32)),
            Body::Thread(_) => None,
        }
    }

    /// Sends its process a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid().expect("only a process takes signals"), signal).unwrap();
    }

    /// Stops its process; when this returns, it has stopped.
    pub fn stop(&self) {
        let pid = self.pid().expect("only a process can be stopped");
        self.signal(Signal::SIGSTOP);
        eventually("it stops", || usage::is_stopped(pid));
    }

    /// Lets its stopped process go on.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Waits for the end of its process, however it comes about.
    pub fn wait_for_end(&mut self) {
        if let Body::Process(child) = &mut self.body {
            child.wait().unwrap();
        }
    }

    /// Kills its process and waits for its end.
    pub fn kill(&mut self) {
        if let Body::Process(child) = &mut self.body {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Tells it that nothing more comes, and waits for its end, which must be a good one.
    pub fn finish(mut self) {
        self.hang_up();
        match &mut self.body {
            Body::Process(child) => {
                assert!(child.wait().unwrap().success(), "{} failed", self.role)
            }
            Body::Thread(body) => body.take().unwrap().join().unwrap(),
        }
    }

    fn hang_up(&mut self) {
        match &mut self.input {
            Input::Process(input) => *input = None,
            Input::Thread(input) => *input = None,
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.hang_up();
        if let Body::Process(child) = &mut self.body {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The program `peer`, which cargo builds beside the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let directory = test.parent().unwrap();
    let directory = if directory.ends_with("deps") {
        directory.parent().unwrap()
    } else {
        directory
    };
    directory.join("peer")
}

const PATIENCE: Duration = Duration::from_secs(300);
