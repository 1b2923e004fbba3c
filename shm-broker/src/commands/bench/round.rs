//! One round of one contender: its processes, or threads, from start to end.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::raw::memory;
use super::report::Told;
use super::roles;
use super::task::{Contender, Part, Question, Task, Transport, Waiting};
use crate::commands::children::{DeathSignal, Event, Process, watch_signals};
use crate::ending::Failure;

/// Where rounds take place.
pub struct Stage {
    events: Receiver<Event>,
    to_events: Sender<Event>,
    /// Number of the next process, counted through all rounds.
    next: usize,
}

/// Those who play in one round.
struct Cast<'a> {
    stage: &'a Stage,
    first: usize,
    actors: Vec<Actor>,
    ready: usize,
    results: Vec<Told>,
}

/// Somebody who plays a part.
enum Actor {
    Process(Process),
    /// One that stops itself instead of ending.
    Stalling(Process),
    Thread(Option<JoinHandle<Result<(), Failure>>>),
}

impl Stage {
    pub fn new() -> Result<Self, Failure> {
        let (to_events, events) = mpsc::channel();
        watch_signals(to_events.clone())?;
        Ok(Self {
            events,
            to_events,
            next: 0,
        })
    }

    /// Plays a round: `task` says what its parts have in common; the sender keeps to the first of the cores.
    pub fn round(
        &mut self,
        question: Question,
        task: &Task,
        cores: &[usize],
    ) -> Result<Vec<Told>, Failure> {
        let parts = parts(question, task);
        let endpoints = endpoints(question, task, parts.len())?;
        let mut cast = Cast {
            stage: self,
            first: self.next,
            actors: Vec::new(),
            ready: 0,
            results: Vec::new(),
        };
        let receivers = parts.len() - 1;
        for (place, (part, endpoint)) in parts.into_iter().zip(endpoints).enumerate() {
            let core = match (place == receivers, cores) {
                (_, []) => None,
                (true, [own, ..]) => Some(*own),
                (false, [_, others @ ..]) => others.get(place % others.len().max(1)).copied(),
            };
            if place == receivers {
                // Everybody is there before the first message.
                cast.play_until(LONG, |cast| cast.ready == receivers)?;
            }
            let task = Task {
                part,
                core,
                ..task.clone()
            };
            cast.start(task, endpoint)?;
        }
        // An echo has nothing to tell.
        let results = match question {
            Question::Rtt => 1,
            Question::Throughput | Question::Fanout => receivers + 1,
        };
        cast.play_until(2 * task.time + LONG, |cast| cast.results.len() == results)?;
        cast.actors.iter_mut().try_for_each(Actor::end)?;
        let results = cast.results;
        self.next += receivers + 1;
        Ok(results)
    }
}

impl Cast<'_> {
    fn start(&mut self, task: Task, endpoint: OwnedFd) -> Result<(), Failure> {
        let number = self.first + self.actors.len();
        let events = self.stage.to_events.clone();
        let stalls = task.part == Part::Stall;
        self.actors.push(match task.transport {
            Transport::Memory => Actor::Thread(Some(thread::Builder::new().spawn(move || {
                let result = roles::run(&task, endpoint, &mut |told| {
                    let line = serde_json::to_string(told)?;
                    let _ = events.send(Event::Line { from: number, line });
                    Ok(())
                });
                let _ = events.send(Event::Closed { from: number });
                result
            })?)),
            Transport::Shm | Transport::Tcp => {
                let name = format!("process for `{:?}`", task.part);
                let args = ["bench-role".to_owned(), serde_json::to_string(&task)?];
                let (stdin, kill) = (Stdio::from(endpoint), DeathSignal::Kill);
                let process = Process::start(name, number, kill, args, stdin, &events)?;
                match stalls {
                    true => Actor::Stalling(process),
                    false => Actor::Process(process),
                }
            }
        });
        Ok(())
    }

    fn play_until(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let end = Instant::now() + time;
        while !done(self) {
            let left = end.saturating_duration_since(Instant::now());
            match self.stage.events.recv_timeout(left) {
                // Of an earlier round, which is over.
                Ok(Event::Closed { from } | Event::Line { from, .. }) if from < self.first => {}
                Ok(Event::Line { line, .. }) => match serde_json::from_str(&line)? {
                    Told::Ready => self.ready += 1,
                    result => self.results.push(result),
                },
                // Whoever has nothing more to tell ends; all others are waited for.
                Ok(Event::Closed { from }) => self.actors[from - self.first].end()?,
                Ok(Event::Signal(signal)) => {
                    return Err(Failure::text(format!("ended by {signal}")));
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let text = format!("a round did not come to its end within {time:?}");
                    return Err(Failure::text(text));
                }
            }
        }
        Ok(())
    }
}

impl Actor {
    /// Waits for the end. An error if it did not end well.
    fn end(&mut self) -> Result<(), Failure> {
        match self {
            Self::Process(process) => process.end(),
            Self::Stalling(process) => process.kill_stopped(),
            Self::Thread(thread) => match thread.take().map(JoinHandle::join) {
                Some(Ok(result)) => result,
                Some(Err(_)) => Err(Failure::text("a thread of the benchmark panicked")),
                None => Ok(()),
            },
        }
    }
}

/// Receivers first, the sender last.
fn parts(question: Question, task: &Task) -> Vec<Part> {
    match question {
        Question::Rtt => vec![Part::Echo, Part::Ping],
        Question::Throughput | Question::Fanout => {
            let receivers = (0..task.subscribers).map(|index| Part::Subscribe { index });
            let stalls = task.stall.map(|_| Part::Stall);
            receivers.chain(stalls).chain([Part::Publish]).collect()
        }
    }
}

/// What the raw contender's parts need: the same memory for all, or an end of a connection each. The bus needs none of it.
fn endpoints(question: Question, task: &Task, parts: usize) -> Result<Vec<OwnedFd>, Failure> {
    if task.transport == Transport::Tcp {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let one = TcpStream::connect(listener.local_addr()?)?;
        let (other, _) = listener.accept()?;
        one.set_nodelay(true)?;
        other.set_nodelay(true)?;
        return Ok(vec![one.into(), other.into()]);
    }
    if question == Question::Rtt && task.wait != Waiting::Spin {
        let (one, other) = UnixStream::pair()?;
        return Ok(vec![one.into(), other.into()]);
    }
    let readers = match task.contender {
        Contender::Raw => parts,
        Contender::Ringmain => 0,
    };
    let memory = memory::allocate(task.size_bytes, readers)?;
    let copies = (0..parts).map(|_| memory.try_clone());
    Ok(copies.collect::<Result<_, _>>()?)
}

/// Longer than anything takes that does not hang.
const LONG: Duration = Duration::from_secs(120);
