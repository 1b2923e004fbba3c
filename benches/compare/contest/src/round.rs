//! One round of one contender: its processes from start to end, and the figures that follow.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use compare_harness::{Mode, Part, Task, Told};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::case::Case;
use crate::figures::Figures;
use crate::process::{Cast, complaints};

/// A way of running a contender, and the program that does it.
#[derive(Clone, Debug)]
pub struct Entrant {
    pub program: PathBuf,
    pub mode: Mode,
}

/// Where rounds take place.
pub struct Stage {
    /// A folder in memory.
    scratch: PathBuf,
    /// The sender's core, the receivers' core; `None` where there are not two.
    cores: Option<[usize; 2]>,
    time: Duration,
    /// Of the next round.
    number: usize,
}

impl Stage {
    pub fn new(scratch: PathBuf, cores: Option<[usize; 2]>, time: Duration) -> Self {
        Self {
            scratch,
            cores,
            time,
            number: 0,
        }
    }

    pub fn round(&mut self, case: &Case, entrant: &Entrant) -> Result<Figures> {
        self.number += 1;
        // Names of services and segments derive from it, so no two runs may have it in common.
        let name = format!("rmc-{}-{}", std::process::id(), self.number);
        let folder = self.scratch.join(name);
        fs::create_dir_all(&folder)?;
        let figures = self.play(case, entrant, &folder);
        let figures = figures.with_context(|| complaints(&folder));
        fs::remove_dir_all(&folder)?;
        figures
    }

    fn play(&self, case: &Case, entrant: &Entrant, folder: &Path) -> Result<Figures> {
        let cores = self.cores.filter(|_| entrant.mode.pinned);
        let task = |part, core: Option<usize>| Task {
            part,
            mode: entrant.mode.clone(),
            workload: case.workload,
            size_bytes: case.size_bytes,
            touch: case.touch,
            subscribers: case.fanout,
            folder: folder.to_owned(),
            time: self.time,
            core,
        };
        let (receivers, sender) = match case.is_rtt() {
            true => (vec![Part::Echo], Part::Ping),
            false => {
                let indices = 0..case.fanout;
                let receivers = indices.map(|index| Part::Subscribe { index });
                (receivers.collect(), Part::Publish)
            }
        };
        let used_before = processor_time()?;
        let mut cast = Cast::new();
        let brokers = usize::from(entrant.mode.broker);
        if entrant.mode.broker {
            cast.start(&entrant.program, &task(Part::Broker, None))?;
            cast.await_ready(brokers)?;
        }
        for part in &receivers {
            let core = cores.map(|[_, receiver]| receiver);
            cast.start(&entrant.program, &task(*part, core))?;
        }
        cast.await_ready(brokers + receivers.len())?;
        let core = cores.map(|[sender, _]| sender);
        cast.start(&entrant.program, &task(sender, core))?;
        let results = match case.is_rtt() {
            true => 1,
            false => 1 + receivers.len(),
        };
        cast.await_results(results, self.time)?;
        let memory_bytes = cast.memory_bytes();
        let told = cast.end();
        let mut figures = figures(&told, case.fanout, self.time)?;
        figures.memory_bytes = memory_bytes;
        figures.cpu_s = (processor_time()? - used_before).as_secs_f64();
        Ok(figures)
    }
}

/// What follows from what was told. A rate is what all got, from the first send to the end of the last one.
fn figures(told: &[Told], fanout: usize, time: Duration) -> Result<Figures> {
    let mut figures = Figures::default();
    let (mut sent, mut start, mut received, mut end) = (0, 0, 0, 0);
    for told in told {
        match *told {
            Told::Ready => {}
            Told::RoundTrips {
                p50_ns,
                p99_ns,
                count,
                corrupt,
            } => {
                ensure!(count > 0, "no answer came in time");
                figures.p50_ns = Some(p50_ns);
                figures.p99_ns = Some(p99_ns);
                figures.msgs_per_s = count as f64 / time.as_secs_f64();
                figures.corrupt = corrupt;
                return Ok(figures);
            }
            Told::Sent { count, start_ns } => (sent, start) = (count, start_ns),
            Told::Received {
                count,
                corrupt,
                end_ns,
            } => {
                received += count;
                figures.corrupt += corrupt;
                end = end.max(end_ns);
            }
        }
    }
    ensure!(end > start, "nothing was received");
    figures.msgs_per_s = received as f64 * 1e9 / (end - start) as f64;
    figures.lost = (sent * fanout as u64).saturating_sub(received);
    Ok(figures)
}

/// What processes have used that have ended.
fn processor_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let microseconds =
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(microseconds.unsigned_abs()))
}
