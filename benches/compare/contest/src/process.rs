//! The processes of one round.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use compare_harness::{Part, Task, Told};

/// What the processes of one round tell, and what becomes of them.
pub struct Cast {
    actors: Vec<Actor>,
    events: Receiver<Event>,
    to_events: Sender<Event>,
    ready: usize,
    told: Vec<Told>,
}

struct Actor {
    part: Part,
    child: Child,
}

enum Event {
    Told(Told),
    /// A process closed its standard output without a result, which only an echo may.
    Silent(usize),
}

impl Cast {
    pub fn new() -> Self {
        let (to_events, events) = std::sync::mpsc::channel();
        Self {
            actors: Vec::new(),
            events,
            to_events,
            ready: 0,
            told: Vec::new(),
        }
    }

    pub fn start(&mut self, program: &Path, task: &Task) -> Result<()> {
        let complaints = File::options()
            .create(true)
            .append(true)
            .open(task.folder.join(COMPLAINTS))?;
        let mut child = Command::new(program)
            .args(["play", &serde_json::to_string(task)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        let stdout = child.stdout.take();
        let (index, events) = (self.actors.len(), self.to_events.clone());
        thread::spawn(move || {
            let lines = stdout.map(|stdout| BufReader::new(stdout).lines());
            let mut has_result = false;
            for line in lines.into_iter().flatten().map_while(Result::ok) {
                // Whatever else a library prints there is of no interest.
                if let Ok(told) = serde_json::from_str(&line) {
                    has_result |= told != Told::Ready;
                    let _ = events.send(Event::Told(told));
                }
            }
            if !has_result {
                let _ = events.send(Event::Silent(index));
            }
        });
        self.actors.push(Actor {
            part: task.part,
            child,
        });
        Ok(())
    }

    /// Waits until so many have said that they are there.
    pub fn await_ready(&mut self, count: usize) -> Result<()> {
        self.play_until(LIMIT, |cast| cast.ready >= count)
            .context("at the start")
    }

    /// Waits for so many results.
    pub fn await_results(&mut self, count: usize, time: Duration) -> Result<()> {
        self.play_until(LIMIT + 2 * time, |cast| cast.told.len() >= count)
            .context("in the middle")
    }

    fn play_until(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> Result<()> {
        let end = Instant::now() + time;
        while !done(self) {
            let left = end.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(Event::Told(Told::Ready)) => self.ready += 1,
                Ok(Event::Told(told)) => self.told.push(told),
                Ok(Event::Silent(index)) => {
                    let part = self.actors[index].part;
                    bail!("{part:?} ended too early");
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    bail!("nothing has come for {time:?}");
                }
            }
        }
        Ok(())
    }

    /// What all processes together have in memory: their own, and what they share, once.
    pub fn memory_bytes(&self) -> u64 {
        let actors = self.actors.iter();
        let shares = actors.filter_map(|actor| proportional_bytes(actor.child.id()));
        shares.sum()
    }

    /// Ends all, and gives what they told.
    pub fn end(mut self) -> Vec<Told> {
        for actor in &mut self.actors {
            // They stay until this is closed.
            drop(actor.child.stdin.take());
        }
        let end = Instant::now() + GRACE;
        for actor in &mut self.actors {
            while actor.part != Part::Broker
                && Instant::now() < end
                && matches!(actor.child.try_wait(), Ok(None))
            {
                thread::sleep(Duration::from_millis(1));
            }
        }
        std::mem::take(&mut self.told)
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        for actor in &mut self.actors {
            let _ = actor.child.kill();
            let _ = actor.child.wait();
        }
    }
}

/// The last lines that processes of the round in this folder complained about.
pub fn complaints(folder: &Path) -> String {
    let text = fs::read_to_string(folder.join(COMPLAINTS)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

/// Memory that is shared counts in equal parts for those who share it.
fn proportional_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

const COMPLAINTS: &str = "stderr";
/// Longer than anything takes that does not hang.
const LIMIT: Duration = Duration::from_secs(20);
/// What libraries get for cleaning up.
const GRACE: Duration = Duration::from_secs(2);
